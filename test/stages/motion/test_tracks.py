# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from igs_ros.core.scene import GaussianScene, empty_scene
from igs_ros.render.rasterizer import Rendering
from igs_ros.stages.motion.tracks import Track, Tracks, moving
from igs_ros.vision.flow import Flow, FlowCache


def test_only_gaussians_in_sight_are_tracked(stage):
    track = Track(stage.rig['middle'], stage.scene, stage.rasterizer, 0)
    means = stage.scene.means.numpy()
    pixels, _ = stage.rig['middle'].project(means)
    behind = ~stage.ball & (np.linalg.norm(means[:, :2], axis=1) < 0.3)  # the wall there
    front = stage.ball & (means[:, 2] < 1.8)
    back = stage.ball & (means[:, 2] > 2.2)
    assert track.visible[front].all()
    assert not track.visible[behind].any() and not track.visible[back].any()
    outside = (pixels < 0).any(1) | (pixels[:, 0] > 400) | (pixels[:, 1] > 300)
    assert outside.any() and not track.visible[outside].any()
    assert track.visible[~stage.ball & ~outside].mean() > 0.7


def test_tracks_follow_the_truth(stage, sets):
    cache = FlowCache(tuple(stage.rig), 10**8)
    for frame_set in sets:
        cache.observe(frame_set)
    tracks = Tracks(stage.rig, stage.scene, sets[0], stage.rasterizer, cache)
    current, known, counts = tracks.at(sets[3].stamp_ns, sets[3].images)
    assert counts == {'views_missing': 0, 'chain_breaks': 0}
    places = stage.scene.means.numpy() + stage.motion(3)[0]
    for v, camera in enumerate(stage.rig.values()):
        error = np.linalg.norm(current[v] - camera.project(places)[0], axis=1)
        length = np.linalg.norm(camera.project(places)[0] - tracks.start[v], axis=1)
        ball = known[v] & stage.ball
        assert ball.sum() > 100
        assert np.median(error[ball]) < 0.2 * np.median(length[ball])


def test_broken_chain_is_bridged_by_direct_flow(stage, sets):
    tracks = Tracks(stage.rig, stage.scene, sets[0], stage.rasterizer,
                    FlowCache(tuple(stage.rig), 0))
    _, known, counts = tracks.at(sets[1].stamp_ns, sets[1].images)
    assert counts == {'views_missing': 0, 'chain_breaks': 4}
    assert (known & stage.ball).sum() > 400
    _, known, counts = tracks.at(sets[2].stamp_ns, {'left': sets[2].images['left']})
    assert counts == {'views_missing': 3, 'chain_breaks': 1}
    assert known[0].any() and not known[1:].any()
    _, known, counts = tracks.at(sets[3].stamp_ns, None)
    assert counts['views_missing'] == 4 and not known.any()


@pytest.mark.parametrize('scales, expected', [((), 1.0), ((0.5,), 0.5)])
def test_direct_flow_is_computed_at_the_scale_that_is_asked_for(stage, sets, monkeypatch, scales,
                                                               expected):
    asked = []

    def noted(earlier, later, scale):
        asked.append(scale)
        return Flow(None, None, earlier.shape[1::-1])
    monkeypatch.setattr('igs_ros.stages.motion.tracks.dense_flow', noted)
    tracks = Tracks(stage.rig, stage.scene, sets[0], stage.rasterizer, FlowCache((), 0))
    counts = tracks.at(sets[1].stamp_ns, sets[1].images, *scales)[2]
    assert asked == [expected] * 4
    assert counts == {'views_missing': 0, 'chain_breaks': 0}  # no chain was to be kept


def test_nothing_to_track(stage, sets):
    tracks = Tracks(stage.rig, empty_scene(1), sets[0], stage.rasterizer, FlowCache((), 0))
    assert tracks.at(sets[1].stamp_ns, sets[1].images)[0].shape == (4, 0, 2)
    none = Tracks({}, stage.scene, sets[0], stage.rasterizer, FlowCache((), 0))
    assert none.at(sets[1].stamp_ns, sets[1].images)[1].shape == (0, len(stage.scene))


