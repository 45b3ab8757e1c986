# SPDX-License-Identifier: Apache-2.0
"""A first scene from depth pictures."""
from dataclasses import dataclass

import numpy as np
import pytest

from igs_ros.core.camera import Camera
from igs_ros.core.config import BootstrapConfig, Config
from igs_ros.core.frames import FrameSet
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.stages.bootstrap.depth import depth_maps
from igs_ros.stages.bootstrap.first_scene import first_scene

K = [[100.0, 0, 60.0], [0, 100.0, 45.0], [0, 0, 1]]


def camera(name, x):
    pose = np.eye(4)
    pose[0, 3] = -x
    return Camera(name, 120, 90, K, pose)


CAMERAS = {'a': camera('a', 0.0), 'b': camera('b', 0.3)}
PLAIN = np.full((90, 120, 3), 120, np.uint8)  # nothing that stereo could find
SMALL = Config(max_gaussians=800, threads=1, bootstrap=BootstrapConfig(iterations=0))


@dataclass
class Measured:
    """A depth picture."""

    depth: np.ndarray

    def size(self):
        return self.depth.shape[1], self.depth.shape[0]

    def decode(self):
        return self.depth


def box_on_wall():
    """A box 1 m away in front of a wall at 2 m, one pixel unknown."""
    depth = np.full((90, 120), 2.0, np.float32)
    depth[30:60, 40:80] = 1.0
    depth[10, 10] = np.nan
    return Measured(depth)


def test_edges_and_unknown_pixels_are_left_out():
    found = depth_maps({'a': box_on_wall(), 'elsewhere': box_on_wall()}, CAMERAS)
    known = np.isfinite(found['a'].depth)
    assert list(found) == ['a'] and ((found['a'].score > 0) == known).all()
    assert known[45, 60] and known[5, 5] and not known[10, 10]
    assert not known[29:31, 41:79].any() and not known[35:55, 79:81].any()
    assert known.mean() > 0.9


def test_seeds_lie_on_what_was_measured():
    frame_set = FrameSet(0, {name: PLAIN for name in CAMERAS}, depths={'a': box_on_wall()})
    first = first_scene('auto', frame_set, CAMERAS, None, CpuRasterizer(1), SMALL)
    assert first.report.method == 'depth'
    pixels, depth = CAMERAS['a'].project(first.scene.means.numpy())
    inside = ((pixels > 2) & (pixels < [118, 88])).all(1)
    column, row = pixels[inside].astype(int).T
    wanted = box_on_wall().depth[row, column]
    assert inside.sum() > 200
    assert np.mean(np.abs(depth[inside] - wanted) < 1e-3) > 0.6  # the rest: holes of camera b


def test_a_rig_of_depth_cameras_needs_no_stereo(caplog):
    caplog.set_level('INFO')
    depths = {name: Measured(np.full((90, 120), 2.0, np.float32)) for name in CAMERAS}
    frame_set = FrameSet(0, {name: PLAIN for name in CAMERAS}, depths=depths)
    scene = first_scene('depth', frame_set, CAMERAS, None, CpuRasterizer(1), SMALL).scene
    np.testing.assert_allclose(scene.means[:, 2], 2.0, rtol=1e-5)
    assert len(scene) == pytest.approx(0.47 * 800, rel=0.1)
    assert 'from depth pictures' in caplog.text
