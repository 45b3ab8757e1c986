# SPDX-License-Identifier: Apache-2.0
"""message_filters' synchronisers behind the interface of our assembler."""
import importlib.util

import pytest

from igs_ros.errors import InputError
from igs_ros.frames import Frame

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from igs_ros.node.filters import FilteredAssembler  # noqa: E402

MS = 1_000_000
installed = pytest.mark.skipif(importlib.util.find_spec('message_filters') is None,
                               reason='message_filters is not installed (it has no wheel)')


def made(kind, queue=10):
    return FilteredAssembler(kind, ('a', 'b'), 0.02, queue, 0.25)


def fed(target, *frames):
    return [s for camera, stamp in frames
            for s in target.add(Frame(camera, stamp * MS, (camera, stamp)))]


@pytest.mark.skipif(installed.args[0] is False, reason='message_filters is installed')
def test_without_the_package_it_says_what_to_install():
    with pytest.raises(InputError, match="synchronizer is 'exact', but .*message_filters is not "
                                         'installed.*use synchronizer igs'):
        made('exact')


@installed
def test_approximate_joins_near_stamps():
    target = made('approximate')
    first, second = fed(target, ('a', 1000), ('b', 1012), ('b', 1040), ('a', 1045))
    assert first.images == {'a': ('a', 1000), 'b': ('b', 1012)}
    assert (first.stamp_ns, first.spread_ns) == (1000 * MS, 12 * MS)
    assert second.spread_ns == 5 * MS
    assert target.drops() == {} and target.poll() == []


@installed
def test_exact_joins_equal_stamps_only():
    target = made('exact')
    joined, = fed(target, ('a', 1000), ('b', 1001), ('b', 1033), ('a', 1033))
    assert joined.stamp_ns == 1033 * MS and joined.missing == ()
    assert target.drops() == {'unmatched:a': 1, 'unmatched:b': 1}


@installed
@pytest.mark.parametrize('kind', ['approximate', 'exact'])
def test_a_looping_bag_goes_on(kind):
    target = made(kind, queue=3)
    assert fed(target, *[('a', 9000 + k) for k in range(0, 300, 33)]) == []  # b is off
    sets = fed(target, *[(camera, k) for k in range(1000, 1100, 33) for camera in 'ab'])
    assert len(sets) == 4 and target.jumps == 1
