# SPDX-License-Identifier: Apache-2.0
"""Motion seen by cameras that move themselves, against the truth."""
import numpy as np
import pytest
from moving_world import RIG, STEP_M, rig_at, swaying

from igs_ros.core.config import MotionConfig
from igs_ros.stages.motion.agm_small.evidence import KeyViews
from igs_ros.stages.motion.choose import make_motion
from igs_ros.stages.motion.geometric import GeometricMotion

STEPS = 3


def stepped(model, world, sets):
    """The key moved to the last set, as the pipeline does it."""
    model.observe(sets[0])
    follower = model.follow(world.scene, sets[0])
    shown = world.scene
    for frame_set in sets[1:]:
        model.observe(frame_set, shown)
        moved = follower.move_to(frame_set)
        shown = moved.scene
    return moved


def shifts(world, moved):
    """[N, 3] m."""
    return (moved.scene.means - world.scene.means).numpy()


@pytest.fixture(scope='module')
def sets(moving_world):
    """The rig sways, and the ball moves; or it stands still."""
    return {ball: [moving_world.frame_set(step, swaying(step), ball)
                   for step in range(STEPS + 1)] for ball in (True, False)}


@pytest.mark.parametrize('chained', [True, False], ids=['chained', 'direct'])
def test_a_ball_that_a_moving_rig_sees_moves_as_far_as_it_does(moving_world, sets, chained):
    model = GeometricMotion(RIG, moving_world.rasterizer, MotionConfig(chained=chained))
    found = shifts(moving_world, stepped(model, moving_world, sets[True]))
    truth = STEPS * STEP_M
    error = np.linalg.norm(found[moving_world.front] - truth, axis=1)
    assert np.median(error) < 0.1 * np.linalg.norm(truth)
    assert (np.linalg.norm(found[~moving_world.ball], axis=1) > 0.005).mean() < 0.03


@pytest.mark.parametrize('chained', [True, False], ids=['chained', 'direct'])
def test_what_stands_still_does_not_move_when_the_rig_does(moving_world, sets, chained):
    model = make_motion('geometric', RIG, moving_world.rasterizer,
                        MotionConfig(chained=chained, adjust_iterations=10))
    moved = stepped(model, moving_world, sets[False])
    assert len(moved.rows) < 0.01 * len(moving_world.scene)
    assert (np.linalg.norm(shifts(moving_world, moved), axis=1) > 0.005).mean() < 0.005


def test_without_the_poses_everything_seems_to_move(moving_world):
    """The other side: the pictures alone would move the wall."""
    model = GeometricMotion(RIG, moving_world.rasterizer, MotionConfig())
    still = [moving_world.frame_set(step, swaying(step), False) for step in (0, 1)]
    still[1] = type(still[1])(still[1].stamp_ns, still[1].images)  # no poses
    moved = stepped(model, moving_world, still)
    assert (np.linalg.norm(shifts(moving_world, moved), axis=1) > 0.005).mean() > 0.3


def test_a_camera_that_moved_while_it_was_missing_is_matched_with_the_key(moving_world, sets):
    without = sets[True][1].only(['a', 'c', 'd'])
    model = GeometricMotion(RIG, moving_world.rasterizer, MotionConfig())
    moved = stepped(model, moving_world, [sets[True][0], without, sets[True][2]])
    assert model.counts['chain_breaks'] == 1
    error = np.linalg.norm(shifts(moving_world, moved)[moving_world.front] - 2 * STEP_M, axis=1)
    assert np.median(error) < 0.1 * np.linalg.norm(2 * STEP_M)


def test_a_camera_that_stopped_elsewhere_is_compared_picture_with_picture(moving_world):
    there = rig_at(0.05, 3.0)
    still = [moving_world.frame_set(step, there, False) for step in range(2)]
    model = make_motion('geometric', RIG, moving_world.rasterizer, MotionConfig())
    assert not still[1].moved_since(still[0], 'a')
    moved = stepped(model, moving_world, still)
    assert len(moved.rows) == 0 and np.abs(shifts(moving_world, moved)).max() == 0


def test_evidence_of_the_small_network_is_only_what_moved_by_itself(moving_world, sets):
    views = KeyViews(moving_world.scene, RIG, sets[True][0].images, moving_world.rasterizer)
    still, moved = (views.evidence(sets[ball][2].images, swaying(2)).changed
                    for ball in (False, True))
    for name in RIG:
        assert still[name].mean() < 0.06 < 0.1 < moved[name].mean() < 0.25
