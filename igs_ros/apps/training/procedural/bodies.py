# SPDX-License-Identifier: Apache-2.0
"""Bodies and how they move: rigid, articulated, soft, cloth. Time is counted in frames."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from igs_ros.apps.training.procedural import surfaces
from igs_ros.apps.training.procedural.surfaces import Surface

Deform = Callable[[np.ndarray, float], np.ndarray]  # points at rest [M, 3], time -> world
_STEP = 1e-4  # of the extent: of the differences that give frames


@dataclass(frozen=True, eq=False)
class Body:
    """A surface that moves; row i of the surface is row i at any time."""

    surface: Surface  # at rest
    deform: Deform  # row by row
    born: float = -np.inf  # frame from which on it is there
    gone: float = np.inf  # frame from which on it is not

    def at(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """World points [M, 3] m and frames [M, 3, 3] at a time.

        The columns of a frame are two directions along the surface and its normal.
        """
        points, first = self.surface.points, _tangents(self.surface.normals)
        second = np.cross(self.surface.normals, first)
        step = _STEP * max(np.ptp(points, axis=0).max(), 1e-6)
        along, across = (self.deform(points + step * direction, time)
                         - self.deform(points - step * direction, time)
                         for direction in (first, second))
        normals = _unit(np.cross(along, across))
        along = _unit(along)
        frames = np.stack([along, np.cross(normals, along), normals], 2)
        return self.deform(points, time), frames

    def present(self, time: float) -> bool:
        """Whether it is there at a time."""
        return self.born <= time < self.gone


@dataclass(frozen=True, eq=False)
class Drift:
    """How a body as a whole moves."""

    center: np.ndarray  # [3] m at time 0
    velocity: np.ndarray  # [3] m per frame
    acceleration: np.ndarray  # [3] m per frame^2
    attitude: np.ndarray  # [3] rotation vector at time 0
    spin: np.ndarray  # [3] rotation vector per frame

    def __call__(self, points: np.ndarray, time: float) -> np.ndarray:
        """Points [M, 3] of the body's own frame in the world, m."""
        rotation = Rotation.from_rotvec(self.spin * time) * Rotation.from_rotvec(self.attitude)
        center = self.center + self.velocity * time + self.acceleration * (0.5 * time * time)
        return rotation.apply(points) + center


def rigid(rng: np.random.Generator, size: float, spacing: float, drift: Drift) -> Body:
    """A box, ball, tube or ring that keeps its shape.

    Args:
        rng: decides about the shape.
        size: about its extent, m.
        spacing: between points of the surface, m.
        drift: how it moves as a whole.
    """
    kind = rng.integers(5)
    if kind < 2:
        surface = surfaces.box(size * rng.uniform(0.4, 1.0, 3), spacing)
    elif kind == 2:
        surface = surfaces.ball(size / 2, spacing)
    elif kind == 3:
        surface = surfaces.tube(size * rng.uniform(0.15, 0.4), size, spacing)
        surface = surface.placed(np.eye(3), np.array([0, 0, -size / 2]))
    else:
        surface = surfaces.torus(size * 0.35, size * rng.uniform(0.08, 0.15), spacing)
    return Body(surface, drift)


def soft(rng: np.random.Generator, size: float, spacing: float, drift: Drift,
         rate: float) -> Body:
    """A ball or box that is squashed and sheared.

    Args:
        rng: decides about the shape and its change.
        size: about its extent at rest, m.
        spacing: between points of the surface at rest, m.
        drift: how it moves as a whole.
        rate: of the change of shape, per frame.
    """
    surface = surfaces.ball(size / 2, spacing) if rng.random() < 0.5 \
        else surfaces.box(size * rng.uniform(0.5, 1.0, 3), spacing)
    axis = rng.integers(3)
    phase, amount = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.3)
    shear = rng.uniform(-0.3, 0.3, 2)

    def deform(points, time):
        swing = np.sin(phase + rate / amount * time)
        shape = np.full(3, (1 + amount * swing) ** -0.5)
        shape[axis] = 1 + amount * swing
        bent = points * shape
        for other, slope in zip(((axis + 1) % 3, (axis + 2) % 3), shear):
            bent[:, other] += slope * swing * points[:, axis]
        return drift(bent, time)

    return Body(surface, deform)


def articulated(rng: np.random.Generator, size: float, spacing: float, drift: Drift,
                rate: float) -> Body:
    """A chain of limbs.

    Args:
        rng: decides about limbs and joints.
        size: about its length when stretched out, m.
        spacing: between points of the surface, m.
        drift: how it moves as a whole.
        rate: of each joint, rad per frame at most.
    """
    count = int(rng.integers(2, 5))
    lengths = size * rng.uniform(0.6, 1.2, count) / count
    limbs = [surfaces.tube(length * rng.uniform(0.15, 0.3), length, spacing)
             if rng.random() < 0.6 else
             surfaces.box(length * np.array([*rng.uniform(0.25, 0.5, 2), 1.0]), spacing).placed(
                 np.eye(3), np.array([0, 0, length / 2])) for length in lengths]
    limb = np.repeat(np.arange(count), [len(part.points) for part in limbs])
    axes = _unit(rng.normal(size=(count, 3)))
    swings = rng.uniform(0.2, 0.9, count)
    rates, phases = rate * rng.uniform(0.3, 1, count), rng.uniform(0, 2 * np.pi, count)

    def deform(points, time):
        placed = np.empty_like(points)
        rotation, joint = Rotation.identity(), np.zeros(3)
        for k in range(count):
            angle = swings[k] * np.sin(phases[k] + rates[k] / swings[k] * time)
            rotation = rotation * Rotation.from_rotvec(angle * axes[k])
            placed[limb == k] = rotation.apply(points[limb == k]) + joint
            joint = joint + rotation.apply([0, 0, lengths[k]])
        return drift(placed, time)

    return Body(surfaces.joined(limbs), deform)


def cloth(rng: np.random.Generator, size: float, spacing: float, drift: Drift,
          rate: float) -> Body:
    """A sheet pinned at its upper edge, with waves that grow downwards.

    Args:
        rng: decides about size and waves.
        size: about its width and height, m.
        spacing: between points of the sheet at rest, m.
        drift: how it moves as a whole.
        rate: of the waves, m per frame.
    """
    width, height = size * rng.uniform(0.7, 1.5), size * rng.uniform(0.7, 1.3)
    surface = surfaces.sheet(width, height, spacing)
    waves = rng.uniform(-1, 1, (3, 2)) * 2 * np.pi / (0.5 * size)
    phases, amounts = rng.uniform(0, 2 * np.pi, 3), 0.08 * size * rng.uniform(0.2, 1, 3)
    speeds = rng.choice([-1.0, 1.0], 3) * rate / amounts / 3

    def deform(points, time):
        fall = 0.5 - points[:, 1] / height
        lifted = points.copy()
        for wave, phase, amount, speed in zip(waves, phases, amounts, speeds):
            lifted[:, 2] += amount * fall * np.sin(points[:, :2] @ wave + phase + speed * time)
        return drift(lifted, time)

    return Body(surface, deform)


def _tangents(normals: np.ndarray) -> np.ndarray:
    """[M, 3] unit vectors at right angles to the normals."""
    helper = np.where(np.abs(normals[:, 2:]) < 0.9, [[0.0, 0, 1]], [[1.0, 0, 0]])
    return _unit(np.cross(helper, normals))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
