# SPDX-License-Identifier: Apache-2.0
"""The motion model around the network, in the little world of the other motion tests.

The network has formula parameters: its motion means nothing, but every number of it is known.
"""
import logging
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from golden import fill, formula_net
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation
from stage import STEP_NS, cameras, stepped

from igs_ros.core.config import MotionConfig
from igs_ros.core.errors import InputError
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import concatenated, empty_scene
from igs_ros.stages.motion.agm.model import AgmMotion, AgmSizes
from igs_ros.stages.motion.agm.net import AgmNet, RigTensors, Ties
from igs_ros.stages.motion.choose import check_motion, make_motion
from igs_ros.vision.neighbors import fps

SIZES = AgmSizes(picture=64, anchors=48)
BALL = '-0.5 -0.5 1.5 0.5 0.5 2.5'


@pytest.fixture(scope='module')
def net():
    return formula_net(torch.float32)


def started(stage, sets, net, rig=None, scene=None, sizes=SIZES, bbox=BALL, flow_views=4):
    """A model that has seen the first set, and a follower of the scene that shows it."""
    model = AgmMotion(rig or stage.rig, stage.rasterizer,
                      MotionConfig(bbox=bbox, flow_views=flow_views), net, sizes)
    model.observe(sets[0])
    return model, model.follow(stage.scene if scene is None else scene, sets[0])


def same(one, other, atol=0.0):
    for name in ('means', 'quats', 'velocities'):
        torch.testing.assert_close(getattr(one.scene, name), getattr(other.scene, name),
                                   atol=atol, rtol=0)


def by_hand(stage, sets, net, views):
    """Displacements and orientations of the ball from the first set to the second."""
    points = stage.scene.means.numpy()
    rows = np.flatnonzero((np.abs(points - (0, 0, 2)) <= 0.5).all(1))
    inside = points[rows]
    anchors = inside[fps(inside, SIZES.anchors)]
    distances = cdist(inside, anchors)
    nearest = np.argsort(distances, 1)[:, :8]
    weights = np.exp(-10 * np.take_along_axis(distances, nearest, 1))
    ties = Ties(torch.from_numpy(anchors), torch.from_numpy(nearest),
                torch.from_numpy(weights / weights.sum(1, keepdims=True)).float())
    intrinsics, poses, depths, pictures = [], [], [], [[], []]
    for name in views:
        camera = stage.rig[name]
        shares = (np.diag(camera.K)[:2], camera.K[:2, 2]) / np.array([camera.width, camera.height])
        intrinsics.append(shares.ravel())
        poses.append(np.linalg.inv(camera.camera_from_world))
        with torch.no_grad():
            depth = stage.rasterizer.render(stage.scene, camera).depth
        depths.append(torch.nn.functional.interpolate(depth[None, None], (16, 16),
                                                      mode='bilinear')[0, 0])
        for time in (0, 1):
            image = torch.from_numpy(sets[time].images[name]).permute(2, 0, 1)[None].float()
            pictures[time].append(torch.nn.functional.interpolate(
                image, (64, 64), mode='bilinear')[0].round() / 255)
    rig = RigTensors(torch.tensor(np.array(intrinsics)).float(),
                     torch.tensor(np.array(poses)).float())
    with torch.no_grad():
        key = net.key(torch.stack(pictures[0]), torch.stack(depths), rig, ties)
        shift, turn = net(key, torch.stack(pictures[1])[None])
    before = stage.scene.quats[rows].numpy()[:, [1, 2, 3, 0]]
    after = Rotation.from_quat(before) * Rotation.from_quat(turn[0].numpy()[:, [1, 2, 3, 0]])
    return rows, shift[0], after


def test_model_feeds_the_network_as_described(stage, sets, net):
    """Squeezed pictures, intrinsics of each camera, depth, anchors, ties: all again, by hand."""
    model, follower = started(stage, sets, net)
    moved = stepped(model, follower, sets[1:2])
    rows, shift, after = by_hand(stage, sets, net, list(model.cameras))
    np.testing.assert_array_equal(moved.rows, rows)
    found = (moved.scene.means - stage.scene.means)[rows]
    # pictures may differ by one step of 255, which the double division makes tiny
    torch.testing.assert_close(found, shift, atol=2e-3, rtol=0)
    turns = Rotation.from_quat(moved.scene.quats[rows].numpy()[:, [1, 2, 3, 0]])
    assert (turns * after.inv()).magnitude().max() < 5e-3


