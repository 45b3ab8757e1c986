# SPDX-License-Identifier: Apache-2.0
"""The photometric loss and its gradient on the CPU, in one pass over the rows of a picture.

Written in the difference d = x - y of rendering and target, which is zero outside the tiles under
comparison. With B the SSIM window (a blur, zeros outside the picture), m = B y and
V = B y^2 - m^2 known in advance,

    c = B(d y) - m B d,   v = B d^2 - (B d)^2      (covariance of d and y, variance of d),
    p = (B d)^2 / (m^2 + (m + B d)^2 + C1),        q = v / (2 V + 2 c + v + C2),
    1 - SSIM = p + q - p q,

so nothing is left where two pictures agree, and float32 loses no digits there. The window is
symmetric: with D the sum of 1 - SSIM, the gradient is

    B(dD/d(B d)) + 2 d B(dD/d(B d^2)) + y B(dD/d(B d y)).

Rows stream through two rings of the last 16: d, d^2, d y enter the first one; their blur, five
rows behind, gives the three derivatives, which enter the second one; their blur, ten rows behind,
gives the gradient. Work is cut into runs of tiles, grown by what the windows reach, so the cost
follows the area under comparison.
"""
from __future__ import annotations

import numpy as np

from igs_ros.core.jit import njit
from igs_ros.render.tiles import TILE

WINDOW = 11
REACH = WINDOW // 2
_offsets = np.arange(WINDOW) - REACH
KERNEL = np.exp(-_offsets ** 2 / (2 * 1.5 ** 2))
KERNEL = (KERNEL / KERNEL.sum()).astype(np.float32)  # [11]
C1, C2 = np.float32(0.01 ** 2), np.float32(0.03 ** 2)

_K0, _K1, _K2, _K3, _K4, _K5 = KERNEL[:REACH + 1]  # the outermost first
_PAD = 3 * REACH  # floats before and after a row: pixels outside the picture, always zero
_RING = 16  # rows kept
_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)
# unsigned offsets, as in render/cpu/tiles.py: a signed index is tested for wrap-around
_S3, _S6, _S9, _S12, _S15, _S18, _S21, _S24, _S27, _S30 = (np.uint64(3 * k) for k in range(1, 11))
_FAST = {'cache': True, 'nogil': True, 'error_model': 'numpy', 'fastmath': True}


@njit(**_FAST)
def _down(ring, middle, out, start, stop):
    """out[i] for i in start..stop: the window over the rows around `middle` of a ring."""
    a0, a1, a2 = middle - 5 & 15, middle - 4 & 15, middle - 3 & 15
    a3, a4, a5 = middle - 2 & 15, middle - 1 & 15, middle & 15
    b0, b1, b2 = middle + 5 & 15, middle + 4 & 15, middle + 3 & 15
    b3, b4 = middle + 2 & 15, middle + 1 & 15
    # in two halves: LLVM compares the addresses of at most so many rows before it vectorizes
    for i in range(np.uint64(start), np.uint64(stop)):
        out[i] = (_K0 * (ring[a0, i] + ring[b0, i]) + _K1 * (ring[a1, i] + ring[b1, i])
                  + _K2 * (ring[a2, i] + ring[b2, i]))
    for i in range(np.uint64(start), np.uint64(stop)):
        out[i] += (_K3 * (ring[a3, i] + ring[b3, i]) + _K4 * (ring[a4, i] + ring[b4, i])
                   + _K5 * ring[a5, i])


@njit(**_FAST)
def _across(row, out, start, stop):
    """out[i] for i in start..stop: the window along a row of RGB pixels."""
    for i in range(np.uint64(start), np.uint64(stop)):
        j = i - _S15
        out[i] = (_K0 * (row[j] + row[j + _S30]) + _K1 * (row[j + _S3] + row[j + _S27])
                  + _K2 * (row[j + _S6] + row[j + _S24]) + _K3 * (row[j + _S9] + row[j + _S21])
                  + _K4 * (row[j + _S12] + row[j + _S18]) + _K5 * row[i])


@njit(**_FAST)
def _products(x, y, d, dd, dy, start, stop):
    """Rows of d, d^2 and d y; x and y begin _PAD later than the others."""
    total = _ZERO
    for i in range(np.uint64(start), np.uint64(stop)):
        j = i - _S15
        difference = x[j] - y[j]
        d[i], dd[i], dy[i] = difference, difference * difference, difference * y[j]
        total += abs(difference)
    return total


@njit(**_FAST)
def _derivatives(blur_d, blur_dd, blur_dy, mean, spread, by_d, by_dd, by_dy, start, stop):
    """Sum of 1 - SSIM over a run, and its three derivatives; spread = 2 V + C2."""
    total = _ZERO
    for i in range(np.uint64(start), np.uint64(stop)):
        j = i - _S15
        shift, m = blur_d[i], mean[j]
        moved = m + shift
        variance = blur_dd[i] - shift * shift
        inverse_p = _ONE / (m * m + moved * moved + C1)
        inverse_q = _ONE / (spread[j] + _TWO * (blur_dy[i] - m * shift) + variance)
        p, q = shift * shift * inverse_p, variance * inverse_q
        total += p + q - p * q
        rest = (_ONE - p) * inverse_q
        by_variance, by_covariance = rest * (_ONE - q), -_TWO * rest * q
        by_dd[i], by_dy[i] = by_variance, by_covariance
        # the mean also enters the variance and the covariance
        by_d[i] = ((_ONE - q) * _TWO * (shift - p * moved) * inverse_p
                   - _TWO * shift * by_variance - m * by_covariance)
    return total


