# SPDX-License-Identifier: Apache-2.0
"""Layout of the arrays that the CPU kernels share, and the compiler options.

All arrays are float32, one row per Gaussian (or per pair of a Gaussian and a tile), so that a
random access by index touches one cache line instead of one per attribute.

Numba keys its cache by the source file of a kernel alone: whoever changes this file also touches
the files that import it (or deletes `__pycache__`). Where they are kept: igs_ros.core.jit.
"""
import numpy as np

from igs_ros.render.tiles import TILE

PIXELS = TILE * TILE

# records [N, 12]: what the compositing kernels read
MEAN_X, MEAN_Y = 0, 1  # px, pixel centers at +0.5
CONIC_XX, CONIC_XY, CONIC_YY = 2, 3, 4  # inverse of the blurred 2D covariance, 1/px^2
OPACITY = 5  # times the antialiasing compensation; 0 = not drawn
RED, GREEN, BLUE = 6, 7, 8  # not negative
DEPTH = 9  # m
COMPENSATION = 10  # antialiasing factor in OPACITY
RECORD = 11

# spans [N, 5]: the outline alpha = 1/255, an ellipse, for the binning kernels; see cpu_bins.py
EXTENT_X, EXTENT_Y = 0, 1  # px; columns and rows farther from the mean get alpha < 1/255
SLOPE = 2  # shift in y of the middle of the outline per pixel in x
HALF_HEIGHT = 3  # half height of the outline at dx is HALF_HEIGHT * sqrt(EXTENT_X^2 - dx^2)
TURN_X = 4  # px; dx of the lowest point (the highest one is at -TURN_X)
SPAN = 5

# pairs [P, 3] int32, by tile, near to far
GAUSSIAN = 0
SLOT = 1  # where the pair keeps its gradient row, so that those of one Gaussian are neighbors
BLOCKS = 2  # which blocks of the tile the outline reaches, see `BLOCK`
PAIR = 3

# A tile is two halves of 8 columns, a half is 8 blocks of 2 rows: 16 pixels, one step of the
# compositing loops. A pair's BLOCKS names the first and the last block in the left half (bits
# 0-3, 4-7) and in the right one (8-11, 12-15); first > last: none.
HALF_TILE = TILE // 2
BLOCK = 16  # pixels
NO_BLOCKS = 1  # of one half

# gradient rows [pairs, 10] and their sums [N, 10]: G is dL/dsigma of a pixel, d = mean - pixel
SUM_G = 0
SUM_GX, SUM_GY = 1, 2  # of G dx, G dy
SUM_GXX, SUM_GXY, SUM_GYY = 3, 4, 5  # of G dx^2, G dx dy, G dy^2
SUMS_G = 6
GRAD_RED, GRAD_GREEN, GRAD_BLUE = 6, 7, 8
GRAD_DEPTH = 9
GRADIENT = 10

MIN_ALPHA = np.float32(1 / 255)  # a fainter contribution is skipped

# nogil, not parallel=True: numba's own thread pool aborts the process when two Python threads
# enter it at once, as the executors of ROS do.
STRICT = {'cache': True, 'nogil': True, 'error_model': 'numpy', 'fastmath': {'contract'}}
# Full fast-math assumes that no NaN exists, so it is only for kernels whose indices come from
# values that a STRICT kernel has vetted.
FAST = {'cache': True, 'nogil': True, 'error_model': 'numpy', 'fastmath': True}
