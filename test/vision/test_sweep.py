# SPDX-License-Identifier: Apache-2.0
"""The plane sweep's geometry."""
import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.vision.sweep import plane_homography

K = [[100.0, 0, 63.0], [0, 100.0, 43.0], [0, 0, 1]]


def camera(name, center, turn):
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    pose[:3, 3] = -pose[:3, :3] @ center
    return Camera(name, 120, 90, K, pose)


def test_homography_maps_points_of_the_plane():
    view, source = camera('a', (-0.4, 0.2, 0), 0.1), camera('b', (0.5, 0, -0.3), -0.2)
    pixels = np.array([[0.5, 0.5], [60.5, 40.5], [119.5, 3.5]])
    expected, _ = source.project(view.unproject(pixels, np.full(3, 2.5)))
    integer = np.concatenate([pixels - 0.5, np.ones((3, 1))], 1)
    mapped = integer @ plane_homography(view, source, 2.5).T
    np.testing.assert_allclose(mapped[:, :2] / mapped[:, 2:] + 0.5, expected, atol=1e-9)
