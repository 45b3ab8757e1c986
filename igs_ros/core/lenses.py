# SPDX-License-Identifier: Apache-2.0
"""Lens models: what each calls its coefficients, and how it bends a picture.

Everything that depends on the model is here: another one is one entry of `LENSES`, with its names
in ROS and COLMAP. Cameras, readers and the node only hand names and coefficients through.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from igs_ros.core.errors import InputError, shown

DEFAULT = 'plumb_bob'  # without distortion it is a pinhole
MAX_DISTORTION = 100.0  # size of a coefficient
Maps = tuple[np.ndarray, np.ndarray]  # float32 [h, w] x and y, OpenCV pixels of the raw picture


@dataclass(frozen=True)
class Lens:
    """One model."""

    coefficients: tuple[str, ...]  # in their order
    optional: int  # how many of them, the last ones, may be left out: they are 0
    undistort_maps: Callable[[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]], Maps]
    # of K [3, 3], coefficients, K of the straightened picture (both OpenCV's), its width, height
    rays: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    # of pixels [N, 2], K (both OpenCV's), coefficients: [N, 2] on the plane z = 1, NaN = none
    colmap: tuple[tuple[int, str, int, bool], ...] = ()
    # COLMAP's models that it covers: number, name, parameters, whether one focal length for both
    largest: float = MAX_DISTORTION  # size of a coefficient
    also: tuple[str, ...] = ()  # other names of it

    @property
    def minimum(self) -> int:
        """The smallest number of coefficients that are not left out."""
        return len(self.coefficients) - self.optional

    @property
    def counts(self) -> str:
        """How many coefficients it may have, for messages."""
        most = len(self.coefficients)
        return {0: f'{most}', 1: f'{self.minimum} or {most}'}.get(
            self.optional, f'{self.minimum} to {most}')


def _opencv_maps(K: np.ndarray, distortion: np.ndarray, new_K: np.ndarray,
                 size: tuple[int, int]) -> Maps:
    return cv2.initUndistortRectifyMap(K, distortion, None, new_K, size, cv2.CV_32FC1)


def _equidistant_maps(K: np.ndarray, distortion: np.ndarray, new_K: np.ndarray,
                      size: tuple[int, int]) -> Maps:
    return cv2.fisheye.initUndistortRectifyMap(K, distortion, np.eye(3), new_K, size,
                                               cv2.CV_32FC1)


def _opencv_rays(pixels: np.ndarray, K: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    start = (pixels - K[:2, 2]) / np.diag(K)[:2]
    rays = cv2.undistortPoints(pixels.reshape(-1, 1, 2), K, distortion).reshape(-1, 2) \
        if distortion.any() else start
    for _ in range(_ROUNDS if distortion.any() else 0):  # OpenCV's own rounds are few
        rays = rays + start - _bent(rays, distortion)
    left = np.abs(_bent(rays, distortion) - start).max(1, initial=0, keepdims=True)
    return np.where(left * K[0, 0] < _EXACT, rays, np.nan)


def _bent(rays: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    there = np.concatenate([rays, np.ones((len(rays), 1))], 1)
    return cv2.projectPoints(there, np.zeros(3), np.zeros(3), np.eye(3), distortion)[0].reshape(
        -1, 2)


def _equidistant_rays(pixels: np.ndarray, K: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    rays = cv2.fisheye.undistortPoints(pixels.reshape(-1, 1, 2), K, distortion).reshape(-1, 2)
    return np.where(np.abs(rays).max(1, keepdims=True) < _WIDEST, rays, np.nan)


_ROUNDS, _EXACT = 10, 0.05  # of the inverse of a lens; px
_WIDEST = 10.0  # tangent of the angle of a ray; beyond it is one to the side, or none
_BROWN = ('k1', 'k2', 'p1', 'p2', 'k3')
LENSES = {
    'plumb_bob': Lens(_BROWN, 1, _opencv_maps, _opencv_rays, (
        (0, 'SIMPLE_PINHOLE', 3, True), (1, 'PINHOLE', 4, False), (2, 'SIMPLE_RADIAL', 4, True),
        (3, 'RADIAL', 5, True), (4, 'OPENCV', 8, False))),
    # the thin prism and the tilt of the sensor are OpenCV's; ROS' calibrator writes the first
    # eight. Its numerator and denominator may be large, as long as both are.
    'rational_polynomial': Lens((*_BROWN, 'k4', 'k5', 'k6', 's1', 's2', 's3', 's4', 'tx', 'ty'), 6,
                                _opencv_maps, _opencv_rays, ((6, 'FULL_OPENCV', 12, False),), 1e4),
    'equidistant': Lens(('k1', 'k2', 'k3', 'k4'), 0, _equidistant_maps, _equidistant_rays, (
        (5, 'OPENCV_FISHEYE', 8, False), (8, 'SIMPLE_RADIAL_FISHEYE', 4, True),
        (9, 'RADIAL_FISHEYE', 5, True)), also=('fisheye',)),
}
"""By the name that ROS has for `CameraInfo.distortion_model`."""
NONE = ('', 'none')  # names of no distortion
_COLMAP = {number: (lens, name, count, one_focal) for lens, model in LENSES.items()
           for number, name, count, one_focal in model.colmap}
_COLMAP_OTHERS = {7: 'FOV', 10: 'THIN_PRISM_FISHEYE', 11: 'RAD_TAN_THIN_PRISM_FISHEYE'}


def named(model: str) -> str | None:
    """The lens that is called `model`; None for names that are no lens's."""
    if model in NONE:
        return DEFAULT
    return next((lens for lens, known in LENSES.items() if model in (lens, *known.also)), None)


