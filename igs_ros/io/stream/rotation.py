# SPDX-License-Identifier: Apache-2.0
"""Rotations in whole numbers: a pole and an angle about it, and small turns of what is there.

A quaternion is [w, x, y, z] of length `TURN`; docs/stream_format.md, part 8.
"""
from __future__ import annotations

import numpy as np

from igs_ros.core.jit import njit
from igs_ros.io.stream.lattice import MAX_TURN, TURN

_HALF = np.sqrt(0.5)
# what turns the axes 0, 1, 2 into the axes of a permutation (first, second, third), signs aside
PERMUTATIONS = ((0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 0, 2), (0, 2, 1), (2, 1, 0))
_PERMUTED = np.array([[1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], [0.5, -0.5, -0.5, -0.5],
                      [_HALF, 0, 0, _HALF], [_HALF, _HALF, 0, 0], [_HALF, 0, _HALF, 0]])


@njit(cache=True, nogil=True)
def root(value: int) -> int:
    """The square root of a whole number, rounded down."""
    found = int(np.sqrt(value))
    while found * found > value:
        found -= 1
    while (found + 1) * (found + 1) <= value:
        found += 1
    return found


@njit(cache=True, nogil=True, inline='always')
def _over(value, by):
    """value / by, rounded to the nearest, halves up; by > 0."""
    return (2 * value + by) // (2 * by)


@njit(cache=True, nogil=True)
def _unit(w, x, y, z, out, row):
    """A quaternion of any length up to 2^21 as one of length TURN."""
    length = max(root((w * w + x * x + y * y + z * z) << 8), 1)
    out[row, 0] = _over(w * TURN * 16, length)
    out[row, 1] = _over(x * TURN * 16, length)
    out[row, 2] = _over(y * TURN * 16, length)
    out[row, 3] = _over(z * TURN * 16, length)


@njit(cache=True, nogil=True)
def _pole(first, second, bits):
    """The unit vector of a cell of the octahedron's upper half, times TURN."""
    a = 2 * first + 1 - (1 << bits)
    b = 2 * second + 1 - (1 << bits)
    x, y = a + b, a - b
    z = (2 << bits) - abs(x) - abs(y)
    length = root((x * x + y * y + z * z) << 20)
    return _over(x * TURN * 1024, length), _over(y * TURN * 1024, length), \
        _over(z * TURN * 1024, length)


@njit(cache=True, nogil=True)
def _tangent(share, bits):
    """Of half the angle share / 2^bits times 90 degrees, times TURN; nearly: see the format."""
    at = (abs(share) * TURN) >> bits
    size = (at * (12868 + ((3516 * at * at) >> 28))) >> 14
    return size if share >= 0 else -size


@njit(cache=True, nogil=True)
def rotations_of(cells: np.ndarray, bits: np.ndarray, needles: np.ndarray) -> np.ndarray:
    """[M, 4] int64 quaternions of `cells` [M, 3] (see `lattice.rotation_bits`).

    Args:
        cells: [M, 3] of pole (two) and angle.
        bits: [M, 3] as `lattice.rotation_bits` has them.
        needles: [M] 1 = the pole is the first axis.
    """
    quats = np.empty((len(cells), 4), np.int64)
    for row in range(len(cells)):
        px, py, pz = _pole(cells[row, 0], cells[row, 1], bits[row, 0])
        turn = _tangent(2 * cells[row, 2] + 1 - (1 << bits[row, 2]), bits[row, 2])
        # from the third axis to the pole, after the turn about the third axis
        up = TURN + pz
        w = _over(up * TURN, TURN)
        x = _over(-py * TURN + px * turn, TURN)
        y = _over(px * TURN + py * turn, TURN)
        z = _over(up * turn, TURN)
        if needles[row]:  # the pole is the first axis, not the third: [1, -1, -1, -1] / 2
            w, x, y, z = w + x + y + z, -w + x - y + z, -w + x + y - z, -w - x + y + z
        _unit(w, x, y, z, quats, row)
    return quats


@njit(cache=True, nogil=True)
def _third(w, x, y, z):
    """Where the third axis points, times the square of the quaternion's length."""
    return 2 * (x * z + w * y), 2 * (y * z - w * x), w * w - x * x - y * y + z * z


@njit(cache=True, nogil=True)
def _angle_cell(w, x, y, z, plain, bits):
    """The cell of the angle of the first axis, against a quaternion without one."""
    p, q, r, s = plain
    a = (w * w + x * x - y * y - z * z) >> 17, 2 * (x * y + w * z) >> 17, 2 * (x * z - w * y) >> 17
    t = (p * p + q * q - r * r - s * s) >> 17, 2 * (q * r + p * s) >> 17, 2 * (q * s - p * r) >> 17
    u = 2 * (q * r - p * s) >> 17, (p * p - q * q + r * r - s * s) >> 17, 2 * (r * s + p * q) >> 17
    along = a[0] * t[0] + a[1] * t[1] + a[2] * t[2]
    across = a[0] * u[0] + a[1] * u[1] + a[2] * u[2]
    if along < 0:
        along, across = -along, -across
    half = _over(across * TURN, max(along + root(along * along + across * across), 1))
    low, high = 0, (1 << bits) - 1
    while low < high:  # the last cell that begins at or below it
        middle = (low + high + 1) >> 1
        if _tangent(2 * middle - (1 << bits), bits) <= half:
            low = middle
        else:
            high = middle - 1
    return low


