# SPDX-License-Identifier: Apache-2.0
"""The grid of square tiles that pictures are drawn, compared and refined in.

A choice of tiles is a bool array [rows, columns]; tiles at the right and lower border may stick
out of the picture.
"""
from __future__ import annotations

import numpy as np

TILE = 16  # px; rows of exactly 16 pixels are what LLVM turns into one AVX-512 vector


def tile_grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of tiles that cover a picture of that many pixels."""
    return -(-height // TILE), -(-width // TILE)


def tiles_with(pixels: np.ndarray) -> np.ndarray:
    """[rows, columns] bool: the tiles that hold a True of `pixels`, bool [H, W]."""
    columns = np.logical_or.reduceat(pixels, range(0, pixels.shape[1], TILE), axis=1)
    return np.logical_or.reduceat(columns, range(0, pixels.shape[0], TILE), axis=0)


def pixels_of(tiles: np.ndarray, height: int, width: int) -> np.ndarray:
    """[H, W] bool: the pixels of the chosen tiles.

    Args:
        tiles: bool [rows, columns].
        height: of the picture, px.
        width: of the picture, px.
    """
    return tiles.repeat(TILE, 0).repeat(TILE, 1)[:height, :width]


def worst_tiles(errors: np.ndarray, share: float) -> np.ndarray:
    """[rows, columns] bool: the fewest tiles with a share of all errors; none where all are 0.

    Args:
        errors: [rows, columns], not negative.
        share: 0..1 of their sum.
    """
    order = np.argsort(-errors, axis=None, kind='stable')
    held = np.cumsum(errors.ravel()[order])
    worst = np.zeros(errors.size, bool)
    if held[-1] > 0:
        worst[order[:np.searchsorted(held, share * held[-1]) + 1]] = True
    return worst.reshape(errors.shape)


def checked(tiles: np.ndarray | None, height: int, width: int) -> np.ndarray:
    """A choice of tiles as an array in memory order, its shape and type looked at.

    Args:
        tiles: bool [rows, columns]; None: all of them.
        height: of the picture, px.
        width: of the picture, px.
    """
    grid = tile_grid(height, width)
    if tiles is None:
        return np.ones(grid, bool)
    assert tiles.shape == grid and tiles.dtype == bool, (tiles.shape, tiles.dtype, grid)
    return np.ascontiguousarray(tiles)
