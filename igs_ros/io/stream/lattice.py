# SPDX-License-Identifier: Apache-2.0
"""What a decoder holds: whole numbers, and how fine the steps between them are.

A coded scene has one length L (m), about 100 picture elements at the distance of the scene. Then

- positions count L / 65536 from the origin of the stream;
- scales are u + u^3 / 2^25 of that unit: small ones in even steps, large ones in relative ones;
- opacities count 1 / 4096; colors and SH 1 / 2048, as Y = (R + 2 G + B) / 4, U = B - G, V = R - G;
- rotations are quaternions of length 16384, of axes in falling order of their first scales.

Steps are the roundings of 2^(e / 4), and e is the quality and what a change does to a picture:
colors of large opaque Gaussians are finer than those of small pale ones, a long Gaussian is turned
in finer steps than a round one. Everything here is the same in every language that has integers of
53 bits (docs/stream_format.md, part 3).
"""
from __future__ import annotations

import math

import numpy as np

from igs_ros.core.jit import njit

UNIT = 65536  # positions per L
REACH = 1 << 23  # how far a position may be from the origin, on each axis
CUBE = 1 << 25  # scale = u + u^3 / CUBE
MAX_U = 1 << 16
OPAQUE = 4096
LEAST, MOST = 16, 4092  # opacities of a decoded scene
COLOR = 2048
MAX_COLOR = 1 << 20  # of a decoded scene: 512
TURN = 16384  # length of a quaternion
MAX_TURN = 4 * TURN  # of the tangent of half an angle
QUALITIES = range(32)

_QUARTERS = (38968, 46341, 55109)  # 2^15 times 2^(1/4), 2^(2/4), 2^(3/4)
_STEPS = np.array([math.floor(2 ** (e / 4) + 0.5) for e in range(64)])
_SMALLEST = 524 * 524  # squared size below which a Gaussian's color matters no less
_PALEST = 614  # opacity below which a color matters no less

# e of the steps at quality 0, and their bounds
POSITION, SCALE, TILT = 37, 41, 38
OPACITY, OPACITY_BOUNDS = 85, (17, 40)
LUMA, REST, LUMA_BOUNDS = 124, 128, (17, 47)
CHROMA = 6  # more than luma
TURNS, TURN_BOUNDS = 98, (25, 52)
# how many of these steps one step of a change is
MOVES, PALE_MOVES, PALE = 4, 8, 1448  # opacities below PALE take PALE_MOVES
OPACITIES, LOOKS = 3, 4


@njit(cache=True, nogil=True)
def quarter_log(value: int) -> int:
    """4 log2 of a whole number >= 1, rounded down."""
    bits = 0
    while (value >> bits) > 1:
        bits += 1
    mantissa = value >> (bits - 15) if bits > 15 else value << (15 - bits)
    quarters = 4 * bits
    for limit in _QUARTERS:
        if mantissa >= limit:
            quarters += 1
    return quarters


@njit(cache=True, nogil=True)
def step_of(exponent: int, low: int, high: int) -> int:
    """2^(exponent / 4), with the exponent within its bounds (0..63).

    Args:
        exponent: four more double the step.
        low: the least exponent.
        high: the greatest.
    """
    return _STEPS[min(max(exponent, low), high)]


@njit(cache=True, nogil=True)
def size_of(u: int) -> int:
    """The scale of a Gaussian's axis, in units of positions, rounded down."""
    return u + ((u * u * u) >> 25)


@njit(cache=True, nogil=True, inline='always')
def _sorted(scales, row):
    """The scales of a row, falling."""
    a, b, c = size_of(scales[row, 0]), size_of(scales[row, 1]), size_of(scales[row, 2])
    if a < b:
        a, b = b, a
    if b < c:
        b, c = c, b
    if a < b:
        a, b = b, a
    return a, b, c


@njit(cache=True, nogil=True)
def _size_class(scales, row):
    long, middle, _ = _sorted(scales, row)
    return quarter_log(long * middle + _SMALLEST) // 2


@njit(cache=True, nogil=True)
def position_step(quality: int) -> int:
    """How fine the grid of positions is."""
    return step_of(POSITION - quality, 12, 63)


