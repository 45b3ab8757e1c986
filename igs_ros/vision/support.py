# SPDX-License-Identifier: Apache-2.0
"""Which depths the pictures of several places confirm, pixel by pixel (docs/confidence.md).

A depth is confirmed by another camera when that one sees a surface there, both pictures look the
same around it (ZNCC, blind to exposure), and would look less so if it lay nearer or farther: where
parallax is missing (cameras at one place, a blank wall), looking alike says nothing.
"""
from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from igs_ros.core.camera import Camera, pixel_grid
from igs_ros.vision.overlap import source_cameras

_SOURCES = 4  # other cameras that are asked, the nearest
_WINDOW = (7, 7)  # px
_SCORE = 0.6  # least ZNCC, -1..1
_SHIFT = 0.05  # relative change of depth that must cost
_COST = 0.1  # so much ZNCC
_SAME = 0.03  # relative difference of depth of one surface in two views
_MIN_VARIANCE = np.float32(1e-5)  # gray levels 0..1: flatter windows are noise
_REACH, _LEVEL = 2, 0.02  # px, relative depth: a window speaks for its own surface around it
_MIDDLE = (2, 98)  # percentiles of depth that say which cameras are neighbors


def witnesses(depths: Mapping[str, np.ndarray], images: Mapping[str, np.ndarray],
              cameras: Mapping[str, Camera], measured: Mapping[str, np.ndarray] | None = None
              ) -> dict[str, np.ndarray]:
    """How many witnesses each depth has, by camera: uint8 [h, w], 0 or at least 2.

    The picture itself is one, each other camera that confirms the depth is one more, and so is a
    depth picture that does.

    Args:
        depths: [h, w] m along the optical axis, NaN = nothing there.
        images: uint8 RGB [h, w, 3], of the same cameras.
        cameras: without distortion, of these sizes.
        measured: [h, w] m of depth cameras among them, NaN = not known.
    """
    grays = {name: _gray(images[name]) for name in depths}
    found = {}
    for name, depth in depths.items():
        count = np.zeros(depth.shape, np.uint8)
        reference = _Reference(cameras[name], depth, grays[name])
        for other in _neighbors(name, depth, cameras, depths):
            count += reference.confirmed(cameras[other], depths[other], grays[other])
        if measured and name in measured:
            with np.errstate(invalid='ignore'):
                count += np.abs(measured[name] - depth) < _SAME * depth
        found[name] = _spread(np.where(count > 0, count + 1, 0).astype(np.uint8), depth)
    return found


def _gray(image: np.ndarray) -> np.ndarray:
    """[h, w] float32 around zero, so that variances keep their digits."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) * np.float32(1 / 255)
    return gray - np.float32(gray.mean(dtype=np.float64))


def _neighbors(name: str, depth: np.ndarray, cameras: Mapping[str, Camera],
               depths: Mapping[str, np.ndarray]) -> list[str]:
    known = depth[np.isfinite(depth)]
    if not len(known):
        return []
    near, far = np.percentile(known, _MIDDLE)
    return source_cameras(name, {other: cameras[other] for other in depths}, (near, far),
                          _SOURCES)


class _Reference:
    """A view whose depths are to be confirmed."""

    def __init__(self, camera: Camera, depth: np.ndarray, gray: np.ndarray):
        self._camera = camera
        self._known = np.isfinite(depth)
        self._depth = np.where(self._known, depth, 1).astype(np.float32)
        self._gray = gray
        self._mean, self._variance = _moments(gray)
        rays = (pixel_grid(camera) - camera.K[:2, 2]) / np.diag(camera.K)[:2]
        self._rays = np.concatenate([rays, np.ones((*depth.shape, 1))], -1)

    def confirmed(self, other: Camera, surface: np.ndarray, gray: np.ndarray) -> np.ndarray:
        """[h, w] bool: what `other`, whose depths are `surface` and picture `gray`, confirms."""
        motion = other.camera_from_world @ self._camera.world_from_camera
        turned = (self._rays @ motion[:3, :3].T).astype(np.float32)
        shift = motion[:3, 3].astype(np.float32)
        x, y, z = _projected(turned, shift, self._depth, other)
        inside = self._known & (z > 0) & (x >= 0) & (y >= 0) & (x <= other.width - 1) \
            & (y <= other.height - 1)
        columns, rows = (np.where(inside, place + np.float32(0.5), 0).astype(np.int32)
                         for place in (x, y))
        with np.errstate(invalid='ignore'):
            same = inside & (np.abs(surface[rows, columns] - z) < _SAME * z)
        if not same.any():
            return same
        score = self._score(gray, x, y)
        good = same & (score > _SCORE)
        for factor in (1 - _SHIFT, 1 + _SHIFT):
            x, y, _ = _projected(turned, shift, self._depth * np.float32(factor), other)
            good &= score - self._score(gray, x, y) > _COST
        return good

    def _score(self, gray: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """[h, w] ZNCC with what `gray` has at x and y; -1 where one of both is flat."""
        warped = cv2.remap(gray, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mean, variance = _moments(warped)
        cross = cv2.boxFilter(self._gray * warped, cv2.CV_32F, _WINDOW,
                              borderType=cv2.BORDER_REFLECT) - self._mean * mean
        textured = (self._variance > _MIN_VARIANCE) & (variance > _MIN_VARIANCE)
        scale = np.sqrt(np.maximum(self._variance * variance, _MIN_VARIANCE ** 2))
        return np.where(textured, cross / scale, np.float32(-1))


def _moments(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = cv2.boxFilter(picture, cv2.CV_32F, _WINDOW, borderType=cv2.BORDER_REFLECT)
    square = cv2.boxFilter(picture * picture, cv2.CV_32F, _WINDOW, borderType=cv2.BORDER_REFLECT)
    return mean, square - mean * mean


def _projected(turned: np.ndarray, shift: np.ndarray, depth: np.ndarray, camera: Camera
               ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels x and y (centers at integers) and depths z, float32 [h, w], in `camera`."""
    x, y, z = (turned[..., axis] * depth + shift[axis] for axis in range(3))
    inverse = 1 / np.maximum(z, np.float32(1e-9))
    K = camera.opencv_K.astype(np.float32)
    return x * inverse * K[0, 0] + K[0, 2], y * inverse * K[1, 1] + K[1, 2], z


def _spread(count: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """[h, w]: what is confirmed speaks for the pixels around it that lie on its surface."""
    height, width = count.shape
    around = np.pad(count, _REACH)
    depths = np.pad(depth, _REACH, constant_values=np.nan)
    found = count.copy()
    with np.errstate(invalid='ignore'):
        for row, column in np.ndindex(2 * _REACH + 1, 2 * _REACH + 1):
            if (row - _REACH) ** 2 + (column - _REACH) ** 2 > _REACH ** 2 + 1:
                continue
            there = slice(row, row + height), slice(column, column + width)
            level = np.abs(depths[there] - depth) < _LEVEL * depth
            np.maximum(found, around[there], out=found, where=level)
    return found
