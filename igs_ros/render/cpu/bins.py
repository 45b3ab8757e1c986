# SPDX-License-Identifier: Apache-2.0
"""Which Gaussians touch which tiles, front to back.

A pair (Gaussian, tile) is made exactly where the outline alpha = 1/255 reaches a pixel center of
the tile. The outline is the ellipse

    |y - SLOPE dx| <= HALF_HEIGHT sqrt(EXTENT_X^2 - dx^2),  dx = x - mean_x, y from mean_y,

so in a strip of columns, half a tile wide, the lowest point is at dx = TURN_X, clamped into the
strip: the lower border is a concave function of dx (and the upper one convex, lowest at -TURN_X).
The rows of the two strips of a tile are also what the compositing kernels walk over.

The Gaussians are walked in depth order in blocks, each with its own counters, twice: `list_pairs`
finds the tiles of each and counts those of each tile, `place_pairs` sorts them by tile. No sorting
within tiles, no atomics, and the result does not depend on how many threads walk the blocks.
"""
import math

import numpy as np

from igs_ros.core.jit import njit
from igs_ros.render.cpu import records as at
from igs_ros.render.cpu.records import HALF_TILE, STRICT, TILE

HALF, ZERO, ONE = np.float32(0.5), np.float32(0), np.float32(1)
LAST = np.float32(HALF_TILE - 1)
# rounding of a border, in px and as a fraction of the size of the outline
SLACK, RELATIVE_SLACK = np.float32(1e-3), np.float32(1e-6)


def depth_order(records: np.ndarray) -> np.ndarray:
    """int64 [M] indices of the drawable Gaussians, near to far; equal depths in index order."""
    rows = np.flatnonzero(records[:, at.OPACITY])
    # the bits of positive floats sort like integers; the index below them breaks ties
    keys = records[rows, at.DEPTH].view(np.int32).astype(np.int64) << 32 | rows
    keys.sort()
    return keys & 0xFFFFFFFF


def tiles_before(tiles: np.ndarray) -> np.ndarray:
    """int32 [rows + 1, columns + 1]: entry (r, c) counts the True of tiles[:r, :c]."""
    sums = np.zeros((tiles.shape[0] + 1, tiles.shape[1] + 1), np.int32)
    tiles.cumsum(0, out=sums[1:, 1:])
    sums.cumsum(1, out=sums)
    return sums


@njit(**STRICT)
def _pixels(center, before, after, size):
    """First and last pixel from center + before to center + after, px (first > last: none)."""
    first = max(np.ceil(center + before), ZERO)
    last = min(np.floor(center + after), np.float32(size - 1))
    if first > last:
        return 1, 0
    return int(first), int(last)


@njit(**STRICT)
def _within(mean, extent, size):
    """First and last pixel along one axis that the outline may reach (first > last: none)."""
    reach = extent + SLACK + RELATIVE_SLACK * extent
    return _pixels(mean - HALF, -reach, reach, size)


@njit(**STRICT)
def tiles_around(record: np.ndarray, span: np.ndarray, width: int, height: int, sums: np.ndarray,
                 ) -> int:
    """How many tiles to draw the box around an outline meets.

    Args:
        record: [11] float32 of a Gaussian (records.py).
        span: [5] float32 of a Gaussian.
        width: of the picture, px.
        height: of the picture, px.
        sums: `tiles_before` of the tiles to draw.
    """
    left, right = _within(record[at.MEAN_X], span[at.EXTENT_X], width)
    top, bottom = _within(record[at.MEAN_Y], span[at.EXTENT_Y], height)
    if left > right or top > bottom:
        return 0
    first, last = left // TILE, right // TILE + 1
    above, below = top // TILE, bottom // TILE + 1
    return sums[below, last] - sums[above, last] - sums[below, first] + sums[above, first]


@njit(**STRICT)
def _strip_rows(record, span, strip, height):
    """First and last row of a strip of columns that the outline reaches (first > last: none)."""
    extent = span[at.EXTENT_X]
    before = np.float32(strip * HALF_TILE) + HALF - record[at.MEAN_X]
    first_dx, last_dx = max(before, -extent), min(before + LAST, extent)
    if first_dx > last_dx:  # within the slack of _within
        first_dx = last_dx = min(max(before, -extent), extent)
    slope, half_height, turn = span[at.SLOPE], span[at.HALF_HEIGHT], span[at.TURN_X]
    dx = min(max(turn, first_dx), last_dx)
    bottom = slope * dx + half_height * math.sqrt(max(extent * extent - dx * dx, ZERO))
    dx = min(max(-turn, first_dx), last_dx)
    top = slope * dx - half_height * math.sqrt(max(extent * extent - dx * dx, ZERO))
    slack = SLACK + RELATIVE_SLACK * span[at.EXTENT_Y]
    return _pixels(record[at.MEAN_Y] - HALF, top - slack, bottom + slack, height)


