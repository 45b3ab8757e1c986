# SPDX-License-Identifier: Apache-2.0
"""Rasterisers behind one small interface; `choose` picks one for a device.

Semantics (constants, thresholds, gradients) are those of gsplat 1.5.3 for every backend:
reference/cpu_core.md section 1, restated in docs/conventions.md.
"""
from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.scene import GaussianScene
from igs_ros.core.view import View

log = logging.getLogger(__name__)


class ScreenGradients(Protocol):
    """Gradients in the image plane, there after `backward` on something drawn."""

    mean2d: torch.Tensor  # [N, 2] dL/d(pixel position), summed over pixels
    absgrad: torch.Tensor | None  # [N, 2] sum over pixels of |dL/d(pixel position)|


@dataclass(eq=False)
class Rendering:
    """A differentiable picture."""

    rgb: torch.Tensor  # [H, W, 3] sRGB, background blended in; not clamped above 1
    depth: torch.Tensor | None  # [H, W] m, sum(w z) / max(sum(w), 1e-10); None: not asked for
    alpha: torch.Tensor  # [H, W] 0..1
    visible: torch.Tensor  # [N] bool: drawn in at least one tile
    screen: ScreenGradients


class Context(Protocol):
    """Gaussians that stay as they are, ready to be drawn along in pictures of one camera."""

    camera: Camera


class Rasterizer(Protocol):
    """Draws Gaussians; differentiable in every Gaussian attribute."""

    name: str
    device: torch.device

    def render(self, scene: GaussianScene, camera: Camera, *,
               background: tuple[float, float, float] = (0.0, 0.0, 0.0),
               antialiased: bool = False, absgrad: bool = False, depth: bool = True,
               tiles: np.ndarray | None = None, context: Context | None = None) -> Rendering:
        """Draw `scene` (its tensors may require gradients) as undistorted `camera` sees it.

        `scene.opacities` and `scene.scales` are natural values. Quaternions need not be unit:
        they are normalised inside and the gradient goes through that. Without `depth` it costs
        nothing, forward and backward, and `Rendering.depth` is None.

        tiles: bool [rows, columns] (render/tiles.py), the tiles to draw; None: all. Pixels in
        them, and the gradients of a loss that looks at nothing else, are those of the whole
        picture; the other pixels may hold anything finite, so no loss may look at them. A
        backend may draw more than it is asked for: `visible` then counts these tiles too.

        context: drawn along, made by `context` for this very `camera` with the same `antialiased`
        and `tiles`. It gets no gradients, which makes it cheaper than a part of `scene`, and the
        rows of `Rendering` are those of `scene` alone.
        """
        ...

    def context(self, scene: GaussianScene, camera: Camera, *, antialiased: bool = False,
                tiles: np.ndarray | None = None) -> Context:
        """`scene` made ready to be drawn along, see `render`; what no tile shows is left out."""
        ...

    def warm_up(self) -> None:
        """Compile what the first picture and the first gradient would wait for."""
        ...


def choose(device: str = 'auto', threads: int = 2) -> Rasterizer:
    """The rasteriser for `device`: 'cpu', 'cuda', or 'auto' (CUDA where it works, else CPU).

    'auto' says once why a GPU that is there is not used. Raises `InputError` for another device,
    and for 'cuda' without a GPU or without gsplat and its compiled kernels.
    """
    if device not in ('auto', 'cpu', 'cuda'):
        raise InputError(f"device '{device}' is unknown; expected auto, cpu or cuda.")
    if device == 'cuda' and not torch.cuda.is_available():
        raise InputError('device cuda was asked for, but torch finds no CUDA GPU here; install '
                         'torch with CUDA and a driver, or use --device cpu.')
    if device != 'cpu' and torch.cuda.is_available():
        try:
            return _on_gpu()
        except InputError as error:
            if device == 'cuda':
                raise
            _warn_once(f'{error} Until then the CPU draws.')
    from igs_ros.render.cpu.rasterizer import CpuRasterizer
    return CpuRasterizer(threads)


def _on_gpu() -> Rasterizer:
    try:
        from igs_ros.render.gsplat_rasterizer import (
            GsplatRasterizer,  # gsplat is there with a GPU only
        )
    except ImportError as error:
        raise InputError(f"rasteriser: there is a CUDA GPU, but gsplat cannot be imported "
                         f"({error}); expected gsplat 1.5. Install it: pip install '.[cuda]' "
                         f"(its first use compiles kernels, which needs nvcc).") from error
    return GsplatRasterizer()


@cache
def _warn_once(message: str) -> None:
    log.warning(message)


@torch.no_grad()
def render_view(rasterizer: Rasterizer, scene: GaussianScene, camera: Camera, stamp_ns: int = 0,
                age_s: float = 0.0) -> View:
    """What `camera` sees, as arrays: colours clamped to 0..1, depth NaN where alpha < 0.5."""
    drawn = rasterizer.render(scene, camera)
    alpha = drawn.alpha.cpu().numpy()
    depth = np.where(alpha < 0.5, np.float32(np.nan), drawn.depth.cpu().numpy())
    return View(drawn.rgb.clamp(0, 1).cpu().numpy(), depth, alpha, camera, stamp_ns, age_s)