def test_only_the_region_moves(stage, sets, net):
    moved = stepped(*started(stage, sets, net), sets[1:3])
    assert moved.rows.dtype == np.uint32 and moved.stamp_ns == sets[2].stamp_ns
    np.testing.assert_array_equal(moved.rows, np.flatnonzero(stage.ball))
    for name in ('means', 'quats'):
        before, after = getattr(stage.scene, name), getattr(moved.scene, name)
        assert torch.equal(before[~stage.ball], after[~stage.ball])
        assert not torch.equal(before, after)
    for name in ('scales', 'opacities', 'sh'):
        assert getattr(moved.scene, name) is getattr(stage.scene, name)
    assert not moved.scene.velocities[~stage.ball].any()
    everywhere = stepped(*started(stage, sets, net, bbox='all'), sets[1:2])
    # all but some in the corners of the wall, whose nearest anchors no view looks at
    assert len(everywhere.rows) > 0.99 * len(stage.scene)


def test_region_from_the_data_is_what_moves(stage, sets, net):
    model, follower = started(stage, sets, net, bbox='auto')
    at_rest = replace(sets[0], stamp_ns=sets[0].stamp_ns + STEP_NS // 2)
    still = stepped(model, follower, [at_rest])
    assert len(still.rows) == 0 and not still.scene.velocities.any()
    assert torch.equal(still.scene.means, stage.scene.means)
    assert torch.equal(still.scene.quats, stage.scene.quats)
    moved = stepped(model, follower, sets[1:2])
    touched = np.isin(np.arange(len(stage.scene)), moved.rows)
    assert touched[stage.ball].all() and touched[~stage.ball].mean() < 0.05
    assert (moved.scene.means != stage.scene.means).any(1)[stage.ball].all()
    assert torch.equal(moved.scene.means[~touched], stage.scene.means[~touched])
    assert torch.equal(moved.scene.quats[~touched], stage.scene.quats[~touched])


def test_region_from_the_data_grows_with_what_moves_later(stage, sets, net):
    """A second thing, at first at rest: its Gaussians join, the others go on from where they are.
    """
    model, follower = started(stage, sets, net, bbox='auto')
    before = stepped(model, follower, sets[1:2])
    images = {name: image.copy() for name, image in sets[2].images.items()}
    for name, camera in stage.rig.items():  # a patch of the wall, seen by all, changes
        column, row = camera.project(np.array([[0.9, 0.5, 3.0]]))[0][0].astype(int)
        images[name][row - 30:row + 30, column - 30:column + 30] ^= 128
    after = stepped(model, follower, [replace(sets[2], images=images)])
    assert set(before.rows) < set(after.rows)
    joined = np.setdiff1d(after.rows, before.rows)
    assert np.linalg.norm(stage.scene.means.numpy()[joined] - (0.9, 0.5, 3.0), axis=1).min() < 0.1
    change = after.scene.means[joined] - stage.scene.means[joined]
    torch.testing.assert_close(after.scene.velocities[joined], change / (STEP_NS * 1e-9),
                               atol=1e-4, rtol=1e-3)


def test_empty_scene_without_a_box(stage, sets, net):
    moved = stepped(*started(stage, sets, net, scene=empty_scene(1), bbox='auto'), sets[1:3])
    assert len(moved.rows) == 0 and len(moved.scene) == 0


def test_velocities_are_those_of_the_last_step(stage, sets, net):
    model, follower = started(stage, sets, net)
    before = stepped(model, follower, sets[1:2]).scene
    after = stepped(model, follower, sets[2:3]).scene
    torch.testing.assert_close(after.velocities, (after.means - before.means) / (STEP_NS * 1e-9),
                               atol=1e-4, rtol=1e-3)
    assert after.velocities.any()


def test_key_that_comes_late_is_moved_like_one_that_was_there(stage, sets, net):
    model, follower = started(stage, sets, net)
    expected = stepped(model, follower, sets[1:4])
    late = model.follow(stage.scene, sets[0]).move_to(sets[3])
    same(late, expected, atol=1e-4)  # the late one computes two steps in one batch
    assert model.counts == {'views_missing': 0, 'not_finite': 0}


def test_own_set_gives_the_key(stage, sets, net):
    model, follower = started(stage, sets, net)
    own = follower.move_to(sets[0])
    assert own.scene is stage.scene and len(own.rows) == 0


def test_missing_pictures(stage, sets, net):
    model, follower = started(stage, sets, net)
    partial = stepped(model, follower, [sets[1].only(['left', 'middle'])])
    assert model.counts['views_missing'] == 2
    assert len(partial.rows) == stage.ball.sum()
    # the same as a model that never had the other cameras, up to their order
    few = started(stage, [s.only(['left', 'middle']) for s in sets], net)
    expected = stepped(*few, [sets[1].only(['left', 'middle'])])
    same(partial, expected, atol=1e-4)
    blind = stepped(model, follower, [FrameSet(sets[2].stamp_ns, {}, tuple(stage.rig))])
    assert torch.equal(blind.scene.means, partial.scene.means)
    assert not blind.scene.velocities.any() and blind.stamp_ns == sets[2].stamp_ns
    again = stepped(model, follower, sets[3:4]).scene
    torch.testing.assert_close(
        again.velocities, (again.means - partial.scene.means) / (2 * STEP_NS * 1e-9),
        atol=1e-4, rtol=1e-3)  # two steps lie between


def test_what_only_a_missing_camera_sees_stays_as_it_was(stage, sets, net):
    """The ball is seen by all, a second one only from the left."""
    ball = stage.scene.select(torch.from_numpy(stage.ball))
    other = ball.replaced(means=ball.means + torch.tensor([-1.2, 0.0, 0.0]))
    model, follower = started(stage, sets, net, rig=cameras('left', 'right'),
                              scene=concatenated([ball, other]), bbox='all')
    before = stepped(model, follower, sets[1:2]).scene
    after = stepped(model, follower, [sets[2].only(['right'])]).scene
    assert (before.means[len(ball):] != other.means).any(1).float().mean() > 0.9
    held = (after.means == before.means).all(1) & (after.quats == before.quats).all(1)
    assert held[len(ball):].float().mean() > 0.9 and held[:len(ball)].float().mean() < 0.1
    assert not after.velocities[held].any()


def test_key_without_pictures_stays(stage, sets, net, caplog):
    model = AgmMotion(stage.rig, stage.rasterizer, MotionConfig(), net, SIZES)
    moved = stepped(model, model.follow(stage.scene, FrameSet(1, {})), sets[1:3])
    assert len(moved.rows) == 0 and torch.equal(moved.scene.means, stage.scene.means)
    assert moved.scene.velocities.shape == (len(stage.scene), 3)


@pytest.mark.parametrize('names, flow_views', [(['middle'], 4), (['left', 'right'], 1),
                                               (['left', 'right', 'top'], 0)])
def test_any_number_of_views(stage, sets, net, names, flow_views):
    moved = stepped(*started(stage, sets, net, rig=cameras(*names), flow_views=flow_views),
                    sets[1:2])
    assert len(moved.rows) == stage.ball.sum()
    assert torch.isfinite(moved.scene.means).all() and torch.isfinite(moved.scene.quats).all()


@pytest.mark.parametrize('count', [1, 2, 7, 8])
def test_fewer_gaussians_than_anchors(stage, sets, net, count):
    scene = stage.scene.select(torch.from_numpy(np.flatnonzero(stage.ball)[:count]))
    moved = stepped(*started(stage, sets, net, scene=scene), sets[1:2])
    assert len(moved.rows) == count and torch.isfinite(moved.scene.means).all()


def test_equal_gaussians(stage, sets, net):
    """Many at one place make a single anchor."""
    ball = stage.scene.select(torch.from_numpy(stage.ball))
    scene = ball.replaced(means=ball.means[:1].repeat(len(ball), 1))
    moved = stepped(*started(stage, sets, net, scene=scene), sets[1:2])
    assert torch.isfinite(moved.scene.means).all() and len(moved.rows) == len(scene)


def test_empty_region_and_empty_scene(stage, sets, net, caplog):
    with caplog.at_level(logging.WARNING):
        for scene, bbox in ((stage.scene, '50 50 50 51 51 51'), (empty_scene(1), 'all')):
            model, follower = started(stage, sets, net, scene=scene, bbox=bbox)
            moved = stepped(model, follower, sets[1:3])
            assert len(moved.rows) == 0 and torch.equal(moved.scene.means, scene.means)
            model.follow(scene, sets[2])
    assert len(caplog.records) == 2  # once per model
    assert 'no Gaussian lies in the region' in caplog.text


def test_region_that_no_view_looks_at(stage, sets, net, caplog):
    behind = stage.scene.replaced(means=stage.scene.means - torch.tensor([0.0, 0.0, 9.0]))
    with caplog.at_level(logging.WARNING):
        moved = stepped(*started(stage, sets, net, scene=behind, bbox='all'), sets[1:2])
    assert len(moved.rows) == 0 and torch.equal(moved.scene.means, behind.means)
    assert 'no input view looks at the region' in caplog.text


def test_views_without_overlap(stage, sets, net):
    """One camera looks away from all: what it sees adds nothing, and nothing breaks."""
    rig = cameras('left', 'middle')
    turned_away = np.diag([-1.0, 1, -1, 1]) @ rig['left'].camera_from_world
    rig['left'] = rig['left'].placed(turned_away)
    moved = stepped(*started(stage, sets, net, rig=rig), sets[1:2])
    assert len(moved.rows) == stage.ball.sum() and torch.isfinite(moved.scene.means).all()


def test_useless_weights_do_not_stop_the_stream(stage, sets, caplog):
    net = fill(AgmNet())
    net.render.out_layers[0].bias.data[0] = torch.nan
    model, follower = started(stage, sets, net)
    with caplog.at_level(logging.WARNING):
        moved = stepped(model, follower, sets[1:3])
    assert model.counts['not_finite'] == 2 and len(caplog.records) == 1
    assert torch.equal(moved.scene.means, stage.scene.means) and len(moved.rows) == 0


def test_untrained_network_moves_nothing(stage, sets):
    moved = stepped(*started(stage, sets, AgmNet()), sets[1:2])
    assert torch.equal(moved.scene.means, stage.scene.means)
    gap = (moved.scene.quats - stage.scene.quats).abs().max()
    assert 0 < gap < 0.011  # its first turn is (1, 0.01, 0.01, 0.01)


def test_time_that_starts_anew(stage, sets, net):
    model, follower = started(stage, sets, net)
    stepped(model, follower, sets[1:3])
    looped = [replace(s, stamp_ns=s.stamp_ns - 10 * STEP_NS) for s in sets]
    moved = stepped(model, follower, looped[2:3])
    assert not moved.scene.velocities.any() and len(moved.rows) == stage.ball.sum()


def test_same_input_same_bytes_also_from_two_threads(stage, sets, net):
    model, follower = started(stage, sets, net)
    stepped(model, follower, sets[1:4])
    results = [None, None]

    def follow(slot):
        results[slot] = model.follow(stage.scene, sets[0]).move_to(sets[3])

    threads = [threading.Thread(target=follow, args=(slot,)) for slot in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(*results)
    assert not results[0].scene.means.requires_grad


def test_float64_network(stage, sets, net):
    exact = stepped(*started(stage, sets, formula_net(torch.float64)), sets[1:2])
    same(exact, stepped(*started(stage, sets, net), sets[1:2]), atol=5e-3)
    assert exact.scene.means.dtype == torch.float32


def test_choosing_agm(stage, tmp_path):
    for attempt in (lambda config: check_motion('agm', config),
                    lambda config: make_motion('agm', stage.rig, stage.rasterizer, config)):
        with pytest.raises(InputError, match='needs weights, and none are given'):
            attempt(MotionConfig())
        with pytest.raises(InputError, match='no file below'):
            attempt(MotionConfig(weights=str(tmp_path)))
    with pytest.raises(InputError, match='six numbers'):
        check_motion('agm', MotionConfig(bbox='1 2 3'))
    with pytest.raises(InputError, match='auto, agm, agm_small, geometric or static'):
        check_motion('none', MotionConfig())
    check_motion('geometric', MotionConfig())


def test_weights_are_read_once(stage, tmp_path, monkeypatch):
    """A scene that starts anew in a running stream does not depend on the files any more."""
    reads = []
    monkeypatch.setattr('igs_ros.stages.motion.agm.weights.load',
                        lambda *arguments: reads.append(arguments) or AgmNet())
    config = MotionConfig(weights=str(tmp_path / 'once'))
    check_motion('agm', config)
    config = replace(config, adjust_iterations=0)  # the bare models
    models = [make_motion('agm', stage.rig, stage.rasterizer, config) for _ in range(2)]
    assert reads == [(config.weights,)] and models[0].net is models[1].net
