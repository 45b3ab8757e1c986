# SPDX-License-Identifier: Apache-2.0
"""The timeline: periods, jumps, holds and what becomes of keys, with a motion that takes notes."""
import numpy as np
import pytest
import torch

from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import Moved
from igs_ros.stages.motion.static import StaticMotion
from igs_ros.stages.plausibility import Change
from igs_ros.stages.refine.reference import ReferenceImages
from igs_ros.stages.timeline import Timeline

MS = 1_000_000


def scene(x: float = 0.0) -> GaussianScene:
    """Two Gaussians whose velocities are known."""
    return GaussianScene(torch.tensor([[x, 0, 2], [x, 1, 2]]), torch.tensor([[1.0, 0, 0, 0]] * 2),
                         torch.full((2, 3), 0.1), torch.full((2,), 0.5), torch.zeros(2, 1, 3),
                         torch.ones(2, 3))


def seen(stamp_ms: float) -> FrameSet:
    return FrameSet(round(stamp_ms * MS), {'a': np.full((2, 2, 3), 9, np.uint8)})


class NotedMotion(StaticMotion):
    """Moves row 1 by 1 m; notes what it observes, and which frame set each key shows."""

    def __init__(self, notes):
        super().__init__(counts={'chain_breaks': 0})
        self.notes = notes
        notes.append([])

    def observe(self, frame_set):
        self.notes[-1].append(frame_set.stamp_ns / MS)
        self.counts['chain_breaks'] += 1

    def follow(self, key, frame_set):
        class Follower:
            def move_to(self, newer):
                means = key.means.clone()
                means[1, 0] += newer.stamp_ns > frame_set.stamp_ns
                return Moved(key.replaced(means=means), np.array([1], np.uint32), newer.stamp_ns)
        return Follower()


@pytest.fixture
def notes():
    """By motion model, stamps in ms of what it observed."""
    return []


@pytest.fixture
def timeline(notes):
    return Timeline(lambda: NotedMotion(notes), scene(), seen(1000), 7)


def test_a_successor_is_shown_as_motion_has_it(timeline, notes):
    moved = timeline.advance(seen(1040))
    assert notes == [[1000, 1040]] and timeline.newest.stamp_ns == 1040 * MS
    assert timeline.snapshot.scene is moved.scene and timeline.snapshot.scene_id == 7
    assert moved.scene.means[:, 0].tolist() == [0, 1] and moved.scene.velocities is not None
    assert timeline.jumps == 0 and timeline.chain_breaks == 2


@pytest.mark.parametrize('stamps, before_ms', [
    ([400], 400 - 33.333333),  # the usual period, before two sets have told
    ([1040, 400], 360), ([1040, 1050, 400], 390),
    ([1040, 1040, 400], 400 - 1e-6)])  # never before itself
def test_a_loop_goes_on_as_if_the_scene_had_been_seen_one_period_before(timeline, notes, stamps,
                                                                      before_ms):
    for stamp in stamps:
        moved = timeline.advance(seen(stamp))
    assert timeline.jumps == 1 and len(notes) == 2
    assert notes[1] == pytest.approx([before_ms, 400], abs=1e-9)
    assert timeline.chain_breaks == len(notes[0]) + 2  # of the motion before, too
    assert moved.scene.velocities is None  # the loop is no motion
    shown = timeline.snapshot
    assert shown.key_stamp_ns == round(before_ms * MS) and shown.stamp_ns == 400 * MS
    again = timeline.advance(seen(440))
    assert again.scene.velocities is not None and timeline.jumps == 1


def test_the_same_stamp_again_is_no_jump(timeline):
    timeline.advance(seen(1000))
    assert timeline.jumps == 0


@pytest.mark.parametrize('change', [Change.RESUMED, Change.NEW])
def test_after_a_hold_a_key_is_made_of_what_was_shown_before(timeline, change):
    timeline.advance(seen(1040))
    before = timeline.snapshot.scene
    of_key = timeline.advance(seen(3000), change)
    assert torch.equal(of_key.scene.means, before.means) and of_key.scene.velocities is None
    assert of_key.rows.tolist() == [1]
    assert timeline.snapshot.stamp_ns == 3000 * MS
    assert timeline.snapshot.scene.velocities is None


def test_a_scene_that_comes_back_is_the_one_from_before(timeline):
    old, reference = timeline.snapshot.scene, timeline.reference
    timeline.advance(seen(3000), Change.NEW)
    fitted = ReferenceImages({'a': np.zeros((2, 2, 3), np.uint8)})
    timeline.take_key(scene(50.0), seen(3000), fitted)
    assert timeline.reference is fitted and timeline.snapshot.key.means[0, 0] == 50
    timeline.advance(seen(5000), Change.BACK)
    assert timeline.reference is reference
    torch.testing.assert_close(timeline.snapshot.key.means, old.means)
    timeline.advance(seen(6000), Change.BACK)  # and forth
    assert timeline.reference is fitted and timeline.snapshot.key.means[0, 0] == 50


def test_what_comes_back_without_a_scene_from_before_changes_none(timeline, notes):
    key = timeline.snapshot.key
    timeline.advance(seen(3000), Change.BACK)
    assert timeline.snapshot.key is key and len(notes) == 1


def test_resuming_keeps_no_scene(timeline):
    timeline.advance(seen(3000), Change.RESUMED)
    key = timeline.snapshot.key
    timeline.advance(seen(5000), Change.BACK)
    assert timeline.snapshot.key is key


def test_a_key_is_moved_to_what_is_newest(timeline):
    timeline.advance(seen(1040))
    reference = timeline.reference
    timeline.take_key(scene(3.0), seen(1000))
    shown = timeline.snapshot
    assert shown.scene.means[:, 0].tolist() == [3, 4] and shown.stamp_ns == 1040 * MS
    assert shown.key_stamp_ns == 1000 * MS and shown.is_new_key
    assert timeline.reference is reference  # None: as before
    assert timeline.advance(seen(1080)).scene.means[:, 0].tolist() == [3, 4]


def test_a_follower_that_was_made_for_a_key_is_used(timeline):
    key = scene(3.0)
    follower = timeline.follow(key, seen(2000))  # later than all: it moves nothing
    timeline.take_key(key, seen(1000), follower=follower)
    assert timeline.snapshot.scene.means[:, 0].tolist() == [3, 3]


def test_scenes_are_called_one_and_motion_may_count_nothing():
    timeline = Timeline(StaticMotion, scene(), seen(1000))
    timeline.advance(seen(400))
    assert timeline.snapshot.scene_id == 1
    assert timeline.chain_breaks == 0 and timeline.jumps == 1
