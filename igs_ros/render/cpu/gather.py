# SPDX-License-Identifier: Apache-2.0
"""Sums over the pixels that a Gaussian is blended into: compositing, read the other way round.

The loop is that of `tiles.composite`, whose notes hold here, too; instead of adding Gaussians
to pixels it adds, with the same weights, values of pixels to Gaussians.
"""
import numpy as np

from igs_ros.core.jit import njit
from igs_ros.render.cpu import records as at
from igs_ros.render.cpu.records import BLOCK, FAST, HALF_TILE, MIN_ALPHA, PIXELS, TILE
from igs_ros.render.cpu.tiles import (
    CHECK_EVERY,
    HALF,
    ONE,
    ZERO,
    T,
    _all_finished,
    _exp_negative,
    _pixel,
    _total,
)

VALUES = 4  # per pixel
FIRST, SECOND, THIRD, FOURTH = (np.uint64(PIXELS * plane) for plane in range(1, 5))  # after T
SUM_1, SUM_2, SUM_3, SUM_4 = (np.uint64(BLOCK * row) for row in range(VALUES))


@njit(inline='always', **FAST)
def _collect(record, blocks, left, top, max_alpha, stop, state, sums):
    """Add weight x value of the pixels of a tile to sums [4, BLOCK] flat."""
    half_xx, xy = HALF * record[at.CONIC_XX], record[at.CONIC_XY]
    half_yy, opacity = HALF * record[at.CONIC_YY], record[at.OPACITY]
    for half in range(2):
        first_dx = record[at.MEAN_X] - left - np.float32(half * HALF_TILE)
        for block in range(blocks & 15, (blocks >> 4 & 15) + 1):
            first_dy = record[at.MEAN_Y] - top - np.float32(2 * block)
            start = np.uint64((half * HALF_TILE + block) * BLOCK)
            for index in range(BLOCK):
                lane = np.uint64(index)
                pixel = start + lane
                dx = first_dx - np.float32(index % HALF_TILE)
                dy = first_dy - np.float32(index // HALF_TILE)
                sigma = max(half_xx * dx * dx + dy * (half_yy * dy + xy * dx), ZERO)
                alpha = min(opacity * _exp_negative(sigma), max_alpha)
                before = state[T + pixel]
                after = before - before * alpha
                touched = (alpha >= MIN_ALPHA) & (before > ZERO)
                added = touched & (after > stop)
                weight = alpha * before if added else ZERO
                state[T + pixel] = after if added else (-before if touched else before)
                sums[SUM_1 + lane] += weight * state[FIRST + pixel]
                sums[SUM_2 + lane] += weight * state[SECOND + pixel]
                sums[SUM_3 + lane] += weight * state[THIRD + pixel]
                sums[SUM_4 + lane] += weight * state[FOURTH + pixel]
        blocks >>= 8


@njit(**FAST)
def _load_values(y0, x0, values, state):
    """Copy a tile's part of values [H, W, 4]; pixels outside the picture count as finished."""
    height, width = values.shape[:2]
    state[:] = ZERO
    state[T:T + PIXELS] = -ONE
    for row in range(min(TILE, height - y0)):
        for column in range(min(TILE, width - x0)):
            pixel, y, x = _pixel(row, column), y0 + row, x0 + column
            state[T + pixel] = ONE
            state[FIRST + pixel], state[SECOND + pixel] = values[y, x, 0], values[y, x, 1]
            state[THIRD + pixel], state[FOURTH + pixel] = values[y, x, 2], values[y, x, 3]


@njit(**FAST)
def gather(first_tile: int, end_tile: int, tile_start: np.ndarray, pairs: np.ndarray,
           records: np.ndarray, max_alpha: np.float32, stop: np.float32, values: np.ndarray,
           rows: np.ndarray) -> None:
    """For each pair of some tiles, sum blending weight x value over the pixels.

    Args:
        first_tile: of these tiles.
        end_tile: of these tiles, itself left out.
        tile_start: [tiles + 1] int64, first pair of each tile.
        pairs: [P, 3] int32, by tile, near to far (records.py).
        records: [N, 11] float32.
        max_alpha: of a Gaussian in a pixel.
        stop: a pixel takes no Gaussian that brings its transmittance this low.
        values: [H, W, 4] float32.
        rows: [P, 4] float32, by SLOT; written for the pairs of these tiles.
    """
    tiles_x = (values.shape[1] + TILE - 1) // TILE
    state = np.empty((1 + VALUES) * PIXELS, np.float32)
    sums = np.empty(VALUES * BLOCK, np.float32)
    for tile in range(first_tile, end_tile):
        begin = tile_start[tile]
        if begin == tile_start[tile + 1]:
            continue
        x0, y0 = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
        _load_values(y0, x0, values, state)
        finished = False
        for index in range(begin, tile_start[tile + 1]):
            pair = pairs[index]
            sums[:] = ZERO
            if not finished:
                _collect(records[pair[at.GAUSSIAN]], pair[at.BLOCKS], np.float32(x0) + HALF,
                         np.float32(y0) + HALF, max_alpha, stop, state, sums)
                if (index - begin) % CHECK_EVERY == CHECK_EVERY - 1:
                    finished = _all_finished(state)
            for entry in range(VALUES):
                rows[pair[at.SLOT], entry] = _total(sums, np.uint64(BLOCK * entry))
