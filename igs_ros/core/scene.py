# SPDX-License-Identifier: Apache-2.0
"""The Gaussian scene: natural values, in the world frame."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from igs_ros.core.errors import InputError

ATTRIBUTES = ('means', 'quats', 'scales', 'opacities', 'sh')
MAX_POSITION = 1e6  # m from the origin: beyond, float32 is too coarse to mean anything
MIN_SCALE = torch.finfo(torch.float32).tiny  # m; smaller ones underflow to 0
SH_DEGREES = {1: 0, 4: 1, 9: 2, 16: 3}  # by the number of coefficients of a color channel
LEAST_SUPPORT = 2  # witnesses of a Gaussian: with one, or none, nothing is known
SH_C0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt(pi))


@dataclass(frozen=True, eq=False)
class GaussianScene:
    """N Gaussians, float32 tensors on one device, world frame.

    Log scales and logit opacities exist only inside the optimizer, xyzw quaternions only in ROS
    messages; everywhere else a scene holds the values below. The tensors are never written to.

    Raises:
        AssertionError: shapes do not fit together (a programming error: bad files and messages are
            refused by their readers with `InputError`).
    """

    means: torch.Tensor  # [N, 3] m
    quats: torch.Tensor  # [N, 4] wxyz, unit
    scales: torch.Tensor  # [N, 3] m, linear standard deviations
    opacities: torch.Tensor  # [N] 0..1
    sh: torch.Tensor  # [N, K, 3] sRGB, coefficient-major, DC first; color = SH(direction) + 0.5
    velocities: torch.Tensor | None = None  # [N, 3] m/s, None = unknown
    support: torch.Tensor | None = None  # [N] uint8 witnesses (docs/confidence.md); None = unknown

    def __post_init__(self):
        n = len(self.means)
        assert self.means.shape == (n, 3), self.means.shape
        assert self.quats.shape == (n, 4), self.quats.shape
        assert self.scales.shape == (n, 3), self.scales.shape
        assert self.opacities.shape == (n,), self.opacities.shape
        assert self.sh.ndim == 3 and self.sh.shape[0] == n and self.sh.shape[2] == 3
        assert self.sh.shape[1] in SH_DEGREES, self.sh.shape
        assert self.velocities is None or self.velocities.shape == (n, 3)
        assert self.support is None or self.support.shape == (n,)

    def __len__(self) -> int:
        return len(self.means)

    @property
    def sh_degree(self) -> int:
        """Degree of the spherical harmonics, 0..3."""
        return sh_degree(self.sh)

    @property
    def known(self) -> torch.Tensor:
        """[N] bool: Gaussians with support (docs/confidence.md); none where it is not known."""
        if self.support is None:
            return torch.zeros(len(self), dtype=torch.bool, device=self.device)
        return self.support >= LEAST_SUPPORT

    @property
    def device(self) -> torch.device:
        """The device of all tensors."""
        return self.means.device

    def replaced(self, **changes: torch.Tensor | None) -> GaussianScene:
        """A scene with some tensors replaced."""
        return replace(self, **changes)

    def select(self, rows: torch.Tensor | slice) -> GaussianScene:
        """The Gaussians `rows` (index or boolean tensor), in that order."""
        return self._map(lambda tensor: tensor[rows])

    def to(self, device: torch.device | str) -> GaussianScene:
        """The same scene on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def detached(self) -> GaussianScene:
        """The same values, through which no gradient flows back."""
        return self._map(torch.Tensor.detach)

    def with_sh_degree(self, degree: int) -> GaussianScene:
        """The same scene with SH cut to, or padded with zeros to, `degree` (0..3)."""
        terms = sh_terms(degree)
        kept = self.sh[:, :terms]
        padding = kept.new_zeros((len(self), terms - kept.shape[1], 3))
        return self.replaced(sh=torch.cat([kept, padding], 1).contiguous())

    def finite(self) -> torch.Tensor:
        """[N] bool: Gaussians without NaN or infinity in any attribute."""
        ok = torch.ones(len(self), dtype=torch.bool, device=self.device)
        for name in ATTRIBUTES:
            ok &= torch.isfinite(getattr(self, name))[:, None].flatten(1).all(1)
        return ok

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> GaussianScene:
        return GaussianScene(
            *(change(getattr(self, name)) for name in ATTRIBUTES),
            velocities=None if self.velocities is None else change(self.velocities),
            support=None if self.support is None else change(self.support))


def sh_terms(degree: int) -> int:
    """Spherical harmonics up to `degree`."""
    return (degree + 1) ** 2


def sh_degree(sh: torch.Tensor | np.ndarray) -> int:
    """Degree, 0..3, of coefficients [N, K, 3]."""
    return SH_DEGREES[sh.shape[1]]


def concatenated(scenes: list[GaussianScene]) -> GaussianScene:
    """One scene of all the Gaussians, in order; velocities only if every part has them.

    Where a part has support, that of the others is 0.
    """
    velocities = [s.velocities for s in scenes if s.velocities is not None]
    support = [torch.zeros(len(s), dtype=torch.uint8, device=s.device) if s.support is None
               else s.support for s in scenes]
    return GaussianScene(
        *(torch.cat([getattr(s, name) for s in scenes]) for name in ATTRIBUTES),
        velocities=torch.cat(velocities) if len(velocities) == len(scenes) else None,
        support=torch.cat(support) if any(s.support is not None for s in scenes) else None)


def empty_scene(sh_degree: int = 0, device: torch.device | str = 'cpu') -> GaussianScene:
    """A scene of no Gaussians."""
    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.float32, device=device)
    return GaussianScene(zeros(0, 3), zeros(0, 4), zeros(0, 3), zeros(0),
                         zeros(0, sh_terms(sh_degree), 3))


def checked(scene: GaussianScene, origin: str) -> GaussianScene:
    """`scene` if every value can be rendered.

    Args:
        scene: in the world, m.
        origin: the file or topic it came from, for the message.

    Raises:
        InputError: values are NaN or infinite, or positions beyond `MAX_POSITION`.
    """
    bad = int((~scene.finite()).sum())
    if bad:
        raise InputError(f'{origin}: {bad} of {len(scene)} Gaussians hold NaN or infinite values; '
                         f'expected finite ones. Export the scene again.')
    far = int((scene.means.abs() > MAX_POSITION).any(1).sum())
    if far:
        raise InputError(f'{origin}: {far} of {len(scene)} Gaussians lie more than '
                         f'{MAX_POSITION:g} m from the origin; expected meters in the frame of '
                         f'the cameras. Shift or scale the scene.')
    return scene