def padded(lens: str, coefficients: Sequence[float] | np.ndarray) -> np.ndarray:
    """[K] float64: all coefficients of a lens, zeros for those left out at the end."""
    result = np.zeros(len(LENSES[lens].coefficients))
    result[:len(coefficients)] = coefficients
    return result


def checked_coefficients(lens: str, distortion: np.ndarray, who: str) -> None:
    """Prove that coefficients can be used.

    Args:
        lens: its name, which should be one of `LENSES`.
        distortion: [K] float64, all coefficients of the lens.
        who: whose lens it is; the message begins with it.

    Raises:
        InputError: another lens, or coefficients of another number, not finite or too large.
    """
    if lens not in LENSES:
        raise InputError(f'{who}: lens model {shown(lens)}; expected {", ".join(LENSES)}. '
                         f'Calibrate with one of them.')
    names, largest = LENSES[lens].coefficients, LENSES[lens].largest
    # NaN compares false
    if distortion.shape != (len(names),) or not (np.abs(distortion) <= largest).all():
        raise InputError(f'{who}: distortion {shown(distortion.tolist())}; expected '
                         f'{_NUMBERS.get(len(names), len(names))} finite {lens} values '
                         f'{" ".join(names)} of at most {largest:g}. Calibrate this '
                         f'camera again.')


_NUMBERS = {4: 'four', 5: 'five', 8: 'eight'}


def from_ros(model: str, coefficients: Sequence[float], topic: str) -> tuple[str, np.ndarray]:
    """Lens and all its coefficients, [K] float64, of a CameraInfo.

    '' or none without any is a pinhole.

    Args:
        model: `distortion_model`.
        coefficients: `d`; those at the end may be left out.
        topic: that they came from, for the message.

    Raises:
        InputError: another model or number of coefficients.
    """
    given = np.array(coefficients, dtype=np.float64)
    # eight plumb_bob coefficients of OpenCV's are those of rational_polynomial
    name = 'rational_polynomial' if model == DEFAULT and len(given) == 8 else named(model)
    lens = None if name is None else LENSES[name]
    if name is not None and lens is not None:
        if model in NONE and not given.any():
            return name, padded(name, ())
        if model not in NONE and (len(given) == 0 or
                                  lens.minimum <= len(given) <= len(lens.coefficients)):
            return name, padded(name, given)
    wanted = ', '.join(f'{known} with {lens.counts}' for known, lens in LENSES.items())
    raise InputError(f'{topic}: distortion model {shown(model)} with {len(given)} coefficients; '
                     f'expected {wanted}, or none. Calibrate with one of them, or publish '
                     f'rectified images with their CameraInfo.')


def from_opencv(coefficients: Sequence[float] | np.ndarray, fisheye: bool, who: str
                ) -> tuple[str, np.ndarray]:
    """Lens and all its coefficients, [K] float64, of what OpenCV's calibrations return.

    Args:
        coefficients: k1 k2 p1 p2 k3 and so on, or k1 k2 k3 k4 of a fisheye; none = no distortion.
        fisheye: whether they are of cv2.fisheye.
        who: that they came from; the message begins with it.

    Raises:
        InputError: another number of them.
    """
    count = len(coefficients)
    name = 'equidistant' if fisheye else DEFAULT if count <= 5 else 'rational_polynomial'
    if count not in ((0, 4) if fisheye else (0, 4, 5, 8, 12, 14)):
        raise InputError(f'{who}: {count} distortion coefficients; expected '
                         f'{"4 of a fisheye" if fisheye else "0, 4, 5, 8, 12 or 14"}, as OpenCV '
                         f'has them. Calibrate again.')
    return name, padded(name, coefficients)


def colmap_parameters(number: int, who: str) -> int:
    """How many parameters COLMAP's camera model `number` has.

    Args:
        number: `model_id` in cameras.bin.
        who: whose model it is; the message begins with it.

    Raises:
        InputError: a model that is not among `LENSES`.
    """
    if number not in _COLMAP:
        raise InputError(
            f'{who} has the model {_COLMAP_OTHERS.get(number, f"number {number}")}; expected '
            f'{", ".join(name for _, name, _, _ in _COLMAP.values())}. Run '
            f'`colmap image_undistorter` and use what it writes.')
    return _COLMAP[number][2]


def from_colmap(number: int, values: Sequence[float]) -> tuple[np.ndarray, str, np.ndarray]:
    """K [3, 3] (pixel centers at +0.5), lens and coefficients of a camera of COLMAP."""
    lens, _, _, one_focal = _COLMAP[number]
    fx, fy, cx, cy, *bend = (values[0], *values) if one_focal else values
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), lens, padded(lens, bend)
