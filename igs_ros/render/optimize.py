# SPDX-License-Identifier: Apache-2.0
"""Gaussians as free parameters: Adam, densification and pruning under a hard bound.

Log scales and logit opacities exist only here. Used by `bootstrap` (first scene) and `refine`
(key frames), which bring their own schedules.
"""
from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.scene import MIN_SCALE, GaussianScene
from igs_ros.render.loss import Target, photometric_loss
from igs_ros.render.rasterizer import Context, Rasterizer, Rendering

log = logging.getLogger(__name__)
_CHECK_EVERY = 20  # iterations between two looks at the losses, on a GPU
_MIN_SCALE = 1e-8  # m; a zero scale has no logarithm
_PARAMETERS = ('means', 'quats', 'log_scales', 'logits', 'sh_dc', 'sh_rest')


@dataclass(frozen=True)
class LearningRates:
    """Adam step sizes, constant unless the caller changes them between steps."""

    means: float  # m
    quats: float
    log_scales: float
    logits: float
    sh_dc: float
    sh_rest: float


@dataclass(frozen=True)
class Densify:
    """What one densification does."""

    threshold: float  # minimum mean screen gradient, normalized device units
    max_gaussians: int
    prune_opacity: float = 5e-3


@dataclass(frozen=True)
class DensifyReport:
    """How many Gaussians a densification touched."""

    split: int
    pruned: int


