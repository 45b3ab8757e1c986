# SPDX-License-Identifier: Apache-2.0
"""Compositing of tiles, front to back, and its gradient, back to front.

For pixel p and the Gaussians k of its tile in depth order (d = mean - pixel centre):

    sigma = (xx dx^2 + yy dy^2) / 2 + xy dx dy,   alpha = min(max_alpha, opacity exp(-sigma)),
    weight = alpha T,   T <- T (1 - alpha),       colour = sum weight c + T background.

Alpha below 1/255 is skipped. A Gaussian that would bring T to stop_transmittance or below is not
added, and the pixel is finished.

Back to front, with v = dL/d(colour, depth) of a pixel and c the Gaussian's values:

    dL/dalpha = T (c . v) - behind / (1 - alpha),   G = dL/dsigma = -opacity exp(-sigma) dL/dalpha,

where `behind` is the sum of weight (c . v) over what lies behind, with the background and the
picture's dL/dalpha: one number per pixel. T comes back by dividing what is left by 1 - alpha.
Where max_alpha cut alpha off, G is 0. The rest follows from moments of G (cpu_records.py).

Loop order tile -> Gaussian -> row -> 16 pixels of the row: the last loop is the one that LLVM
turns into vector code, and the state of a tile stays in the first-level cache. What that needs,
found by measuring (each slip costs a factor of 3 to 6, test_cpu_tiles.py watches over it):
an unsigned index (no wrap-around test), `&` instead of `and`, selections instead of branches, one
1-D array per channel, a constant trip count of 16, nothing but float32 and int32.
"""
import math

import numpy as np
from numba import njit

from igs_ros.raster import cpu_records as at
from igs_ros.raster.cpu_records import FAST, MIN_ALPHA, PIXELS, TILE

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
# exp(u) on [-1, 0], minimax of degree 5 with value 1 at 0; to the 8th power: relative error 1.6e-6
E1, E2, E3, E4, E5 = (np.float32(c) for c in (
    0.9999947547912598, 0.4998997747898102, 0.16602839529514313, 0.03984830155968666,
    0.00588524853810668))
EIGHTH, LARGEST_SIGMA = np.float32(-0.125), np.float32(8)
CHECK_EVERY = 8  # Gaussians between two looks at whether all pixels of a tile are finished


@njit(inline='always', **FAST)
def _exp_negative(sigma):
    """exp(-sigma) for sigma >= 0, constant beyond 8 (where alpha < 1/255 anyway)."""
    u = min(sigma, LARGEST_SIGMA) * EIGHTH
    power = ONE + u * (E1 + u * (E2 + u * (E3 + u * (E4 + u * E5))))
    power *= power
    power *= power
    return power * power


@njit(inline='always', **FAST)
def _blend(record, position, left, top, max_alpha, stop, remaining, last, red, green, blue,
           depth):
    """Add one Gaussian to the pixels of a tile whose first pixel centre is (left, top).

    remaining: T, negative once a pixel is finished (|T| is the result, no branch needed).
    last: position in the tile of the last Gaussian that was added.
    """
    first_dx, first_dy = record[at.MEAN_X] - left, record[at.MEAN_Y] - top
    half_xx, xy = HALF * record[at.CONIC_XX], record[at.CONIC_XY]
    half_yy, opacity = HALF * record[at.CONIC_YY], record[at.OPACITY]
    c_red, c_green, c_blue = record[at.RED], record[at.GREEN], record[at.BLUE]
    z, extent = record[at.DEPTH], record[at.EXTENT_Y]
    first_row = max(int(math.ceil(first_dy - extent)), 0)
    last_row = min(int(math.floor(first_dy + extent)), TILE - 1)
    for row in range(first_row, last_row + 1):
        dy = first_dy - np.float32(row)
        sigma_y, slope_y = half_yy * dy * dy, xy * dy
        start = np.uint64(row * TILE)
        for column in range(TILE):
            pixel = start + np.uint64(column)
            dx = first_dx - np.float32(column)
            sigma = max(sigma_y + dx * (slope_y + half_xx * dx), ZERO)
            alpha = min(opacity * _exp_negative(sigma), max_alpha)
            before = remaining[pixel]
            after = before - before * alpha
            touched = (alpha >= MIN_ALPHA) & (before > ZERO)
            added = touched & (after > stop)
            weight = alpha * before if added else ZERO
            remaining[pixel] = after if added else (-before if touched else before)
            last[pixel] = position if added else last[pixel]
            red[pixel] += weight * c_red
            green[pixel] += weight * c_green
            blue[pixel] += weight * c_blue
            if depth is not None:
                depth[pixel] += weight * z


@njit(**FAST)
def _all_finished(remaining):
    most = -ONE
    for pixel in range(PIXELS):
        most = max(most, remaining[pixel])
    return most <= ZERO


