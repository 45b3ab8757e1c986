# SPDX-License-Identifier: Apache-2.0
"""Cameras: the half pixel, projection, undistortion, and what is refused."""
import cv2
import numpy as np
import pytest

from igs_ros.core.camera import Camera, pixel_grid
from igs_ros.core.errors import InputError

POSE = np.eye(4)
POSE[:3, :3] = cv2.Rodrigues(np.array([0.1, -0.2, 0.05]))[0]
POSE[:3, 3] = [0.1, -0.2, 3.0]
K = np.array([[300.0, 0, 165.2], [0, 310.0, 118.7], [0, 0, 1]])
BENT = np.array([-0.25, 0.08, 0.001, -0.002, 0.01])


def camera(**changes) -> Camera:
    values = dict(name='cam', width=320, height=240, K=K, camera_from_world=POSE)
    return Camera(**{**values, **changes})


def test_opencv_intrinsics_round_trip():
    there = camera()
    back = Camera.from_opencv_K('cam', 320, 240, there.opencv_K, POSE)
    np.testing.assert_array_equal(back.K, there.K)
    assert there.opencv_K[0, 2] == pytest.approx(164.7)


def test_projection_is_opencv_plus_half_a_pixel():
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    pixels, depth = camera().project(points)
    rotation, shift = cv2.Rodrigues(POSE[:3, :3])[0], POSE[:3, 3]
    expected, _ = cv2.projectPoints(points, rotation, shift, camera().opencv_K, None)
    np.testing.assert_allclose(pixels, expected[:, 0] + 0.5, atol=1e-9)
    np.testing.assert_allclose(camera().unproject(pixels, depth), points, atol=1e-12)


def test_center_and_pose_are_inverse():
    there = camera()
    np.testing.assert_allclose(there.to_camera(there.center[None]), [[0, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(there.world_from_camera @ POSE, np.eye(4), atol=1e-12)


def test_resizing_keeps_directions():
    small = camera().resized(80)
    assert (small.width, small.height) == (80, 60)
    points = np.random.default_rng(1).uniform(-1, 1, (20, 3))
    np.testing.assert_allclose(small.project(points)[0], camera().project(points)[0] / 4)


def test_undistortion_shows_the_world_where_the_pinhole_says():
    """Points drawn where the bent lens sees them turn up where `project` puts them."""
    source = camera(distortion=BENT)
    target = source.undistorted()
    rotation, shift = cv2.Rodrigues(POSE[:3, :3])[0], POSE[:3, 3]
    world = np.array([[x, y, 0.0] for x in (-0.8, 0.1, 0.9) for y in (-0.7, 0.0, 0.6)])
    seen, _ = cv2.projectPoints(world, rotation, shift, source.opencv_K, BENT)
    x, y = np.meshgrid(np.arange(320), np.arange(240))
    bent = sum(np.exp(-((x - u) ** 2 + (y - v) ** 2) / 8) for u, v in seen[:, 0])
    straight = cv2.remap(bent.astype(np.float32), *source.working_maps(target), cv2.INTER_CUBIC)
    for u, v in target.project(world)[0]:
        window = np.s_[int(v) - 6:int(v) + 7, int(u) - 6:int(u) + 7]
        weight, grid = straight[window], pixel_grid(target)[window]
        middle = (grid * weight[..., None]).sum((0, 1)) / weight.sum()
        np.testing.assert_allclose(middle, (u, v), atol=0.1)


@pytest.mark.parametrize('changes, words', [
    ({'K': np.zeros((3, 3))}, 'intrinsics'),
    ({'K': np.full((3, 3), np.nan)}, 'intrinsics'),
    ({'K': K * [[1], [1], [0]]}, r'\[0, 0, 1\]'),
    ({'K': K.T}, r'\[0, 0, 1\]'),
    ({'K': K + np.array([[0, 0, 0], [5.0, 0, 0], [0, 0, 0]])}, r'\[0, 0, 1\]'),
    ({'width': 0}, 'image size'),
    ({'camera_from_world': np.zeros((4, 4))}, 'rigid'),
    ({'camera_from_world': np.diag([1.0, 1, -1, 1])}, 'rigid'),
    ({'distortion': np.zeros(8)}, 'plumb_bob'),
    ({'K': K + np.array([[0, 5.0, 0], [0, 0, 0], [0, 0, 0]])}, 'skew'),
    ({'width': 16385}, 'image size 16385x.*expected 1 to 16384 px a side'),
    ({'width': 2 ** 32 - 1, 'height': 2 ** 32 - 1}, 'image size 4294967295x4294967295'),
    ({'K': np.diag([0.01, 300, 1])}, r'focal lengths \[0.01, 300.0\] px'),
    ({'K': np.diag([300, 1e9, 1])}, r'focal lengths \[300.0, 1000000000.0\] px'),
    ({'K': K + np.array([[0, 0, 200.0], [0, 0, 0], [0, 0, 0]])}, r'principal point \[365.2'),
    ({'K': K - np.array([[0, 0, 0], [0, 0, 120.0], [0, 0, 0]])}, 'principal point .* outside its'),
    ({'distortion': np.array([1e6, 0, 0, 0, 0])}, 'k1 k2 p1 p2 k3 of at most 100'),
    ({'distortion': np.full(5, np.nan)}, 'plumb_bob'),
    ({'distortion': np.zeros(10 ** 6)}, r'distortion \[0.0, .{,120}\.\.\.\]; expected five'),
])
def test_unusable_calibration_names_the_camera(changes, words):
    with pytest.raises(InputError, match=words) as error:
        camera(name='left', **changes)
    assert "'left'" in str(error.value)


@pytest.mark.parametrize('name', [
    '', '.', '..', '.cam', '../cam', 'a/b', '/cam', 'a\\b', 'a\0b', 'a\nb', '\x1b[31mcam', ' cam',
    '\u202ecam', '\ud800', 'c' * 129, '\u00e9' * 65, 7, None])
def test_names_that_are_no_names_of_files_are_refused(name):
    with pytest.raises(InputError, match='expected a name of 1 to 128 bytes') as error:
        camera(name=name)
    assert str(error.value).isprintable() and len(str(error.value)) < 400


@pytest.mark.parametrize('name', ['cam00', 'left eye', 'IMG_1 (2).JPG', 'kam\u00e9ra', 'c' * 128])
def test_names_of_files_are_names_of_cameras(name):
    assert camera(name=name).name == name
