# SPDX-License-Identifier: Apache-2.0
"""Surfaces as evenly spaced points with a frame each, ready to become flat Gaussians."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_GOLDEN = np.pi * (3 - np.sqrt(5))  # angle between points of a sunflower


@dataclass(frozen=True, eq=False)
class Surface:
    """M points of a surface at rest, in its own frame."""

    points: np.ndarray  # [M, 3] m
    normals: np.ndarray  # [M, 3] unit, outwards
    uv: np.ndarray  # [M, 2] m along the surface

    def select(self, rows: np.ndarray) -> Surface:
        """Some of the points."""
        return Surface(self.points[rows], self.normals[rows], self.uv[rows])

    def placed(self, rotation: np.ndarray, translation: np.ndarray) -> Surface:
        """Turned by a rotation [3, 3], then moved by [3] m."""
        return Surface(self.points @ rotation.T + translation, self.normals @ rotation.T, self.uv)


def joined(surfaces: list[Surface]) -> Surface:
    """All points, in order."""
    return Surface(*(np.concatenate([getattr(s, name) for s in surfaces])
                     for name in ('points', 'normals', 'uv')))


def sheet(width: float, height: float, spacing: float) -> Surface:
    """A rectangle in the xy plane around the origin, normal +z.

    Args:
        width: along x, m.
        height: along y, m.
        spacing: between points, m.
    """
    columns, rows = (max(2, round(side / spacing)) for side in (width, height))
    x, y = np.meshgrid((np.arange(columns) + 0.5) / columns * width,
                       (np.arange(rows) + 0.5) / rows * height)
    uv = np.stack([x.ravel(), y.ravel()], 1)
    points = np.concatenate([uv - (width / 2, height / 2), np.zeros((len(uv), 1))], 1)
    return Surface(points, np.tile([0.0, 0, 1], (len(uv), 1)), uv)


def box(size: np.ndarray, spacing: float) -> Surface:
    """The six faces of a box of `size` [3] m around the origin."""
    faces = []
    for axis in range(3):
        for sign in (1.0, -1.0):
            # columns: the face's own x, y and outward normal; right-handed
            rotation = np.stack([np.eye(3)[(axis + 1) % 3], sign * np.eye(3)[(axis + 2) % 3],
                                 sign * np.eye(3)[axis]], 1)
            face = sheet(size[(axis + 1) % 3], size[(axis + 2) % 3], spacing)
            faces.append(face.placed(rotation, sign * size[axis] / 2 * np.eye(3)[axis]))
    return joined(faces)


def ball(radius: float, spacing: float) -> Surface:
    """A sphere around the origin (Fibonacci lattice)."""
    count = max(12, round(4 * np.pi * (radius / spacing) ** 2))
    index = np.arange(count)
    z = 1 - (2 * index + 1) / count
    around = _GOLDEN * index
    across = np.sqrt(1 - z * z)
    normals = np.stack([across * np.cos(around), across * np.sin(around), z], 1)
    uv = radius * np.stack([np.mod(around, 2 * np.pi), np.arccos(z)], 1)
    return Surface(radius * normals, normals, uv)


def tube(radius: float, length: float, spacing: float) -> Surface:
    """A closed cylinder along z, from z = 0.

    Args:
        radius: m.
        length: m.
        spacing: between points, m.
    """
    side = sheet(2 * np.pi * radius, length, spacing)
    angle = side.uv[:, 0] / radius
    normals = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], 1)
    points = radius * normals + side.uv[:, 1:] * (0, 0, 1)
    caps = [_disc(radius, spacing, sign).placed(np.eye(3), np.array([0, 0, height]))
            for sign, height in ((-1.0, 0.0), (1.0, length))]
    return joined([Surface(points, normals, side.uv), *caps])


def torus(radius: float, thickness: float, spacing: float) -> Surface:
    """A ring in the xy plane around the origin.

    Args:
        radius: of its middle line, m.
        thickness: radius of the tube, m.
        spacing: between points, m.
    """
    rows = max(6, round(2 * np.pi * thickness / spacing))
    rings = []
    for turn in (np.arange(rows) + 0.5) / rows * 2 * np.pi:
        across = radius + thickness * np.cos(turn)
        count = max(8, round(2 * np.pi * across / spacing))
        around = np.arange(count) / count * 2 * np.pi
        out = np.stack([np.cos(around), np.sin(around), np.zeros(count)], 1)
        normals = np.cos(turn) * out + np.sin(turn) * np.array([0, 0, 1])
        uv = np.stack([radius * around, np.full(count, thickness * turn)], 1)
        rings.append(Surface(radius * out + thickness * normals, normals, uv))
    return joined(rings)


def _disc(radius: float, spacing: float, sign: float) -> Surface:
    count = max(4, round(np.pi * (radius / spacing) ** 2))
    index = np.arange(count)
    far = radius * np.sqrt((index + 0.5) / count)
    uv = far[:, None] * np.stack([np.cos(_GOLDEN * index), np.sin(_GOLDEN * index)], 1)
    points = np.concatenate([uv, np.zeros((count, 1))], 1)
    return Surface(points, np.tile([0.0, 0, sign], (count, 1)), uv)
