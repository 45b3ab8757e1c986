# SPDX-License-Identifier: Apache-2.0
"""modulation.py and lift.py against `Camera`: sizes, focal lengths and middles all differ."""
import numpy as np
import pytest
import torch
from stage import cameras

from igs_ros.core.camera import Camera, pixel_grid
from igs_ros.stages.motion.agm import lift, modulation


def tensors(camera):
    """Intrinsics as shares [1, 4] and pose [1, 4, 4], float64."""
    scale = 1 / np.array([camera.width, camera.height])
    shares = np.concatenate([np.diag(camera.K)[:2] * scale, camera.K[:2, 2] * scale])
    return torch.from_numpy(shares)[None], torch.from_numpy(camera.world_from_camera)[None]


@pytest.fixture
def camera():
    """Off-center, anisotropic, turned and shifted."""
    angle = 0.4
    pose = np.eye(4)
    pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0],
                    [-np.sin(angle), 0, np.cos(angle)]]
    pose[:3, 3] = (0.3, -0.2, 0.5)
    return Camera('odd', 320, 200, [[280, 0, 190], [0, 250, 70], [0, 0, 1]], pose)


def test_rays_go_through_the_pixels_of_a_squeezed_picture(camera):
    height, width = 16, 16
    origins, directions = modulation.camera_rays(*tensors(camera), height, width)
    small = Camera('small', width, height, camera.K * np.array(
        [[width / camera.width], [height / camera.height], [1]]), camera.camera_from_world)
    ends = small.unproject(pixel_grid(small).reshape(-1, 2), np.full(height * width, 2.0))
    expected = ends - camera.center
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(directions[0].reshape(-1, 3), expected, atol=1e-12)
    np.testing.assert_allclose(origins.reshape(3), camera.center, atol=1e-12)


def test_condition_of_a_pixel(camera):
    """Direction first, then the moment, then depth, which is resized like the pictures."""
    depth = torch.arange(12.0, dtype=torch.float64).reshape(1, 3, 4)
    found = modulation.condition(*tensors(camera), depth, 6, 8)
    origins, directions = modulation.camera_rays(*tensors(camera), 6, 8)
    moment = np.cross(origins[0, 0, 0], directions[0, 2, 5])
    # degree 1 of the basis is (-y, z, -x)
    np.testing.assert_allclose(found[0, 2, 5, 1:4] / 0.48860251190292,
                               directions[0, 2, 5, [1, 2, 0]] * torch.tensor([-1, 1, -1]))
    np.testing.assert_allclose(found[0, 2, 5, 17:20] / 0.48860251190292,
                               moment[[1, 2, 0]] * (-1, 1, -1))
    assert found.shape == (1, 6, 8, 33)
    # pixel (5, 2) of 8x6 has its center at (2.75, 1.25) of 4x3: 2.25 and 0.75 between pixels
    assert found[0, 2, 5, 32] == pytest.approx(4 * 0.75 + 2.25)


def test_points_are_projected_as_by_the_camera(camera):
    rng = np.random.default_rng(0)
    points = rng.uniform(-3, 3, (200, 3))
    points[0] = camera.center  # no direction at all
    shares, pose = tensors(camera)
    grid = lift.project(torch.from_numpy(points), shares, torch.linalg.inv(pose))[0].numpy()
    pixels, depth = camera.project(points)
    expected = 2 * pixels / (camera.width, camera.height) - 1
    seen = (depth > 0) & (np.abs(expected) <= 1).all(1)
    assert 10 < seen.sum() < 150 and (depth < 0).sum() > 10
    np.testing.assert_allclose(grid[seen], expected[seen], atol=1e-9)
    np.testing.assert_array_equal(lift.inside(torch.from_numpy(grid)).numpy(), seen)
    assert np.isfinite(grid).all()


def test_lift_takes_the_mean_over_all_views():
    """A map of its own coordinates: each anchor finds where it is; from outside come zeros."""
    camera = cameras('left')['left']
    shares, pose = tensors(camera)
    inside, behind = [[-0.6, 0.1, 2.0], [-0.9, -0.2, 2.5]], [[-0.6, 0.1, -2.0]]
    points = torch.tensor(inside + behind, dtype=torch.float64)
    grid = lift.project(points, shares, torch.linalg.inv(pose))
    size = 32
    rows, columns = torch.meshgrid(*2 * [torch.arange(size, dtype=torch.float64) + 0.5],
                                   indexing='ij')
    maps = torch.stack([columns, rows], -1) / size
    maps = torch.stack([maps, maps])[None]  # one target, two views
    grids = torch.cat([grid, torch.full_like(grid, -4.0)])  # the second view sees nothing
    found = lift.lift(maps, grids)[0]
    pixels = camera.project(points.numpy())[0] / (camera.width, camera.height)
    np.testing.assert_allclose(found[:2], pixels[:2] / 2, atol=1e-9)
    assert not found[2].any()