@njit(**FAST)
def composite(first_tile, end_tile, tile_start, pair_gaussian, records, background, max_alpha,
              stop, rgb, transmittance, last, depth):
    """Draw tiles.

    Writes rgb [H, W, 3], transmittance [H, W] (what is left of the background), last [H, W] int32
    (position within the tile's pairs of the last Gaussian added, -1: none) and, unless depth is
    None, depth [H, W] = sum weight z. tile_start [tiles + 1], pair_gaussian [pairs].
    """
    height, width = transmittance.shape
    tiles_x = (width + TILE - 1) // TILE
    colour = np.empty((3, PIXELS), np.float32)
    red, green, blue = colour[0], colour[1], colour[2]
    remaining = np.empty(PIXELS, np.float32)
    added = np.empty(PIXELS, np.int32)
    tile_depth = None if depth is None else np.empty(PIXELS, np.float32)
    for tile in range(first_tile, end_tile):
        x0, y0 = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
        rows, columns = min(TILE, height - y0), min(TILE, width - x0)
        colour[:] = ZERO
        added[:] = -1
        remaining[:] = -ONE  # pixels outside the image count as finished
        if depth is not None:
            tile_depth[:] = ZERO
        for row in range(rows):
            for column in range(columns):
                remaining[row * TILE + column] = ONE
        left, top = np.float32(x0) + HALF, np.float32(y0) + HALF
        begin = tile_start[tile]
        for pair in range(begin, tile_start[tile + 1]):
            position = np.int32(pair - begin)
            _blend(records[pair_gaussian[pair]], position, left, top, max_alpha, stop, remaining,
                   added, red, green, blue, tile_depth)
            if position % CHECK_EVERY == CHECK_EVERY - 1 and _all_finished(remaining):
                break
        for row in range(rows):
            for column in range(columns):
                pixel, y, x = row * TILE + column, y0 + row, x0 + column
                left_over = abs(remaining[pixel])
                transmittance[y, x], last[y, x] = left_over, added[pixel]
                for channel in range(3):
                    rgb[y, x, channel] = colour[channel, pixel] + left_over * background[channel]
                if depth is not None:
                    depth[y, x] = tile_depth[pixel]


@njit(inline='always', **FAST)
def _unblend(record, position, left, top, max_alpha, remaining, last, behind, v_red, v_green,
             v_blue, v_depth, lanes, abs_x, abs_y):
    """Take one Gaussian off the pixels of a tile and sum its gradients over the rows.

    v_*: dL/d(colour, depth) of the pixels; `behind`: see the module. lanes, abs_x, abs_y: sums
    over the rows for each of the 16 columns. Moments in dy only: dx does not change in a column,
    `_write_row` multiplies by it once.
    """
    first_dx, first_dy = record[at.MEAN_X] - left, record[at.MEAN_Y] - top
    xx, xy, yy = record[at.CONIC_XX], record[at.CONIC_XY], record[at.CONIC_YY]
    half_xx, half_yy, opacity = HALF * xx, HALF * yy, record[at.OPACITY]
    c_red, c_green, c_blue = record[at.RED], record[at.GREEN], record[at.BLUE]
    z, extent = record[at.DEPTH], record[at.EXTENT_Y]
    sum_g, sum_gy, sum_gyy, sum_red, sum_green, sum_blue, sum_depth = lanes
    first_row = max(int(math.ceil(first_dy - extent)), 0)
    last_row = min(int(math.floor(first_dy + extent)), TILE - 1)
    for row in range(first_row, last_row + 1):
        dy = first_dy - np.float32(row)
        sigma_y, slope_y, steep_y = half_yy * dy * dy, xy * dy, yy * dy
        start = np.uint64(row * TILE)
        for column in range(TILE):
            pixel = start + np.uint64(column)
            dx = first_dx - np.float32(column)
            sigma = max(sigma_y + dx * (slope_y + half_xx * dx), ZERO)
            uncut = opacity * _exp_negative(sigma)
            alpha = min(uncut, max_alpha)
            added = (alpha >= MIN_ALPHA) & (position <= last[pixel])
            alpha = alpha if added else ZERO
            inverse = ONE / (ONE - alpha)
            before = remaining[pixel] * inverse
            remaining[pixel] = before
            weight = alpha * before
            r, g, b = v_red[pixel], v_green[pixel], v_blue[pixel]
            value = c_red * r + c_green * g + c_blue * b
            if v_depth is not None:
                value += z * v_depth[pixel]
                sum_depth[column] += weight * v_depth[pixel]
            sum_red[column] += weight * r
            sum_green[column] += weight * g
            sum_blue[column] += weight * b
            grad_alpha = before * value - inverse * behind[pixel]
            behind[pixel] += weight * value
            grad = -uncut * grad_alpha if (added & (uncut <= max_alpha)) else ZERO
            sum_g[column] += grad
            sum_gy[column] += grad * dy
            sum_gyy[column] += grad * dy * dy
            if abs_x is not None:
                abs_x[column] += abs(grad * (xx * dx + slope_y))
                abs_y[column] += abs(grad * (xy * dx + steep_y))


