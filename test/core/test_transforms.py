# SPDX-License-Identifier: Apache-2.0
"""The buffer of transforms against values worked by hand, and against scipy."""
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from igs_ros.core import transforms
from igs_ros.core.errors import InputError
from igs_ros.core.transforms import (
    FutureTransform,
    PastTransform,
    Transform,
    TransformBuffer,
    TransformError,
    slerp,
)

S = 1_000_000_000
HALF = np.sqrt(0.5)
NONE = (1, 0, 0, 0)
QUARTER_Z = (HALF, 0, 0, HALF)  # 90 degrees about z: x becomes y

quaternions = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1).map(
    lambda q: np.array(q) / np.linalg.norm(q))
positions = st.tuples(*[st.floats(-100, 100)] * 3)


def transform(parent, child, stamp_s=1.0, at=(0, 0, 0), turn=NONE):
    return Transform(parent, child, round(stamp_s * S), at, turn)


def buffer(*static, timed=()):
    made = TransformBuffer()
    for one in static:
        assert made.add(one, static=True) == ''
    for one in timed:
        assert made.add(one, static=False) == ''
    return made


def scipy_matrix(position, wxyz):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat(np.roll(wxyz, -1)).as_matrix()
    matrix[:3, 3] = position
    return matrix


# --- by hand ---------------------------------------------------------------------------------


def test_a_chain_by_hand():
    """A camera 1 m ahead on a robot at (2, 0, 0) that looks along y; optical axes on top."""
    made = buffer(transform('base', 'mast', at=(1, 0, 0)),
                  transform('mast', 'cam', turn=(0.5, -0.5, 0.5, -0.5)),  # REP-103: z forward
                  transform('map', 'base', at=(2, 0, 0), turn=QUARTER_Z))
    assert np.allclose(made.lookup('map', 'cam') @ (0, 0, 3, 1), (2, 4, 0, 1))  # 3 m ahead
    assert np.allclose(made.lookup('cam', 'map') @ (2, 4, 0, 1), (0, 0, 3, 1))
    assert np.allclose(made.lookup('map', 'cam') @ (1, 0, 0, 1), (3, 1, 0, 1))  # right of it
    assert made.is_static('map', 'cam')


def test_siblings_meet_at_their_parent():
    made = buffer(transform('rig', 'a', at=(1, 0, 0)), transform('rig', 'b', at=(0, 1, 0)))
    assert np.allclose(made.lookup('b', 'a')[:3, 3], (1, -1, 0))
    assert np.array_equal(made.lookup('a', 'a'), np.eye(4))


def test_halfway_between_two_samples():
    made = buffer(timed=[transform('map', 'head', 1.0, (0, 0, 0)),
                         transform('map', 'head', 3.0, (4, 0, 2), QUARTER_Z)])
    found = made.lookup('map', 'head', 2 * S)
    assert np.allclose(found[:3, 3], (2, 0, 1))
    assert np.allclose(found[:3, 0], (HALF, HALF, 0))  # 45 degrees
    assert np.allclose(made.lookup('map', 'head', round(1.5 * S))[:3, 3], (1, 0, 0.5))
    assert not made.is_static('map', 'head')


def test_the_newest_time_that_all_of_the_way_knows():
    made = buffer(transform('neck', 'cam'),
                  timed=[transform('map', 'base', 1.0), transform('map', 'base', 3.0, (2, 0, 0)),
                         transform('base', 'neck', 1.0), transform('base', 'neck', 2.0)])
    assert np.allclose(made.lookup('map', 'cam')[:3, 3], (1, 0, 0))  # at 2 s


def test_slashes_of_ros_1_are_dropped():
    assert buffer(transform('/map', '/cam', at=(1, 0, 0))).lookup('map', 'cam')[0, 3] == 1


# --- against scipy ---------------------------------------------------------------------------


@given(quaternions, quaternions, st.floats(0, 1))
def test_slerp_is_scipys(one, other, share):
    ours = Rotation.from_quat(np.roll(slerp(one, other, share), -1))
    both = Rotation.from_quat(np.roll(np.array([one, other]), -1, axis=1))
    angle = (both[0].inv() * both[1]).magnitude()
    if angle < np.pi - 1e-4:  # at half a turn either way is the shorter one
        assert (ours.inv() * Slerp([0, 1], both)(share)).magnitude() < 1e-6
    assert (both[0].inv() * ours).magnitude() == pytest.approx(share * angle, abs=1e-6)


@given(quaternions, quaternions)
def test_slerp_at_its_ends(one, other):
    for share, end in (0.0, one), (1.0, other):
        assert abs(slerp(one, other, share) @ end) == pytest.approx(1, abs=1e-12)


