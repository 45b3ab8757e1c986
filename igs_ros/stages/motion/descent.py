# SPDX-License-Identifier: Apache-2.0
"""A few steps of descent on some Gaussians, which are drawn among others that stay as they are.

Made for a dozen steps, not for thousands: Adam (Kingma and Ba 2015) with short memory and large
steps, whose divisor has the mean over all Gaussians as a floor, so that those that hardly show
hardly move.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.scene import MIN_SCALE, GaussianScene
from igs_ros.render.rasterizer import Context, Rasterizer
from igs_ros.render.tiles import pixels_of

# Steps in their own units (means: px of the finest view), reached where gradients are large.
STEPS = {'means': 1.2, 'quats': 0.16, 'log_scales': 0.08, 'logits': 1.2, 'colors': 0.32}
_MEMORY = 0.7  # of gradients, per step
_SQUARES_MEMORY = 0.95
_FLOOR = 2.0  # times the root mean square over all Gaussians
_LAST = 0.2  # size of the last step against the first one
_MIN_SCALE = 1e-8  # m; a zero scale has no logarithm

Values = dict[str, torch.Tensor]  # [M, ...] float32 by the names of `STEPS`


@dataclass(frozen=True, eq=False)
class ViewTarget:
    """One picture to be met."""

    camera: Camera
    target: torch.Tensor  # [H, W, 3] float32
    tiles: np.ndarray  # bool [rows, columns] that are drawn and compared
    context: Context  # the Gaussians that stay as they are

    @cached_property
    def compared(self) -> torch.Tensor:
        """[H, W, 1] bool, the valid pixels of `tiles`; uploaded once, as a GPU waits for it."""
        pixels = pixels_of(self.tiles, self.camera.height, self.camera.width)
        if self.camera.valid is not None:
            pixels = pixels & self.camera.valid
        return torch.from_numpy(pixels).to(self.target.device)[..., None]


def to_params(scene: GaussianScene) -> Values:
    """The values of a scene as steps are added to them; `colors` are the SH of degree 0."""
    return {'means': scene.means.clone(), 'quats': scene.quats.clone(),
            'log_scales': scene.scales.clamp_min(_MIN_SCALE).log(),
            'logits': torch.logit(scene.opacities, eps=1e-6), 'colors': scene.sh[:, :1].clone()}


def from_params(values: Values, sh_rest: torch.Tensor) -> GaussianScene:
    """The inverse of `to_params`. Quaternions stay.

    Args:
        values: of M Gaussians.
        sh_rest: [M, K - 1, 3], the higher SH.
    """
    return GaussianScene(values['means'], values['quats'],
                         values['log_scales'].exp().clamp_min(MIN_SCALE),
                         torch.sigmoid(values['logits']),
                         torch.cat([values['colors'], sh_rest], 1))


def descend(values: Values, sh_rest: torch.Tensor, targets: Sequence[ViewTarget],
            rasterizer: Rasterizer, sizes: Mapping[str, torch.Tensor], iterations: int) -> Values:
    """`values` (left as they are) after some steps, one target after the other; the loss is L1.

    Args:
        values: of M Gaussians.
        sh_rest: [M, K - 1, 3], their higher SH, which stay.
        targets: pictures to be met, at least one.
        rasterizer: draws.
        sizes: [M, ...] by name, the largest step of each Gaussian.
        iterations: how many steps.
    """
    values = {name: value.clone() for name, value in values.items()}
    means = {name: torch.zeros_like(value) for name, value in values.items()}
    squares = {name: torch.zeros_like(value) for name, value in values.items()}
    for step in range(iterations):
        gradients = _gradients(values, sh_rest, targets[step % len(targets)], rasterizer)
        share = 1 - (1 - _LAST) * step / max(1, iterations - 1)
        for name, gradient in gradients.items():
            mean = means[name].lerp_(gradient, 1 - _MEMORY) / (1 - _MEMORY ** (step + 1))
            square = squares[name].lerp_(gradient.square(), 1 - _SQUARES_MEMORY)
            spread = (square / (1 - _SQUARES_MEMORY ** (step + 1))).sqrt()
            floor = _FLOOR * spread.square().mean().sqrt()
            values[name] -= mean / (spread + floor + 1e-20) * sizes[name] * share
    return values


def _gradients(values: Values, sh_rest, target: ViewTarget, rasterizer: Rasterizer) -> Values:
    leaves = {name: value.clone().requires_grad_() for name, value in values.items()}
    with torch.enable_grad():
        drawn = rasterizer.render(from_params(leaves, sh_rest), target.camera, depth=False,
                                  tiles=target.tiles, context=target.context)
        apart = (drawn.rgb - target.target) * target.compared
        gradients = torch.autograd.grad(apart.abs().sum(), list(leaves.values()))
    return dict(zip(leaves, gradients, strict=True))
