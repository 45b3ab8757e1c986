# SPDX-License-Identifier: Apache-2.0
"""Points that cover pictures: count, spacing, color and place."""
import numpy as np
import pytest

from igs_ros.core.camera import Camera
from igs_ros.stages.bootstrap.coverage import covering_points, hole_points
from igs_ros.vision.stereo import DepthMap

K = [[100.0, 0, 60.0], [0, 100.0, 45.0], [0, 0, 1]]
COLOR = np.array([200, 30, 90], np.uint8)


def camera(name, x):
    pose = np.eye(4)
    pose[0, 3] = -x
    return Camera(name, 120, 90, K, pose)


def depth_map(name, x, known=slice(None)):
    """A wall 2 m away, known in some columns."""
    depth = np.full((90, 120), np.nan, np.float32)
    depth[:, known] = 2.0
    return DepthMap.of_depth(depth, camera(name, x))


@pytest.fixture
def wall():
    """Two views of one wall, half a picture apart, and their pictures."""
    maps = {'a': depth_map('a', 0.0), 'b': depth_map('b', 1.2)}
    return {name: np.full((180, 240, 3), COLOR) for name in maps}, maps


@pytest.mark.parametrize('wanted', [10, 500, 4000])
def test_count_is_reached_and_never_exceeded(wall, wanted):
    points = covering_points(*wall, wanted, seed=0)
    assert 0.6 * wanted <= len(points) <= wanted
    assert (points.rgb == COLOR).all()
    np.testing.assert_allclose(points.xyz[:, 2], 2.0, rtol=1e-6)
    np.testing.assert_allclose(points.normals, np.tile([0, 0, -1], (len(points), 1)), atol=1e-6)


def test_more_than_there_is_gives_each_surface_once(wall):
    points = covering_points(*wall, 10 ** 6, seed=0)
    # view b shares 60 of its 120 columns with a
    assert len(points) == pytest.approx(90 * 120 * 1.5, rel=0.02)


def test_shared_surface_is_not_covered_twice(wall):
    points = covering_points(*wall, 1500, seed=0).xyz
    left = np.mean(points[:, 0] < -0.1)  # seen by a alone: 50 of all 180 columns
    shared = np.mean((points[:, 0] > 0.1) & (points[:, 0] < 1.1))
    assert left == pytest.approx(55 / 180, abs=0.06)
    assert shared == pytest.approx(50 / 180, abs=0.06)


def test_nothing_known_gives_no_points(wall):
    images, _ = wall
    maps = {'a': depth_map('a', 0.0, known=slice(0, 0))}
    assert len(covering_points(images, maps, 100, seed=0)) == 0


def test_holes_are_filled_near_their_border(wall):
    images, _ = wall
    maps = {'a': depth_map('a', 0.0, known=slice(0, 60)), 'b': depth_map('b', 0.5)}
    points = hole_points(images, maps, 1000, seed=0)
    assert len(points) == 1000
    pixels, depth = maps['a'].camera.project(points.xyz.astype(np.float64))
    assert (pixels[:, 0] > 59.9).all() and (pixels[:, 0] < 120).all()
    assert np.mean(np.abs(depth - 2) < 0.5) > 0.6
    assert depth.min() > 1.0 and depth.max() < 4.0
    assert (points.rgb == COLOR).all()


def test_a_picture_without_any_depth_is_covered(wall):
    images, _ = wall
    maps = {'a': depth_map('a', 0.0, known=slice(0, 0)), 'b': depth_map('b', 5e3)}
    points = hole_points(images, maps, 300, seed=0)
    pixels, depth = maps['a'].camera.project(points.xyz.astype(np.float64))
    assert len(points) == 300 and (depth > 0).all()
    assert np.ptp(pixels[:, 0]) > 100 and np.ptp(pixels[:, 1]) > 70


def test_same_seed_same_points(wall):
    images, _ = wall
    maps = {'a': depth_map('a', 0.0, known=slice(0, 60)), 'b': depth_map('b', 0.5)}
    first, again, other = (hole_points(images, maps, 100, seed).xyz for seed in (3, 3, 4))
    assert first.tobytes() == again.tobytes() != other.tobytes()
