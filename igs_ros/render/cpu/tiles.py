# SPDX-License-Identifier: Apache-2.0
"""Compositing of tiles, front to back, and its gradient, back to front.

For pixel p and the Gaussians k of its tile in depth order (d = mean - pixel center):

    sigma = (xx dx^2 + yy dy^2) / 2 + xy dx dy,   alpha = min(max_alpha, opacity exp(-sigma)),
    weight = alpha T,   T <- T (1 - alpha),       color = sum weight c + T background.

Alpha below 1/255 is skipped. A Gaussian that would bring T to stop_transmittance or below is not
added, and the pixel is finished.

Back to front, with v = dL/d(color, depth) of a pixel and c the Gaussian's values:

    dL/dalpha = T (c . v) - behind / (1 - alpha),   G = dL/dsigma = -opacity exp(-sigma) dL/dalpha,

where `behind` is the sum of weight (c . v) over what lies behind, with the background and the
picture's dL/dalpha: one number per pixel. T comes back by dividing what is left by 1 - alpha.
Where max_alpha cut alpha off, G is 0. The rest follows from moments of G (records.py).

Loop order tile -> Gaussian -> block -> 16 pixels of the block: the last loop is the one that LLVM
turns into vector code, and the state of a tile stays in the first-level cache. A block is 8
columns by 2 rows (records.py), because few Gaussians are 16 pixels wide: against rows of 16, a
third fewer pixels are visited. What the vector code needs, found by measuring (each slip costs a
factor of 3 to 6, test/render/cpu/test_tiles.py watches over it): an unsigned index (no wrap-around
test), `&` instead of `and`, selections instead of branches, one 1-D array per channel, a constant
trip count of 16, nothing but float32 and int32.
"""
import numpy as np

from igs_ros.core.jit import njit
from igs_ros.render.cpu import records as at
from igs_ros.render.cpu.records import BLOCK, FAST, HALF_TILE, MIN_ALPHA, PIXELS, TILE

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
# exp(u) on [-1, 0], minimax of degree 5 with value 1 at 0; to the 8th power: relative error 1.6e-6
E1, E2, E3, E4, E5 = (np.float32(c) for c in (
    0.9999947547912598, 0.4998997747898102, 0.16602839529514313, 0.03984830155968666,
    0.00588524853810868))
EIGHTH, LARGEST_SIGMA = np.float32(-0.125), np.float32(8)
CHECK_EVERY = 8  # Gaussians between two looks at whether all pixels of a tile are finished

# Planes of `state`, the float32 array that holds a tile at work, each of PIXELS. One array for
# all: LLVM need not ask at run time whether they overlap. T is negative once a pixel is finished
# (|T| is the result, no branch needed); LAST is the position in the tile of the last Gaussian
# that was added, -1: none.
T, LAST, DEPTH, RED, GREEN, BLUE = (np.uint64(PIXELS * plane) for plane in range(6))
BEHIND = np.uint64(PIXELS * 6)  # backward only; there DEPTH and the colors hold dL/d(value)
FORWARD_PLANES, BACKWARD_PLANES = 6, 7

# Rows of `sums`, [rows, BLOCK] flat: per pixel of a block. G of half a tile, then the totals in
# the order of the gradient rows, then of |dL/d mean|.
HALF_G, HALF_GY, HALF_GYY = (np.uint64(BLOCK * row) for row in range(3))
TOTAL = np.uint64(3 * BLOCK)
(TOTAL_G, TOTAL_GX, TOTAL_GY, TOTAL_GXX, TOTAL_GXY, TOTAL_GYY, TOTAL_RED, TOTAL_GREEN, TOTAL_BLUE,
 TOTAL_DEPTH, TOTAL_ABS_X, TOTAL_ABS_Y) = (np.uint64(BLOCK * (3 + row)) for row in range(12))
SUM_ROWS = 15


@njit(inline='always', **FAST)
def _exp_negative(sigma):
    """exp(-sigma) for sigma >= 0, constant beyond 8 (where alpha < 1/255 anyway)."""
    u = min(sigma, LARGEST_SIGMA) * EIGHTH
    power = ONE + u * (E1 + u * (E2 + u * (E3 + u * (E4 + u * E5))))
    power *= power
    power *= power
    return power * power