@njit(**STRICT)
def _blocks(top, bottom, tile_top):
    """First block and, in the bits above, last block of the rows top..bottom in half a tile."""
    first, last = max(top - tile_top, 0), min(bottom - tile_top, TILE - 1)
    if first > last:
        return at.NO_BLOCKS
    return first // 2 | last // 2 << 4


@njit(**STRICT)
def list_pairs(start: int, stop: int, first_entry: np.ndarray, tile_count: np.ndarray,
               order: np.ndarray, records: np.ndarray, spans: np.ndarray, width: int, height: int,
               tiles: np.ndarray, pair_count: np.ndarray, entries: np.ndarray) -> None:
    """The pairs of a block of Gaussians, counted by Gaussian and by tile.

    Args:
        start: of the block, in `order`.
        stop: of the block, itself left out.
        first_entry: row of `entries` where the block begins.
        tile_count: [tiles] int64, pairs of this block by tile; added to.
        order: [M] int64, drawable Gaussians, near to far.
        records: [N, 11] float32 (records.py).
        spans: [N, 5] float32.
        width: of the picture, px.
        height: of the picture, px.
        tiles: [tiles] bool, the ones to draw; the others get no pair.
        pair_count: [N] int64, pairs of each Gaussian; written for those of the block.
        entries: [E, 2] int32, tile and BLOCKS of each pair; written from `first_entry` on.
    """
    tiles_x = (width + TILE - 1) // TILE
    entry = first_entry
    for position in range(start, stop):
        i = order[position]
        record, span = records[i], spans[i]
        left, right = _within(record[at.MEAN_X], span[at.EXTENT_X], width)
        first_strip, last_strip = left // HALF_TILE, right // HALF_TILE
        before = entry
        for column in range(left // TILE, right // TILE + 1):
            top, bottom = other_top, other_bottom = 1, 0
            if 2 * column >= first_strip:
                top, bottom = _strip_rows(record, span, 2 * column, height)
            if 2 * column < last_strip:
                other_top, other_bottom = _strip_rows(record, span, 2 * column + 1, height)
            if top > bottom:
                first, last = other_top, other_bottom
            elif other_top > other_bottom:
                first, last = top, bottom
            else:
                first, last = min(top, other_top), max(bottom, other_bottom)
            if first > last:
                continue
            for row in range(first // TILE, last // TILE + 1):
                tile = row * tiles_x + column
                if tiles[tile]:
                    entries[entry, 0] = tile
                    entries[entry, 1] = _blocks(top, bottom, row * TILE) \
                        | _blocks(other_top, other_bottom, row * TILE) << 8
                    entry += 1
                    tile_count[tile] += 1
        pair_count[i] = entry - before


@njit(**STRICT)
def place_pairs(start: int, stop: int, first_entry: np.ndarray, cursor: np.ndarray,
                order: np.ndarray, pair_count: np.ndarray, first_slot: np.ndarray,
                entries: np.ndarray, pairs: np.ndarray) -> None:
    """Sort the pairs of a block of Gaussians by tile, near to far.

    Args:
        start: of the block, in `order`.
        stop: of the block, itself left out.
        first_entry: row of `entries` where the block begins.
        cursor: [tiles] int64, where the next pair of each tile goes; moved on.
        order: [M] int64, drawable Gaussians, near to far.
        pair_count: [N] int64, pairs of each Gaussian.
        first_slot: [N] int64, first gradient row of each Gaussian.
        entries: [E, 2] int32 of `list_pairs`.
        pairs: [P, 3] int32 (records.py); written for those of the block.
    """
    entry = first_entry
    for position in range(start, stop):
        i = order[position]
        for slot in range(first_slot[i], first_slot[i] + pair_count[i]):
            tile = entries[entry, 0]
            pair = pairs[cursor[tile]]
            pair[at.GAUSSIAN], pair[at.SLOT], pair[at.BLOCKS] = i, slot, entries[entry, 1]
            cursor[tile] += 1
            entry += 1
