# SPDX-License-Identifier: Apache-2.0
"""The score of a camera that a short first scene did not see."""
from dataclasses import replace

import numpy as np
import pytest

from igs_ros.core.config import BootstrapConfig, Config
from igs_ros.io.recordings.open import open_recording
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.stages.bootstrap.left_out import _middle, left_out_score
from igs_ros.vision.preparer import Preparer

CONFIG = Config(max_gaussians=1500, threads=1, bootstrap=BootstrapConfig(iterations=60))


@pytest.fixture(scope='module')
def rig(workbench):
    recording = open_recording(workbench)
    preparer = Preparer(recording.cameras, 96)
    return preparer.prepare(next(recording.frame_sets(0, 1))), preparer.cameras, recording.points()


def score(rig, config=CONFIG, cameras=None):
    frame_set, known, points = rig
    return left_out_score(frame_set, cameras or known, points, CpuRasterizer(1), config)


def test_the_camera_in_the_middle_is_left_out_and_scored_the_same_each_time(rig):
    first = score(rig)
    assert first == replace(score(rig), cpu_s=first.cpu_s) and first.cpu_s > 0
    assert first.camera == _middle(rig[1]) in ('cam01', 'cam02')
    assert 18 < first.psnr <= first.psnr_fitted < 30


def test_a_rig_that_is_wrong_scores_less(rig):
    frame_set, cameras, points = rig
    cos, sin = np.cos(np.radians(3)), np.sin(np.radians(3))
    turn = np.array([[1, 0, 0, 0], [0, cos, -sin, 0], [0, sin, cos, 0], [0, 0, 0, 1]])
    wrong = {name: camera.placed(turn @ camera.camera_from_world) if name == 'cam03' else camera
             for name, camera in cameras.items()}
    assert score(rig, cameras=wrong).psnr < score(rig).psnr - 1


def test_where_no_camera_can_be_spared_there_is_no_score(rig):
    frame_set, cameras, _ = rig
    two = {name: cameras[name] for name in ('cam00', 'cam01')}
    assert score(rig, cameras=two) is None
    given = replace(CONFIG, bootstrap=BootstrapConfig(method='scene.ply'))
    assert score(rig, given) is None
