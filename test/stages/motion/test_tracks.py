# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from igs_ros.core.scene import empty_scene
from igs_ros.stages.motion.tracks import Track, Tracks, moving
from igs_ros.vision.flow import FlowCache


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
    ([9, 0, 0, 0], [0, 1, 1, 1], False, True),
    ([9, 9, 9, 9], [0, 0, 0, 0], False, False),  # seen by none: not known
    ([.6, .6, .6, .6], [1, 1, 1, 1], False, False),  # half-way: in doubt
    ([.4, .4, .4, .4], [1, 1, 1, 1], False, True),
])
def test_views_vote(lengths, known, moved, still):
    start = np.zeros((4, 1, 2))
    current = np.array(lengths, float).reshape(4, 1, 1) * [0.6, 0.8]
    result = moving(start, current, np.array(known, bool)[:, None], 1.0)
    assert (bool(result[0][0]), bool(result[1][0])) == (moved, still)


def test_few_of_many_views_are_not_believed():
    start, current = np.zeros((6, 1, 2)), np.zeros((6, 1, 2))
    current[:2] = 5.0
    assert not moving(start, current, np.ones((6, 1), bool), 1.0)[0].any()
    current[2] = 5.0
    assert moving(start, current, np.ones((6, 1), bool), 1.0)[0].all()
