# SPDX-License-Identifier: Apache-2.0
"""Which Gaussians touch which tiles, front to back.

A pair (Gaussian, tile) is made exactly where the outline alpha = 1/255 reaches a pixel centre of
the tile. The outline is the ellipse

    |x - SLOPE dy| <= HALF_WIDTH sqrt(EXTENT_Y^2 - dy^2),  dy = y - mean_y, x from mean_x,

so in the rows of one tile the rightmost point is at dy = TURN_Y, clamped into these rows: the
right border is a concave function of dy (and the left one convex, lowest at -TURN_Y).

Pairs are counted and placed by walking the Gaussians in depth order in blocks, each block with
its own counters: no sorting within tiles, no atomics, and the result does not depend on how many
threads walk the blocks.
"""
import math

import numpy as np
from numba import njit

from igs_ros.raster import cpu_records as at
from igs_ros.raster.cpu_records import STRICT, TILE

HALF, ZERO, ONE = np.float32(0.5), np.float32(0), np.float32(1)
LAST = np.float32(TILE - 1)
# rounding of a border, in px and as a fraction of the size of the outline
SLACK, RELATIVE_SLACK = np.float32(1e-3), np.float32(1e-6)


def depth_order(records: np.ndarray) -> np.ndarray:
    """int64 [M] indices of the drawable Gaussians, near to far; equal depths in index order."""
    rows = np.flatnonzero(records[:, at.OPACITY])
    # the bits of positive floats sort like integers; the index below them breaks ties
    keys = records[rows, at.DEPTH].view(np.int32).astype(np.int64) << 32 | rows
    keys.sort()
    return keys & 0xFFFFFFFF


@njit(**STRICT)
def _tile_rows(record, height):
    """First and last tile row that the outline reaches (first > last: none)."""
    center = record[at.MEAN_Y] - HALF
    reach = record[at.EXTENT_Y] + SLACK
    top = max(math.ceil(center - reach), ZERO)
    bottom = min(math.floor(center + reach), np.float32(height - 1))
    if top > bottom:
        return 1, 0
    return int(top) // TILE, int(bottom) // TILE


@njit(**STRICT)
def _tile_columns(record, span, tile_row, width):
    """First and last tile of a tile row that the outline reaches (first > last: none)."""
    extent = record[at.EXTENT_Y]
    above = np.float32(tile_row * TILE) + HALF - record[at.MEAN_Y]
    first_dy, last_dy = max(above, -extent), min(above + LAST, extent)
    if first_dy > last_dy:  # within the slack of _tile_rows
        first_dy = last_dy = min(max(above, -extent), extent)
    slope, half_width, turn = span[at.SLOPE], span[at.HALF_WIDTH], span[at.TURN_Y]
    dy = min(max(turn, first_dy), last_dy)
    right = slope * dy + half_width * math.sqrt(max(extent * extent - dy * dy, ZERO))
    dy = min(max(-turn, first_dy), last_dy)
    left = slope * dy - half_width * math.sqrt(max(extent * extent - dy * dy, ZERO))
    slack = SLACK + RELATIVE_SLACK * span[at.EXTENT_X]
    center = record[at.MEAN_X] - HALF
    first = max(math.ceil(center + left - slack), ZERO)
    last = min(math.floor(center + right + slack), np.float32(width - 1))
    if first > last:
        return 1, 0
    return int(first) // TILE, int(last) // TILE


@njit(**STRICT)
def count_pairs(start, stop, tile_count, order, records, spans, width, height, pair_count):
    """Pairs of each of the Gaussians order[start:stop], and of each tile [tiles] among them."""
    tiles_x = (width + TILE - 1) // TILE
    for position in range(start, stop):
        i = order[position]
        record, span = records[i], spans[i]
        pairs = 0
        first_row, last_row = _tile_rows(record, height)
        for row in range(first_row, last_row + 1):
            first, last = _tile_columns(record, span, row, width)
            for tile in range(row * tiles_x + first, row * tiles_x + last + 1):
                tile_count[tile] += 1
                pairs += 1
        pair_count[i] = pairs


@njit(**STRICT)
def place_pairs(start, stop, cursor, order, records, spans, width, height, first_slot,
                pair_gaussian, pair_slot):
    """Write the pairs of order[start:stop], for each tile from cursor [tiles] on.

    pair_slot: where the pair keeps its gradient, so that those of one Gaussian are neighbours.
    """
    tiles_x = (width + TILE - 1) // TILE
    for position in range(start, stop):
        i = order[position]
        record, span = records[i], spans[i]
        slot = first_slot[i]
        first_row, last_row = _tile_rows(record, height)
        for row in range(first_row, last_row + 1):
            first, last = _tile_columns(record, span, row, width)
            for tile in range(row * tiles_x + first, row * tiles_x + last + 1):
                pair = cursor[tile]
                cursor[tile] = pair + 1
                pair_gaussian[pair] = i
                pair_slot[pair] = slot
                slot += 1
