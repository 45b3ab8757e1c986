# SPDX-License-Identifier: Apache-2.0
"""Depth of calibrated pictures by plane sweep.

For each view, planes parallel to its picture are swept through the depth range; at each depth the
neighboring views are warped onto it and compared by ZNCC in a small window (blind to gain and
offset of a camera). A pixel's depth is where the best neighbors agree most, kept only if the
depth maps of other views confirm it. Measured in reference/quality_calibration section 1 ("ps").
"""
from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np

from igs_ros.core.camera import Camera, pixel_grid
from igs_ros.core.jit import njit
from igs_ros.vision.overlap import depth_range, source_cameras
from igs_ros.vision.visibility import Visibility

_UNSEEN = np.float32(-2)  # below any ZNCC: no evidence here
_MIN_VARIANCE = np.float32(1e-6)  # gray levels 0..1; a flat window matches anything
_jit = njit(cache=True, nogil=True, error_model='numpy')


@dataclass(frozen=True)
class StereoSettings:
    """What the sweep does."""

    scale: float = 0.5
    """Size of the matched pictures, as a share of the given ones."""
    max_width: int = 640
    """Largest width of the matched pictures, px: the time grows with its square."""
    planes: int = 144
    """Depths tried, equally spaced in inverse depth."""
    window: int = 7
    """Side of the matching window, px of the matched pictures, odd."""
    sources: int = 4
    """Neighboring views that a view is matched with."""
    best: int = 2
    """Sources that count at each depth, 1 or 2: the best ones, for others may be hidden."""
    min_score: float = 0.6
    """Least mean ZNCC, -1..1."""
    sure_score: float = 0.8
    """Least mean ZNCC where fewer than `min_views` other views confirm a depth, but one does."""
    agree: float = 0.02
    """Largest relative difference of two depth maps that confirm each other."""
    min_views: int = 2
    """Other views that must confirm a depth."""
    near: float | None = None
    """Depth range, world units; None = from the points, else from the rig."""
    far: float | None = None


@dataclass(frozen=True, eq=False)
class DepthMap:
    """Depth of one view, where it is known with confidence."""

    depth: np.ndarray  # [h, w] float32, world units along the optical axis, NaN = not known
    score: np.ndarray  # [h, w] float32, mean ZNCC of the best depth, -2 = never compared
    camera: Camera  # of the matched size


def plane_sweep(images: Mapping[str, np.ndarray], cameras: Mapping[str, Camera], *,
                settings: StereoSettings = StereoSettings(), points: np.ndarray | None = None,
                threads: int = 2) -> dict[str, DepthMap]:
    """Depth maps of all `images`, by camera name.

    Views that share too little with others get a map without any depth.

    Args:
        images: uint8 RGB [H, W, 3] by camera.
        cameras: by name, without distortion; those without an image are ignored.
        settings: of the sweep.
        points: [P, 3] world points that tell the depth range; None: a coarse sweep over the range
            that the rig's geometry allows finds them first.
        threads: to work on; results do not depend on them.
    """
    names = [name for name in cameras if name in images]
    cameras = {name: cameras[name] for name in names}
    if points is None and None in (settings.near, settings.far):
        coarse = _sweep_all(images, cameras, None, _coarse(settings), threads)
        points = np.concatenate([known_points(found)[0] for found in coarse.values()]
                                or [np.zeros((0, 3))])
    return _sweep_all(images, cameras, points, settings, threads)


def warm_up() -> None:
    """Have numba compile, or load, the kernels: a sweep of two pictures side by side."""
    K, beside = np.array([[16.0, 0, 8], [0, 16, 8], [0, 0, 1]]), np.eye(4)
    beside[0, 3] = -0.1
    cameras = {'left': Camera('left', 16, 16, K, np.eye(4)),
               'right': Camera('right', 16, 16, K, beside)}
    pictures = dict.fromkeys(cameras, np.zeros((16, 16, 3), np.uint8))
    plane_sweep(pictures, cameras, threads=1, settings=StereoSettings(
        scale=1, planes=2, near=1.0, far=2.0))


def known_points(found: DepthMap) -> tuple[np.ndarray, np.ndarray]:
    """World points [P, 3] float64 of the known depths, and their flat pixel numbers [P]."""
    known = np.isfinite(found.depth)
    points = found.camera.unproject(pixel_grid(found.camera)[known], found.depth[known])
    return points, np.flatnonzero(known)


