# SPDX-License-Identifier: Apache-2.0
"""Kernels of PatchMatch: depth and slant of every pixel, spread from neighbor to neighbor.

A pixel holds a plane as inverse depth and its two gradients in the picture: inverse depth is
linear in the pixel wherever a surface is plane, so a neighbor's plane is carried over by two
multiplications, and no ray is needed. A plane maps the window around a pixel into a source
picture; the score is the ZNCC of both windows, pixels weighted by how much they look like the
middle one, in the source that fits best: others may not see the surface.

A round visits the pixels of one color of a checkerboard, then of the other; what a pixel takes
over stands on pixels of the other color only, and what it tries at random follows from its place
and the round. So all pixels of a color may be visited at once, by any number of threads.
"""
import numpy as np

from igs_ros.core.jit import njit

FAST = {'cache': True, 'nogil': True, 'error_model': 'numpy', 'fastmath': True}
ZERO, HALF, ONE, TWO = (np.float32(v) for v in (0, 0.5, 1, 2))
UNSEEN = np.float32(-2)  # below any ZNCC: no evidence here
REACH, STEP = 5, 2  # px: a window of 11 x 11, every other pixel of it, without its corners
_AT = [(dx, dy) for dy in range(-REACH, REACH + 1, STEP) for dx in range(-REACH, REACH + 1, STEP)
       if abs(dx) + abs(dy) < 2 * REACH]
_NEAR = [(dx, dy) for dy in range(-3, 4) for dx in range(-3, 4)]
TAPS = 32  # a multiple of what vector code takes at once
# [2, TAPS] dx and dy; in small pictures 11 px are too much of the scene: about 7 there
OFFSETS = np.array(_AT, np.float32).T.copy()
SMALL_OFFSETS = np.array(sorted(_NEAR, key=lambda at: at[0] ** 2 + at[1] ** 2)[:TAPS],
                         np.float32).T.copy()
SPATIAL = np.float32(1 / (2 * REACH * REACH))
MIN_VARIANCE = np.float32(4e-6)  # gray levels 0..1: what rounding to 8 bits leaves of flat windows
MIN_SEEN = np.float32(0.6)  # share of a window's weight that must lie in the source
FARTHEST = 23  # px to where a neighbor's plane is looked for, in odd steps: the other color
INV, GX, GY, SCORE = range(4)  # rows of a view's state [4, h, w]
MAX_SLANT = np.float32(6.0)  # tangent of the angle between surface and picture plane, in effect

_C1, _C2, _C3 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), \
    np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S40 = (np.uint64(v) for v in (30, 27, 31, 40))
_UNIT = np.float32(2.0 ** -23)


@njit(inline='always', **FAST)
def _uniform(key):
    """-1..1 from a uint64 (splitmix64)."""
    z = key * _C1
    z = (z ^ (z >> _S30)) * _C2
    z = (z ^ (z >> _S27)) * _C3
    z = z ^ (z >> _S31)
    return np.float32(z >> _S40) * _UNIT - ONE


@njit(**FAST)
def _window(picture, y, x, sharpness, offsets, taps):
    """Weights and weighted gray levels of the window around a pixel into `taps` [3, TAPS]."""
    height, width = picture.shape[:2]
    middle0, middle1 = picture[y, x, 0], picture[y, x, 1]
    middle2 = picture[y, x, 2]
    total = ZERO
    for k in range(TAPS):
        row, column = y + np.int64(offsets[1, k]), x + np.int64(offsets[0, k])
        weight, gray = ZERO, ZERO
        if 0 <= row < height and 0 <= column < width:
            difference = abs(picture[row, column, 0] - middle0) \
                + abs(picture[row, column, 1] - middle1) \
                + abs(picture[row, column, 2] - middle2)
            distance = offsets[0, k] * offsets[0, k] + offsets[1, k] * offsets[1, k]
            weight = np.exp(-difference * sharpness - distance * SPATIAL)
            gray = picture[row, column, 3]
        taps[0, k], taps[1, k], taps[2, k] = weight, weight * gray, weight * gray * gray
        total += weight
    return total


