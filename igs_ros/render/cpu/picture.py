# SPDX-License-Identifier: Apache-2.0
"""The stages of a picture on the CPU, and of its gradient, in NumPy arrays.

`run(kernel, pieces, *arguments)` calls kernel(*piece, *arguments) for all pieces, on as many
threads as it likes: see rasterizer.py.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.scene import sh_degree
from igs_ros.render.cpu import records as at
from igs_ros.render.cpu.bins import depth_order, list_pairs, place_pairs
from igs_ros.render.cpu.project import project, project_backward
from igs_ros.render.cpu.sh import shade, shade_backward
from igs_ros.render.cpu.tiles import composite, composite_backward, sum_rows

GAUSSIANS_PER_TASK = 4096
TILE_TASKS = 16  # pieces of about equal numbers of pairs; more than threads, to even out the load
Run = Callable[..., None]  # (kernel, pieces, *arguments)
MAX_PAIRS = 2**31 - 1  # pairs are numbered in int32


@dataclass(frozen=True, eq=False)
class RenderParams:
    """Everything about a picture but the Gaussians, as the kernels want it."""

    width: int
    height: int
    view: np.ndarray  # [4, 4] float32 camera_from_world
    lens: np.ndarray  # [8] float32, entries as named in cpu_project.py
    limits: np.ndarray  # [3] float32 near, far, eps2d
    center: np.ndarray  # [3] float32 camera center, world
    background: np.ndarray  # [3] float32
    tiles: np.ndarray  # [tiles] bool, those to draw
    tiles_before: np.ndarray  # [tile rows + 1, tile columns + 1] int32, see cpu_bins.py
    max_alpha: np.float32
    stop: np.float32
    antialiased: bool
    absgrad: bool
    depth: bool


@dataclass(frozen=True, eq=False)
class CpuContext:
    """Projected Gaussians that are drawn along without gradients; made by `context`."""

    camera: Camera
    records: np.ndarray  # [M, 11] float32
    spans: np.ndarray  # [M, 5] float32
    max_pairs: np.ndarray  # [M] int32


@dataclass(frozen=True, eq=False)
class Bins:
    """The pairs of Gaussians and tiles."""

    pair_count: np.ndarray  # [N + M] int64, of the context too
    first_slot: np.ndarray  # [N + M] int64, first gradient row of a Gaussian
    tile_start: np.ndarray  # [tiles + 1] int64
    pairs: np.ndarray  # [P, 3] int32, by tile, near to far (cpu_records.py)
    tile_pieces: list[tuple[int, int]]  # ranges of tiles, about equal work


@dataclass(frozen=True, eq=False)
class DrawnPicture:
    """What the kernels drew, and what the way back needs."""

    records: np.ndarray  # [N + M, 11] float32, those of the context last
    bins: Bins
    rgb: np.ndarray  # [H, W, 3] float32
    transmittance: np.ndarray  # [H, W] float32
    last: np.ndarray  # [H, W] float32
    weighted_depth: np.ndarray | None  # [H, W] float32, sum weight z


def projected(run: Run, shot: RenderParams, means: np.ndarray, quats: np.ndarray,
              scales: np.ndarray, opacities: np.ndarray, sh: np.ndarray,
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Project and shade Gaussians.

    Args:
        run: calls the kernels.
        shot: everything about the picture but the Gaussians.
        means: [N, 3] float32 m, world.
        quats: [N, 4] float32 wxyz, of any length.
        scales: [N, 3] float32 m.
        opacities: [N] float32 0..1.
        sh: [N, K, 3] float32.

    Returns:
        Records [N, 11] and spans [N, 5], float32 (records.py), and an upper bound [N] int32 on the
        number of tiles that each touches, 0 = not drawn.
    """
    count = len(means)
    records = np.empty((count, at.RECORD), np.float32)
    spans = np.empty((count, at.SPAN), np.float32)
    max_pairs = np.empty(count, np.int32)
    pieces = gaussian_pieces(count)
    run(project, pieces, means, quats, scales, opacities, shot.view, shot.lens, shot.limits,
        shot.antialiased, shot.width, shot.height, shot.tiles_before, records, spans, max_pairs)
    run(shade, pieces, means, sh, shot.center, sh_degree(sh), records)
    return records, spans, max_pairs


def draw(run: Run, shot: RenderParams, context: CpuContext | None, *attributes: np.ndarray,
         ) -> DrawnPicture:
    """Draw Gaussians, and those of a context.

    Args:
        run: calls the kernels.
        shot: everything about the picture but the Gaussians.
        context: drawn along, made for the same camera and tiles; None = nothing.
        attributes: five arrays, as `projected` takes them.

    Raises:
        InputError: the Gaussians cover more tiles than can be counted in int32.
    """
    records, spans, max_pairs = projected(run, shot, *attributes)
    if context is not None:
        records = np.concatenate([records, context.records])
        spans = np.concatenate([spans, context.spans])
        max_pairs = np.concatenate([max_pairs, context.max_pairs])
    bins = _bin(run, shot, records, spans, max_pairs)
    size = (shot.height, shot.width)
    rgb = np.empty((*size, 3), np.float32)
    transmittance = np.empty(size, np.float32)
    last = np.empty(size, np.float32)
    weighted_depth = np.empty(size, np.float32) if shot.depth else None
    run(composite, bins.tile_pieces, bins.tile_start, bins.pairs, records,
        shot.background, shot.max_alpha, shot.stop, rgb, transmittance, last, weighted_depth)
    return DrawnPicture(records, bins, rgb, transmittance, last, weighted_depth)


