# SPDX-License-Identifier: Apache-2.0
"""The photometric loss (1 - w) L1 + w (1 - SSIM) of 3D Gaussian Splatting, with its gradient.

SSIM: 11x11 Gaussian window, sigma 1.5, zero padding, C1 = 1e-4, C2 = 9e-4, mean over pixels and
channels (igs_reference 3.1). On the CPU the gradient is written out and the blurs are OpenCV's:
8 times faster than torch convolutions (cpu_core section 3); on other devices torch does it all.
"""
from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numba import njit

WINDOW = 11
_C1, _C2 = np.float32(0.01 ** 2), np.float32(0.03 ** 2)
_offsets = np.arange(WINDOW) - WINDOW // 2
KERNEL = np.exp(-_offsets ** 2 / (2 * 1.5 ** 2))
KERNEL = (KERNEL / KERNEL.sum()).astype(np.float32)  # [11]
_jit = njit(fastmath=True, cache=True, nogil=True, error_model='numpy')


class Target:
    """A picture to be matched; what SSIM needs of it is computed once.

    image: [H, W, 3] uint8 or float32 0..1, sRGB; device: where the renderings live.
    """

    def __init__(self, image: np.ndarray, device: torch.device | str = 'cpu'):
        if image.dtype == np.uint8:
            image = image.astype(np.float32) * np.float32(1 / 255)
        self.image = np.ascontiguousarray(image, dtype=np.float32)
        self.tensor = torch.from_numpy(self.image).to(device)
        self._blurred = None

    @property
    def blurred(self) -> np.ndarray:
        """[H, W, 6] float32: blur of the picture, then of its square."""
        if self._blurred is None:
            self._blurred = blur(np.concatenate([self.image, self.image ** 2], -1))
        return self._blurred


def blur(maps: np.ndarray) -> np.ndarray:
    """The SSIM window applied to each channel of [H, W, C] float32, zeros outside."""
    return cv2.sepFilter2D(maps, -1, KERNEL, KERNEL, borderType=cv2.BORDER_CONSTANT)


def photometric_loss(rendered: torch.Tensor, target: Target, dssim: float) -> torch.Tensor:
    """Scalar loss of `rendered` [H, W, 3] float32 against `target`, differentiable.

    dssim: weight of 1 - SSIM, 0..1. A target half the size halves nothing: both are means.
    """
    assert rendered.shape == target.image.shape, (rendered.shape, target.image.shape)
    if rendered.device.type == 'cpu':
        return _CpuLoss.apply(rendered, target, dssim)
    ssim = _torch_ssim(rendered, target.tensor)
    return (1 - dssim) * (rendered - target.tensor).abs().mean() + dssim * (1 - ssim)


def _torch_ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Mean SSIM of two pictures [H, W, 3], by torch convolutions."""
    row = torch.from_numpy(KERNEL).to(x)
    window = torch.outer(row, row).expand(3, 1, WINDOW, WINDOW)

    def blurred(image):
        return F.conv2d(image, window, padding=WINDOW // 2, groups=3)
    x, y = x.permute(2, 0, 1)[None], y.permute(2, 0, 1)[None]
    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mean_x ** 2, blurred(y * y) - mean_y ** 2
    covariance = blurred(x * y) - mean_x * mean_y
    return ((2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
            / ((mean_x ** 2 + mean_y ** 2 + _C1) * (var_x + var_y + _C2))).mean()


class _CpuLoss(torch.autograd.Function):
    """Loss and gradient in one go: the window is symmetric, so its adjoint is the blur itself."""

    @staticmethod
    def forward(ctx, rendered, target, dssim):
        image = np.ascontiguousarray(rendered.detach().numpy())
        height, width, _ = image.shape
        pixels = height * width
        flat, wanted = image.reshape(pixels, 3), target.image.reshape(pixels, 3)
        moments = np.empty((height, width, 9), np.float32)
        _stack_moments(flat, wanted, moments.reshape(pixels, 9))
        partials = np.empty((pixels, 9), np.float32)
        ssim = _ssim_partials(blur(moments).reshape(pixels, 9),
                              target.blurred.reshape(pixels, 6), partials)
        spread = blur(partials.reshape(height, width, 9)).reshape(pixels, 9)
        gradient = np.empty((height, width, 3), np.float32)
        l1 = _gradient(flat, wanted, spread, np.float32((1 - dssim) / (3 * pixels)),
                       np.float32(-dssim / (3 * pixels)), gradient.reshape(pixels, 3))
        ctx.gradient = torch.from_numpy(gradient)
        return rendered.new_tensor((1 - dssim) * l1 + dssim * (1 - ssim))

    @staticmethod
    def backward(ctx, grad_output):
        return ctx.gradient * grad_output, None, None


@_jit
def _stack_moments(x, y, out):
    """x, x^2 and x y side by side, so that one call blurs all nine channels."""
    for i in range(x.shape[0]):
        for c in range(3):
            value = x[i, c]
            out[i, c] = value
            out[i, 3 + c] = value * value
            out[i, 6 + c] = value * y[i, c]


@_jit
def _ssim_partials(blurred, target_blurred, partials):
    """Mean SSIM; partials [P, 9] = dSSIM/d(blurred x), d(blurred x^2), d(blurred x y)."""
    two = np.float32(2)
    total = 0.0
    for i in range(blurred.shape[0]):
        for c in range(3):
            mean_x = blurred[i, c]
            mean_y = target_blurred[i, c]
            var_x = blurred[i, 3 + c] - mean_x * mean_x
            var_y = target_blurred[i, 3 + c] - mean_y * mean_y
            covariance = blurred[i, 6 + c] - mean_x * mean_y
            luminance = two * mean_x * mean_y + _C1
            structure = two * covariance + _C2
            inverse_1 = np.float32(1) / (mean_x * mean_x + mean_y * mean_y + _C1)
            inverse_2 = np.float32(1) / (var_x + var_y + _C2)
            ssim = luminance * structure * inverse_1 * inverse_2
            total += ssim
            by_variance = -ssim * inverse_2
            by_covariance = two * luminance * inverse_1 * inverse_2
            # the mean also enters the variance and the covariance
            partials[i, c] = (two * mean_y * structure * inverse_1 * inverse_2
                              - two * mean_x * ssim * inverse_1
                              - two * mean_x * by_variance - mean_y * by_covariance)
            partials[i, 3 + c] = by_variance
            partials[i, 6 + c] = by_covariance
    return total / (3 * blurred.shape[0])


@_jit
def _gradient(x, y, spread, l1_weight, ssim_weight, out):
    """Mean absolute difference; out [P, 3] = gradient of the weighted sum of both terms."""
    total = 0.0
    for i in range(x.shape[0]):
        for c in range(3):
            difference = x[i, c] - y[i, c]
            total += abs(difference)
            sign = np.float32(0)
            if difference > 0:
                sign = np.float32(1)
            elif difference < 0:
                sign = np.float32(-1)
            by_ssim = (spread[i, c] + np.float32(2) * x[i, c] * spread[i, 3 + c]
                       + y[i, c] * spread[i, 6 + c])
            out[i, c] = l1_weight * sign + ssim_weight * by_ssim
    return total / (3 * x.shape[0])
