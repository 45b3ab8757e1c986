# SPDX-License-Identifier: Apache-2.0
"""The loss against torch convolutions in float64."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from igs_ros.loss import KERNEL, Target, photometric_loss


def reference_loss(x: torch.Tensor, y: torch.Tensor, dssim: float) -> torch.Tensor:
    """The published formula with a full 11x11 convolution."""
    row = torch.exp(-(torch.arange(11, dtype=torch.float64) - 5) ** 2 / (2 * 1.5 ** 2))
    row = row / row.sum()
    window = torch.outer(row, row).expand(3, 1, 11, 11)

    def blurred(image):
        return F.conv2d(image.permute(2, 0, 1)[None], window, padding=5, groups=3)
    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mean_x ** 2, blurred(y * y) - mean_y ** 2
    covariance = blurred(x * y) - mean_x * mean_y
    ssim = ((2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4)
            / ((mean_x ** 2 + mean_y ** 2 + 1e-4) * (var_x + var_y + 9e-4))).mean()
    return (1 - dssim) * (x - y).abs().mean() + dssim * (1 - ssim)


@pytest.mark.parametrize('dssim', [0.0, 0.2, 1.0])
@pytest.mark.parametrize('shape', [(37, 53, 3), (5, 7, 3)], ids=['odd size', 'below the window'])
def test_value_and_gradient_match_float64(shape, dssim):
    rng = np.random.default_rng(3)
    wanted = rng.random(shape).astype(np.float32)
    drawn = np.clip(wanted + rng.normal(0, 0.1, shape), 0, 1.2).astype(np.float32)
    x = torch.tensor(drawn, requires_grad=True)
    loss = photometric_loss(x, Target(wanted), dssim)
    (3 * loss).backward()
    exact = torch.tensor(drawn, dtype=torch.float64, requires_grad=True)
    expected = reference_loss(exact, torch.tensor(wanted, dtype=torch.float64), dssim)
    (3 * expected).backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    error = (x.grad.double() - exact.grad).norm() / exact.grad.norm()
    assert error < 2e-5


def test_torch_path_is_the_same_loss():
    from igs_ros.loss import _torch_ssim
    rng = np.random.default_rng(4)
    x, y = (torch.tensor(rng.random((30, 40, 3))) for _ in range(2))
    expected = reference_loss(x, y, 1.0)
    assert 1 - _torch_ssim(x, y).item() == pytest.approx(expected.item(), rel=1e-5)


def test_equal_pictures_cost_nothing():
    picture = np.full((20, 20, 3), 200, np.uint8)
    loss = photometric_loss(torch.from_numpy(Target(picture).image.copy()), Target(picture), 0.2)
    assert abs(loss.item()) < 1e-5
    assert KERNEL.sum() == pytest.approx(1.0)
