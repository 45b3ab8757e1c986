# SPDX-License-Identifier: Apache-2.0
"""Who sees what: depth ranges and source cameras of rigs whose answer is known by hand."""
import numpy as np
import pytest

from igs_ros.core.camera import Camera
from igs_ros.vision.overlap import depth_range, seen_share, source_cameras

K = [[400.0, 0, 240.0], [0, 400.0, 180.0], [0, 0, 1]]


def camera(name, x, turned_deg=0.0, z=0.0):
    """A camera at (x, 0, z), looking along +z, turned about its vertical axis."""
    angle = np.radians(turned_deg)
    rotation = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0],
                         [np.sin(angle), 0, np.cos(angle)]])
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = -rotation @ [x, 0, z]
    return Camera(name, 480, 360, K, pose)


def rig(*cameras):
    return {c.name: c for c in cameras}


def test_share_of_a_parallel_pair_is_disparity_over_width():
    # 1 m apart: the pictures are shifted by 400 px / depth
    share = seen_share(camera('a', 0), camera('b', 1.0), np.array([0.5, 1.0, 2.0, 1000.0]))
    assert share == pytest.approx([0, 80 / 480, 280 / 480, 1], abs=1 / 12)


def test_sources_are_the_nearest_that_overlap():
    cameras = rig(camera('a', 0), camera('far', 3.0), camera('b', 0.2), camera('c', -0.5),
                  camera('behind', 0, turned_deg=180, z=-1), camera('same', 0))
    assert source_cameras('a', cameras, (1.0, 20.0), 4) == ['b', 'c', 'far']
    assert source_cameras('a', cameras, (1.0, 20.0), 2) == ['b', 'c']


def test_cameras_back_to_back_share_nothing():
    cameras = rig(camera('a', 0), camera('b', 0.1, turned_deg=180))
    assert depth_range('a', cameras) is None
    assert source_cameras('a', cameras, (0.5, 10.0), 4) == []


def test_one_camera_has_no_range():
    assert depth_range('a', rig(camera('a', 0))) is None


def test_range_of_the_rig_spans_first_overlap_to_one_pixel():
    near, far = depth_range('a', rig(camera('a', 0), camera('b', 1.0)))
    # a fifth of the picture is shared where 400 px / depth = 4/5 of 480 px
    assert near == pytest.approx(400 / (0.8 * 480), rel=0.2)
    assert far == pytest.approx(400.0)


def test_range_follows_points_in_the_picture():
    points = np.stack([np.zeros(100), np.zeros(100), np.linspace(2, 4, 100)], 1)
    behind = points * [1, 1, -100]
    cameras = rig(camera('a', 0), camera('b', 1.0))
    near, far = depth_range('a', cameras, np.concatenate([points, behind]))
    assert 1.0 < near < 2.0 and 4.0 < far < 8.0


def test_few_points_say_nothing():
    cameras = rig(camera('a', 0), camera('b', 1.0))
    assert depth_range('a', cameras, np.array([[0, 0, 3.0]] * 5)) == depth_range('a', cameras)


@pytest.mark.parametrize('unit', [1e-3, 1e3])
def test_units_do_not_matter(unit):
    """COLMAP scenes have no meters: all lengths scale with the rig."""
    meters = rig(camera('a', 0), camera('b', 1.0, turned_deg=-20))
    scaled = rig(camera('a', 0), camera('b', unit, turned_deg=-20))
    assert depth_range('a', scaled) == pytest.approx(np.multiply(depth_range('a', meters), unit))
    assert source_cameras('a', scaled, (2 * unit, 9 * unit), 4) \
        == source_cameras('a', meters, (2.0, 9.0), 4) == ['b']
