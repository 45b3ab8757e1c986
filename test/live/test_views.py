# SPDX-License-Identifier: Apache-2.0
"""Views drawn coarser and enlarged."""
import cv2
import numpy as np
import pytest
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import first_snapshot
from igs_ros.live.views import draw
from igs_ros.render.cpu.rasterizer import CpuRasterizer

RASTERIZER = CpuRasterizer(1)


def camera(width):
    focal = 0.9 * width
    return Camera('view', width, width // 2,
                  np.array([[focal, 0, width / 2], [0, focal, width / 4], [0, 0, 1]]), np.eye(4))


@pytest.fixture(scope='module')
def snapshot():
    random = torch.Generator().manual_seed(0)
    means = torch.rand((60, 3), generator=random) * torch.tensor([2.0, 1.0, 1.0]) \
        + torch.tensor([-1.0, -0.5, 2.0])
    return first_snapshot(GaussianScene(
        means, torch.tensor([[1.0, 0, 0, 0]]).repeat(60, 1), torch.full((60, 3), 0.1),
        torch.full((60,), 0.9), torch.rand((60, 1, 3), generator=random)), 7)


def test_it_is_drawn_at_the_scale_and_enlarged(snapshot):
    coarse = draw(RASTERIZER, snapshot, camera(960), 0.25, 0.5)
    small = draw(RASTERIZER, snapshot, camera(480), 0.25)
    assert (coarse.camera.width, coarse.stamp_ns, coarse.age_s) == (960, 7, 0.25)
    np.testing.assert_array_equal(
        coarse.rgb, cv2.resize(small.rgb, (960, 480), interpolation=cv2.INTER_LINEAR))
    full = draw(RASTERIZER, snapshot, camera(960), 0.25)
    assert np.abs(coarse.rgb - full.rgb).mean() < 0.01
    # no depth lies between two surfaces: each is one that was drawn
    known = np.isfinite(coarse.depth)
    assert np.isin(coarse.depth[known], small.depth).all()
    assert (known == np.isfinite(full.depth)).mean() > 0.97


@pytest.mark.parametrize('width, drawn', [(480, 480), (320, 320), (600, 480), (1200, 600)])
def test_small_pictures_stay_as_they_are(snapshot, width, drawn):
    sizes = []

    class Watched:
        def render(self, scene, camera, **options):
            sizes.append(camera.width)
            return RASTERIZER.render(scene, camera, **options)
    view = draw(Watched(), snapshot, camera(width), 0.0, 0.5)
    assert sizes == [drawn] and view.rgb.shape == (width // 2, width, 3)
