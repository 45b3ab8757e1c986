# SPDX-License-Identifier: Apache-2.0
"""Cameras that differ in exposure and haze: a gain and an offset per camera and channel.

The scene keeps the colors of the mean camera; what one camera would record of a rendering is

    recorded = gain * rendering + offset,

applied to renderings inside losses only. Gain and offset have a closed form: the robust
regression of a picture on its rendering, taken anew whenever a view is drawn. What is common to
all cameras belongs to the scene: gains have mean 1 and offsets mean 0 over the cameras.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from igs_ros.core.snapshot import View

_STRIDE = 3  # px between the pixels that are compared
_KEPT = 0.7  # share of what is known of a camera that outlives its next picture
_SMALL = 0.02  # residual, 0..1, above which pixels count less: one over it, as in an L1 loss
_SATURATED = 254.5 / 255  # from here on a picture no longer follows the light
_ROUNDS = 12  # of reweighting, for a scene that does not change
# How strongly gain 1 and offset 0 are preferred, in squared colors: it decides for pictures of
# one color only, where the two cannot be told apart. Ten times more keeps a fifth of a true
# difference from being found with three cameras, whose scene adapts to a wrong exposure.
_PRIOR = 1e-4


@dataclass(frozen=True, eq=False)
class Exposure:
    """How one camera records the scene's colors."""

    gain: torch.Tensor  # [3] float32
    offset: torch.Tensor  # [3] float32, of colors 0..1

    def apply(self, rgb: torch.Tensor) -> torch.Tensor:
        """What the camera would record of `rgb` [..., 3]; differentiable, not clamped."""
        return rgb * self.gain + self.offset


@dataclass(frozen=True, eq=False)
class Exposures:
    """The exposures of a rig; cameras without one record the scene's own colors."""

    cameras: Mapping[str, Exposure] = field(default_factory=dict)

    def apply(self, camera: str, rgb: torch.Tensor) -> torch.Tensor:
        """What `camera` would record of its rendering `rgb` [..., 3]."""
        known = self.cameras.get(camera)
        return rgb if known is None else known.apply(rgb)

    def comparable(self, camera: str, rgb: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
        """What a loss compares with a picture; differentiable.

        What the camera would record, but where the picture is saturated all that is brighter
        counts as equal.

        Args:
            camera: by name.
            rgb: [..., 3] its rendering, without exposure.
            picture: [..., 3] 0..1 that it took.
        """
        recorded = self.apply(camera, rgb)
        if recorded is rgb:
            return rgb
        return torch.where((picture >= _SATURATED) & (recorded > picture), picture, recorded)


class ExposureLearner:
    """Learns the exposures of a rig from renderings and the pictures they should be.

    `exposures` starts as identity.

    Args:
        cameras: names of all cameras that will be shown.
        device: of the renderings and pictures.
    """

    def __init__(self, cameras: Iterable[str], device: torch.device | str = 'cpu'):
        self._names = sorted(cameras)
        self._rows = {name: row for row, name in enumerate(self._names)}
        shape = (len(self._names), 3)
        self._moments = torch.zeros((*shape, 5), dtype=torch.float64, device=device)
        self._gain = torch.ones(shape, device=device)
        self._offset = torch.zeros(shape, device=device)

    def __contains__(self, camera: str) -> bool:
        return camera in self._rows

    @property
    def exposures(self) -> Exposures:
        """As known by now; gains have mean 1 and offsets mean 0 over the cameras."""
        return Exposures({name: Exposure(self._gain[row], self._offset[row])
                          for name, row in self._rows.items()})

    @torch.no_grad()
    def see(self, camera: str, rendered: torch.Tensor, picture: torch.Tensor) -> None:
        """Learn from a view.

        Args:
            camera: by name.
            rendered: [H, W, 3] 0..1, without exposure.
            picture: [H, W, 3] 0..1 that it should be.
        """
        row = self._rows[camera]
        x = rendered[::_STRIDE, ::_STRIDE].reshape(-1, 3).double()
        y = picture[::_STRIDE, ::_STRIDE].reshape(-1, 3).double()
        residual = (x * self._gain[row] + self._offset[row] - y).abs()
        weight = torch.where(y < _SATURATED, 1 / residual.clamp_min(_SMALL), 0.0)
        terms = torch.stack([torch.ones_like(x), x, y, x * x, x * y], -1)
        total = (weight[..., None] * terms).sum(0) / len(x)
        self._moments[row] = _KEPT * self._moments[row] + (1 - _KEPT) * total
        self._solve()

    def _solve(self) -> None:
        """All exposures from their moments, brought to the gauge."""
        weight, x, y, xx, xy = self._moments.unbind(-1)
        known = weight > 0
        x, y, xx, xy = (torch.where(known, value / weight.clamp_min(1e-30), 0.0)
                        for value in (x, y, xx, xy))
        a, d, e = xx + _PRIOR, 1 + _PRIOR, xy + _PRIOR
        determinant = a * d - x * x  # above 0: xx >= x^2
        gain, offset = (e * d - x * y) / determinant, (a * y - x * e) / determinant
        # a scene s' = m s + b in place of s changes no picture; this one makes the mean identity
        gain, offset = torch.where(known, gain, 1.0), torch.where(known, offset, 0.0)
        gain = gain / gain.mean(0)
        self._gain = gain.float()
        self._offset = (offset - gain * offset.mean(0)).float()


def recorded(view: View, gain: Sequence[float], offset: Sequence[float]) -> View:
    """A view as a camera with its own exposure would record it.

    Args:
        view: what is seen.
        gain: [3] of the colors 0..1.
        offset: [3] of the colors 0..1.
    """
    rgb = view.rgb * np.array(gain, np.float32) + np.array(offset, np.float32)
    return replace(view, rgb=rgb.clip(0, 1))


def estimated(views: Mapping[str, tuple[torch.Tensor, torch.Tensor]]) -> Exposures:
    """The exposures with which a scene that is given fits its pictures best.

    Args:
        views: rendering without exposure and picture by camera, both [H, W, 3] 0..1.
    """
    device = next(iter(views.values()))[0].device if views else 'cpu'
    learner = ExposureLearner(views, device)
    for _ in range(_ROUNDS):
        for name, (rendered, picture) in views.items():
            learner.see(name, rendered, picture)
    return learner.exposures