@pytest.mark.parametrize('lengths, known, moved, still', [
    ([0, 0, 0, 0], [1, 1, 1, 1], False, True),
    ([9, 0, 0, 0], [1, 1, 1, 1], False, True),  # one view alone is not believed
    ([9, 9, 0, 0], [1, 1, 1, 1], True, False),
    ([9, 0, 0, 0], [1, 0, 0, 0], True, False),  # unless it is the only one
    ([9, 0, 0, 0], [0, 1, 1, 1], False, True), ([0, 9, 9, 9], [1, 0, 0, 0], False, True),
    ([9, 9, 9, 9], [0, 0, 0, 0], False, False),  # seen by none: not known
    ([.6, .6, .6, .6], [1, 1, 1, 1], False, False),  # half-way: in doubt
    ([.4, .4, .4, .4], [1, 1, 1, 1], False, True),
    ([1, 1, 0, 0], [1, 1, 1, 1], False, False),  # as far as it takes is not farther
    ([1.01, 1.01, 0, 0], [1, 1, 1, 1], True, False),
    ([.5, .5, 0, 0], [1, 1, 1, 1], False, True), ([.51, .51, 0, 0], [1, 1, 1, 1], False, False),
])
def test_views_vote(lengths, known, moved, still):
    start = np.zeros((4, 1, 2))
    current = np.array(lengths, float).reshape(4, 1, 1) * [0.0, 1.0]
    result = moving(start, current, np.array(known, bool)[:, None], 1.0)
    assert (bool(result[0][0]), bool(result[1][0])) == (moved, still)


@pytest.mark.parametrize('length, moved, still', [
    (0.34, False, True), (0.36, False, False), (0.69, False, False), (0.71, True, False)])
def test_the_least_motion_is_given_in_pixels(length, moved, still):
    current = np.full((2, 1, 2), [length, 0.0])
    result = moving(np.zeros((2, 1, 2)), current, np.ones((2, 1), bool), 0.7)
    assert (bool(result[0][0]), bool(result[1][0])) == (moved, still)


def test_distances_count_along_both_axes():
    start, current = np.zeros((2, 1, 2)), np.full((2, 1, 2), 0.8)
    for end, expected in (([0.8, 0.8], True), ([0.8, 0.5], False), ([-0.5, 0.8], False)):
        current[:] = end
        assert moving(start, current, np.ones((2, 1), bool), 1.0)[0].tolist() == [expected]


@pytest.mark.parametrize('views, moved, expected', [(5, 2, True), (6, 2, False), (10, 4, True),
                                                    (10, 3, False)])
def test_four_of_ten_views_must_see_it_move(views, moved, expected):
    start, current = np.zeros((views, 1, 2)), np.zeros((views, 1, 2))
    current[:moved] = 5.0
    assert moving(start, current, np.ones((views, 1), bool), 1.0)[0].tolist() == [expected]


@pytest.mark.parametrize('depth, alpha, expected', [
    (2.0, 1.0, True), (3.0, 1.0, True), (np.nan, 1.0, True),
    (1.955, 1.0, True), (1.945, 1.0, False),  # 2 % of the depth and its size before it: 1.951
    (2.0, 0.51, True), (2.0, 0.5, False), (2.0, 0.49, False), (2.0, 0.0, False)])
def test_a_gaussian_is_tracked_where_it_is_the_surface(stage, depth, alpha, expected):
    camera = stage.rig['left']
    scene = GaussianScene(torch.tensor([[-0.7, 0, 2.0]]), torch.tensor([[1.0, 0, 0, 0]]),
                          torch.tensor([[0.002, 0.01, 0.001]]), torch.tensor([0.9]),
                          torch.zeros(1, 1, 3))

    def drawn(_, view):
        size = view.height, view.width
        return Rendering(torch.zeros(*size, 3), torch.full(size, depth), torch.full(size, alpha),
                         torch.ones(1, dtype=torch.bool), SimpleNamespace())
    track = Track(camera, scene, SimpleNamespace(render=drawn), 7)
    assert track.visible.tolist() == [expected] and track.stamp_ns == 7
    np.testing.assert_allclose(track.start, [[150, 128]], atol=1e-4)


def test_few_of_many_views_are_not_believed():
    start, current = np.zeros((6, 1, 2)), np.zeros((6, 1, 2))
    current[:2] = 5.0
    assert not moving(start, current, np.ones((6, 1), bool), 1.0)[0].any()
    current[2] = 5.0
    assert moving(start, current, np.ones((6, 1), bool), 1.0)[0].all()