class Optimizer:
    """A scene under optimization.

    Args:
        scene: where to start, float32; velocities, if any, are carried along, children inherit
            them.
        rasterizer: to draw it with, on the device of the scene.
        rates: of Adam.
        absgrad: collect the per-pixel absolute screen gradients instead of the signed sums.
        dssim: weight of 1 - SSIM in the loss, 0..1.

    Raises:
        FloatingPointError: a loss is not finite (on a GPU up to _CHECK_EVERY iterations later, or
            in `scene`): the caller keeps its last good scene.
    """

    def __init__(self, scene: GaussianScene, rasterizer: Rasterizer, rates: LearningRates, *,
                 absgrad: bool = False, dssim: float = 0.2):
        self._rasterizer = rasterizer
        self._absgrad = absgrad
        self._dssim = dssim
        self._velocities = scene.velocities
        self._origins = torch.arange(len(scene), device=scene.means.device)
        self._unchecked: list[tuple[str, torch.Tensor]] = []  # camera and loss
        self._parameters = {
            'means': scene.means, 'quats': scene.quats,
            'log_scales': scene.scales.clamp_min(_MIN_SCALE).log(),
            'logits': torch.logit(scene.opacities, eps=1e-6),
            'sh_dc': scene.sh[:, :1], 'sh_rest': scene.sh[:, 1:]}
        for name, value in self._parameters.items():
            self._parameters[name] = value.detach().clone().contiguous().requires_grad_()
        self._adam = torch.optim.Adam(
            [{'params': [self._parameters[name]], 'lr': getattr(rates, name), 'name': name}
             for name in _PARAMETERS], eps=1e-15, fused=True)
        self._reset_statistics()

    def __len__(self) -> int:
        return len(self._parameters['means'])

    @property
    def origins(self) -> torch.Tensor:
        """[N] int64: the row of the scene given that each Gaussian is, or descends from."""
        return self._origins

    def set_rate(self, name: str, rate: float) -> None:
        """Change the learning rate of one parameter (a field of `LearningRates`)."""
        for group in self._adam.param_groups:
            if group['name'] == name:
                group['lr'] = rate

    def scene(self) -> GaussianScene:
        """The scene as it stands, detached, unit quaternions.

        Raises:
            FloatingPointError: a loss since the last look at them is not finite.
        """
        if self._unchecked:
            self._check()
        with torch.no_grad():
            scene = self._activated()
            unit = torch.nn.functional.normalize(scene.quats, dim=1)
            scales = scene.scales.clamp_min(MIN_SCALE)  # exp() of a log that ran off is 0
            return GaussianScene(scene.means.clone(), unit, scales, scene.opacities,
                                 scene.sh, self._velocities)

    def backward(self, camera: Camera, target: Target, *, tiles: np.ndarray | None = None,
                 context: Context | None = None,
                 exposure: Callable[[torch.Tensor], torch.Tensor] | None = None,
                 also: Callable[[Rendering], torch.Tensor] | None = None) -> torch.Tensor:
        """Render, compare, and collect gradients and densification statistics; the loss.

        A scene without Gaussians has a loss, but nothing to learn: a step then changes nothing.

        Args:
            camera: of the view, without lens distortion.
            target: its picture.
            tiles: bool [ceil(H/16), ceil(W/16)], the only ones that are drawn and compared; None =
                all.
            context: Gaussians that are drawn, too, but stay as they are (`Rasterizer.context` of
                this camera and these tiles).
            exposure: what the camera makes of the drawn colors [H, W, 3]
                (`igs_ros.render.exposure`); None = nothing.
            also: another loss of what is drawn, with depth then; added to that of the picture.

        Returns:
            A detached scalar on the scene's device: reading it waits for a GPU, so it is checked
            there only now and then.

        Raises:
            FloatingPointError: this loss or one before it is not finite.
        """
        self._adam.zero_grad(set_to_none=True)
        drawn = self._rasterizer.render(self._activated(), camera, absgrad=self._absgrad,
                                        depth=also is not None, tiles=tiles, context=context)
        seen = drawn.rgb if exposure is None else exposure(drawn.rgb)
        loss = photometric_loss(seen, target, self._dssim, tiles)
        if also is not None:
            loss = loss + also(drawn)
        self._unchecked.append((camera.name, loss.detach()))
        if loss.device.type == 'cpu' or len(self._unchecked) >= _CHECK_EVERY:
            self._check()
        if len(self):  # an empty picture hangs on no parameter, and backward would raise
            loss.backward()
            self._collect(drawn, camera)
        return loss.detach()

    def pull(self, camera: Camera, loss: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Add the gradients of a loss of another view's colors [H, W, 3]; before `step`.

        Args:
            camera: of the view, without lens distortion.
            loss: scalar; it has no part in where Gaussians split.
        """
        if len(self):
            loss(self._rasterizer.render(self._activated(), camera, depth=False).rgb).backward()

    def step(self) -> None:
        """One Adam step with the collected gradients."""
        self._adam.step()

    @torch.no_grad()
    def keep(self, rows: torch.Tensor) -> None:
        """Drop all Gaussians but `rows` (indices); moments and statistics stay with them."""
        gradient_sum, seen = self._gradient_sum[rows], self._seen[rows]
        self._take(rows, torch.zeros_like(rows, dtype=torch.bool))
        self._gradient_sum, self._seen = gradient_sum, seen

    @torch.no_grad()
    def densify(self, how: Densify, generator: torch.Generator) -> DensifyReport:
        """Split where the screen gradient is large, then prune the transparent.

        The published bound (igs_reference 3.1): with b = max_gaussians - N and more than b
        candidates, only the b with the largest gradient are taken; each adds one Gaussian net.
        Moments survive for the kept rows and start at zero for new ones; statistics restart.
        """
        mean = torch.nan_to_num(self._gradient_sum / self._seen)
        split = torch.nonzero(mean >= how.threshold).flatten()
        budget = max(0, how.max_gaussians - len(self))
        if len(split) > budget:
            order = torch.argsort(mean[split], descending=True, stable=True)
            split = split[order[:budget]].sort().values
        kept = torch.ones(len(self), dtype=torch.bool, device=mean.device)
        kept.index_fill_(0, split, False)  # unlike kept[split] = False, it copies nothing to a GPU
        children = self._children(split, generator)
        rows = torch.cat([torch.nonzero(kept).flatten(), split, split])
        fresh = torch.arange(len(rows), device=mean.device) >= len(self) - len(split)
        self._take(rows, fresh)
        if len(split):
            for name, value in children.items():
                self._parameters[name].data[-2 * len(split):] = value
        visible = torch.nonzero(torch.sigmoid(self._parameters['logits'])
                                >= how.prune_opacity).flatten()
        pruned = len(self) - len(visible)
        if pruned:
            self._take(visible, torch.zeros_like(visible, dtype=torch.bool))
            if not len(visible):
                log.warning('all %d Gaussians became transparent: the scene is empty now', pruned)
        self._reset_statistics()
        return DensifyReport(len(split), pruned)

    def _activated(self) -> GaussianScene:
        p = self._parameters
        return GaussianScene(p['means'], p['quats'], p['log_scales'].exp(),
                             torch.sigmoid(p['logits']), torch.cat([p['sh_dc'], p['sh_rest']], 1))

    def _collect(self, drawn, camera: Camera) -> None:
        gradient = drawn.screen.absgrad if self._absgrad else drawn.screen.mean2d
        length = torch.hypot(gradient[:, 0] * (camera.width / 2),
                             gradient[:, 1] * (camera.height / 2))
        self._gradient_sum += torch.where(drawn.visible, length, 0.0)
        self._seen += drawn.visible

    def _check(self) -> None:
        names, losses = zip(*self._unchecked)
        self._unchecked.clear()
        values = torch.stack(losses).tolist()
        for name, value in zip(names, values):
            if not math.isfinite(value):
                raise FloatingPointError(f"the loss against camera '{name}' is {value}")

    def _reset_statistics(self) -> None:
        device = self._parameters['means'].device
        self._gradient_sum = torch.zeros(len(self), device=device)
        self._seen = torch.zeros(len(self), device=device)

    def _children(self, rows: torch.Tensor, generator: torch.Generator) -> dict:
        """Two samples of each parent's own Gaussian, 1.6 times smaller."""
        scales = self._parameters['log_scales'][rows].exp().repeat(2, 1)
        noise = torch.randn(scales.shape, generator=generator).to(scales)
        quats = torch.nn.functional.normalize(self._parameters['quats'][rows], dim=1)
        offset = rotated(quats.repeat(2, 1), noise * scales)
        return {'means': self._parameters['means'][rows].repeat(2, 1) + offset,
                'log_scales': (scales / 1.6).log()}

    def _take(self, rows: torch.Tensor, fresh: torch.Tensor) -> None:
        """Make the parameters those of `rows`; the moments of `fresh` positions start at zero."""
        for group in self._adam.param_groups:
            old = group['params'][0]
            new = old.detach()[rows].contiguous().requires_grad_()
            state = self._adam.state.pop(old, {})
            for key in ('exp_avg', 'exp_avg_sq'):
                if key in state:
                    state[key] = state[key][rows].contiguous()
                    state[key][fresh] = 0
            if state:
                self._adam.state[new] = state
            group['params'][0] = new
            self._parameters[group['name']] = new
        self._origins = self._origins[rows]
        if self._velocities is not None:
            self._velocities = self._velocities[rows]


def rotated(quats: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Vectors [N, 3] turned by unit quaternions [N, 4] wxyz."""
    w, axis = quats[:, :1], quats[:, 1:]
    twice = 2 * torch.linalg.cross(axis, vectors)
    return vectors + w * twice + torch.linalg.cross(axis, twice)
