# SPDX-License-Identifier: Apache-2.0
"""A scene as a decoder holds it, and the way from Gaussians to it and back."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from igs_ros.io.stream.lattice import (
    COLOR,
    CUBE,
    MAX_COLOR,
    MAX_U,
    OPAQUE,
    REACH,
    TURN,
    UNIT,
)
from igs_ros.io.stream.near import nearest_before

Values = Mapping[str, np.ndarray]
"""Natural values as `GaussianScene` has them: means, quats (wxyz), scales, opacities, sh."""


@dataclass(frozen=True)
class Frame:
    """Where the numbers of a stream lie in the world."""

    length: float  # m, L of lattice.py; a float32
    origin: tuple[float, float, float]  # m; float32

    @property
    def unit(self) -> float:
        """m per step of a position."""
        return self.length / UNIT


@dataclass(frozen=True, eq=False)
class CodedScene:
    """N Gaussians in whole numbers (int64), in coding order; see lattice.py."""

    positions: np.ndarray  # [N, 3]
    scales: np.ndarray  # [N, 3] u of each axis
    quats: np.ndarray  # [N, 4] wxyz
    opacities: np.ndarray  # [N]
    colors: np.ndarray  # [N, 3] Y, U, V
    rest: np.ndarray  # [N, 3 (K - 1)] Y, U, V of each further coefficient
    moved: np.ndarray  # [N] uint8: what the last flags said, 2 = there were none
    changed: np.ndarray  # [N] uint8: the same of colors and opacities
    loose: np.ndarray  # [N] bool: may be off the lattice, until the next key

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def degree(self) -> int:
        """Of the spherical harmonics."""
        return {0: 0, 9: 1, 24: 2, 45: 3}[self.rest.shape[1]]

    @cached_property
    def near(self) -> np.ndarray:
        """[N, 3] int32: what flags are predicted from."""
        return nearest_before(self.positions)

    def select(self, rows: np.ndarray) -> CodedScene:
        """The Gaussians `rows` (indices or booleans)."""
        return replace(self, **{one.name: getattr(self, one.name)[rows]
                                for one in fields(self)})

    def copy(self) -> CodedScene:
        """One that may be written to."""
        return replace(self, **{one.name: getattr(self, one.name).copy()
                                for one in fields(self)})


def joined(one: CodedScene, other: CodedScene) -> CodedScene:
    """The Gaussians of both, `other` behind `one`."""
    return CodedScene(**{name.name: np.concatenate([getattr(one, name.name),
                                                    getattr(other, name.name)])
                         for name in fields(CodedScene)})


def values_of(scene: CodedScene, frame: Frame) -> dict[str, np.ndarray]:
    """What a decoded scene is rendered as: float32, by `igs_ros.core.scene` names.

    Args:
        scene: N Gaussians.
        frame: of the stream.
    """
    u = scene.scales.astype(np.float64)
    colors = np.concatenate([scene.colors, scene.rest], 1)
    colors = colors.reshape(len(scene), colors.shape[1] // 3, 3)
    values = {
        'means': scene.positions * frame.unit + np.asarray(frame.origin, np.float64),
        'quats': scene.quats / np.sqrt((scene.quats ** 2).sum(1, keepdims=True)),
        'scales': (u + u * u * u / CUBE) * frame.unit,
        'opacities': scene.opacities / OPAQUE,
        'sh': _rgb(colors) / (4 * COLOR)}
    return {name: value.astype(np.float32) for name, value in values.items()}


def red_green_blue(colors: np.ndarray) -> np.ndarray:
    """[M, 3] int64 of [M, 3] Y, U, V: four times what they stand for, halved twice again."""
    return _rgb(colors) >> 2


def _rgb(yuv: np.ndarray) -> np.ndarray:
    """Four times red, green, blue of [..., 3] Y, U, V."""
    y, u, v = yuv[..., 0], yuv[..., 1], yuv[..., 2]
    green = 4 * y - u - v
    return np.stack([4 * v + green, green, 4 * u + green], -1)


@dataclass(frozen=True, eq=False)
class Target:
    """What a coded scene should come near to: natural values in the units of the lattice."""

    positions: np.ndarray  # [M, 3] float64
    scales: np.ndarray  # [M, 3] u, axes as the engine has them
    quats: np.ndarray  # [M, 4] wxyz unit, of these axes
    opacities: np.ndarray  # [M]
    colors: np.ndarray  # [M, 3] Y, U, V
    rest: np.ndarray  # [M, 3 (K - 1)]


def target_of(values: Values, rows: np.ndarray, frame: Frame) -> Target:
    """The Gaussians `rows` of a scene.

    What lies beyond the reach of positions comes nearer along its line from the origin, and
    smaller by as much: from the cameras it looks the same.

    Args:
        values: of the scene, float32.
        rows: [M] indices.
        frame: of the stream.
    """
    positions = (values['means'][rows].astype(np.float64) - frame.origin) / frame.unit
    far = np.abs(positions).max(1, initial=0.0)
    shrink = np.minimum(1.0, (REACH - 1) / np.maximum(far, 1.0))[:, None]
    quats = values['quats'][rows].astype(np.float64)
    sh = values['sh'][rows].astype(np.float64) * COLOR
    red, green, blue = sh[..., 0], sh[..., 1], sh[..., 2]
    yuv = np.stack([(red + 2 * green + blue) / 4, blue - green, red - green], -1)
    yuv = np.clip(yuv, -MAX_COLOR, MAX_COLOR)
    return Target(
        positions * shrink, _u_of(values['scales'][rows] / frame.unit * shrink),
        quats / np.linalg.norm(quats, axis=1, keepdims=True),
        values['opacities'][rows].astype(np.float64) * OPAQUE, yuv[:, 0],
        yuv[:, 1:].reshape(len(rows), 3 * (yuv.shape[1] - 1)))


def _u_of(sizes: np.ndarray) -> np.ndarray:
    """The inverse of u + u^3 / 2^25, by Newton's method from above."""
    sizes = np.asarray(sizes, np.float64)
    u = np.minimum(sizes, np.cbrt(sizes * CUBE))
    for _ in range(6):
        u -= (u + u ** 3 / CUBE - sizes) / (1 + 3 * u * u / CUBE)
    return np.clip(u, 0, MAX_U)


def unit_turns(quats: np.ndarray) -> np.ndarray:
    """[M, 4] float64 of whole quaternions."""
    return quats / TURN