def _bin(run, shot: RenderParams, records, spans, max_pairs) -> Bins:
    order = depth_order(records)
    pieces = gaussian_pieces(len(order))
    first_entry = np.zeros(len(order) + 1, np.int64)
    np.cumsum(max_pairs[order], out=first_entry[1:])
    if first_entry[-1] > MAX_PAIRS:
        raise InputError(f'rasterizer: {len(order)} Gaussians cover {first_entry[-1]} image '
                         f'tiles; expected at most {MAX_PAIRS}. Limit the size of the Gaussians.')
    entries = np.empty((first_entry[-1], 2), np.int32)
    pair_count = np.zeros(len(records), np.int64)
    block_counts = np.zeros((len(pieces), len(shot.tiles)), np.int64)
    run(list_pairs, [(*piece, first_entry[piece[0]], counts)
                     for piece, counts in zip(pieces, block_counts)],
        order, records, spans, shot.width, shot.height, shot.tiles, pair_count, entries)
    tile_start = np.zeros(len(shot.tiles) + 1, np.int64)
    np.cumsum(block_counts.sum(0), out=tile_start[1:])
    # where each block goes on within the list of each tile
    cursors = tile_start[:-1] + np.cumsum(block_counts, 0) - block_counts
    first_slot = np.cumsum(pair_count) - pair_count
    pairs = np.empty((tile_start[-1], at.PAIR), np.int32)
    run(place_pairs, [(*piece, first_entry[piece[0]], cursor)
                      for piece, cursor in zip(pieces, cursors)],
        order, pair_count, first_slot, entries, pairs)
    return Bins(pair_count, first_slot, tile_start, pairs, _tile_pieces(tile_start))


def pixel_gradients(run: Run, params: RenderParams, picture: DrawnPicture, count: int,
                    v_rgb: np.ndarray | None, v_alpha: np.ndarray | None,
                    v_weighted: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """From the gradients of a picture to sums over the pixels of each Gaussian.

    Args:
        run: calls the kernels.
        params: with which the picture was drawn.
        picture: as drawn.
        count: of the Gaussians that want gradients, N, the first ones.
        v_rgb: [H, W, 3] float32, dL/d(color), or None.
        v_alpha: [H, W] float32, dL/d(alpha), or None.
        v_weighted: [H, W] float32, dL/d(weighted depth), or None.

    Returns:
        Sums [N, 10] (records.py), and absgrad [N, 2] or None where it was not asked for; float32.
    """
    size = (params.height, params.width)
    v_rgb = np.zeros((*size, 3), np.float32) if v_rgb is None else v_rgb
    v_alpha = np.zeros(size, np.float32) if v_alpha is None else v_alpha
    bins = picture.bins
    pairs = int(bins.pair_count[:count].sum())
    rows = np.empty((pairs, at.GRADIENT), np.float32)
    absolute_rows = np.empty((pairs, 2), np.float32) if params.absgrad else None
    run(composite_backward, bins.tile_pieces, bins.tile_start, bins.pairs, count,
        picture.records, params.background, params.max_alpha, picture.transmittance,
        picture.last, v_rgb, v_alpha, v_weighted, rows, absolute_rows)

    def summed(array: np.ndarray) -> np.ndarray:
        total = np.empty((count, array.shape[1]), np.float32)
        run(sum_rows, gaussian_pieces(count), bins.first_slot, bins.pair_count, array, total)
        return total
    return summed(rows), None if absolute_rows is None else summed(absolute_rows)


def attribute_gradients(run: Run, params: RenderParams, picture: DrawnPicture, totals: np.ndarray,
                        means: np.ndarray, quats: np.ndarray, scales: np.ndarray,
                        opacities: np.ndarray, sh: np.ndarray,
                        ) -> tuple[list[np.ndarray], np.ndarray]:
    """From the sums over pixels to the gradients of the Gaussians.

    Args:
        run: calls the kernels.
        params: with which the picture was drawn.
        picture: as drawn.
        totals: [N, 10] float32 of `pixel_gradients`.
        means: as in `projected`.
        quats: as in `projected`.
        scales: as in `projected`.
        opacities: as in `projected`.
        sh: as in `projected`.

    Returns:
        Gradients of the five attributes, and of the positions in the image, [N, 2] float32.
    """
    gradients = [np.zeros_like(value) for value in (means, quats, scales, opacities, sh)]
    grad_means, grad_quats, grad_scales, grad_opacities, grad_sh = gradients
    mean2d = np.zeros((len(means), 2), np.float32)
    pieces = gaussian_pieces(len(means))
    run(project_backward, pieces, means, quats, scales, opacities, params.view, params.lens,
        params.limits, params.antialiased, picture.records, totals, grad_means, grad_quats,
        grad_scales, grad_opacities, mean2d)
    run(shade_backward, pieces, means, sh, params.center, sh_degree(sh), picture.records, totals,
        grad_sh, grad_means)
    return gradients, mean2d


def gaussian_pieces(count: int) -> list[tuple[int, int]]:
    """Ranges that together are 0..count."""
    return [(start, min(start + GAUSSIANS_PER_TASK, count))
            for start in range(0, count, GAUSSIANS_PER_TASK)]


def _tile_pieces(tile_start: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of tiles with about equal numbers of pairs; together all tiles."""
    shares = np.linspace(0, tile_start[-1], TILE_TASKS + 1)[1:-1]
    cuts = [0, *np.searchsorted(tile_start[:-1], shares).tolist(), len(tile_start) - 1]
    return [(first, end) for first, end in itertools.pairwise(cuts) if first < end]
