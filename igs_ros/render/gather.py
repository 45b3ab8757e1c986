# SPDX-License-Identifier: Apache-2.0
"""What the pixels say to the Gaussians that are blended into them.

A picture is linear in the Gaussians' colors, so the sum over pixels of weight x value is the
derivative of the picture, weighted with the values, with respect to the color.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.scene import SH_C0, GaussianScene
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.rasterizer import Rasterizer


def gathered(rasterizer: Rasterizer, scene: GaussianScene, camera: Camera,
             look: Callable[[np.ndarray], np.ndarray], tiles: np.ndarray | None = None,
             ) -> np.ndarray:
    """[N, 4] float32: for each Gaussian the sum over pixels of blending weight x value.

    Args:
        rasterizer: any; the CPU's has a loop for it, others differentiate.
        scene: of N Gaussians, on the device of the rasterizer.
        camera: without lens distortion.
        look: gets the picture of `scene`, [H, W, 3] float32, and gives values [H, W, 4] float32
            that are 0 outside the tiles.
        tiles: bool [rows, columns], those to draw; None = all.
    """
    if isinstance(rasterizer, CpuRasterizer):
        return rasterizer.gathered(scene, camera, look, tiles)
    return _by_gradient(rasterizer, scene, camera, look, tiles)


def _by_gradient(rasterizer, scene, camera, look, tiles) -> np.ndarray:
    """For any rasterizer: one forward pass for the picture, one with two gradients."""
    with torch.no_grad():
        rgb = rasterizer.render(scene, camera, depth=False, tiles=tiles).rgb
    values = torch.from_numpy(look(rgb.cpu().numpy())).to(rgb.device)
    # constant gray: a color that is clamped at black would have no gradient
    gray = torch.zeros((len(scene), 1, 3), device=scene.device, requires_grad=True)
    with torch.enable_grad():
        drawn = rasterizer.render(scene.replaced(sh=gray), camera, depth=False, tiles=tiles).rgb
        three, = torch.autograd.grad((drawn * values[..., :3]).sum(), gray, retain_graph=True)
        fourth, = torch.autograd.grad((drawn[..., 0] * values[..., 3]).sum(), gray)
    return torch.cat([three[:, 0], fourth[:, 0, :1]], 1).div(SH_C0).cpu().numpy()
