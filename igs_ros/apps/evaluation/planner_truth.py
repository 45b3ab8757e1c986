# SPDX-License-Identifier: Apache-2.0
"""Which space is truly free and occupied, and what came and went, from true depths."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation
from scipy.spatial import KDTree

from igs_ros.core.camera import Camera, pixel_grid
from igs_ros.io.recordings.depth_truth import DepthTruth
from igs_ros.vision.occupancy import FREE, OCCUPIED, Box
from igs_ros.vision.visibility import Visibility

_LEAST_PX = 50  # of a thing in a picture, to be there
_LEAST_COVER = 0.2  # of a face of a voxel, in true surface
_GONE, _THERE = 0.2, 0.5  # shares of a thing's voxels that are occupied
_AROUND = np.ones((3, 3, 3), bool)


class TrueFrame:
    """The surfaces of one frame; truths: of some cameras, by name; cameras: of their size."""

    def __init__(self, truths: Mapping[str, DepthTruth], cameras: Mapping[str, Camera]):
        self._truths, self._cameras = truths, cameras
        points, areas = [], []
        for name, truth in truths.items():
            camera, depth = cameras[name], truth.depth.reshape(-1).astype(np.float64)
            points.append(camera.unproject(pixel_grid(camera).reshape(-1, 2), depth))
            areas.append(np.square(depth) / (camera.K[0, 0] * camera.K[1, 1]))
        self.points, self._areas = np.concatenate(points), np.concatenate(areas)
        self._things = np.concatenate([truth.thing.reshape(-1) for truth in truths.values()])
        self._tree = KDTree(self.points[::2])

    def distances(self, points: np.ndarray) -> np.ndarray:
        """[P] m from points [P, 3] to the nearest surface; those that no camera sees left out."""
        seen = np.zeros(len(points), bool)
        for camera in self._cameras.values():
            seen |= Visibility.of_points(points, camera).seen
        return self._tree.query(points[seen])[0]

    def things(self) -> set[int]:
        """Numbers of the things that some camera sees."""
        counts = [np.bincount(truth.thing.reshape(-1)) for truth in self._truths.values()]
        return {int(number) for one in counts for number in np.flatnonzero(one >= _LEAST_PX)}

    def occupied(self, box: Box, thing: int | None = None) -> np.ndarray:
        """[X, Y, Z] bool: voxels that hold surface (of one thing), as `carve` wants it."""
        voxels, inside = box.indices(self.points)
        if thing is not None:
            inside &= self._things == thing
        cover = np.zeros(box.shape)
        np.add.at(cover, tuple(voxels[inside].T), self._areas[inside])
        return cover >= _LEAST_COVER * box.size ** 2

    def free(self, box: Box) -> np.ndarray:
        """[X, Y, Z] bool: voxels that a camera sees through, a voxel and more from any surface."""
        centers = box.centers(np.argwhere(np.ones(box.shape, bool)))
        through = np.zeros(len(centers), bool)
        for name, camera in self._cameras.items():
            found = Visibility.of_points(centers, camera)
            through |= found.seen & (found.depth < found.at(self._truths[name].depth) - box.size)
        near = self._tree.query(centers[through], distance_upper_bound=box.size)[0] <= box.size
        through[np.flatnonzero(through)[near]] = False
        return through.reshape(box.shape)


@dataclass(frozen=True)
class SpaceError:
    """Shares of true space, 0..1."""

    free_filled: float  # of the free voxels are called occupied
    free_known: float  # are called free
    missed: float  # of the occupied ones have no voxel called occupied in or around them
    missed_free: float  # are called free themselves
    columns_filled: float  # of the free columns of the slice are called occupied
    columns_missed: float  # of the occupied ones are called free


def space_error(states: np.ndarray, columns: np.ndarray, free: np.ndarray, occupied: np.ndarray
                ) -> SpaceError:
    """How wrong the states of voxels and of columns are, beside the truth.

    Args:
        states: [X, Y, Z], as `vision.occupancy` has them.
        columns: [X, Y], the same of the grid of the ground.
        free: [X, Y, Z] bool, what is truly free.
        occupied: [X, Y, Z] bool, what is truly occupied.
    """
    said = states == OCCUPIED
    open_, blocked = np.all(free, axis=2), np.any(occupied, axis=2)
    return SpaceError(_share(said, free), _share(states == FREE, free),
                      _share(np.logical_not(binary_dilation(said, _AROUND)), occupied),
                      _share(states == FREE, occupied), _share(columns == OCCUPIED, open_),
                      _share(columns == FREE, blocked))


def _share(what: np.ndarray, of: np.ndarray) -> float:
    return float(what[of].mean()) if of.any() else float('nan')


@dataclass(frozen=True, eq=False)
class Event:
    """A thing that came or went between two frames."""

    thing: int
    came: bool
    frame: int  # the first with, or without it
    voxels: np.ndarray  # [X, Y, Z] bool: its own, free without it


def events(frames: Mapping[int, TrueFrame], box: Box, changes: Mapping[int, np.ndarray]
           ) -> list[Event]:
    """What came and went.

    Args:
        frames: true surfaces, by frame.
        box: whose voxels are looked at.
        changes: by frame, the mean change of each thing's pixels [256] since the frame before.
    """
    found = []
    order = sorted(frames)
    for before, after in zip(order, order[1:], strict=False):
        ids = {frame: frames[frame].things() for frame in (before, after)}
        for thing in sorted(ids[before] ^ ids[after]):
            came = thing in ids[after]
            present, absent = (after, before) if came else (before, after)
            voxels = frames[present].occupied(box, thing) & frames[absent].free(box)
            if voxels.any():
                when = max(range(before + 1, after + 1), key=lambda frame: changes[frame][thing])
                found.append(Event(thing, came, when, voxels))
    return found


def updates_until(event: Event, shares: Mapping[int, float]) -> int | None:
    """Updates until half of a thing is there, or four fifths of it are gone.

    1 = with the first picture that shows it. shares: of its voxels that are occupied, by frame.
    None: not within these frames.
    """
    for frame, share in sorted(shares.items()):
        if frame >= event.frame and (share >= _THERE if event.came else share <= _GONE):
            return frame + 1 - event.frame
    return None