def _coarse(settings: StereoSettings) -> StereoSettings:
    """For a first look at the depth range: small pictures, many planes for the wide range."""
    return replace(settings, scale=settings.scale / 2, max_width=settings.max_width // 2,
                   planes=2 * settings.planes)


def _sweep_all(images, cameras, points, settings, threads) -> dict[str, DepthMap]:
    names = list(cameras)
    small = {name: cameras[name].resized(_matched_width(cameras[name], settings))
             for name in names}
    grays = {name: _gray(images[name], small[name]) for name in names}
    plans = {name: _plan(name, small, points, settings) for name in names}
    found = {}

    def sweep(name):
        return _sweep_view(name, plans[name], grays, small, settings)

    def confirm(name):
        return _confirmed(name, found, small, settings)

    with ThreadPoolExecutor(max(1, threads)) as pool:
        found.update(zip(names, pool.map(sweep, names), strict=True))
        depths = dict(zip(names, pool.map(confirm, names), strict=True))
    return {name: DepthMap(depths[name], found[name][1], small[name]) for name in names}


def _matched_width(camera: Camera, settings: StereoSettings) -> int:
    return max(8, min(settings.max_width, round(camera.width * settings.scale)))


def _gray(image: np.ndarray, camera: Camera) -> np.ndarray:
    """[h, w] float32 gray levels around zero (so that the variances below keep their digits)."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    gray = cv2.resize(gray, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    gray = gray.astype(np.float32) * np.float32(1 / 255)
    return gray - np.float32(gray.mean(dtype=np.float64))


def _plan(name, cameras, points, settings) -> tuple[np.ndarray, list[str]]:
    """The depths to try [planes], near first, and the source cameras of a view; maybe none."""
    limits = (settings.near, settings.far)
    if None in limits:
        limits = depth_range(name, cameras, points)
    if limits is None:
        return np.zeros(0), []
    sources = source_cameras(name, cameras, limits, settings.sources)
    depths = 1 / np.linspace(1 / limits[0], 1 / limits[1], settings.planes)
    return depths, sources


def _sweep_view(name, plan, grays, cameras, settings) -> tuple[np.ndarray, np.ndarray]:
    """Best depth and its score, both float32 [h, w]; NaN and -2 where nothing was compared."""
    depths, sources = plan
    reference, camera = grays[name], cameras[name]
    mean, variance = _window_moments(reference, settings.window)
    state = np.full((5, *reference.shape), _UNSEEN, np.float32)
    state[4] = -1
    scores = np.empty((len(sources), *reference.shape), np.float32)
    for plane, depth in enumerate(depths if sources else ()):
        for row, source in enumerate(sources):
            homography = plane_homography(camera, cameras[source], depth)
            _score(reference, mean, variance, grays[source], homography, settings.window,
                   scores[row], cameras[source].valid)
        _keep_best(scores, min(settings.best, len(sources)), plane, state)
    return _refined_depth(state, depths), state[1].copy()


def plane_homography(camera: Camera, source: Camera, depth: float) -> np.ndarray:
    """[3, 3] float64: pixels of `source` from pixels of `camera`, for what lies on one plane.

    Pixels in OpenCV's sense (centers at integers).

    Args:
        camera: without distortion; the plane is parallel to its picture.
        source: without distortion.
        depth: of the plane, world units along the optical axis of `camera`.
    """
    source_from_camera = source.camera_from_world @ camera.world_from_camera
    motion = source_from_camera[:3, :3].copy()
    motion[:, 2] += source_from_camera[:3, 3] / depth
    return source.opencv_K @ motion @ np.linalg.inv(camera.opencv_K)


def _window_moments(picture, window) -> tuple[np.ndarray, np.ndarray]:
    size = (window, window)
    mean = cv2.boxFilter(picture, cv2.CV_32F, size, borderType=cv2.BORDER_REFLECT)
    square = cv2.boxFilter(picture * picture, cv2.CV_32F, size, borderType=cv2.BORDER_REFLECT)
    return mean, square - mean * mean


def _score(reference, mean, variance, source, homography, window, out, valid=None) -> None:
    """ZNCC [h, w] of the reference and the warped source into `out`; -2 where it cannot be."""
    height, width = reference.shape
    warped = cv2.warpPerspective(source, homography, (width, height),
                                 flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                                 borderMode=cv2.BORDER_REPLICATE)
    seen = np.empty(reference.shape, np.uint8)
    _seen(homography, source.shape[1], source.shape[0], seen)
    if valid is not None:
        seen &= cv2.warpPerspective(valid.astype(np.uint8), homography, (width, height),
                                    flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    seen = cv2.erode(seen, np.ones((window, window), np.uint8), borderValue=1)
    warped_mean, warped_variance = _window_moments(warped, window)
    cross = cv2.boxFilter(reference * warped, cv2.CV_32F, (window, window),
                          borderType=cv2.BORDER_REFLECT)
    _zncc(mean, variance, warped_mean, warped_variance, cross, seen, out)


@_jit
def _seen(homography, width, height, out):
    """1 where a pixel lands inside the source picture and in front of its camera."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            w = homography[2, 0] * x + homography[2, 1] * y + homography[2, 2]
            u = homography[0, 0] * x + homography[0, 1] * y + homography[0, 2]
            v = homography[1, 0] * x + homography[1, 1] * y + homography[1, 2]
            inside = w > 0 and u >= 0 and v >= 0 and u <= (width - 1) * w and v <= (height - 1) * w
            out[y, x] = 1 if inside else 0


