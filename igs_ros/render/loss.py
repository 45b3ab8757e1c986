# SPDX-License-Identifier: Apache-2.0
"""The photometric loss (1 - w) L1 + w (1 - SSIM) of 3D Gaussian Splatting, with its gradient.

SSIM: 11x11 Gaussian window, sigma 1.5, zero padding, C1 = 1e-4, C2 = 9e-4, mean over pixels and
channels (igs_reference 3.1). On the CPU value and gradient come from one pass (loss_cpu.py). On
other devices torch does it all, or on CUDA the kernels of the package fused-ssim (MIT), where it
is installed: same window, constants and padding. Nothing there waits for the device.
"""
from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F

from igs_ros.render.loss_cpu import C1, C2, KERNEL, REACH, WINDOW, compare, moments
from igs_ros.render.tiles import checked, pixels_of

log = logging.getLogger(__name__)


class Target:
    """A picture to be matched; what the loss needs of it is computed and uploaded once.

    Args:
        image: [H, W, 3] uint8 or float32 0..1, sRGB.
        device: where the renderings live.
        valid: [H, W] bool, the pixels that show something; None = all.
    """

    def __init__(self, image: np.ndarray, device: torch.device | str = 'cpu',
                 valid: np.ndarray | None = None):
        if image.dtype == np.uint8:
            image = image.astype(np.float32) * np.float32(1 / 255)
        self.image = np.ascontiguousarray(image, dtype=np.float32)
        self.tensor = torch.from_numpy(self.image).to(device)
        self.valid = None if valid is None else \
            torch.from_numpy(valid).to(self.tensor.device)[..., None]  # [H, W, 1]
        self._moments: tuple[np.ndarray, np.ndarray] | None = None
        self._compared: tuple[np.ndarray, torch.Tensor] | None = None  # tiles, and their pixels

    @property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and spread under the SSIM window, [H, 3 W] float32 each (loss_cpu.moments)."""
        if self._moments is None:
            flat = _rows(self.image)
            mean, spread = np.empty_like(flat), np.empty_like(flat)
            moments(flat, mean, spread)
            self._moments = mean, spread
        return self._moments

    @property
    def telling(self) -> torch.Tensor:
        """[H, W, 3], for exposure: white, and so of no weight, where it is not valid."""
        return self.tensor if self.valid is None else \
            torch.where(self.valid, self.tensor, torch.ones_like(self.tensor))

    def compared(self, tiles: np.ndarray) -> torch.Tensor:
        """[H, W, 1] bool on the device: the pixels of `tiles`, which must not change later."""
        if self._compared is None or self._compared[0] is not tiles:
            height, width = self.image.shape[:2]
            pixels = torch.from_numpy(pixels_of(tiles, height, width))
            self._compared = tiles, pixels.to(self.tensor.device)[..., None]
        return self._compared[1]


def photometric_loss(rendered: torch.Tensor, target: Target, dssim: float,
                     tiles: np.ndarray | None = None) -> torch.Tensor:
    """Scalar loss of a rendering against a target, differentiable.

    Args:
        rendered: [H, W, 3] float32, on the device of `target`.
        target: of the same size. One half the size halves nothing: L1 and SSIM are means. Where
            it is not valid, the rendering counts as equal.
        dssim: weight of 1 - SSIM, 0..1.
        tiles: bool [rows, columns] (render/tiles.py), the tiles to compare; None: all. Elsewhere
            the rendering counts as equal to the target, whatever it holds: the value and the
            gradient are those of the whole picture, means over all its pixels included, with the
            rest pasted in from the target. On the CPU the cost follows the area of the tiles.
    """
    assert rendered.shape == target.image.shape, (rendered.shape, target.image.shape)
    if target.valid is not None:
        rendered = torch.where(target.valid, rendered, target.tensor)
    if rendered.device.type == 'cpu':
        return _CpuLoss.apply(rendered, target, dssim, tiles)
    return _torch_loss(rendered, target, dssim, tiles)


def _torch_loss(rendered, target, dssim, tiles) -> torch.Tensor:
    if tiles is not None:
        rendered = torch.where(target.compared(tiles), rendered, target.tensor)
    ssim = (_fused() if rendered.is_cuda else _torch_ssim)(rendered, target.tensor)
    return (1 - dssim) * (rendered - target.tensor).abs().mean() + dssim * (1 - ssim)


def _torch_ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Mean SSIM of two pictures [H, W, 3], by torch convolutions."""
    window = _window(x.device, x.dtype)

    def blurred(image):
        return F.conv2d(image, window, padding=REACH, groups=3)
    x, y = x.permute(2, 0, 1)[None], y.permute(2, 0, 1)[None]
    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mean_x ** 2, blurred(y * y) - mean_y ** 2
    covariance = blurred(x * y) - mean_x * mean_y
    c1, c2 = float(C1), float(C2)
    return ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)
            / ((mean_x ** 2 + mean_y ** 2 + c1) * (var_x + var_y + c2))).mean()


@cache
def _window(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    row = torch.from_numpy(KERNEL).to(device, dtype)
    return torch.outer(row, row).expand(3, 1, WINDOW, WINDOW)


@cache
def _fused() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The fastest mean SSIM of two pictures [H, W, 3] that there is for CUDA."""
    try:
        from fused_ssim import fused_ssim  # pyright: ignore[reportMissingImports]  optional
    except ImportError as error:
        log.info('SSIM is computed by torch: fused-ssim cannot be imported (%s); with it the loss '
                 'is several times faster', error)
        return _torch_ssim

    def mean_ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        planes = (image.permute(2, 0, 1)[None].contiguous() for image in (x, y))
        return fused_ssim(*planes, padding='same', train=torch.is_grad_enabled())
    return mean_ssim


def warm_up() -> None:
    """Have numba compile, or load, the kernels of the CPU."""
    photometric_loss(torch.zeros(8, 8, 3), Target(np.ones((8, 8, 3), np.uint8)), 0.2)


class _CpuLoss(torch.autograd.Function):
    """Loss and gradient in one go."""

    @staticmethod
    def forward(ctx, rendered: torch.Tensor, target: Target, dssim: float,
                tiles: np.ndarray | None) -> torch.Tensor:
        image = np.ascontiguousarray(rendered.detach().numpy())
        gradient = np.empty_like(image) if tiles is None else np.zeros_like(image)
        weights = (1 - dssim) / image.size, dssim / image.size
        sums = compare(_rows(image), _rows(target.image), *target.moments,
                       checked(tiles, *image.shape[:2]), np.float32(weights[0]),
                       np.float32(weights[1]), _rows(gradient))
        ctx.gradient = torch.from_numpy(gradient)
        return rendered.new_tensor(weights[0] * sums[0] + weights[1] * sums[1])

    @staticmethod
    # torch calls it with one gradient for each output
    def backward(ctx, grad_output):  # pyright: ignore[reportIncompatibleMethodOverride]
        scale = grad_output.item()
        return ctx.gradient if scale == 1 else ctx.gradient * scale, None, None, None


def _rows(image: np.ndarray) -> np.ndarray:
    """[H, W, 3] as [H, 3 W]."""
    return image.reshape(image.shape[0], -1)