@given(positions, quaternions, positions, quaternions, st.integers(1, S - 1))
def test_interpolation_is_scipys(at, turn, later_at, later_turn, after_ns):
    made = buffer(timed=[transform('map', 'head', 1.0, at, turn),
                         transform('map', 'head', 2.0, later_at, later_turn)])
    both = Rotation.from_quat(np.roll(np.array([turn, later_turn]), -1, axis=1))
    found, share = made.lookup('map', 'head', S + after_ns), after_ns / S
    assert np.allclose(found[:3, 3], np.array(at) + share * (np.array(later_at) - at))
    if (both[0].inv() * both[1]).magnitude() < np.pi - 1e-4:
        assert np.allclose(found[:3, :3], Slerp([0, 1], both)(share).as_matrix(), atol=1e-6)
    # the samples themselves, bit for bit
    assert np.array_equal(made.lookup('map', 'head', S),
                          transform('map', 'head', 1, at, turn).matrix)


@given(st.lists(st.tuples(positions, quaternions), min_size=2, max_size=6), st.data())
def test_any_tree_composes_and_inverts(edges, data):
    made, in_root = TransformBuffer(), {'f0': np.eye(4)}
    for number, (at, turn) in enumerate(edges, 1):
        parent = f'f{data.draw(st.integers(0, number - 1))}'
        made.add(transform(parent, f'f{number}', 1.0, at, turn), static=data.draw(st.booleans()))
        in_root[f'f{number}'] = in_root[parent] @ scipy_matrix(at, turn)
    a, b, c = (data.draw(st.sampled_from(sorted(in_root))) for _ in range(3))
    found = made.lookup(a, b, S)
    assert np.allclose(found, np.linalg.inv(in_root[a]) @ in_root[b], atol=1e-9 * 700)
    assert np.allclose(made.lookup(b, a, S) @ found, np.eye(4), atol=1e-9)
    assert np.allclose(made.lookup(a, c, S) @ made.lookup(c, b, S), found, atol=1e-9)


# --- what cannot be known --------------------------------------------------------------------


def test_times_outside_what_is_known():
    made = buffer(timed=[transform('map', 'head', 5.0), transform('map', 'head', 6.0)])
    made.lookup('map', 'head', 5 * S)
    made.lookup('map', 'head', 6 * S)
    with pytest.raises(FutureTransform) as raised:
        made.lookup('map', 'head', 6 * S + 1000)
    assert str(raised.value) == ("no transform from 'head' to 'map' at 6.000001 s: that of 'head' "
                                 "in 'map' is known from 5.000000 s to 6.000000 s")
    with pytest.raises(PastTransform, match='at 4.999999 s'):
        made.lookup('map', 'head', 5 * S - 1000)


def test_what_is_lost_is_told_before_what_may_come():
    made = buffer(timed=[transform('map', 'base', 5.0), transform('base', 'head', 1.0)])
    with pytest.raises(PastTransform, match="'base' in 'map'"):
        made.lookup('map', 'head', 3 * S)


def test_frames_without_a_way():
    made = buffer(transform('map', 'a'), transform('odom', 'b'))
    with pytest.raises(TransformError) as raised:
        made.lookup('map', 'b')
    assert str(raised.value) == ("no transform from 'b' to 'map': they are in two trees, below "
                                 "'odom' and below 'map'")
    with pytest.raises(TransformError, match="from 'cam' to 'map': no frame 'cam' was heard of"):
        made.lookup('map', 'cam')
    with pytest.raises(TransformError, match="no frame 'x' was heard of"):
        made.is_static('x', 'map')


def test_a_loop_is_named_and_ends():
    made = buffer(transform('b', 'a'), transform('c', 'b'), transform('a', 'c'),
                  transform('c', 'tail'))
    with pytest.raises(TransformError, match="in a loop of frames: 'c' in 'a' in 'b' in 'c'$"):
        made.lookup('b', 'tail')
    assert np.array_equal(made.lookup('map', 'map'), np.eye(4))


def test_two_parents_are_told_and_the_newest_is_taken():
    made = buffer(transform('map', 'cam', at=(1, 0, 0)))
    said = made.add(transform('base', 'cam', at=(2, 0, 0)), static=True)
    assert said.startswith("frame 'cam' has two parents: 'map', and now 'base'")
    assert made.lookup('base', 'cam')[0, 3] == 2
    with pytest.raises(TransformError):
        made.lookup('map', 'cam')


def test_the_history_is_bounded():
    made = TransformBuffer()
    for stamp in range(1, 31):
        made.add(transform('map', 'head', stamp), static=False)
    made.lookup('map', 'head', 20 * S)
    with pytest.raises(PastTransform, match='from 20.000000 s to 30.000000 s'):
        made.lookup('map', 'head', 20 * S - 1)