@njit(**_FAST)
def _gradient(x, y, by_d, by_dd, by_dy, l1_weight, ssim_weight, out, start, stop):
    for i in range(np.uint64(start), np.uint64(stop)):
        j = i - _S15
        difference = x[j] - y[j]
        sign = _ONE if difference > _ZERO else (-_ONE if difference < _ZERO else _ZERO)
        out[j] = l1_weight * sign + ssim_weight * (
            by_d[i] + _TWO * difference * by_dd[i] + y[j] * by_dy[i])


@njit(**_FAST)
def _runs(tiles, first_row, last_row, starts, ends):
    """Number of runs of columns that are True in any of the tile rows, and their ends, px."""
    count, inside = 0, False
    for column in range(tiles.shape[1]):
        wanted = tiles[first_row, column] or tiles[last_row, column]
        if wanted and not inside:
            starts[count] = TILE * column
        elif inside and not wanted:
            ends[count] = TILE * column
            count += 1
        inside = wanted
    if inside:
        ends[count] = TILE * tiles.shape[1]
        count += 1
    return count


@njit(**_FAST)
def _grown(start, end, by, width):
    """The floats of a padded row that a run grown by so many pixels covers within the picture."""
    return _PAD + 3 * max(start - by, 0), _PAD + 3 * min(end + by, width)


@njit(**_FAST)
def moments(y: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> None:
    """Write what `compare` needs of a target.

    Args:
        y: [H, 3 W] float32 0..1, the target.
        mean: [H, 3 W] float32, gets B y.
        spread: [H, 3 W] float32, gets 2 V + C2.
    """
    height, floats = y.shape
    rows = np.zeros((2, _RING, floats + 2 * _PAD), np.float32)  # y, y^2
    sums = np.zeros((2, floats + 2 * _PAD), np.float32)
    blurred = np.zeros((2, floats + 2 * _PAD), np.float32)
    begin, end = _PAD, _PAD + floats
    for arriving in range(height + REACH):
        slot = arriving % _RING
        rows[:, slot] = _ZERO
        if arriving < height:
            rows[0, slot, begin:end] = y[arriving]
            rows[1, slot, begin:end] = y[arriving] * y[arriving]
        middle = arriving - REACH
        if middle >= 0:
            for k in range(2):
                _down(rows[k], middle, sums[k], begin, end)
                _across(sums[k], blurred[k], begin, end)
            mean[middle] = blurred[0, begin:end]
            spread[middle] = _TWO * (blurred[1, begin:end] - mean[middle] * mean[middle]) + C2


@njit(**_FAST)
def compare(x: np.ndarray, y: np.ndarray, mean: np.ndarray, spread: np.ndarray, tiles: np.ndarray,
            l1_weight: np.float32, ssim_weight: np.float32, gradient: np.ndarray,
            ) -> tuple[float, float]:
    """Compare a picture that equals the target outside some tiles.

    Args:
        x: [H, 3 W] float32, the rendering.
        y: [H, 3 W] float32 0..1, the target.
        mean: [H, 3 W] float32, of `moments`.
        spread: [H, 3 W] float32, of `moments`.
        tiles: bool [tile rows, tile columns], those to compare.
        l1_weight: of sum |x - y| in the gradient.
        ssim_weight: of sum (1 - SSIM) in the gradient.
        gradient: [H, 3 W] float32, gets that of the weighted sums by x within the tiles, and
            nothing elsewhere.

    Returns:
        Sums of |x - y| and of 1 - SSIM over the picture.
    """
    height, width = x.shape[0], x.shape[1] // 3
    padded = x.shape[1] + 2 * _PAD
    moving = np.zeros((3, _RING, padded), np.float32)  # d, d^2, d y
    slopes = np.zeros((3, _RING, padded), np.float32)  # derivatives by their blur
    sums, blurred = np.zeros((3, padded), np.float32), np.zeros((3, padded), np.float32)
    starts, ends = np.empty(tiles.shape[1], np.int64), np.empty(tiles.shape[1], np.int64)
    l1 = dissimilarity = 0.0
    for arriving in range(height + 2 * REACH):
        slot = arriving % _RING
        moving[:, slot] = _ZERO
        if arriving < height:
            row = arriving // TILE
            for run in range(_runs(tiles, row, row, starts, ends)):
                begin, end = _grown(starts[run], ends[run], 0, width)
                l1 += _products(x[arriving], y[arriving], moving[0, slot], moving[1, slot],
                                moving[2, slot], begin, end)
        middle = arriving - REACH
        slot = middle % _RING
        if middle >= height:
            slopes[:, slot] = _ZERO
        elif middle >= 0:
            above, below = max(middle - REACH, 0) // TILE, min(arriving, height - 1) // TILE
            for run in range(_runs(tiles, above, below, starts, ends)):
                begin, end = _grown(starts[run], ends[run], 2 * REACH, width)
                for k in range(3):
                    _down(moving[k], middle, sums[k], begin, end)
                begin, end = _grown(starts[run], ends[run], REACH, width)
                for k in range(3):
                    _across(sums[k], blurred[k], begin, end)
                dissimilarity += _derivatives(
                    blurred[0], blurred[1], blurred[2], mean[middle], spread[middle],
                    slopes[0, slot], slopes[1, slot], slopes[2, slot], begin, end)
        last = middle - REACH
        if last >= 0:
            row = last // TILE
            for run in range(_runs(tiles, row, row, starts, ends)):
                begin, end = _grown(starts[run], ends[run], REACH, width)
                for k in range(3):
                    _down(slopes[k], last, sums[k], begin, end)
                begin, end = _grown(starts[run], ends[run], 0, width)
                for k in range(3):
                    _across(sums[k], blurred[k], begin, end)
                _gradient(x[last], y[last], blurred[0], blurred[1], blurred[2], l1_weight,
                          ssim_weight, gradient[last], begin, end)
    return l1, dissimilarity