@njit(inline='always', **FAST)
def _pixel(row, column):
    """Where a pixel of a tile is kept: blocks of the left half from the top, then the right's."""
    return np.uint64(column // HALF_TILE * (PIXELS // 2) + row * HALF_TILE + column % HALF_TILE)


@njit(inline='always', **FAST)
def _blend(record, position, blocks, left, top, max_alpha, stop, with_depth, state):
    """Add one Gaussian to the pixels of a tile whose first pixel center is (left, top)."""
    half_xx, xy = HALF * record[at.CONIC_XX], record[at.CONIC_XY]
    half_yy, opacity = HALF * record[at.CONIC_YY], record[at.OPACITY]
    c_red, c_green, c_blue = record[at.RED], record[at.GREEN], record[at.BLUE]
    z = record[at.DEPTH]
    for half in range(2):
        first_dx = record[at.MEAN_X] - left - np.float32(half * HALF_TILE)
        for block in range(blocks & 15, (blocks >> 4 & 15) + 1):
            first_dy = record[at.MEAN_Y] - top - np.float32(2 * block)
            start = np.uint64((half * HALF_TILE + block) * BLOCK)
            for lane in range(BLOCK):
                pixel = start + np.uint64(lane)
                dx = first_dx - np.float32(lane % HALF_TILE)
                dy = first_dy - np.float32(lane // HALF_TILE)
                sigma = max(half_xx * dx * dx + dy * (half_yy * dy + xy * dx), ZERO)
                alpha = min(opacity * _exp_negative(sigma), max_alpha)
                before = state[T + pixel]
                after = before - before * alpha
                touched = (alpha >= MIN_ALPHA) & (before > ZERO)
                added = touched & (after > stop)
                weight = alpha * before if added else ZERO
                state[T + pixel] = after if added else (-before if touched else before)
                state[LAST + pixel] = position if added else state[LAST + pixel]
                state[RED + pixel] += weight * c_red
                state[GREEN + pixel] += weight * c_green
                state[BLUE + pixel] += weight * c_blue
                if with_depth is not None:
                    state[DEPTH + pixel] += weight * z
        blocks >>= 8


@njit(**FAST)
def _all_finished(state):
    most = -ONE
    for pixel in range(PIXELS):
        most = max(most, state[T + np.uint64(pixel)])
    return most <= ZERO


@njit(**FAST)
def _leave_empty(y0, x0, rows, columns, background, rgb, transmittance, last, depth):
    """What `composite` writes for a tile without Gaussians."""
    for y in range(y0, y0 + rows):
        for x in range(x0, x0 + columns):
            transmittance[y, x], last[y, x] = ONE, -ONE
            for channel in range(3):
                rgb[y, x, channel] = background[channel]
            if depth is not None:
                depth[y, x] = ZERO


@njit(**FAST)
def composite(first_tile: int, end_tile: int, tile_start: np.ndarray, pairs: np.ndarray,
              records: np.ndarray, background: np.ndarray, max_alpha: np.float32, stop: np.float32,
              rgb: np.ndarray, transmittance: np.ndarray, last: np.ndarray,
              depth: np.ndarray | None) -> None:
    """Draw tiles.

    Args:
        first_tile: of these tiles.
        end_tile: of these tiles, itself left out.
        tile_start: [tiles + 1] int64, first pair of each tile.
        pairs: [P, 3] int32, by tile, near to far (records.py).
        records: [N, 11] float32.
        background: [3] float32 sRGB.
        max_alpha: of a Gaussian in a pixel.
        stop: a pixel takes no Gaussian that brings its transmittance this low.
        rgb: [H, W, 3] float32; written.
        transmittance: [H, W] float32, what is left of the background; written.
        last: [H, W] float32, position within the tile's pairs of the last Gaussian added, -1:
            none; written.
        depth: [H, W] float32, sum weight z; written unless it is None.
    """
    height, width = transmittance.shape
    tiles_x = (width + TILE - 1) // TILE
    state = np.empty(FORWARD_PLANES * PIXELS, np.float32)
    for tile in range(first_tile, end_tile):
        x0, y0 = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
        rows, columns = min(TILE, height - y0), min(TILE, width - x0)
        begin = tile_start[tile]
        if begin == tile_start[tile + 1]:
            _leave_empty(y0, x0, rows, columns, background, rgb, transmittance, last, depth)
            continue
        state[:] = ZERO
        state[T:T + PIXELS] = -ONE  # pixels outside the image count as finished
        state[LAST:LAST + PIXELS] = -ONE
        for row in range(rows):
            for column in range(columns):
                state[T + _pixel(row, column)] = ONE
        left, top = np.float32(x0) + HALF, np.float32(y0) + HALF
        for index in range(begin, tile_start[tile + 1]):
            position, pair = index - begin, pairs[index]
            _blend(records[pair[at.GAUSSIAN]], np.float32(position), pair[at.BLOCKS], left, top,
                   max_alpha, stop, depth, state)
            if position % CHECK_EVERY == CHECK_EVERY - 1 and _all_finished(state):
                break
        for row in range(rows):
            for column in range(columns):
                pixel, y, x = _pixel(row, column), y0 + row, x0 + column
                left_over = abs(state[T + pixel])
                transmittance[y, x], last[y, x] = left_over, state[LAST + pixel]
                rgb[y, x, 0] = state[RED + pixel] + left_over * background[0]
                rgb[y, x, 1] = state[GREEN + pixel] + left_over * background[1]
                rgb[y, x, 2] = state[BLUE + pixel] + left_over * background[2]
                if depth is not None:
                    depth[y, x] = state[DEPTH + pixel]


@njit(inline='always', **FAST)
def _unblend(record, position, blocks, left, top, max_alpha, with_depth, with_absolute, state,
             sums):
    """Take one Gaussian off the pixels of a tile and, if asked, add its gradients to `sums`.

    Within half a tile the moments of G in dy only are summed: dx does not change down the blocks,
    so it is multiplied by once.
    """
    xx, xy, yy = record[at.CONIC_XX], record[at.CONIC_XY], record[at.CONIC_YY]
    half_xx, half_yy, opacity = HALF * xx, HALF * yy, record[at.OPACITY]
    c_red, c_green, c_blue = record[at.RED], record[at.GREEN], record[at.BLUE]
    z = record[at.DEPTH]
    for half in range(2):
        first, last = blocks & 15, blocks >> 4 & 15
        blocks >>= 8
        if first > last:
            continue
        first_dx = record[at.MEAN_X] - left - np.float32(half * HALF_TILE)
        if sums is not None:
            sums[HALF_G:TOTAL] = ZERO
        for block in range(first, last + 1):
            first_dy = record[at.MEAN_Y] - top - np.float32(2 * block)
            start = np.uint64((half * HALF_TILE + block) * BLOCK)
            for index in range(BLOCK):
                lane = np.uint64(index)
                pixel = start + lane
                dx = first_dx - np.float32(index % HALF_TILE)
                dy = first_dy - np.float32(index // HALF_TILE)
                sigma = max(half_xx * dx * dx + dy * (half_yy * dy + xy * dx), ZERO)
                uncut = opacity * _exp_negative(sigma)
                alpha = min(uncut, max_alpha)
                added = (alpha >= MIN_ALPHA) & (position <= state[LAST + pixel])
                alpha = alpha if added else ZERO
                inverse = ONE / (ONE - alpha)
                before = state[T + pixel] * inverse
                state[T + pixel] = before
                weight = alpha * before
                r, g, b = state[RED + pixel], state[GREEN + pixel], state[BLUE + pixel]
                value = c_red * r + c_green * g + c_blue * b
                if with_depth is not None:
                    value += z * state[DEPTH + pixel]
                behind = state[BEHIND + pixel]
                state[BEHIND + pixel] = behind + weight * value
                if sums is None:
                    continue
                if with_depth is not None:
                    sums[TOTAL_DEPTH + lane] += weight * state[DEPTH + pixel]
                sums[TOTAL_RED + lane] += weight * r
                sums[TOTAL_GREEN + lane] += weight * g
                sums[TOTAL_BLUE + lane] += weight * b
                grad_alpha = before * value - inverse * behind
                grad = -uncut * grad_alpha if (added & (uncut <= max_alpha)) else ZERO
                sums[HALF_G + lane] += grad
                sums[HALF_GY + lane] += grad * dy
                sums[HALF_GYY + lane] += grad * dy * dy
                if with_absolute is not None:
                    sums[TOTAL_ABS_X + lane] += abs(grad * (xx * dx + xy * dy))
                    sums[TOTAL_ABS_Y + lane] += abs(grad * (xy * dx + yy * dy))
        if sums is None:
            continue
        for index in range(BLOCK):
            lane = np.uint64(index)
            dx = first_dx - np.float32(index % HALF_TILE)
            g, gy, gyy = sums[HALF_G + lane], sums[HALF_GY + lane], sums[HALF_GYY + lane]
            sums[TOTAL_G + lane] += g
            sums[TOTAL_GX + lane] += g * dx
            sums[TOTAL_GXX + lane] += g * dx * dx
            sums[TOTAL_GY + lane] += gy
            sums[TOTAL_GXY + lane] += gy * dx
            sums[TOTAL_GYY + lane] += gyy


@njit(**FAST)
def _load_tile(y0, x0, background, transmittance, last, v_rgb, v_alpha, v_depth, state):
    """Copy a tile's part of the picture; returns the last position that any pixel used (or -1)."""
    height, width = transmittance.shape
    state[:] = ZERO
    state[T:T + PIXELS] = ONE
    state[LAST:LAST + PIXELS] = -ONE  # also outside the image: nothing is taken off there
    deepest = -ONE
    for row in range(min(TILE, height - y0)):
        for column in range(min(TILE, width - x0)):
            pixel, y, x = _pixel(row, column), y0 + row, x0 + column
            state[T + pixel], state[LAST + pixel] = transmittance[y, x], last[y, x]
            deepest = max(deepest, last[y, x])
            red, green, blue = v_rgb[y, x, 0], v_rgb[y, x, 1], v_rgb[y, x, 2]
            state[RED + pixel], state[GREEN + pixel], state[BLUE + pixel] = red, green, blue
            # rgb = ... + T background and alpha = 1 - T
            state[BEHIND + pixel] = transmittance[y, x] * (
                red * background[0] + green * background[1] + blue * background[2]
                - v_alpha[y, x])
            if v_depth is not None:
                state[DEPTH + pixel] = v_depth[y, x]
    return deepest


@njit(inline='always', **FAST)
def _total(sums, row):
    total = ZERO
    for lane in range(BLOCK):
        total += sums[row + np.uint64(lane)]
    return total


@njit(**FAST)
def composite_backward(first_tile: int, end_tile: int, tile_start: np.ndarray, pairs: np.ndarray,
                       count: int, records: np.ndarray, background: np.ndarray,
                       max_alpha: np.float32, transmittance: np.ndarray, last: np.ndarray,
                       v_rgb: np.ndarray, v_alpha: np.ndarray, v_depth: np.ndarray | None,
                       gradient_rows: np.ndarray,
                       absolute_rows: np.ndarray | None) -> None:
    """Gradient rows of tiles from the gradients of the picture.

    Every row of these tiles that belongs to the first `count` Gaussians is written; the others
    have none.

    Args:
        first_tile: of these tiles.
        end_tile: of these tiles, itself left out.
        tile_start: [tiles + 1] int64, first pair of each tile.
        pairs: [P, 3] int32, by tile, near to far (records.py).
        count: of the Gaussians that want gradients, the first ones.
        records: [N, 11] float32.
        background: [3] float32 sRGB.
        max_alpha: as in `composite`.
        transmittance: [H, W] float32 of `composite`.
        last: [H, W] float32 of `composite`.
        v_rgb: [H, W, 3] float32, dL/d(color).
        v_alpha: [H, W] float32, dL/d(alpha).
        v_depth: [H, W] float32, dL/d(sum weight z), or None.
        gradient_rows: [P, 10] float32, by SLOT (records.py).
        absolute_rows: [P, 2] float32, by SLOT, sums of |dL/d mean|; or None.
    """
    tiles_x = (transmittance.shape[1] + TILE - 1) // TILE
    state = np.empty(BACKWARD_PLANES * PIXELS, np.float32)
    sums = np.empty(SUM_ROWS * BLOCK, np.float32)
    for tile in range(first_tile, end_tile):
        begin = tile_start[tile]
        if begin == tile_start[tile + 1]:
            continue
        x0, y0 = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
        left, top = np.float32(x0) + HALF, np.float32(y0) + HALF
        deepest = _load_tile(y0, x0, background, transmittance, last, v_rgb, v_alpha, v_depth,
                             state)
        for index in range(tile_start[tile + 1] - 1, begin - 1, -1):
            position, pair = np.float32(index - begin), pairs[index]
            record = records[pair[at.GAUSSIAN]]
            if pair[at.GAUSSIAN] >= count:
                if position <= deepest:
                    _unblend(record, position, pair[at.BLOCKS], left, top, max_alpha, v_depth,
                             None, state, None)
                continue
            sums[:] = ZERO
            if position <= deepest:
                _unblend(record, position, pair[at.BLOCKS], left, top, max_alpha, v_depth,
                         absolute_rows, state, sums)
            slot = pair[at.SLOT]
            for k in range(at.GRADIENT):
                gradient_rows[slot, k] = _total(sums, TOTAL + np.uint64(BLOCK * k))
            if absolute_rows is not None:
                absolute_rows[slot, 0] = _total(sums, TOTAL_ABS_X)
                absolute_rows[slot, 1] = _total(sums, TOTAL_ABS_Y)


@njit(**FAST)
def sum_rows(start: int, stop: int, first_slot: np.ndarray, pair_count: np.ndarray,
             rows: np.ndarray, totals: np.ndarray) -> None:
    """For each of some Gaussians, the sum of its rows.

    Args:
        start: first Gaussian.
        stop: last Gaussian, itself left out.
        first_slot: [N] int64, first row of each Gaussian.
        pair_count: [N] int64, number of its rows.
        rows: [P, C] float32.
        totals: [N, C] float32; written.
    """
    for i in range(start, stop):
        for entry in range(rows.shape[1]):
            totals[i, entry] = ZERO
        for slot in range(first_slot[i], first_slot[i] + pair_count[i]):
            for entry in range(rows.shape[1]):
                totals[i, entry] += rows[slot, entry]
