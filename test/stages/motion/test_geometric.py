# SPDX-License-Identifier: Apache-2.0
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from stage import STEP_NS, cameras, stepped

from igs_ros.core.camera import pixel_grid
from igs_ros.core.config import MotionConfig
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene, empty_scene
from igs_ros.io.recordings.open import open_recording
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.stages.motion import geometric
from igs_ros.stages.motion.choose import make_motion
from igs_ros.stages.motion.geometric import GeometricMotion
from igs_ros.stages.motion.models import MotionEffort
from igs_ros.vision.preparer import Preparer


def started(stage, sets, config=None, rig=None, scene=None):
    """A model that has seen the first set, and a follower of the scene that shows it."""
    model = GeometricMotion(rig or stage.rig, stage.rasterizer, config or MotionConfig())
    model.observe(sets[0])
    return model, model.follow(stage.scene if scene is None else scene, sets[0])


def shift_error(stage, moved, step):
    """[N] m, of the displacements."""
    shift = (moved.scene.means - stage.scene.means).numpy()
    return np.linalg.norm(shift - stage.motion(step)[0], axis=1)


def test_ball_is_followed_and_the_wall_stays(stage, sets):
    moved = stepped(*started(stage, sets), sets[1:4])
    truth = np.linalg.norm(stage.motion(3)[0], axis=1)
    front = stage.ball & (stage.scene.means[:, 2].numpy() < 2.0)
    assert np.median(shift_error(stage, moved, 3)[front]) < 0.1 * np.median(truth[front])
    free = np.isin(np.arange(len(stage.scene)), moved.rows)
    assert free[front].mean() > 0.95
    assert free[~stage.ball].mean() < 0.03


def test_moved_scene_looks_like_the_world(stage, sets):
    moved = stepped(*started(stage, sets), sets[1:4])
    camera = cameras('middle')['middle'].placed(np.array(
        [[1, 0, 0, 0.3], [0, 1, 0, 0.2], [0, 0, 1, 0], [0, 0, 0, 1.0]]))  # none of the rig

    def picture(scene):
        with torch.no_grad():
            return stage.rasterizer.render(scene, camera).rgb

    truth = picture(stage.moved(3))
    wrong = (truth - picture(stage.scene)).square().mean()
    left = (truth - picture(moved.scene)).square().mean()
    assert left < 0.4 * wrong  # 4 dB


def test_what_did_not_move_is_equal_bit_for_bit(stage, sets):
    moved = stepped(*started(stage, sets), sets[1:3])
    assert moved.rows.dtype == np.uint32 and (np.diff(moved.rows.astype(int)) > 0).all()
    still = np.setdiff1d(np.arange(len(stage.scene)), moved.rows)
    for name in ('means', 'quats'):
        before, after = getattr(stage.scene, name), getattr(moved.scene, name)
        assert torch.equal(before[still], after[still])
        assert not torch.equal(before, after)
    assert not moved.scene.velocities[still].any()
    for name in ('scales', 'opacities', 'sh'):
        assert getattr(moved.scene, name) is getattr(stage.scene, name)


def test_orientations_turn_with_the_ball(stage, sets):
    moved = stepped(*started(stage, sets), sets[1:])
    front = np.flatnonzero(stage.ball & (stage.scene.means[:, 2].numpy() < 1.9))
    quats = moved.scene.quats[front].numpy()
    np.testing.assert_allclose(np.linalg.norm(quats, axis=1), 1, atol=1e-5)
    turn = Rotation.from_matrix(stage.motion(4)[1])
    gap = (Rotation.from_quat(quats[:, [1, 2, 3, 0]]) * turn.inv()).magnitude()
    assert np.median(gap) < 0.6 * turn.magnitude()


def test_velocities_are_those_of_the_last_step(stage, sets):
    model, follower = started(stage, sets)
    before = stepped(model, follower, sets[1:3])
    after = stepped(model, follower, sets[3:4])
    step = (after.scene.means - before.scene.means)[after.rows.astype(int)] / (STEP_NS * 1e-9)
    torch.testing.assert_close(after.scene.velocities[after.rows.astype(int)], step,
                               atol=1e-4, rtol=1e-3)
    truth = (stage.motion(3)[0] - stage.motion(2)[0]) / 0.1
    front = stage.ball & (stage.scene.means[:, 2].numpy() < 1.9)
    error = np.linalg.norm(after.scene.velocities.numpy() - truth, axis=1)[front]
    assert np.median(error) < 0.35 * np.linalg.norm(truth[front], axis=1).mean()


def test_key_that_comes_late_is_moved_like_one_that_was_there(stage, sets):
    model, follower = started(stage, sets)
    expected = stepped(model, follower, sets[1:4])
    late = model.follow(stage.scene, sets[0]).move_to(sets[3])
    for name in ('means', 'quats', 'velocities'):
        assert torch.equal(getattr(late.scene, name), getattr(expected.scene, name))
    assert model.counts == {'views_missing': 0, 'chain_breaks': 0}