@_jit
def _zncc(mean, variance, warped_mean, warped_variance, cross, seen, out):
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            a, b = variance[y, x], warped_variance[y, x]
            if seen[y, x] and a > _MIN_VARIANCE and b > _MIN_VARIANCE:
                covariance = cross[y, x] - mean[y, x] * warped_mean[y, x]
                out[y, x] = min(covariance / np.sqrt(a * b), np.float32(1))
            else:
                out[y, x] = _UNSEEN


@_jit
def _keep_best(scores, best, plane, state):
    """Fold one plane into `state`.

    scores: [S, h, w] of the sources at this plane; state: [5, h, w] score before the best plane,
    at it, after it, at the last plane, and the number of the best plane.
    """
    for y in range(scores.shape[1]):
        for x in range(scores.shape[2]):
            first, second = _UNSEEN, _UNSEEN
            for source in range(scores.shape[0]):
                value = scores[source, y, x]
                if value > first:
                    first, second = value, first
                elif value > second:
                    second = value
            total = first
            if best == 2 and second > _UNSEEN:
                total = np.float32(0.5) * (first + second)
            if total > state[1, y, x]:
                state[0, y, x] = state[3, y, x]
                state[1, y, x] = total
                state[2, y, x] = _UNSEEN
                state[4, y, x] = plane
            elif state[4, y, x] == plane - 1:
                state[2, y, x] = total
            state[3, y, x] = total


def _refined_depth(state, depths) -> np.ndarray:
    """[h, w] float32: the best plane moved to the peak of a parabola through its neighbors."""
    before, peak, after, _, plane = state
    found = plane >= 0
    if not found.any():
        return np.full(peak.shape, np.nan, np.float32)
    between = found & (before > _UNSEEN) & (after > _UNSEEN)
    curvature = np.where(between, before - 2 * peak + after, np.float32(-1))
    shift = np.where(between & (curvature < 0), 0.5 * (before - after) / curvature, 0)
    step = (1 / depths[-1] - 1 / depths[0]) / max(1, len(depths) - 1)
    inverse = 1 / depths[0] + step * (plane + np.clip(shift, -0.5, 0.5))
    return np.where(found, 1 / np.maximum(inverse, 1e-30), np.nan).astype(np.float32)


def _confirmed(name, found, cameras, settings) -> np.ndarray:
    """The depth map [h, w] of a view with only what its score and other views confirm."""
    camera = cameras[name]
    depth, score = found[name]
    votes = np.zeros(depth.shape, np.int32)
    candidate = np.isfinite(depth) & (score > settings.min_score)
    if camera.valid is not None:
        candidate &= camera.valid
    points = camera.unproject(pixel_grid(camera)[candidate], depth[candidate])
    counted = np.zeros(len(points), np.int32)
    for other in cameras:
        if other != name:
            counted += agreeing(points, cameras[other], found[other][0], settings.agree)
    votes[candidate] = counted
    sure = (votes >= 1) & (score > settings.sure_score)
    return np.where((votes >= settings.min_views) | sure, depth, np.float32(np.nan))


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
