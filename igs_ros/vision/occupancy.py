# SPDX-License-Identifier: Apache-2.0
"""Which space is occupied, which is free, and of which nothing is known.

Occupied is a voxel that holds enough of the surface that the views see. Free needs evidence: a
view sees through it, to a surface behind, and it holds none itself. Everything else is unknown,
and so is what lies behind a pixel whose depth is not known.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from igs_ros.core.jit import njit
from igs_ros.vision.sights import Sight

UNKNOWN, FREE, OCCUPIED = -1, 0, 100  # as in nav_msgs/OccupancyGrid
_COVER = 0.2  # area of seen surface, in faces of a voxel, that makes it occupied
_MARGIN = 1.3  # voxels that the center of a free one lies before the surface, at least
_jit = njit(cache=True, nogil=True)


@dataclass(frozen=True, eq=False)
class Box:
    """A box of cubic voxels, upright in a frame of its own."""

    corner: np.ndarray  # [3] float64 m, least corner, in the frame of the grid
    shape: tuple[int, int, int]  # voxels along x, y, z (up)
    size: float  # of a voxel, m
    grid_from_world: np.ndarray  # [3, 3] float64 rotation; its third row is up

    def indices(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Voxels [P, 3] int64 of world points [P, 3], and which points lie in the box [P] bool."""
        local = (points @ self.grid_from_world.T - self.corner) / self.size
        return np.floor(local).astype(np.int64), ((local >= 0) & (local < self.shape)).all(1)

    def centers(self, voxels: np.ndarray) -> np.ndarray:
        """[V, 3] float64 m, world: centers of voxels [V, 3]."""
        return ((voxels + 0.5) * self.size + self.corner) @ self.grid_from_world


def carve(box: Box, sights: Iterable[Sight]) -> np.ndarray:
    """[X, Y, Z] int8: the state of every voxel, `UNKNOWN`, `FREE` or `OCCUPIED`."""
    cover = np.zeros(box.shape)
    through = np.zeros(box.shape, np.uint8)
    for sight in sights:
        points, areas = sight.surface()
        voxels, inside = box.indices(points)
        np.add.at(cover, tuple(voxels[inside].T), areas[inside])
        _see_through(*_in_camera(box, sight), sight.nearest(), _MARGIN * box.size, through)
    state = np.where(through > 0, np.int8(FREE), np.int8(UNKNOWN))
    state[cover > 0] = UNKNOWN  # too little to be sure, and too much to pass
    state[cover >= _COVER * box.size ** 2] = OCCUPIED
    return state


def height_slice(states: np.ndarray) -> np.ndarray:
    """[X, Y] int8: columns of voxels [X, Y, Z].

    Occupied where one voxel is, free where all are, else unknown.
    """
    free = (states == FREE).all(2)
    return np.where((states == OCCUPIED).any(2), np.int8(OCCUPIED),
                    np.where(free, np.int8(FREE), np.int8(UNKNOWN)))


def _in_camera(box: Box, sight: Sight) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The voxels of a box in the optical frame, scaled to pixels.

    Center of the first voxel [3] and the steps [3, 3] to the next ones; and the principal point
    [2].
    """
    camera = sight.camera
    scale = np.array([camera.K[0, 0], camera.K[1, 1], 1.0])
    first = camera.to_camera(box.centers(np.zeros((1, 3))))[0] * scale
    steps = box.size * box.grid_from_world @ camera.camera_from_world[:3, :3].T * scale
    return first, steps, camera.K[:2, 2]


@_jit
def _see_through(first, steps, center, nearest, margin, through):
    """Count the view for each voxel whose center lies `margin` before what it sees."""
    height, width = nearest.shape
    for i in range(through.shape[0]):
        for j in range(through.shape[1]):
            for k in range(through.shape[2]):
                z = first[2] + i * steps[0, 2] + j * steps[1, 2] + k * steps[2, 2]
                if z <= 0:
                    continue
                x = first[0] + i * steps[0, 0] + j * steps[1, 0] + k * steps[2, 0]
                y = first[1] + i * steps[0, 1] + j * steps[1, 1] + k * steps[2, 1]
                u, v = x / z + center[0], y / z + center[1]
                if 0 <= u < width and 0 <= v < height and z < nearest[int(v), int(u)] - margin:
                    through[i, j, k] += 1