def test_samples_and_frames_are_bounded(monkeypatch):
    monkeypatch.setattr(transforms, '_MAX_SAMPLES', 3)
    monkeypatch.setattr(transforms, '_MAX_FRAMES', 2)
    made = TransformBuffer()
    for number in range(1, 6):
        made.add(transform('map', 'head', 1 + number * 1e-3), static=False)
    with pytest.raises(PastTransform, match='from 1.003000 s'):
        made.lookup('map', 'head', S)
    made.add(transform('map', 'b'), static=True)
    with pytest.raises(InputError, match="'c' in 'map': there are 2 frames already"):
        made.add(transform('map', 'c'), static=True)
    made.add(transform('base', 'b'), static=True)  # those that are there may change


def test_late_samples_find_their_place():
    made = buffer(timed=[transform('map', 'head', 1.0, (0, 0, 0)),
                         transform('map', 'head', 1.2, (2, 0, 0)),
                         transform('map', 'head', 1.1, (5, 0, 0)),
                         transform('map', 'head', 1.1, (9, 0, 0))])  # said again: the first stays
    assert made.lookup('map', 'head', round(1.1 * S))[0, 3] == 5
    assert made.lookup('map', 'head', round(1.05 * S))[0, 3] == 2.5


def test_stamps_that_jump_back_begin_anew():
    made = buffer(timed=[transform('map', 'head', 100.0), transform('base', 'arm', 100.0)])
    said = made.add(transform('map', 'head', 1.0, (7, 0, 0)), static=False)
    assert "frame 'head' in 'map': the stamps jumped back from 100.000000 s to 1.000000 s" in said
    assert made.lookup('map', 'head', S)[0, 3] == 7
    made.lookup('base', 'arm', 100 * S)  # the clock of others may be right
    assert made.add(transform('map', 'head', 1.0 - 0.2), static=False) == ''  # overtaken, only


def test_a_clock_that_is_set_back_clears_what_is_timed():
    made = buffer(transform('head', 'cam'), timed=[transform('map', 'head', 100.0)])
    version = made.version
    made.clear_timed()
    assert made.version != version and made.is_static('head', 'cam')
    with pytest.raises(TransformError, match="two trees|no frame 'map' was heard of"):
        made.lookup('map', 'cam')


def test_the_version_follows_the_tree_and_what_is_static():
    made = buffer(transform('map', 'cam'))
    before = made.version
    made.add(transform('map', 'cam', 2.0), static=True)  # the same again
    assert made.version == before
    made.add(transform('map', 'cam', at=(1, 0, 0)), static=True)
    assert made.version != before
    made.add(transform('map', 'head'), static=False)
    before = made.version
    made.add(transform('map', 'head', 1.1, (1, 0, 0)), static=False)  # it moves, that is all
    assert made.version == before
    made.add(transform('map', 'head', 1.2), static=True)
    assert made.version != before and made.is_static('map', 'head')


@pytest.mark.parametrize('given, words', [
    (('', 'a'), 'expected names'), (('a', 'x' * 257), 'expected names'),
    (('a', 'b\n'), 'expected names'), (('/', 'b'), 'expected names'),
    (('a', '/a'), 'another parent than itself'),
])
def test_names_that_are_none(given, words):
    with pytest.raises(InputError, match=words):
        transform(*given)


@pytest.mark.parametrize('at, turn, words', [
    ((np.nan, 0, 0), NONE, "'cam' in 'map': translation"), ((2e9, 0, 0), NONE, 'translation'),
    ((0, 0, 0), (0, 0, 0, 0), 'quaternion'), ((0, 0, 0), (1, 0, 0, 0.11), 'quaternion'),
    ((0, 0, 0), (np.inf, 0, 0, 0), 'quaternion'), ((0, 0, 0), (np.nan, 0, 0, 0), 'quaternion'),
])
def test_numbers_that_are_no_transform(at, turn, words):
    with pytest.raises(InputError, match=words):
        transform('map', 'cam', at=at, turn=turn)


def test_quaternions_of_about_unit_length_are_made_so():
    made = buffer(transform('map', 'cam', turn=(1.004, 0, 0, 0)))
    assert np.array_equal(made.lookup('map', 'cam'), np.eye(4))


def test_a_timed_transform_needs_a_stamp():
    made = TransformBuffer()
    with pytest.raises(InputError, match="'cam' in 'map': stamp 0.000000 s on /tf"):
        made.add(transform('map', 'cam', 0), static=False)
    made.add(transform('map', 'cam', 0), static=True)


def test_threads_share_it():
    made, failed = buffer(timed=[transform('map', 'head', 1.0)]), []

    def look():
        try:
            for _ in range(300):
                made.lookup('map', 'head')
        except Exception as error:
            failed.append(error)
    readers = [threading.Thread(target=look) for _ in range(2)]
    for one in readers:
        one.start()
    for number in range(300):
        made.add(transform('map', 'head', 1 + number * 0.1), static=False)
    for one in readers:
        one.join()
    assert not failed