def test_own_set_and_still_world_give_the_key(stage, sets):
    model, follower = started(stage, sets)
    own = follower.move_to(sets[0])
    assert own.scene is stage.scene and len(own.rows) == 0
    later = replace(sets[0], stamp_ns=sets[0].stamp_ns + STEP_NS)
    moved = stepped(model, follower, [later])
    assert moved.scene.means is stage.scene.means and len(moved.rows) == 0
    assert moved.stamp_ns == later.stamp_ns and not moved.scene.velocities.any()


def test_missing_pictures(stage, sets):
    model, follower = started(stage, sets)
    partial = sets[1].only(['left', 'middle'])
    moved = stepped(model, follower, [partial])
    assert model.counts == {'views_missing': 2, 'chain_breaks': 0}
    assert len(moved.rows) > 200
    blind = stepped(model, follower, [FrameSet(sets[2].stamp_ns, {}, tuple(stage.rig))])
    assert torch.equal(blind.scene.means, moved.scene.means)
    assert not blind.scene.velocities.any() and blind.stamp_ns == sets[2].stamp_ns
    again = stepped(model, follower, sets[3:4])
    assert model.counts == {'views_missing': 6, 'chain_breaks': 0}
    front = stage.ball & (stage.scene.means[:, 2].numpy() < 1.9)
    assert np.median(shift_error(stage, again, 3)[front]) < 0.02
    step = (again.scene.means - moved.scene.means)[again.rows.astype(int)] / (2 * STEP_NS * 1e-9)
    torch.testing.assert_close(again.scene.velocities[again.rows.astype(int)], step,
                               atol=1e-4, rtol=1e-3)  # two steps lie between


def test_broken_chain_is_counted(stage, sets):
    model, follower = started(stage, sets, MotionConfig(cache_mb=0.0))
    moved = stepped(model, follower, sets[1:2])
    assert model.counts == {'views_missing': 0, 'chain_breaks': 4}
    front = stage.ball & (stage.scene.means[:, 2].numpy() < 1.9)
    assert np.median(shift_error(stage, moved, 1)[front]) < 0.01


def test_without_chaining_the_flow_is_that_from_the_key(stage, sets):
    model, follower = started(stage, sets, MotionConfig(chained=False))
    moved = stepped(model, follower, sets[1:4])
    at_once = started(stage, sets, MotionConfig(chained=False))[1].move_to(sets[3])
    assert torch.equal(moved.scene.means, at_once.scene.means)
    assert model.counts['chain_breaks'] == 0  # nothing broke: none was wanted
    chained = stepped(*started(stage, sets), sets[1:4])
    assert not torch.equal(moved.scene.means, chained.scene.means)


