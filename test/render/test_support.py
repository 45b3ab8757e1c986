# SPDX-License-Identifier: Apache-2.0
"""Support of Gaussians and confidence of views: a world made by hand, and the true depths."""
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from planner_world import cameras, plate, scenes

from igs_ros.core.camera import Camera
from igs_ros.core.config import BootstrapConfig, Config
from igs_ros.core.scene import concatenated
from igs_ros.io.recordings.depth_truth import depth_files, read_depth
from igs_ros.io.recordings.open import open_recording
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.rasterizer import render_view
from igs_ros.render.support import _PIXELS, _small, supported, with_confidence
from igs_ros.stages.stages import Stages
from igs_ros.vision.preparer import Preparer

R = CpuRasterizer(1)
RIGHT = 0.05  # relative error of depth that is right
WIDTH = 160


@pytest.fixture(scope='module')
def world():
    return scenes(R)


def test_what_is_right_has_support_and_what_is_behind_or_invented_has_none(world):
    scene, shown = world['with']
    assert (scene.support[scene.known] == 3).float().mean() > 0.5
    assert scene.known.float().mean() > 0.6  # of the wall, some is behind the box or in no picture
    floater = plate(0.8, 0.1, 0.1, 5).replaced(opacities=torch.full((100,), 0.6))
    both = supported(concatenated([scene.replaced(support=None), floater]), shown, cameras(), R)
    assert not both.scene.known[-100:].any()
    behind = plate(3.5, 0.5, 0.5, 6)
    hidden = supported(concatenated([scene.replaced(support=None), behind]), shown, cameras(), R)
    assert not hidden.scene.known[-len(behind):].any()


def test_one_camera_alone_supports_nothing_and_a_depth_picture_does(world):
    scene, shown = world['with']
    bare = scene.replaced(support=None)
    alone = supported(bare, shown.only(['b']), cameras(), R)
    assert alone.share == 0 and not alone.scene.known.any()
    assert not supported(bare, shown.only(()), cameras(), R).scene.known.any()

    class Measured:
        def decode(self):
            return render_view(R, bare, cameras()['b']).depth
    with_depth = replace(shown.only(['b']), depths={'b': Measured()})
    found = supported(bare, with_depth, cameras(), R)
    assert found.share > 0.95 and set(found.scene.support.tolist()) == {0, 2}


def test_what_was_confirmed_and_has_not_changed_stays_known(world):
    scene, shown = world['with']
    again = supported(scene, shown.only(['b']), cameras(), R)
    assert torch.equal(again.scene.support, scene.support) and again.share == 0


def test_a_view_tells_what_is_known_and_its_depth(world):
    """Half of the wall is known; something invented hangs before it, and moves no depth."""
    scene, _ = world['without']
    left = scene.means[:, 0] < 0
    veil = plate(1.0, 0.1, 0.1, 2).replaced(opacities=torch.full((100,), 0.1))
    part = concatenated([scene.replaced(support=torch.where(left, 2, 0).to(torch.uint8)), veil])
    camera = cameras()['b']
    view = with_confidence(render_view(R, part, camera), part, R)
    assert view.confidence[:, :70].min() > 0.7 and view.confidence[:, 90:].max() < 0.05
    assert np.isnan(view.known_depth[:, 90:]).all()
    np.testing.assert_allclose(view.known_depth[10:-10, 10:70], 2.22, rtol=2e-3)
    through = np.nanmedian(view.depth[55:65, 72:78])
    assert through < 2.15 and abs(np.nanmedian(view.known_depth[55:65, 72:78]) - 2.22) < 0.01
    nothing = with_confidence(render_view(R, part, camera), part.replaced(support=None), R)
    assert not nothing.confidence.any() and np.isnan(nothing.known_depth).all()


def test_pictures_of_any_size_cost_the_same():
    for width, height in ((1920, 1080), (1080, 1920), (480, 360), (100, 50)):
        small = _small(Camera('a', width, height, np.eye(3) * [[500], [500], [1]], np.eye(4)))
        assert small.width * small.height <= _PIXELS * 1.02
        assert small.width == width or small.width * small.height > 0.97 * _PIXELS


def tilted(camera, degrees):
    """Looks up by so much more than the calibration says."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[1, 0, 0, 0], [0, cos, -sin, 0], [0, sin, cos, 0], [0, 0, 0, 1]])
    return camera.placed(turn @ camera.camera_from_world)


def known_beside_truth(recording, train, tilt=None):
    """Share confirmed; over all views with true depths: right, right if known, known if right."""
    sources = {name: recording.cameras[name] for name in train}
    if tilt:
        sources[tilt] = tilted(sources[tilt], 2.0)
    config = Config(width=WIDTH, max_gaussians=5000, threads=1,
                    bootstrap=BootstrapConfig(iterations=250))
    stages = Stages(config, sources)
    frame_set = stages.preparer.prepare(next(recording.frame_sets(0, 1, train)))
    made = supported(stages.first_scene(frame_set, recording.points()).scene, frame_set,
                     stages.cameras, R)
    right, known, both = [], [], []
    for truth in map(read_depth, depth_files(recording.path)[0]):
        camera = Preparer(recording.cameras, WIDTH).cameras[truth.camera]
        depth = cv2.resize(truth.depth, (camera.width, camera.height),
                           interpolation=cv2.INTER_NEAREST)
        view = with_confidence(render_view(R, made.scene, camera), made.scene, R)
        right.append(np.abs(view.depth - depth) < RIGHT * depth)
        known.append(np.isfinite(view.known_depth))
        both.append(np.abs(view.known_depth - depth) < RIGHT * depth)
    right, known, both = np.concatenate(right), np.concatenate(known), np.concatenate(both)
    return made.share, right.mean(), both[known].mean(), known[right].mean()


A_FAR = ('cam01', 'cam06', 'cam07', 'cam12')


@pytest.mark.slow
@pytest.mark.parametrize(('scene', 'train', 'tilt', 'share', 'precision', 'recall'), [
    ('scene_C_small', ('cam00', 'cam01', 'cam03'), None, (0.5, 0.9), 0.9, 0.6),
    ('scene_C_small', ('cam00', 'cam01', 'cam03'), 'cam01', (0.05, 0.45), 0.85, 0.2),
    ('scene_A_slow', A_FAR, None, (0.4, 0.75), 0.9, 0.5),
    ('scene_A_slow', A_FAR, 'cam06', (0.05, 0.35), 0.75, 0.15)])
def test_support_separates_right_from_wrong_geometry(test_data, scene, train, tilt, share,
                                                     precision, recall):
    """Where little is right, what is called known still is; a tilted camera is seen at once."""
    recording = open_recording(test_data / 'synthetic' / scene)
    found = known_beside_truth(recording, train, tilt)
    print(scene, tilt, *(f'{value:.3f}' for value in found))
    assert share[0] < found[0] < share[1]
    assert found[2] > precision and found[3] > recall
    if tilt:
        assert found[1] < found[2] - 0.15, 'much of the geometry is wrong'