@njit(**FAST)
def _zncc(taps, offsets, total, y, x, inv, gx, gy, flat, height, width, motion):
    """Score of one plane in one source: `motion` [3, 4] maps (column, row, 1, inverse depth)."""
    fx, fy = np.float32(x), np.float32(y)
    u0 = motion[0, 0] * fx + motion[0, 1] * fy + motion[0, 2] + motion[0, 3] * inv
    v0 = motion[1, 0] * fx + motion[1, 1] * fy + motion[1, 2] + motion[1, 3] * inv
    w0 = motion[2, 0] * fx + motion[2, 1] * fy + motion[2, 2] + motion[2, 3] * inv
    ux, uy = motion[0, 0] + motion[0, 3] * gx, motion[0, 1] + motion[0, 3] * gy
    vx, vy = motion[1, 0] + motion[1, 3] * gx, motion[1, 1] + motion[1, 3] * gy
    wx, wy = motion[2, 0] + motion[2, 3] * gx, motion[2, 1] + motion[2, 3] * gy
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    last_column, last_row = np.int32(width - 2), np.int32(height - 2)
    stride = np.int32(width)
    seen, sum_a, sum_aa, sum_b, sum_bb, sum_ab = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    for k in range(TAPS):
        dx, dy = offsets[0, k], offsets[1, k]
        depth = w0 + wx * dx + wy * dy
        scale = ONE / depth
        u = (u0 + ux * dx + uy * dy) * scale
        v = (v0 + vx * dx + vy * dy) * scale
        inside = (depth > ZERO) & (u >= ZERO) & (v >= ZERO) & (u <= right) & (v <= bottom)
        u = u if inside else ZERO
        v = v if inside else ZERO
        column = min(np.int32(u), last_column)
        row = min(np.int32(v), last_row)
        du, dv = u - np.float32(column), v - np.float32(row)
        at = row * stride + column
        below = at + stride
        top = flat[at] + du * (flat[at + 1] - flat[at])
        low = flat[below] + du * (flat[below + 1] - flat[below])
        b = top + dv * (low - top)
        weight = taps[0, k] if inside else ZERO
        a = taps[1, k] if inside else ZERO
        seen += weight
        sum_a += a
        sum_aa += taps[2, k] if inside else ZERO
        sum_b += weight * b
        sum_bb += weight * b * b
        sum_ab += a * b
    if seen <= MIN_SEEN * total:
        return UNSEEN
    share = ONE / seen
    mean_a, mean_b = sum_a * share, sum_b * share
    var_a, var_b = sum_aa * share - mean_a * mean_a, sum_bb * share - mean_b * mean_b
    if var_a < MIN_VARIANCE or var_b < MIN_VARIANCE:
        return UNSEEN
    return min((sum_ab * share - mean_a * mean_b) / np.sqrt(var_a * var_b), ONE)


@njit(**FAST)
def _best(taps, offsets, total, y, x, inv, gx, gy, sources, sizes, motions):
    """The best score of a plane in any of the sources."""
    best = UNSEEN
    for source in range(len(sizes)):
        best = max(best, _zncc(taps, offsets, total, y, x, inv, gx, gy, sources[source],
                               sizes[source, 0], sizes[source, 1], motions[source]))
    return best


@njit(**FAST)
def _try(y, x, inv, gx, gy, state, limits, focal, taps, offsets, total, sources, sizes, motions):
    """Keep a plane at a pixel if it is allowed there and scores better than what is there."""
    old = state[INV, y, x]
    if not (limits[0] <= inv <= limits[1]) or abs(gx) * focal[0] > MAX_SLANT * inv \
            or abs(gy) * focal[1] > MAX_SLANT * inv:
        return
    near = np.float32(1e-5)
    if abs(inv - old) < near * old and abs(gx - state[GX, y, x]) * focal[0] < near * old \
            and abs(gy - state[GY, y, x]) * focal[1] < near * old:
        return
    score = _best(taps, offsets, total, y, x, inv, gx, gy, sources, sizes, motions)
    if score > state[SCORE, y, x]:
        state[INV, y, x], state[GX, y, x], state[GY, y, x] = inv, gx, gy
        state[SCORE, y, x] = score


@njit(**FAST)
def _spread(y, x, state, limits, focal, taps, offsets, total, sources, sizes, motions):
    """Try the planes of neighbors: beside, the best in each direction, through them."""
    height, width = state.shape[1:]
    for direction in range(8):
        dx = ((direction & 3) == 0) * -1 + ((direction & 3) == 1)
        dy = ((direction & 3) == 2) * -1 + ((direction & 3) == 3)
        reach, best, step = 0, np.float32(-3), 1 if direction < 4 else 3
        while step <= (1 if direction < 4 else FARTHEST):
            row, column = y + step * dy, x + step * dx
            if row < 0 or column < 0 or row >= height or column >= width:
                break
            if state[SCORE, row, column] > best:
                best, reach = state[SCORE, row, column], step
            step += 2
        if reach == 0:
            continue
        row, column = y + reach * dy, x + reach * dx
        gx, gy = state[GX, row, column], state[GY, row, column]
        inv = state[INV, row, column] - np.float32(reach * dx) * gx \
            - np.float32(reach * dy) * gy
        _try(y, x, inv, gx, gy, state, limits, focal, taps, offsets, total, sources,
             sizes, motions)
    if 0 < x < width - 1 and 0 < y < height - 1:  # the plane through the neighbors
        _try(y, x, state[INV, y, x], HALF * (state[INV, y, x + 1] - state[INV, y, x - 1]),
             HALF * (state[INV, y + 1, x] - state[INV, y - 1, x]), state, limits, focal,
             taps, offsets, total, sources, sizes, motions)