@njit(inline='always', **FAST)
def _write_row(row, first_dx, lanes):
    """Sum the columns into one gradient row (cpu_records.py)."""
    sum_g, sum_gy, sum_gyy, sum_red, sum_green, sum_blue, sum_depth = lanes
    g = gx = gy = gxx = gxy = gyy = red = green = blue = depth = ZERO
    for column in range(TILE):
        dx = first_dx - np.float32(column)
        g += sum_g[column]
        gx += sum_g[column] * dx
        gxx += sum_g[column] * dx * dx
        gy += sum_gy[column]
        gxy += sum_gy[column] * dx
        gyy += sum_gyy[column]
        red += sum_red[column]
        green += sum_green[column]
        blue += sum_blue[column]
        depth += sum_depth[column]
    row[at.SUM_G], row[at.SUM_GX], row[at.SUM_GY] = g, gx, gy
    row[at.SUM_GXX], row[at.SUM_GXY], row[at.SUM_GYY] = gxx, gxy, gyy
    row[at.GRAD_RED], row[at.GRAD_GREEN], row[at.GRAD_BLUE] = red, green, blue
    row[at.GRAD_DEPTH] = depth


@njit(**FAST)
def _load_tile(y0, x0, background, transmittance, last, v_rgb, v_alpha, v_depth,
               remaining, added, behind, v_tile, v_tile_depth):
    """Copy a tile's part of the picture; returns the last position that any pixel used (or -1)."""
    height, width = transmittance.shape
    remaining[:] = ONE
    added[:] = -1  # also for pixels outside the image: nothing is taken off there
    behind[:] = ZERO
    v_tile[:] = ZERO
    if v_depth is not None:
        v_tile_depth[:] = ZERO
    deepest = -1
    for row in range(min(TILE, height - y0)):
        for column in range(min(TILE, width - x0)):
            pixel, y, x = row * TILE + column, y0 + row, x0 + column
            remaining[pixel], added[pixel] = transmittance[y, x], last[y, x]
            deepest = max(deepest, last[y, x])
            # rgb = ... + T background and alpha = 1 - T
            value = -v_alpha[y, x]
            for channel in range(3):
                v_tile[channel, pixel] = v_rgb[y, x, channel]
                value += v_rgb[y, x, channel] * background[channel]
            behind[pixel] = transmittance[y, x] * value
            if v_depth is not None:
                v_tile_depth[pixel] = v_depth[y, x]
    return deepest


@njit(**FAST)
def composite_backward(first_tile, end_tile, tile_start, pair_gaussian, pair_slot, records,
                       background, max_alpha, transmittance, last, v_rgb, v_alpha, v_depth,
                       gradient_rows, absolute_rows):
    """Gradient rows [pairs, 10] (cpu_records.py) of tiles from those of the picture.

    v_rgb [H, W, 3], v_alpha [H, W], v_depth [H, W] or None; absolute_rows [pairs, 2] or None:
    sums of |dL/d mean|. Every row of these tiles is written.
    """
    tiles_x = (transmittance.shape[1] + TILE - 1) // TILE
    remaining, behind = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
    added = np.empty(PIXELS, np.int32)
    v_tile = np.empty((3, PIXELS), np.float32)
    v_red, v_green, v_blue = v_tile[0], v_tile[1], v_tile[2]
    v_tile_depth = None if v_depth is None else np.empty(PIXELS, np.float32)
    store = np.zeros((9, TILE), np.float32)
    lanes = (store[0], store[1], store[2], store[3], store[4], store[5], store[6])
    abs_x = None if absolute_rows is None else store[7]
    abs_y = None if absolute_rows is None else store[8]
    for tile in range(first_tile, end_tile):
        x0, y0 = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
        deepest = _load_tile(y0, x0, background, transmittance, last, v_rgb, v_alpha, v_depth,
                             remaining, added, behind, v_tile, v_tile_depth)
        begin = tile_start[tile]
        for pair in range(tile_start[tile + 1] - 1, begin - 1, -1):
            position, slot = np.int32(pair - begin), pair_slot[pair]
            store[:] = ZERO
            record = records[pair_gaussian[pair]]
            if position <= deepest:
                _unblend(record, position, np.float32(x0) + HALF, np.float32(y0) + HALF,
                         max_alpha, remaining, added, behind, v_red, v_green, v_blue,
                         v_tile_depth, lanes, abs_x, abs_y)
            _write_row(gradient_rows[slot], record[at.MEAN_X] - np.float32(x0) - HALF, lanes)
            if absolute_rows is not None:
                total_x = total_y = ZERO
                for column in range(TILE):
                    total_x += abs_x[column]
                    total_y += abs_y[column]
                absolute_rows[slot, 0], absolute_rows[slot, 1] = total_x, total_y


@njit(**FAST)
def sum_rows(start, stop, first_slot, pair_count, rows, totals):
    """totals [N, C]: for each Gaussian of start..stop the sum of its rows [pairs, C]."""
    for i in range(start, stop):
        for entry in range(rows.shape[1]):
            totals[i, entry] = ZERO
        for slot in range(first_slot[i], first_slot[i] + pair_count[i]):
            for entry in range(rows.shape[1]):
                totals[i, entry] += rows[slot, entry]
