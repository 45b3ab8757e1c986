# SPDX-License-Identifier: Apache-2.0
"""Points that cover what the cameras see, taken from their depth maps, evenly in the pictures."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from igs_ros.core.camera import pixel_grid
from igs_ros.core.points import Points
from igs_ros.vision.overlap import depth_range
from igs_ros.vision.stereo import DepthMap, agreeing, known_points

_SAME_SURFACE = 0.04  # relative difference of depth below which a point covers a pixel
_SEARCH_STEPS = 12  # bisections of the spacing; the count is then within a few per cent
_NEIGHBOR_SHARE = 0.7  # of the points in holes, lie near the depth of the hole's border
_NEIGHBOR_SPREAD = 0.1  # relative depth noise of those


@dataclass(frozen=True, eq=False)
class Seeds(Points):
    """Points of surfaces, whose direction may be known."""

    normals: np.ndarray  # [N, 3] float32, unit, world frame; NaN where not known

    @classmethod
    def joined(cls, parts: Sequence[Points]) -> Seeds:
        """All points of all parts; normals of plain points are not known."""
        normals = [part.normals if isinstance(part, Seeds) else np.full_like(part.xyz, np.nan)
                   for part in parts]
        return cls(np.concatenate([part.xyz for part in parts]),
                   np.concatenate([part.rgb for part in parts]), np.concatenate(normals))

    def select(self, rows: np.ndarray) -> Seeds:
        """The seeds `rows`, in that order."""
        return Seeds(self.xyz[rows], self.rgb[rows], self.normals[rows])


@dataclass(frozen=True, eq=False)
class _Surface:
    """The known points of one view, the surest first."""

    found: DepthMap
    points: np.ndarray  # [P, 3] float64, world
    seeds: Seeds  # the same, P
    pixels: np.ndarray  # [P, 2] int column and row


_NO_SEEDS = Seeds(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8),
                  np.zeros((0, 3), np.float32))


def covering_points(images: Mapping[str, np.ndarray], maps: Mapping[str, DepthMap], wanted: int,
                    seed: int) -> Seeds:
    """Points of all depth maps together, evenly spaced in the pictures.

    Each view adds a point for every square of its picture that no point of an earlier view
    covers; the size of the squares is searched so that the number comes out.

    Args:
        images: [H, W, 3] uint8 RGB by camera, any size.
        maps: by camera.
        wanted: at most so many points.
        seed: fixes which points are left out where there are still too many.

    Returns:
        Points in the world frame, m.
    """
    surfaces = [_surface(images[name], maps[name]) for name in maps]
    total = sum(len(surface.points) for surface in surfaces)
    if total == 0 or wanted <= 0:
        return _NO_SEEDS
    smallest, largest = 1.0, float(max(max(m.depth.shape) for m in maps.values()))
    best = _cover(surfaces, largest)
    for _ in range(_SEARCH_STEPS if total > wanted else 0):
        middle = np.sqrt(smallest * largest)
        covered = _cover(surfaces, middle)
        if len(covered) > wanted:
            smallest = middle
        else:
            largest, best = middle, covered
    if total <= wanted:
        best = _cover(surfaces, smallest)
    if len(best) > wanted:
        best = best.select(np.sort(np.random.default_rng(seed).permutation(len(best))[:wanted]))
    return best


def _surface(image: np.ndarray, found: DepthMap) -> _Surface:
    points, flat = known_points(found)
    order = np.argsort(-found.score.ravel()[flat], kind='stable')
    points, flat = points[order], flat[order]
    pixels = np.stack([flat % found.camera.width, flat // found.camera.width], 1)
    normals = found.normals.reshape(-1, 3)[flat] @ found.camera.camera_from_world[:3, :3]
    seeds = Seeds(points.astype(np.float32), _colors(image, found).reshape(-1, 3)[flat],
                  normals.astype(np.float32))
    return _Surface(found, points, seeds, pixels)


def _colors(image: np.ndarray, found: DepthMap) -> np.ndarray:
    """[h, w, 3] uint8: the picture at the size of its depth map."""
    size = (found.camera.width, found.camera.height)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _cover(surfaces: list[_Surface], side: float) -> Seeds:
    """About one point per square of `side` px."""
    xyz, seeds = [np.zeros((0, 3))], [_NO_SEEDS]
    for surface in surfaces:
        camera = surface.found.camera
        columns = int(camera.width // side) + 1
        square = (surface.pixels[:, 1] // side).astype(np.int64) * columns \
            + (surface.pixels[:, 0] // side).astype(np.int64)
        before = np.concatenate(xyz)
        before = before[agreeing(before, camera, surface.found.depth, _SAME_SURFACE)]
        at, _ = camera.project(before)
        taken = (at[:, 1] // side).astype(np.int64) * columns + (at[:, 0] // side).astype(np.int64)
        squares, first = np.unique(square, return_index=True)
        first = first[~np.isin(squares, taken)]
        xyz.append(surface.points[first])
        seeds.append(surface.seeds.select(first))
    return Seeds.joined(seeds)


def hole_points(images: Mapping[str, np.ndarray], maps: Mapping[str, DepthMap], wanted: int,
                seed: int) -> Points:
    """Random points on the rays of pixels whose depth is not known, in the world frame, m.

    Most lie near the depth of the nearest known pixel of the same picture, for holes are mostly
    smooth walls and picture borders; the rest, and all of a picture without depth, spread evenly
    in inverse depth over what the other views know of the scene.

    Args:
        images: [H, W, 3] uint8 RGB by camera, any size.
        maps: by camera.
        wanted: about so many points, and not more; none where all depths are known.
        seed: fixes the points.
    """
    rng = np.random.default_rng(seed)
    cameras = {name: found.camera for name, found in maps.items()}
    scene = np.concatenate([known_points(found)[0] for found in maps.values()])
    holes = {name: np.flatnonzero(hole(found)) for name, found in maps.items()}
    total = sum(len(hole) for hole in holes.values())
    xyz, rgb = [np.zeros((0, 3))], [np.zeros((0, 3), np.uint8)]
    for name, found in maps.items():
        count = min(len(holes[name]), int(wanted * len(holes[name]) / max(1, total)))
        limits = depth_range(name, cameras, scene) or _range_without_overlap(cameras)
        flat = rng.choice(holes[name], count, replace=False)
        depth = 1 / rng.uniform(1 / limits[1], 1 / limits[0], count)
        beside = _border_depth(found.depth).ravel()[flat]
        use = np.isfinite(beside) & (rng.random(count) < _NEIGHBOR_SHARE)
        noise = np.exp(rng.normal(0, _NEIGHBOR_SPREAD, count))
        depth = np.where(use, beside * noise, depth)
        grid = pixel_grid(found.camera).reshape(-1, 2)
        xyz.append(found.camera.unproject(grid[flat], depth))
        rgb.append(_colors(images[name], found).reshape(-1, 3)[flat])
    return Points(np.concatenate(xyz).astype(np.float32), np.concatenate(rgb))


def hole(found: DepthMap) -> np.ndarray:
    """[h, w] bool: valid pixels whose depth is not known."""
    unknown = ~np.isfinite(found.depth)
    return unknown if found.camera.valid is None else unknown & found.camera.valid


def _border_depth(depth: np.ndarray) -> np.ndarray:
    """[h, w]: the depth of the nearest pixel whose depth is known; all NaN if there is none."""
    unknown = ~np.isfinite(depth)
    if unknown.all():
        return depth
    nearest = np.empty((2, *depth.shape), np.int32)  # row and column
    distance_transform_edt(unknown, return_distances=False, return_indices=True, indices=nearest)
    return depth[nearest[0], nearest[1]]


def _range_without_overlap(cameras) -> tuple[float, float]:
    """Depths for a camera that shares its picture with no other: around the rig's own size.

    Which depth is right cannot be known then; pictures of that camera look right at any.
    """
    centers = np.array([camera.center for camera in cameras.values()])
    size = float(np.linalg.norm(np.ptp(centers, axis=0))) or 1.0
    return 0.5 * size, 5.0 * size
