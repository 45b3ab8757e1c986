# SPDX-License-Identifier: Apache-2.0
"""Which rows before a row are nearest to it: what numbers are predicted from.

In integers (docs/stream_format.md, part 7), so that every decoder finds the same.
"""
from __future__ import annotations

import numpy as np

from igs_ros.core.jit import njit

WINDOW, COUNT = 48, 3  # rows looked at, rows found
ALIKE_WINDOW, ALIKE_COUNT = 64, 4


@njit(cache=True, nogil=True, inline='always')
def _take(near, best, row, other, distance):
    place = len(best) - 1
    while place > 0 and best[place - 1] > distance:
        best[place] = best[place - 1]
        near[row, place] = near[row, place - 1]
        place -= 1
    best[place] = distance
    near[row, place] = other


@njit(cache=True, nogil=True, inline='always')
def _apart(a, b, row, other):
    x = a[row, 0] - b[other, 0]
    y = a[row, 1] - b[other, 1]
    z = a[row, 2] - b[other, 2]
    return x * x + y * y + z * z


@njit(cache=True, nogil=True)
def nearest_before(positions: np.ndarray) -> np.ndarray:
    """[M, COUNT] int32: of the WINDOW rows before, those nearest in space; -1 = none.

    Args:
        positions: [M, 3] int64 in coding order; of rows as near as each other the first wins.
    """
    near = np.full((len(positions), COUNT), -1, np.int32)
    best = np.empty(COUNT, np.int64)
    for row in range(len(positions)):
        best[:] = 1 << 62
        for other in range(max(0, row - WINDOW), row):
            distance = _apart(positions, positions, row, other)
            if distance < best[COUNT - 1]:
                _take(near, best, row, other, distance)
    return near


@njit(cache=True, nogil=True)
def alike_before(positions: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """[M, ALIKE_COUNT] int32: as `nearest_before`, with a difference in color as distance.

    What moves together has the color of what it belongs to.

    Args:
        positions: [M, 3] int64.
        colors: [M, 3] int64 red, green, blue, as `Lattice` has them; their squared differences
            count a fifth.
    """
    near = np.full((len(positions), ALIKE_COUNT), -1, np.int32)
    best = np.empty(ALIKE_COUNT, np.int64)
    for row in range(len(positions)):
        best[:] = 1 << 62
        for other in range(max(0, row - ALIKE_WINDOW), row):
            distance = 5 * _apart(positions, positions, row, other)
            if distance < best[ALIKE_COUNT - 1]:
                distance += _apart(colors, colors, row, other)
                if distance < best[ALIKE_COUNT - 1]:
                    _take(near, best, row, other, distance)
    return near


@njit(cache=True, nogil=True)
def _predicted(values, near, row, column, step):
    """The mean of what is near, in steps, rounded to the nearest, halves up."""
    total = count = 0
    for place in range(near.shape[1]):
        other = near[row, place]
        if other >= 0:
            total += values[other, column]
            count += 1
    count *= step
    return (2 * total + count) // (2 * count) if count else 0  # floors, below 0, too


@njit(cache=True, nogil=True)
def differences(values: np.ndarray, near: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """[M, D] int32 to send for values [M, D] int64, which are multiples of `steps` [M, D].

    Each is predicted by the mean of its neighbors, which come before it.

    Args:
        values: [M, D] int64, multiples of `steps`.
        near: [M, K] int32 rows before, -1 = none.
        steps: [M, D] int64.
    """
    sent = np.zeros(values.shape, np.int32)
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            step = steps[row, column]
            sent[row, column] = values[row, column] // step \
                - _predicted(values, near, row, column, step)
    return sent


@njit(cache=True, nogil=True)
def summed_up(sent: np.ndarray, near: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The inverse of `differences`: [M, D] int64.

    Args:
        sent: [M, D] int32.
        near: [M, K] int32 rows before, -1 = none.
        steps: [M, D] int64.
    """
    values = np.zeros(sent.shape, np.int64)
    for row in range(sent.shape[0]):
        for column in range(sent.shape[1]):
            step = steps[row, column]
            values[row, column] = step * (sent[row, column]
                                          + _predicted(values, near, row, column, step))
    return values