@njit(**FAST)
def _change(y, x, key, finer, state, limits, focal, taps, offsets, total, sources, sizes, motions):
    """Try random changes: another depth, a little of the depth, a little of depth and slant."""
    for attempt in range(3):
        inv, gx, gy = state[INV, y, x], state[GX, y, x], state[GY, y, x]
        slant_x, slant_y = gx * focal[0] / inv, gy * focal[1] / inv
        if attempt == 0:
            share = HALF + HALF * _uniform(key)
            inv = limits[0] + share * (limits[1] - limits[0])
        else:
            inv *= ONE + np.float32(0.03) * finer * _uniform(key + np.uint64(attempt))
        if attempt != 1:
            slant_x += finer * _uniform(key + np.uint64(4 + attempt))
            slant_y += finer * _uniform(key + np.uint64(8 + attempt))
        _try(y, x, inv, slant_x * inv / focal[0], slant_y * inv / focal[1], state, limits,
             focal, taps, offsets, total, sources, sizes, motions)


@njit(**FAST)
def rate(first_row: int, end_row: int, picture: np.ndarray, sharpness: np.float32,
         state: np.ndarray, offsets: np.ndarray, sources: np.ndarray, sizes: np.ndarray,
         motions: np.ndarray) -> None:
    """Score the planes that `state` holds, in some rows.

    Args:
        first_row: of these rows.
        end_row: of these rows, itself left out.
        picture: as `improve` has it, and what follows, too.
        sharpness: of its colors.
        state: SCORE of it is written.
        offsets: OFFSETS or SMALL_OFFSETS.
        sources: gray levels.
        sizes: of these.
        motions: see `_zncc`.
    """
    taps = np.empty((3, TAPS), np.float32)
    for y in range(first_row, end_row):
        for x in range(picture.shape[1]):
            total = _window(picture, y, x, sharpness, offsets, taps)
            state[SCORE, y, x] = _best(taps, offsets, total, y, x, state[INV, y, x],
                                       state[GX, y, x], state[GY, y, x], sources, sizes, motions)


@njit(**FAST)
def improve(first_row: int, end_row: int, turn: int, seed: int, mask: np.ndarray,
            picture: np.ndarray, sharpness: np.float32, state: np.ndarray,
            limits: np.ndarray, focal: np.ndarray, offsets: np.ndarray, sources: np.ndarray,
            sizes: np.ndarray, motions: np.ndarray) -> None:
    """Visit the pixels of one color of the checkerboard in some rows.

    Args:
        first_row: of these rows.
        end_row: of these rows, itself left out.
        turn: twice the number of the round, plus the color.
        seed: of what is tried at random.
        mask: [h, w] bool, pixels that are visited.
        picture: [h, w, 4] float32 red, green, blue and gray, 0..1, gray around zero.
        sharpness: by how much colors that differ by 1 lower a pixel's weight, as an exponent.
        state: [4, h, w] float32 INV, GX, GY and SCORE; changed.
        limits: [2] float32 least and largest inverse depth.
        focal: [2] float32 px.
        offsets: OFFSETS or SMALL_OFFSETS.
        sources: [S, P] float32 gray levels of the sources, row by row.
        sizes: [S, 2] int64 height and width of each.
        motions: [S, 3, 4] float32, see `_zncc`.
    """
    height, width = picture.shape[:2]
    taps = np.empty((3, TAPS), np.float32)
    number, color = turn // 2, turn % 2
    finer = np.float32(0.5) ** np.float32(number)
    for y in range(first_row, end_row):
        for x in range((y + color) % 2, width, 2):
            if not mask[y, x]:
                continue
            total = _window(picture, y, x, sharpness, offsets, taps)
            _spread(y, x, state, limits, focal, taps, offsets, total, sources, sizes, motions)
            key = np.uint64(((seed * 64 + turn) * height + y) * width + x) * np.uint64(16)
            _change(y, x, key, finer, state, limits, focal, taps, offsets, total, sources, sizes,
                    motions)
