# SPDX-License-Identifier: Apache-2.0
"""Depth between known depths: smooth within surfaces, as the colors of the picture tell them.

What is smooth is the slope: in inverse depth every plane has one, so walls and floors go on past
the last known pixel instead of bending towards the camera. Slopes first, then inverse depths that
have them, both by relaxation from coarse to fine.
"""
from __future__ import annotations

import cv2
import numpy as np

from igs_ros.core.jit import njit

_jit = njit(cache=True, nogil=True, error_model='numpy', fastmath=True)
_SHARPNESS = np.float32(20.0)  # exponent per color difference of 1, largest of three channels
_LEAST = np.float32(1e-4)  # weight that a color edge leaves, so that all hangs together
_JUMP = np.float32(0.02)  # relative step of inverse depth that begins to count as an edge
_TRUST = np.float32(10.0)  # weight of a known pixel against that of a neighbor
_SMALLEST = 8  # px, shorter side of the coarsest pictures
_SWEEPS = 40  # of relaxation at each size
_MIN_KNOWN = 20  # px of which a picture can be filled


def filled(depth: np.ndarray, slope: np.ndarray, image: np.ndarray) -> np.ndarray:
    """`depth` with a guess wherever it is unknown, float32 [h, w].

    Guesses stay within twice the range of what is known. All NaN where less than 20 px are known.

    Args:
        depth: [h, w] float32, NaN = unknown.
        slope: [h, w, 2] float32, change of inverse depth per px along x and y; where it is known.
        image: [H, W, 3] uint8 RGB, any size.
    """
    known = np.isfinite(depth)
    if known.sum() < _MIN_KNOWN:
        return np.full_like(depth, np.nan)
    unit = np.float32(np.median(1 / depth[known]))
    values = np.zeros((3, *depth.shape), np.float32)
    values[0][known] = 1 / (depth[known] * unit)
    values[1:, known] = slope[known].T / unit
    solved = _solve(values, known.astype(np.float32), image)[0]
    least, largest = values[0][known].min() / 2, values[0][known].max() * 2
    guess = 1 / (solved.clip(least, largest) * unit)
    return np.where(known, depth, guess).astype(np.float32)


def warm_up() -> None:
    """Have numba compile, or load, the kernels."""
    depth = np.ones((_SMALLEST, _SMALLEST), np.float32)
    filled(depth, np.zeros((*depth.shape, 2), np.float32), np.zeros((*depth.shape, 3), np.uint8))


def _solve(values, weights, image) -> np.ndarray:
    """[3, h, w] inverse depth and its slopes everywhere; weights [h, w] are 0 where unknown."""
    height, width = weights.shape
    if min(height, width) >= 2 * _SMALLEST:
        half = (width + 1) // 2, (height + 1) // 2
        mass = cv2.resize(weights, half, interpolation=cv2.INTER_AREA)
        small = [cv2.resize(v * weights, half, interpolation=cv2.INTER_AREA)
                 / np.maximum(mass, 1e-6) for v in values]
        small = np.stack([small[0], 2 * small[1], 2 * small[2]])
        start = _solve(small, mass, image)
        start = np.stack([cv2.resize(v, (width, height), interpolation=cv2.INTER_LINEAR)
                          for v in start])
        start[1:] /= 2
    else:
        start = np.zeros_like(values)
        for row in range(3):
            start[row] = (values[row] * weights).sum() / weights.sum()
    picture = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    picture = picture.astype(np.float32) * np.float32(1 / 255)
    start = np.where(weights > 0.5, values, start).astype(np.float32)
    right, down = np.empty_like(weights), np.empty_like(weights)
    _affinity(picture, right, down)
    zero = np.zeros((2, height, width), np.float32)
    for row in (1, 2):
        _relax(start[row], values[row], weights, right, down, zero, np.float32(1e9), _SWEEPS)
    _relax(start[0], values[0], weights, right, down, start[1:], _JUMP, _SWEEPS)
    return start


@_jit
def _affinity(picture, right, down):
    """How much a pixel and its right and lower neighbors look like one surface, 0..1."""
    height, width = right.shape
    for y in range(height):
        for x in range(width):
            for lower in range(2):
                row, column = min(y + lower, height - 1), min(x + 1 - lower, width - 1)
                most = np.float32(0)
                for channel in range(3):
                    most = max(most, abs(picture[row, column, channel] - picture[y, x, channel]))
                value = np.exp(-most * _SHARPNESS) + _LEAST
                if lower:
                    down[y, x] = value
                else:
                    right[y, x] = value


@_jit
def _relax(x, known, weights, right, down, slope, jump, sweeps):
    """Gauss-Seidel: neighbors differ by the slope between them, known pixels stay about there."""
    height, width = x.shape
    half, one = np.float32(0.5), np.float32(1)
    for sweep in range(sweeps):
        for step in range(height):
            row = step if sweep % 2 == 0 else height - 1 - step
            for column in range(width):
                weight = _TRUST * weights[row, column]
                total = weight
                total_value = weight * known[row, column]
                here = x[row, column]
                for side in range(4):
                    r = row + (side == 2) - (side == 3)
                    c = column + (side == 0) - (side == 1)
                    if r < 0 or c < 0 or r >= height or c >= width:
                        continue
                    if side == 0:
                        near = right[row, column]
                    elif side == 1:
                        near = right[row, c]
                    elif side == 2:
                        near = down[row, column]
                    else:
                        near = down[r, column]
                    axis = 0 if side < 2 else 1
                    change = half * (slope[axis, row, column] + slope[axis, r, c])
                    value = x[r, c] - change if side % 2 == 0 else x[r, c] + change
                    off = (value - here) / jump
                    near = near / np.sqrt(one + off * off)
                    total += near
                    total_value += near * value
                x[row, column] = total_value / total
