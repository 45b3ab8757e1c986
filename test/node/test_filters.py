# SPDX-License-Identifier: Apache-2.0
"""message_filters' synchronizers behind the interface of our assembler."""
import importlib.util
import sys
from types import SimpleNamespace

import pytest

from igs_ros.core.errors import InputError
from igs_ros.core.frames import Frame

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
    assert first.pictures == {'a': ('a', 1000), 'b': ('b', 1012)}
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


# --- against a stand-in, as the package has no wheel ---------------------------------------------


class Input:
    def registerCallback(self, callback):  # noqa: N802, their name
        self.taken = callback

    def signalMessage(self, message):  # noqa: N802, their name
        self.taken(message)


class NewestFirst:
    """A synchronizer of two cameras that holds back two sets, then hands out the newer first."""

    def __init__(self, inputs, queue):
        self.waiting = [[] for _ in inputs]
        for target, source in zip(self.waiting, inputs, strict=True):
            source.registerCallback(lambda message, target=target: self.take(target, message))

    def registerCallback(self, callback):  # noqa: N802, their name
        self.joined = callback

    def take(self, target, message):
        target.append(message)
        if all(len(messages) == 2 for messages in self.waiting):
            while self.waiting[0]:
                self.joined(*(messages.pop() for messages in self.waiting))


def test_a_set_older_than_the_last_one_is_dropped_and_counted(monkeypatch):
    monkeypatch.setitem(sys.modules, 'message_filters', SimpleNamespace(
        SimpleFilter=Input, TimeSynchronizer=NewestFirst))
    target = made('exact')
    frames = [(camera, stamp) for stamp in (1000, 1033) for camera in 'ab']
    joined, = fed(target, *frames)
    assert joined.stamp_ns == 1033 * MS
    assert target.drops() == {'late:a': 1, 'late:b': 1}
    fed(target, ('a', 1066))
    assert target.drops() == {'late:a': 1, 'late:b': 1, 'unmatched:a': 1}
    later, = fed(target, *[(c, s) for s in (0, 33) for c in 'ab'])  # the clock was set back
    assert later.stamp_ns == 33 * MS and target.jumps == 1
