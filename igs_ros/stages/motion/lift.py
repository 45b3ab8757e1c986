# SPDX-License-Identifier: Apache-2.0
"""3-D motion of points from their 2-D motion in several views.

Robust least squares per point, first alone, then tied to its neighbors, whose local rotation is
followed (reference/cpu_core.md 6; the local rigid tie is our own addition).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.vision import rotation_kernels as kernels

_SWEEPS = 6
_SPREAD = 2  # of local rotations
_TRUST = np.array([0.01, 0.3, 1.0])  # in a neighbor that no, one, or more views saw


@dataclass(frozen=True, eq=False)
class TrackViews:
    """The calibration of V views as arrays."""

    rotations: np.ndarray  # [V, 3, 3] float64, camera_from_world
    translations: np.ndarray  # [V, 3] m
    focals: np.ndarray  # [V, 2] px
    centers: np.ndarray  # [V, 2] px, pixel centers at +0.5

    @classmethod
    def of(cls, cameras: Sequence[Camera]) -> TrackViews:
        """The views of some cameras, in that order."""
        poses = np.array([camera.camera_from_world for camera in cameras]).reshape(-1, 4, 4)
        K = np.array([camera.K for camera in cameras]).reshape(-1, 3, 3)
        return cls(np.ascontiguousarray(poses[:, :3, :3]),
                   np.ascontiguousarray(poses[:, :3, 3]),
                   np.ascontiguousarray(K[:, [0, 1], [0, 1]]),
                   np.ascontiguousarray(K[:, :2, 2]))

    def sight(self, targets: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, ...]:
        """What the views saw, as `kernels` want it: targets [V, N, 2] px, usable [V, N] bool."""
        return (self.rotations, self.translations, self.focals, self.centers,
                np.ascontiguousarray(targets, dtype=np.float64), np.ascontiguousarray(usable))


@dataclass(frozen=True, eq=False)
class Anchors:
    """M points whose motion is known."""

    points: np.ndarray  # [M, 3] float64 m, world, where they were
    displacements: np.ndarray  # [M, 3] float64 m
    rotations: np.ndarray  # [M, 3, 3] float64, of their surroundings


def lift(views: TrackViews, points: np.ndarray, targets: np.ndarray, usable: np.ndarray,
         neighbors: np.ndarray, weights: np.ndarray) -> Anchors:
    """3-D displacements and local rotations of points.

    A point that only one view saw gets the depth part of its motion from its neighbors, one
    that no view saw all of it.

    Args:
        views: of V cameras.
        points: [M, 3] float64 m, world.
        targets: [V, M, 2] px, where each view sees them now.
        usable: [V, M] bool, whose targets count.
        neighbors: [M, K] int64 rows of points, without the point itself.
        weights: [M, K] float64, >= 0, any scale.
    """
    points = np.ascontiguousarray(points, dtype=np.float64)
    displacements = np.zeros((len(points), 3))
    rotations = np.tile(np.eye(3), (len(points), 1, 1))
    sight = views.sight(targets, usable)
    strength = kernels.pixels_per_meter(sight, points)
    weights = weights * _TRUST[np.minimum(usable.sum(0), 2)][neighbors]
    kernels.solve_alone(sight, points, strength, displacements)
    for _ in range(_SWEEPS):
        kernels.local_rotations(points, displacements, neighbors, weights, _SPREAD, rotations)
        kernels.sweep(sight, points, strength, neighbors, weights, rotations,
                      displacements.copy(), displacements)
    kernels.local_rotations(points, displacements, neighbors, weights, _SPREAD, rotations)
    return Anchors(points, displacements, rotations)


def blend(views: TrackViews, points: np.ndarray, targets: np.ndarray, usable: np.ndarray,
          anchors: Anchors, indices: np.ndarray, weights: np.ndarray,
          ) -> tuple[np.ndarray, np.ndarray]:
    """3-D displacements and rotations of points between anchors.

    An anchor counts by its weight and by how well its motion explains what the views saw of the
    point, so that motion does not leak over the edges of things. What the views saw of the
    point itself then corrects the result.

    Args:
        views: of V cameras.
        points: [N, 3] float64 m, world.
        targets: [V, N, 2] px, where each view sees them now.
        usable: [V, N] bool, whose targets count.
        anchors: whose motion is known.
        indices: [N, K] int64 rows of `anchors`, K >= 1.
        weights: [N, K] float64 > 0, any scale.

    Returns:
        Displacements [N, 3] float64 m and rotations [N, 3, 3] float64.
    """
    points = np.ascontiguousarray(points, dtype=np.float64)
    displacements, rotations = np.zeros((len(points), 3)), np.zeros((len(points), 3, 3))
    sight = views.sight(targets, usable)
    kernels.blend(sight, points, kernels.pixels_per_meter(sight, points), anchors.points,
                  anchors.displacements, anchors.rotations, indices, weights, displacements,
                  rotations)
    return displacements, rotations


@cache
def warm_up() -> None:
    """Have numba compile the kernels (seconds, once per machine) before frames wait for them."""
    camera = Camera('warm_up', 8, 8, np.array([[8.0, 0, 4], [0, 8, 4], [0, 0, 1]]), np.eye(4))
    views = TrackViews.of([camera, camera])
    points = np.array([[0.0, 0, 2], [0.1, 0, 2], [0, 0.1, 2]])
    targets = np.stack([camera.project(points)[0]] * 2)
    usable, weights = np.ones((2, 3), bool), np.ones((3, 2))
    # laid out as `geometric` has them: the first neighbor, the point itself, is cut off
    neighbors = np.array([[0, 1, 2], [1, 0, 2], [2, 0, 1]])[:, 1:]
    anchors = lift(views, points, targets, usable, neighbors, weights)
    blend(views, points, targets, usable, anchors, neighbors.copy(), weights)
