# SPDX-License-Identifier: Apache-2.0
"""A first depth for every pixel by plane sweep.

For each view, planes parallel to its picture are swept through the depth range; at each depth the
neighboring views are warped onto it and compared by ZNCC in a small window (blind to gain and
offset of a camera). A pixel's depth is where the best neighbors agree most. Measured in
reference/quality_calibration section 1 ("ps").
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.jit import njit

WINDOW = 7  # px, side of the matching window
_BEST = 2  # sources that count at each depth: the best ones, for others may be hidden
UNSEEN = np.float32(-2)  # below any ZNCC: no evidence here
_MIN_VARIANCE = np.float32(1e-6)  # gray levels 0..1; a flat window matches anything
_jit = njit(cache=True, nogil=True, error_model='numpy')


def gray_levels(image: np.ndarray, camera: Camera) -> np.ndarray:
    """[h, w] float32 gray levels around zero (so that the variances below keep their digits)."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    gray = cv2.resize(gray, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    gray = gray.astype(np.float32) * np.float32(1 / 255)
    return gray - np.float32(gray.mean(dtype=np.float64))


def sweep(name: str, sources: Sequence[str], limits: tuple[float, float], planes: int,
          grays: Mapping[str, np.ndarray], cameras: Mapping[str, Camera]
          ) -> tuple[np.ndarray, np.ndarray]:
    """Depth and its score, both [h, w] float32; NaN and -2 where nothing was compared.

    Args:
        name: of the camera whose depth is looked for.
        sources: the cameras to match it with.
        limits: nearest and farthest depth, world units.
        planes: depths tried, equally spaced in inverse depth.
        grays: `gray_levels` of at least these cameras.
        cameras: of the size of these.
    """
    reference, camera = grays[name], cameras[name]
    depths = 1 / np.linspace(1 / limits[0], 1 / limits[1], planes)
    mean, variance = _window_moments(reference, WINDOW)
    state = np.full((5, *reference.shape), UNSEEN, np.float32)
    state[4] = -1
    scores = np.empty((len(sources), *reference.shape), np.float32)
    for plane, depth in enumerate(depths if sources else ()):
        for row, source in enumerate(sources):
            homography = plane_homography(camera, cameras[source], depth)
            _score(reference, mean, variance, grays[source], homography, WINDOW, scores[row],
                   cameras[source].valid)
        _keep_best(scores, min(_BEST, len(sources)), plane, state)
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


def _score(reference, mean, variance, source, homography, window, out, valid) -> None:
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
                out[y, x] = UNSEEN


@_jit
def _keep_best(scores, best, plane, state):
    """Fold one plane into `state`.

    scores: [S, h, w] of the sources at this plane; state: [5, h, w] score before the best plane,
    at it, after it, at the last plane, and the number of the best plane.
    """
    for y in range(scores.shape[1]):
        for x in range(scores.shape[2]):
            first, second = UNSEEN, UNSEEN
            for source in range(scores.shape[0]):
                value = scores[source, y, x]
                if value > first:
                    first, second = value, first
                elif value > second:
                    second = value
            total = first
            if best == 2 and second > UNSEEN:
                total = np.float32(0.5) * (first + second)
            if total > state[1, y, x]:
                state[0, y, x] = state[3, y, x]
                state[1, y, x] = total
                state[2, y, x] = UNSEEN
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
    between = found & (before > UNSEEN) & (after > UNSEEN)
    curvature = np.where(between, before - 2 * peak + after, np.float32(-1))
    shift = np.where(between & (curvature < 0), 0.5 * (before - after) / curvature, 0)
    step = (1 / depths[-1] - 1 / depths[0]) / max(1, len(depths) - 1)
    inverse = 1 / depths[0] + step * (plane + np.clip(shift, -0.5, 0.5))
    return np.where(found, 1 / np.maximum(inverse, 1e-30), np.nan).astype(np.float32)