def test_effort_changes_between_steps(stage, sets):
    model, follower = started(stage, sets)
    expected = stepped(model, follower, sets[1:2])
    model, follower = started(stage, sets)
    model.set_effort(MotionEffort(MotionConfig().anchors, 1.0))
    assert torch.equal(stepped(model, follower, sets[1:2]).scene.means, expected.scene.means)
    model.set_effort(MotionEffort(200, 0.5))
    cheap = stepped(model, follower, sets[2:3])
    assert {flow.forward.shape[0] for name, camera in model.cameras.items()
            for flow in model.flows.chain(name, sets[1].stamp_ns, sets[2].stamp_ns)} == {
                camera.height // 2 for camera in model.cameras.values()}
    model.set_effort(MotionEffort(MotionConfig().anchors, 1.0))
    again = stepped(model, follower, sets[3:4])
    assert model.counts == {'views_missing': 0, 'chain_breaks': 0}
    truth = np.linalg.norm(stage.motion(3)[0], axis=1)
    front = stage.ball & (stage.scene.means[:, 2].numpy() < 2.0)
    for moved, step in ((cheap, 2), (again, 3)):
        error = shift_error(stage, moved, step)[front]
        assert np.median(error) < 0.15 * np.median(truth[front])


def test_time_that_starts_anew(stage, sets):
    model, follower = started(stage, sets)
    stepped(model, follower, sets[1:3])
    looped = [replace(s, stamp_ns=s.stamp_ns - 10 * STEP_NS) for s in sets]
    moved = stepped(model, follower, looped[2:3])
    assert model.counts['chain_breaks'] == 4 and not moved.scene.velocities.any()
    front = stage.ball & (stage.scene.means[:, 2].numpy() < 1.9)
    assert np.median(shift_error(stage, moved, 2)[front]) < 0.02


@pytest.mark.parametrize('names, flow_views', [(['middle'], 4), (['left', 'right'], 1),
                                               (['left', 'right'], 0)])
def test_any_number_of_views(stage, sets, names, flow_views):
    model, follower = started(stage, sets, MotionConfig(flow_views=flow_views),
                              rig=cameras(*names))
    moved = stepped(model, follower, sets[1:2])
    assert len(moved.rows) > 100
    assert torch.isfinite(moved.scene.means).all() and torch.isfinite(moved.scene.quats).all()


@pytest.mark.parametrize('anchors, neighbors', [(1, 8), (3, 8), (1500, 1), (5000, 30)])
def test_odd_numbers_of_anchors(stage, sets, monkeypatch, anchors, neighbors):
    monkeypatch.setattr(geometric, '_NEIGHBORS', neighbors)
    moved = stepped(*started(stage, sets, MotionConfig(anchors=anchors)), sets[1:2])
    assert torch.isfinite(moved.scene.means).all() and len(moved.rows) > 0


def test_scene_that_no_view_sees(stage, sets):
    away = stage.scene.replaced(means=stage.scene.means + torch.tensor([0.0, 0.0, -9.0]))
    for scene in (away, empty_scene(1)):
        moved = stepped(*started(stage, sets, scene=scene), sets[1:3])
        assert torch.equal(moved.scene.means, scene.means) and len(moved.rows) == 0
        assert moved.scene.velocities.shape == (len(scene), 3)


def test_same_input_same_bytes_also_from_two_threads(stage, sets):
    model, follower = started(stage, sets)
    expected = stepped(model, follower, sets[1:4])
    results = [None, None]

    def follow(slot):
        results[slot] = model.follow(stage.scene, sets[0]).move_to(sets[3])

    threads = [threading.Thread(target=follow, args=(slot,)) for slot in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        assert torch.equal(result.scene.means, expected.scene.means)


def test_model_is_chosen_by_name(stage):
    model = make_motion('geometric', stage.rig, stage.rasterizer,
                        MotionConfig(adjust_iterations=0))
    assert isinstance(model, GeometricMotion) and model.name == 'geometric'


def surface_scene(folder, recording, frame, views, count=12000):
    """Gaussians on the true surface seen by some views, and their true motion to the next frame.

    Returns the scene, displacements [N, 3] m, who moves [N] bool, and two frame sets.
    """
    rng = np.random.default_rng(0)
    preparer = Preparer(recording.cameras)
    pair = [preparer.prepare(s) for s in recording.frame_sets(frame, frame + 2)]
    parts = []
    for view in views:
        camera = recording.cameras[view]
        flow = np.load(folder / 'gt' / f'flow_{view}_{frame:03d}.npz')
        depth = np.load(folder / 'gt' / f'depth_{view}_{frame:03d}.npz')['depth'].reshape(-1)
        picked = rng.choice(np.flatnonzero(depth > 0), count // len(views), replace=False)
        places = camera.unproject(pixel_grid(camera).reshape(-1, 2)[picked], depth[picked])
        spacing = np.sqrt(depth.size / len(picked))
        parts.append((places, pair[0].images[view].reshape(-1, 3)[picked] / 255,
                      0.5 * spacing * depth[picked] / camera.K[0, 0],
                      flow['flow3d'].reshape(-1, 3)[picked], flow['moving'].reshape(-1)[picked]))
    means, colors, radii, motion, moves = map(np.concatenate, zip(*parts, strict=True))
    scene = GaussianScene(
        torch.from_numpy(means).float(), torch.tensor([1.0, 0, 0, 0]).repeat(len(means), 1),
        torch.from_numpy(np.repeat(radii[:, None], 3, 1)).float(), torch.full((len(means),), 0.9),
        torch.from_numpy((colors - 0.5) / 0.28209479177387814).float()[:, None])
    return scene, motion, moves & np.isfinite(motion).all(1), pair


@pytest.mark.parametrize('name, frame, views, share', [
    ('scene_A_arc', 15, ['cam00', 'cam04'], 0.45),
    ('scene_A_slow', 12, ['cam00', 'cam04'], 0.25),
    ('scene_B_ring', 12, ['cam00', 'cam02'], 0.45),
    ('scene_C_small', 10, ['cam00', 'cam01'], 0.45)])
def test_surfaces_move_as_in_truth(test_data, name, frame, views, share):
    """Median 3-D error of what moved visibly against its motion, without any optimized scene."""
    folder = test_data / 'synthetic' / name
    recording = open_recording(folder)
    scene, motion, moves, pair = surface_scene(folder, recording, frame, views)
    train = {n: c for n, c in recording.cameras.items() if n not in recording.held_out}
    model = GeometricMotion(train, CpuRasterizer(1), MotionConfig())
    model.observe(pair[0])
    follower = model.follow(scene, pair[0])
    moved = stepped(model, follower, pair[1:])
    length = np.linalg.norm(motion, axis=1)
    error = np.linalg.norm((moved.scene.means - scene.means).numpy() - motion, axis=1)
    visible = moves & (length > 0.01)
    assert visible.sum() > 200
    assert np.median(error[visible]) < share * np.median(length[visible])
    free = np.isin(np.arange(len(scene)), moved.rows)
    assert free[~moves].mean() < 0.01
