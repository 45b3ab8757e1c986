# SPDX-License-Identifier: Apache-2.0
"""What is said of rigs that cannot know, and of scenes that are known in part."""
import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from igs_ros.core.camera import Camera
from igs_ros.core.config import BootstrapConfig, Config
from igs_ros.core.frames import FrameSet
from igs_ros.io.recordings.depth_truth import depth_files, read_depth
from igs_ros.io.recordings.open import open_recording
from igs_ros.pipeline import Pipeline
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.rasterizer import render_view
from igs_ros.render.support import with_confidence
from igs_ros.stages.knowledge import ENOUGH, blind_spot, doubt
from igs_ros.vision.metrics import psnr
from igs_ros.vision.preparer import Preparer

K = np.array([[100.0, 0, 40], [0, 100, 30], [0, 0, 1]])
PICTURE = np.zeros((60, 80, 3), np.uint8)
WIDTH = 160


def rig(*xs, origin=0.0):
    cameras = {}
    for number, x in enumerate(xs):
        pose = np.eye(4)
        pose[0, 3] = -(origin + x)
        cameras[f'cam{number}'] = Camera(f'cam{number}', 80, 60, K, pose)
    return cameras


def said(cameras, places=None, depths=(), pictures=None):
    frame_set = FrameSet(0, dict.fromkeys(pictures or cameras, PICTURE),
                         depths=dict.fromkeys(depths))
    return blind_spot(frame_set, cameras, places)


@pytest.mark.parametrize('origin', [0.0, 1000.0])
def test_one_camera_and_cameras_at_one_place_are_told_at_once(origin):
    assert "only camera 'cam0' has a picture" in said(rig(0, origin=origin))
    assert 'all 3 cameras stand at one place' in said(rig(0, 0, 1e-7, origin=origin))
    assert not said(rig(0, 0.1, origin=origin)) and not said(rig(0, 0, 0.1, origin=origin))
    for text in (said(rig(0)), said(rig(0, 0))):
        assert 'second camera' in text and 'depth pictures' in text and '\n' not in text


def test_what_the_scene_is_like_tells_how_far_apart_cameras_must_be():
    far = np.array([[0, 0, 100.0]] * 5)
    assert said(rig(0, 0.1), far) and not said(rig(0, 0.1), far / 50)
    assert said(rig(0, 0.87), far) and not said(rig(0, 0.88), far), 'half a degree'


def test_depth_pictures_help_and_cameras_without_pictures_do_not():
    assert not said(rig(0), depths=['cam0']) and not said({})
    assert "only camera 'cam1'" in said(rig(0, 1), pictures=['cam1'])


def test_a_share_is_doubted_below_the_level():
    assert not doubt(ENOUGH) and not doubt(1.0)
    assert doubt(ENOUGH - 0.01).startswith(f'only {ENOUGH - 0.01:.0%} of the pictures')


class Measured:
    """A depth camera: 1 % of noise, and whole millimeters."""

    def __init__(self, depth, seed=0):
        noise = np.random.default_rng(seed).normal(1, 0.01, depth.shape)
        self._depth = (np.rint(1000 * depth * noise) / 1000).astype(np.float32)

    def decode(self):
        return self._depth


def truths(recording, cameras):
    """The true depths of the first frame at the size of the cameras."""
    found = {}
    for truth in map(read_depth, depth_files(Path(recording.path))[0]):
        camera = cameras[truth.camera]
        found[truth.camera] = cv2.resize(truth.depth, (camera.width, camera.height),
                                         interpolation=cv2.INTER_NEAREST)
    return found


@pytest.mark.slow
def test_one_camera_is_told_so_and_knows_what_its_depth_pictures_know(test_data, caplog):
    """C_small's cam01, scored by cam02 beside it, which is 8 degrees away."""
    recording = open_recording(test_data / 'synthetic' / 'scene_C_small')
    cameras = Preparer(recording.cameras, WIDTH).cameras
    depths = truths(recording, cameras)
    prepared = Preparer(recording.cameras, WIDTH).prepare(next(recording.frame_sets(0, 1)))
    config = Config(width=WIDTH, max_gaussians=5000, threads=1,
                    bootstrap=BootstrapConfig(iterations=200))
    found = {}
    for name, measured in (('alone', {}), ('depth', {'cam01': Measured(depths['cam01'])})):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            pipeline = Pipeline(config, {'cam01': recording.cameras['cam01']})
            first = pipeline.begin(replace(prepared.only(['cam01']), depths=measured))
        assert ("only camera 'cam01' has a picture" in caplog.text) is (name == 'alone')
        assert bool(pipeline.doubt) is (name == 'alone')
        seen = render_view(CpuRasterizer(1), first.scene, cameras['cam02']).rgb
        beside = with_confidence(render_view(CpuRasterizer(1), first.scene, cameras['cam03']),
                                 first.scene, CpuRasterizer(1))
        known = np.isfinite(beside.known_depth)
        right = np.abs(beside.known_depth - depths['cam03']) < 0.05 * depths['cam03']
        found[name] = (pipeline.confirmed_share, psnr(prepared.images['cam02'], seen),
                       known.mean(), right[known].mean() if known.any() else 0.0)
        print(name, *(f'{value:.3f}' for value in found[name]))
    assert found['alone'][0] == found['alone'][2] == 0
    assert found['depth'][0] > 0.7 and found['depth'][2] > 0.4 and found['depth'][3] > 0.85
    assert found['depth'][1] > found['alone'][1] + 3