@njit(cache=True, nogil=True)
def scale_step(quality: int) -> int:
    """How fine scales are, in u."""
    return step_of(SCALE - quality, 0, 63)


@njit(cache=True, nogil=True)
def opacity_steps(scales: np.ndarray, quality: int) -> np.ndarray:
    """[M, 1] steps of opacities; scales: [M, 3] u, quality: of `QUALITIES`."""
    steps = np.empty((len(scales), 1), np.int64)
    for row in range(len(scales)):
        size = _size_class(scales, row)
        steps[row, 0] = step_of(OPACITY - quality - size, OPACITY_BOUNDS[0], OPACITY_BOUNDS[1])
    return steps


@njit(cache=True, nogil=True)
def luma_steps(scales: np.ndarray, opacities: np.ndarray, quality: int) -> np.ndarray:
    """[M, 2] steps of Y and of its SH.

    Args:
        scales: [M, 3] u.
        opacities: [M].
        quality: of `QUALITIES`.
    """
    steps = np.empty((len(scales), 2), np.int64)
    for row in range(len(scales)):
        size = _size_class(scales, row)
        seen = size + quarter_log(max(opacities[row], _PALEST))
        steps[row, 0] = step_of(LUMA - quality - seen, LUMA_BOUNDS[0], LUMA_BOUNDS[1])
        steps[row, 1] = step_of(REST - quality - seen, LUMA_BOUNDS[0], LUMA_BOUNDS[1])
    return steps


@njit(cache=True, nogil=True)
def color_steps(lumas: np.ndarray, terms: int) -> np.ndarray:
    """[M, 3 terms] steps of Y, U, V, for each of `terms` coefficients; lumas: [M]."""
    chroma = np.array([quarter_log(max(one, 1)) for one in lumas])
    steps = np.empty((len(lumas), 3 * terms), np.int64)
    for row in range(len(lumas)):
        wide = step_of(chroma[row] + CHROMA, 0, 63)
        for term in range(terms):
            steps[row, 3 * term] = lumas[row]
            steps[row, 3 * term + 1] = wide
            steps[row, 3 * term + 2] = wide
    return steps


@njit(cache=True, nogil=True)
def motion_steps(scales: np.ndarray, opacities: np.ndarray, quality: int) -> np.ndarray:
    """[M, 2] steps of displacements and of turns; see `luma_steps`.

    Args:
        scales: [M, 3] u.
        opacities: [M].
        quality: of `QUALITIES`.
    """
    steps = np.empty((len(scales), 2), np.int64)
    for row in range(len(scales)):
        long, _, short = _sorted(scales, row)
        steps[row, 0] = position_step(quality) * (PALE_MOVES if opacities[row] < PALE else MOVES)
        steps[row, 1] = step_of(TURNS - quality - quarter_log(max(long - short, 1)),
                                TURN_BOUNDS[0], TURN_BOUNDS[1])
    return steps


@njit(cache=True, nogil=True)
def rotation_bits(scales: np.ndarray, quality: int) -> tuple[np.ndarray, np.ndarray]:
    """How finely the rotations of whole Gaussians are coded.

    The pole is the axis that differs from the other two: the longest of a needle, the shortest of
    a plate.

    Args:
        scales: [M, 3] u, falling in each row.
        quality: of `QUALITIES`.

    Returns:
        [M, 3] int64 bits, 0..8: of the pole twice, of the angle about it; [M] int64 1 = a needle.
    """
    bits = np.empty((len(scales), 3), np.int64)
    needles = np.empty(len(scales), np.int64)
    for row in range(len(scales)):
        long, middle, short = _sorted(scales, row)
        needle = long - middle > middle - short
        tilt = 2 * long - middle - short if needle else long + middle - 2 * short
        turn = middle - short if needle else long - middle
        # 90 degrees, and 180, are 2^(2.6 / 4) and 2^(6.6 / 4)
        pole = quarter_log(max(tilt // 2, 1)) - (TILT - quality) + 3
        angle = quarter_log(max(turn, 1)) - (TILT - quality) + 7
        bits[row, 0] = bits[row, 1] = min(max((pole + 3) // 4, 0), 8)
        bits[row, 2] = min(max((angle + 3) // 4, 0), 8)
        needles[row] = 1 if needle else 0
    return bits, needles
