# SPDX-License-Identifier: Apache-2.0
"""Importance against blending weights summed one by one, and what a cut keeps."""
import numpy as np
import pytest
import torch

from igs_ros.core.camera import Camera, pixel_grid
from igs_ros.core.scene import GaussianScene, empty_scene
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.importance import bounded_by_importance, importance
from igs_ros.render.rasterizer import render_view

K = [[40.0, 0, 24.0], [0, 40.0, 18.0], [0, 0, 1]]


def camera(name, x):
    pose = np.eye(4)
    pose[0, 3] = -x
    return Camera(name, 48, 36, K, pose)


CAMERAS = {'a': camera('a', -0.2), 'b': camera('b', 0.3)}


def scene_of(means, scales, opacities, seed=0):
    """Round Gaussians in random colors of degree 1."""
    count = len(means)
    quats = torch.zeros(count, 4)
    quats[:, 0] = 1
    noise = torch.randn((count, 4, 3), generator=torch.Generator().manual_seed(seed))
    return GaussianScene(torch.as_tensor(means, dtype=torch.float32), quats,
                         torch.as_tensor(scales, dtype=torch.float32)[:, None].repeat(1, 3),
                         torch.as_tensor(opacities, dtype=torch.float32), 2 * noise)


@pytest.fixture(scope='module')
def crowd():
    """60 round Gaussians in front of both cameras, the last two out of sight."""
    rng = np.random.default_rng(0)
    means = np.stack([rng.uniform(-1, 1, 60), rng.uniform(-0.8, 0.8, 60),
                      rng.uniform(2, 4, 60)], 1)
    means[-2:] = [[0, 0, -3], [30, 0, 3]]
    return scene_of(means, rng.uniform(0.05, 0.25, 60), rng.uniform(0.05, 0.9, 60))


def weights(scene, camera):
    """[N] sums of blending weights in float64, pixel by pixel, for round Gaussians."""
    points = camera.to_camera(scene.means.numpy().astype(np.float64))
    total, transmittance = np.zeros(len(scene)), np.ones((camera.height, camera.width))
    for row in np.argsort(points[:, 2], kind='stable'):
        x, y, z = points[row]
        if z < 0.01:
            continue
        fx, fy = camera.K[0, 0], camera.K[1, 1]
        low = -(np.array([camera.K[0, 2], camera.K[1, 2]]) + 0.15 * np.array([48, 36]))
        high = np.array([48, 36]) * 1.15 - np.array([camera.K[0, 2], camera.K[1, 2]])
        u, v = np.clip([x / z, y / z], low / fx, high / fx)
        jacobian = np.array([[fx, 0, -fx * u], [0, fy, -fy * v]]) / z
        covariance = jacobian @ jacobian.T * float(scene.scales[row, 0]) ** 2 + 0.3 * np.eye(2)
        middle = np.array([fx * x / z + camera.K[0, 2], fy * y / z + camera.K[1, 2]])
        d = pixel_grid(camera) - middle
        sigma = 0.5 * np.einsum('hwi,ij,hwj->hw', d, np.linalg.inv(covariance), d)
        alpha = np.minimum(float(scene.opacities[row]) * np.exp(-sigma), 0.999)
        alpha[alpha < 1 / 255] = 0
        total[row] = (alpha * transmittance).sum()
        transmittance *= 1 - alpha
    assert transmittance.min() > 1e-4, 'the early stop is not modeled here'
    return total


def test_equals_blending_weights_summed_pixel_by_pixel(crowd):
    expected = sum(weights(crowd, camera) for camera in CAMERAS.values())
    found = importance(crowd, CpuRasterizer(1), CAMERAS)
    assert found.dtype == torch.float32 and found.shape == (60,) and not found.requires_grad
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-4, atol=2e-2)
    assert expected[:-2].max() > 20


def test_sums_to_the_alpha_of_all_pictures(crowd):
    rasterizer = CpuRasterizer(1)
    alpha = sum(float(render_view(rasterizer, crowd, camera).alpha.sum())
                for camera in CAMERAS.values())
    assert float(importance(crowd, rasterizer, CAMERAS).sum()) == pytest.approx(alpha, rel=1e-4)


def test_unseen_and_hidden_gaussians_do_not_matter(crowd):
    assert (importance(crowd, CpuRasterizer(1), CAMERAS)[-2:] == 0).all()
    walls = scene_of([[0, 0, 1.5], [0, 0, 1.6], [0, 0, 1.7], [0, 0, 4]], [3, 3, 3, 0.1],
                     [1.0, 1.0, 1.0, 0.9])
    scores = importance(walls, CpuRasterizer(1), CAMERAS)
    assert scores[3] == 0 and scores[0] > 0.9 * 2 * 48 * 36


def test_works_without_gradients_and_for_an_empty_scene(crowd):
    with torch.no_grad():
        there = importance(crowd, CpuRasterizer(1), CAMERAS)
    assert there.max() > 0
    assert importance(empty_scene(), CpuRasterizer(1), CAMERAS).shape == (0,)


def test_a_cut_keeps_the_picture_better_than_chance(crowd, caplog):
    rasterizer = CpuRasterizer(1)

    def error(scene):
        return sum(np.mean((render_view(rasterizer, scene, camera).rgb
                            - render_view(rasterizer, crowd, camera).rgb) ** 2)
                   for camera in CAMERAS.values())
    kept = bounded_by_importance(crowd, rasterizer, CAMERAS, 40)
    order = np.random.default_rng(1).permutation(60)[:40]
    assert len(kept) == 40 and error(kept) < 0.5 * error(crowd.select(torch.tensor(order)))
    assert '60 Gaussians' in caplog.text and '40' in caplog.text


def test_a_cut_keeps_rows_in_order_and_leaves_small_scenes_alone(crowd):
    rasterizer = CpuRasterizer(1)
    assert bounded_by_importance(crowd, rasterizer, CAMERAS, 60) is crowd
    kept = bounded_by_importance(crowd, rasterizer, CAMERAS, 59)
    expected = crowd.select(torch.arange(59))  # of the two that are not seen the later one goes
    assert torch.equal(kept.means, expected.means) and torch.equal(kept.sh, expected.sh)
