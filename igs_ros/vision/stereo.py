# SPDX-License-Identifier: Apache-2.0
"""Depth of calibrated pictures by slanted-window PatchMatch, confirmed by other views.

A coarse plane sweep (sweep.py) gives every pixel a first depth; PatchMatch (patchmatch.py) spreads
good planes to neighboring pixels and refines depth and slant at random; what the depth maps of
other views confirm is kept. PatchMatch Stereo (Bleyer et al., BMVC 2011), in the order of Gipuma
(Galliani et al., ICCV 2015) with the wider search of ACMM (Xu and Tao, CVPR 2019).
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np

from igs_ros.core.camera import Camera, pixel_grid
from igs_ros.vision import fill, warp
from igs_ros.vision import patchmatch as pm
from igs_ros.vision.overlap import depth_range, source_cameras
from igs_ros.vision.sweep import gray_levels, sweep
from igs_ros.vision.visibility import Visibility

_SHARPNESS = np.float32(8.0)  # exponent per color difference of 1 (sum of three channels)
_BANDS = 4  # a view's picture is worked on in so many parts
_SEED = 1  # of what is tried at random: stereo is the same for every seed of a run
_SMALL = 200 * 150  # px of a picture up to which the small window is used
_ISLAND = 8e-4  # of the picture: smaller groups of confirmed pixels are chance


@dataclass(frozen=True)
class StereoSettings:
    """What stereo does."""

    pixels: int = 320 * 240
    """Largest size of the matched pictures, px: the time grows with it."""
    sweep_share: float = 0.5
    """Width of the swept pictures, as a share of that of the matched ones."""
    planes: int = 96
    """Depths swept, equally spaced in inverse depth."""
    rounds: int = 5
    """Of PatchMatch."""
    sources: int = 4
    """Neighboring views that a view is matched with."""
    min_score: float = 0.6
    """Least ZNCC, -1..1, where `min_views` other views confirm a depth."""
    sure_score: float = 0.75
    """Least ZNCC where one does."""
    agree: float = 0.015
    """Largest relative difference of two depth maps that confirm each other."""
    min_views: int = 2
    """Other views that must confirm a depth, unless its score is sure."""
    near: float | None = None
    """Depth range, world units; None = from the points, else from the rig."""
    far: float | None = None


@dataclass(frozen=True, eq=False)
class DepthMap:
    """Depth of one view, where it is known with confidence."""

    depth: np.ndarray  # [h, w] float32, world units along the optical axis, NaN = not known
    score: np.ndarray  # [h, w] float32, ZNCC of the best depth, -2 = never compared
    camera: Camera  # of the matched size
    slope: np.ndarray  # [h, w, 2] float32, change of 1 / depth per px along x and y
    views: np.ndarray  # [h, w] uint8, other cameras (or a depth camera) that confirm the depth

    @classmethod
    def of_depth(cls, depth: np.ndarray, camera: Camera, views: int = 1) -> DepthMap:
        """Of a depth picture [h, w] float32, NaN = not known, from whatever source.

        Args:
            depth: world units along the optical axis.
            camera: of its size.
            views: how many others confirm its depths.
        """
        known = np.isfinite(depth)
        inverse = 1 / np.where(known, depth, np.float32(1))
        slope = np.zeros((*depth.shape, 2), np.float32)
        for axis in (0, 1):
            if depth.shape[axis] > 1:
                change = np.gradient(np.where(known, inverse, np.nan), axis=axis)
                slope[..., 1 - axis] = np.nan_to_num(change)
        return cls(depth, np.where(known, 1, -2).astype(np.float32), camera, slope,
                   np.where(known, views, 0).astype(np.uint8))

    @property
    def confirmed_share(self) -> float:
        """Share of the picture whose depth other cameras confirm, 0..1."""
        return float(np.mean(self.views > 0))

    @property
    def normals(self) -> np.ndarray:
        """[h, w, 3] float32, unit, in camera axes, towards the camera; NaN where not known."""
        height, width = self.depth.shape
        x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
        gx, gy = self.slope[..., 0], self.slope[..., 1]
        plane = np.stack([gx, gy, 1 / self.depth - gx * x - gy * y], -1)  # 1 / depth of (x, y, 1)
        normals = -(plane @ self.camera.opencv_K.astype(np.float32))
        return normals / np.linalg.norm(normals, axis=-1, keepdims=True)


@dataclass(frozen=True, eq=False)
class _Task:
    """What the kernels need of one view."""

    camera: Camera
    mask: np.ndarray  # [h, w] bool, pixels that are looked at
    state: np.ndarray  # [4, h, w] float32, rows as in patchmatch
    picture: np.ndarray
    limits: np.ndarray
    focal: np.ndarray
    sources: np.ndarray
    sizes: np.ndarray
    motions: np.ndarray
    offsets: np.ndarray

    def depth(self) -> np.ndarray:
        """[h, w] float32; NaN where the picture shows nothing."""
        depth, valid = 1 / self.state[pm.INV], self.camera.valid
        return depth if valid is None else np.where(valid, depth, np.float32(np.nan))

    def rate(self, rows: range) -> None:
        """Score the planes of some rows."""
        pm.rate(rows.start, rows.stop, self.picture, _SHARPNESS, self.state,
                self.offsets, self.sources, self.sizes, self.motions)

    def improve(self, rows: range, turn: int) -> None:
        """One color of one round, in some rows."""
        pm.improve(rows.start, rows.stop, turn, _SEED, self.mask, self.picture, _SHARPNESS,
                   self.state, self.limits, self.focal, self.offsets, self.sources, self.sizes,
                   self.motions)


def find_depth(images: Mapping[str, np.ndarray], cameras: Mapping[str, Camera], *,
               settings: StereoSettings = StereoSettings(), points: np.ndarray | None = None,
               where: Mapping[str, np.ndarray] | None = None, threads: int = 2
               ) -> dict[str, DepthMap]:
    """Depth maps of all `images`, by camera name.

    Views that share too little with others get a map without any depth.

    Args:
        images: uint8 RGB [H, W, 3] by camera.
        cameras: by name, without distortion; those without an image are ignored.
        settings: of stereo.
        points: [P, 3] world points that tell the depth range; None: a coarse sweep over the range
            that the rig's geometry allows finds them first.
        where: [H, W] bool of all pictures, the pixels worth the time; elsewhere the sweep's depth
            has to do. None: all of them.
        threads: to work on; results do not depend on them.
    """
    names = [name for name in cameras if name in images]
    small = {name: cameras[name].resized(_width(cameras[name], settings.pixels))
             for name in names}
    with ThreadPoolExecutor(max(1, threads)) as pool:
        if points is None and None in (settings.near, settings.far):
            points = _first_look(images, small, settings, pool)
        plans = _plans(small, points, settings)
        masks = {name: _mask(where[name] if where else None, small[name]) for name in names}
        tasks = _start(images, small, masks, plans, settings, pool)
        _match(list(tasks.values()), settings.rounds, pool)
        raw = {name: task.depth() for name, task in tasks.items()}

        def finish(name):
            if name not in tasks:
                shape = small[name].height, small[name].width
                return DepthMap.of_depth(np.full(shape, np.nan, np.float32), small[name])
            return _confirmed(name, tasks[name], raw, small, settings)
        return dict(zip(names, pool.map(finish, names), strict=True))


def warm_up() -> None:
    """Have numba compile, or load, the kernels, also of what fills: two pictures side by side."""
    K, beside = np.array([[16.0, 0, 8], [0, 16, 8], [0, 0, 1]]), np.eye(4)
    beside[0, 3] = -0.1
    cameras = {'left': Camera('left', 16, 16, K, np.eye(4)),
               'right': Camera('right', 16, 16, K, beside)}
    pictures = dict.fromkeys(cameras, np.zeros((16, 16, 3), np.uint8))
    find_depth(pictures, cameras, threads=1, settings=StereoSettings(
        planes=2, rounds=1, near=1.0, far=2.0))
    fill.warm_up()
    warp.warm_up()


def known_points(found: DepthMap) -> tuple[np.ndarray, np.ndarray]:
    """World points [P, 3] float64 of the known depths, and their flat pixel numbers [P]."""
    known = np.isfinite(found.depth)
    points = found.camera.unproject(pixel_grid(found.camera)[known], found.depth[known])
    return points, np.flatnonzero(known)


def _width(camera: Camera, pixels: float) -> int:
    """Of the matched picture, px."""
    return max(8, min(camera.width, round((pixels * camera.width / camera.height) ** 0.5)))


def _plans(cameras, points, settings) -> dict[str, tuple[tuple[float, float], list[str]]]:
    """Depth limits and sources of each camera that has sources, by name."""
    plans = {}
    for name in cameras:
        if settings.near is not None and settings.far is not None:
            limits = settings.near, settings.far
        else:
            limits = depth_range(name, cameras, points)
        sources = source_cameras(name, cameras, limits, settings.sources) if limits else []
        if limits and sources:
            plans[name] = limits, sources
    return plans


def _first_look(images, cameras, settings, pool) -> np.ndarray:
    """World points [P, 3] of a coarse sweep over the depths that the rig allows."""
    small = {name: camera.resized(max(8, round(camera.width * settings.sweep_share)))
             for name, camera in cameras.items()}
    grays = {name: gray_levels(images[name], camera) for name, camera in small.items()}
    plans = _plans(small, None, settings)

    def look(name):
        limits, sources = plans[name]
        return sweep(name, sources, limits, 2 * settings.planes, grays, small)
    found = dict(zip(plans, pool.map(look, plans), strict=True))
    points = [np.zeros((0, 3))]
    for name, (depth, score) in found.items():
        kept = _votes(name, depth, score, {n: d for n, (d, _) in found.items()}, small,
                      replace(settings, agree=0.02, sure_score=0.8))[1]
        points.append(small[name].unproject(pixel_grid(small[name])[kept], depth[kept]))
    return np.concatenate(points)


def _start(images, cameras, masks, plans, settings, pool) -> dict[str, _Task]:
    """Tasks of the views that have sources, by name, at the depths that a sweep finds."""
    pictures = {name: _picture(images[name], cameras[name]) for name in cameras}
    small = {name: camera.resized(max(8, round(camera.width * settings.sweep_share)))
             for name, camera in cameras.items()}
    grays = {name: gray_levels(images[name], camera) for name, camera in small.items()}

    def start(name):
        limits, sources = plans[name]
        depth, _ = sweep(name, sources, limits, settings.planes, grays, small)
        return _task(name, sources, limits, depth, cameras, pictures, masks[name])
    return dict(zip(plans, pool.map(start, plans), strict=True))


def _picture(image: np.ndarray, camera: Camera) -> np.ndarray:
    """[h, w, 4] float32: colors, and gray levels around zero."""
    small = cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    colors = small.astype(np.float32) * np.float32(1 / 255)
    return np.ascontiguousarray(np.dstack([colors, gray_levels(image, camera)]))


def _task(name, sources, limits, depth, cameras, pictures, mask) -> _Task:
    camera = cameras[name]
    inverse = np.linalg.inv(camera.opencv_K)
    motions, sizes = np.empty((len(sources), 3, 4)), np.empty((len(sources), 2), np.int64)
    area = max(cameras[other].width * cameras[other].height for other in sources)
    grays = np.zeros((len(sources), area), np.float32)
    for row, other in enumerate(sources):
        motion = cameras[other].camera_from_world @ camera.world_from_camera
        motions[row, :, :3] = cameras[other].opencv_K @ motion[:3, :3] @ inverse
        motions[row, :, 3] = cameras[other].opencv_K @ motion[:3, 3]
        gray = pictures[other][..., 3]
        sizes[row] = gray.shape
        grays[row, :gray.size] = gray.ravel()
    least, largest = 1 / limits[1], 1 / limits[0]
    start = np.where(np.isfinite(depth), 1 / depth, np.float32((least * largest) ** 0.5))
    state = np.zeros((4, camera.height, camera.width), np.float32)
    state[pm.INV] = cv2.resize(start.astype(np.float32), (camera.width, camera.height),
                               interpolation=cv2.INTER_NEAREST).clip(least, largest)
    offsets = pm.OFFSETS if area > _SMALL else pm.SMALL_OFFSETS
    return _Task(camera, mask, state, pictures[name], np.array([least, largest], np.float32),
                 camera.K[[0, 1], [0, 1]].astype(np.float32), grays, sizes,
                 motions.astype(np.float32), offsets)


def _mask(where: np.ndarray | None, camera: Camera) -> np.ndarray:
    """[h, w] bool of the matched size: pixels of which any is asked for."""
    valid = np.ones((camera.height, camera.width), bool) if camera.valid is None else camera.valid
    if where is None:
        return valid
    share = cv2.resize(where.astype(np.float32), (camera.width, camera.height),
                       interpolation=cv2.INTER_AREA)
    return valid & (share > 0)


def _match(tasks: list[_Task], rounds: int, pool: ThreadPoolExecutor) -> None:
    """All rounds of all views: parts of pictures go to the threads, colors wait for each other."""
    parts = [(task, rows) for task in tasks for rows in _parts(task.picture.shape[0])]

    def all_parts(work: Callable[[_Task, range], None], of: Iterable[tuple[_Task, range]]):
        for _ in pool.map(lambda part: work(*part), of):
            pass
    all_parts(_Task.rate, parts)
    for turn in range(2 * rounds):
        all_parts(lambda task, rows, turn=turn: task.improve(rows, turn), parts)


def _parts(height: int) -> list[range]:
    edges = np.linspace(0, height, _BANDS + 1).astype(int).tolist()
    return [range(a, b) for a, b in zip(edges, edges[1:])]


def _votes(name, depth, score, depths, cameras, settings) -> tuple[np.ndarray, np.ndarray]:
    """How many other views confirm each depth, and which are confirmed; [h, w] uint8 and bool."""
    camera = cameras[name]
    votes = np.zeros(depth.shape, np.uint8)
    candidate = np.isfinite(depth) & (score > settings.min_score)
    points = camera.unproject(pixel_grid(camera)[candidate], depth[candidate])
    counted = np.zeros(len(points), np.uint8)
    for other in depths:
        if other != name:
            counted += agreeing(points, cameras[other], depths[other], settings.agree)
    votes[candidate] = counted
    sure = (votes >= 1) & (score > settings.sure_score)
    return votes, (votes >= settings.min_views) | sure


def _confirmed(name, task, depths, cameras, settings) -> DepthMap:
    """The depth map of a view with only what its score and other views confirm."""
    score = task.state[pm.SCORE]
    votes, kept = _votes(name, depths[name], score, depths, cameras, settings)
    _, labels, about, _ = cv2.connectedComponentsWithStats(kept.astype(np.uint8), connectivity=4)
    sizes = np.asarray(about)[:, cv2.CC_STAT_AREA][np.asarray(labels, np.int64)]
    kept &= sizes >= _ISLAND * kept.size
    return DepthMap(np.where(kept, depths[name], np.float32(np.nan)), score.copy(), task.camera,
                    np.moveaxis(task.state[[pm.GX, pm.GY]], 0, -1),
                    np.where(kept, votes, np.uint8(0)))


def agreeing(points: np.ndarray, camera: Camera, depth: np.ndarray, tolerance: float
             ) -> np.ndarray:
    """[P] bool: points that lie on a depth map.

    Args:
        points: [P, 3] in the world.
        camera: of the depth map.
        depth: [h, w] along its optical axis, in the unit of the points; NaN agrees with nothing.
        tolerance: largest relative difference of depth.
    """
    found = Visibility.of_points(points, camera)
    return found.seen & (np.abs(depth[found.rows, found.columns] - found.depth)
                         < tolerance * found.depth)