@njit(cache=True, nogil=True)
def cells_for(quats: np.ndarray, bits: np.ndarray, needles: np.ndarray) -> np.ndarray:
    """The inverse of `rotations_of`: [M, 3] int64, the cells that `quats` [M, 4] lie in.

    Args:
        quats: [M, 4] of length TURN, axes in falling order of scales.
        bits: [M, 3] as `lattice.rotation_bits` has them.
        needles: [M] 1 = the pole is the first axis.
    """
    cells = np.zeros((len(quats), 3), np.int64)
    pole = np.zeros((1, 3), np.int64)
    depth = np.zeros((1, 3), np.int64)
    plate = np.zeros(1, np.int64)
    for row in range(len(quats)):
        w, x, y, z = quats[row]
        if needles[row]:  # [1, 1, 1, 1]: the first axis becomes the third
            w, x, y, z = w - x - y - z, w + x + y - z, w - x + y + z, w + x - y + z
        px, py, pz = _third(w, x, y, z)
        if pz < 0:
            px, py, pz = -px, -py, -pz
        width = 2 * max(abs(px) + abs(py) + pz, 1)
        last = (1 << bits[row, 0]) - 1
        for place in range(2):
            side = py if place == 0 else -py
            at = ((width // 2 + px + side) << bits[row, 0]) // width
            cells[row, place] = pole[0, place] = min(max(at, 0), last)
            depth[0, place] = bits[row, 0]
        plain = rotations_of(pole, depth, plate)
        cells[row, 2] = _angle_cell(w, x, y, z, plain[0], bits[row, 2])
    return cells


@njit(cache=True, nogil=True)
def renamed(quats: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Axes in falling order of their scales, which for equal ones stays as it is.

    Args:
        quats: [M, 4] of length TURN.
        scales: [M, 3].

    Returns:
        [M, 4] quaternions of the axes so named, [M, 3] their scales, [M, 3] which axes they were.
    """
    out = np.empty_like(quats)
    sizes = scales.copy()
    order = np.empty_like(scales)
    for row in range(len(quats)):
        w, x, y, z = quats[row]
        a, b, c = 0, 1, 2
        for first in (0, 1, 0):  # swaps of neighbors: a turn by 90 degrees about the third
            if sizes[row, first] < sizes[row, first + 1]:
                sizes[row, first], sizes[row, first + 1] = sizes[row, first + 1], sizes[row, first]
                if first == 0:
                    a, b = b, a
                    w, x, y, z = w - z, x + y, y - x, z + w
                else:
                    b, c = c, b
                    w, x, y, z = w - x, x + w, y + z, z - y
        order[row, 0], order[row, 1], order[row, 2] = a, b, c
        if (a, b, c) == (0, 1, 2):
            out[row] = quats[row]
        else:
            _unit(w, x, y, z, out, row)
    return out, sizes, order


@njit(cache=True, nogil=True)
def turned(quats: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """[M, 4] `quats` turned by `turns` [M, 3]: axis times tangent of half the angle, times TURN.

    Turns are in the world, after what is there.
    """
    out = np.empty_like(quats)
    for row in range(len(quats)):
        a = min(max(turns[row, 0], -MAX_TURN), MAX_TURN)
        b = min(max(turns[row, 1], -MAX_TURN), MAX_TURN)
        c = min(max(turns[row, 2], -MAX_TURN), MAX_TURN)
        w, x, y, z = quats[row]
        _unit(_over(TURN * w - a * x - b * y - c * z, TURN),
              _over(TURN * x + a * w + b * z - c * y, TURN),
              _over(TURN * y - a * z + b * w + c * x, TURN),
              _over(TURN * z + a * y - b * x + c * w, TURN), out, row)
    return out


# --- the encoder's side, in floating point: what it picks, every decoder understands -----------


def multiplied(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products of quaternions [M, 4] wxyz."""
    w, x, y, z = a.T
    p, q, r, s = b.T
    return np.stack([w * p - x * q - y * r - z * s, w * q + x * p + y * s - z * r,
                     w * r - x * s + y * p + z * q, w * s + x * r - y * q + z * p], 1)


def permuted(quats: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The same Gaussians with their axes in another order.

    Args:
        quats: [M, 4] wxyz unit.
        order: [M, 3] which axis becomes the first, second and third.
    """
    which = np.zeros(len(order), np.int64)
    for place, one in enumerate(PERMUTATIONS):
        which[(order == one).all(1)] = place
    return multiplied(quats, _PERMUTED[which])


def whole_quaternions(quats: np.ndarray) -> np.ndarray:
    """[M, 4] int64 of length TURN, of unit ones."""
    return np.rint(quats * TURN).astype(np.int64)


def turns_to(quats: np.ndarray, target: np.ndarray) -> np.ndarray:
    """[M, 3]: what turns `quats` into `target` (both [M, 4] wxyz unit), as in `turned`.

    A Gaussian looks the same after half a turn about any of its axes: the least turn is taken.
    """
    halves = np.eye(4)
    alike = np.stack([multiplied(target, halves[None, axis]) for axis in range(4)], 1)
    dots = np.einsum('mak,mk->ma', alike, quats)
    best = np.abs(dots).argmax(1)
    rows = np.arange(len(quats))
    nearest = alike[rows, best] * np.where(dots[rows, best] < 0, -1, 1)[:, None]
    turn = multiplied(nearest, quats * [1, -1, -1, -1])
    return turn[:, 1:] / np.maximum(turn[:, :1], 1e-6) * TURN
