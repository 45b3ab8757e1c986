# SPDX-License-Identifier: Apache-2.0
"""The CPU rasteriser: numba kernels on a pool of threads, one autograd function.

Stages of a picture: project and shade (cpu_project.py, cpu_sh.py), bin (cpu_bins.py), composite
(cpu_tiles.py). Work is cut into pieces that do not depend on the number of threads and every
number is written by one piece, so pictures and gradients are the same bits for any `threads`.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from igs_ros.camera import Camera
from igs_ros.errors import InputError
from igs_ros.raster import Rendering
from igs_ros.raster import cpu_records as at
from igs_ros.raster.constants import GSPLAT_1_5, RasterConstants
from igs_ros.raster.cpu_bins import depth_order, list_pairs, place_pairs, tiles_before
from igs_ros.raster.cpu_gather import VALUES, gather
from igs_ros.raster.cpu_project import project, project_backward
from igs_ros.raster.cpu_sh import shade, shade_backward
from igs_ros.raster.cpu_tiles import composite, composite_backward, sum_rows
from igs_ros.raster.tiles import checked
from igs_ros.scene import GaussianScene

GAUSSIANS_PER_TASK = 4096
TILE_TASKS = 16  # pieces of about equal numbers of pairs; more than threads, to even out the load
MAX_PAIRS = 2**31 - 1  # pairs are numbered in int32


@dataclass
class CpuScreenGradients:
    """Gradients in the image plane, px; filled by `backward`."""

    mean2d: torch.Tensor | None = None  # [N, 2]
    absgrad: torch.Tensor | None = None  # [N, 2], only if asked for


@dataclass(frozen=True, eq=False)
class _Shot:
    """Everything about a picture but the Gaussians, as the kernels want it."""

    width: int
    height: int
    view: np.ndarray  # [4, 4] float32 camera_from_world
    lens: np.ndarray  # [8] float32, entries as named in cpu_project.py
    limits: np.ndarray  # [3] float32 near, far, eps2d
    center: np.ndarray  # [3] float32 camera centre, world
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
    most_pairs: np.ndarray  # [M] int32


@dataclass(frozen=True, eq=False)
class _Bins:
    """The pairs of Gaussians and tiles."""

    pair_count: np.ndarray  # [N + M] int64, of the context too
    first_slot: np.ndarray  # [N + M] int64, first gradient row of a Gaussian
    tile_start: np.ndarray  # [tiles + 1] int64
    pairs: np.ndarray  # [P, 3] int32, by tile, near to far (cpu_records.py)
    tile_pieces: list[tuple[int, int]]  # ranges of tiles, about equal work


@dataclass(frozen=True, eq=False)
class _Picture:
    """What the kernels drew, and what the way back needs."""

    records: np.ndarray  # [N + M, 11] float32, those of the context last
    bins: _Bins
    rgb: np.ndarray  # [H, W, 3] float32
    transmittance: np.ndarray  # [H, W] float32
    last: np.ndarray  # [H, W] float32
    weighted_depth: np.ndarray | None  # [H, W] float32, sum weight z


class CpuRasterizer:
    """`Rasterizer` on `threads` threads; may be called from several threads at once.

    Raises `InputError` for fewer than one thread. Kernels are compiled on first use (about 10 s,
    then cached beside the sources or in NUMBA_CACHE_DIR): see `warm_up`.
    """

    name = 'cpu'

    def __init__(self, threads: int = 2, constants: RasterConstants = GSPLAT_1_5):
        if threads < 1:
            raise InputError(f'rasteriser: {threads} threads; expected at least 1.')
        self.device = torch.device('cpu')
        self.threads = threads
        self.constants = constants
        self._pool = ThreadPoolExecutor(threads, 'raster') if threads > 1 else None

    def render(self, scene: GaussianScene, camera: Camera, *,
               background: tuple[float, float, float] = (0.0, 0.0, 0.0),
               antialiased: bool = False, absgrad: bool = False, depth: bool = True,
               tiles: np.ndarray | None = None, context: CpuContext | None = None) -> Rendering:
        """See `Rasterizer.render`. With `depth` off, `Rendering.depth` is None and costs nothing.

        Lens distortion is not drawn: the camera has to be an undistorted one. Tiles that are not
        drawn show the background and alpha 0, and cost as much as filling them in.
        """
        assert context is None or context.camera is camera, (context.camera.name, camera.name)
        shot = self._shot(camera, background, antialiased, absgrad, depth, tiles)
        attributes = (scene.means, scene.quats, scene.scales, scene.opacities, scene.sh)
        screen = CpuScreenGradients()
        if torch.is_grad_enabled() and any(value.requires_grad for value in attributes):
            drawn = []
            rgb, alpha, weighted = _Draw.apply(*attributes, self._run, shot, context, screen,
                                               drawn)
            picture = drawn[0]
        else:
            picture = _draw(self._run, shot, context, *(_array(value) for value in attributes))
            rgb, alpha, weighted = _outputs(picture)
        expected = None if weighted is None else weighted / alpha.clamp_min(1e-10)
        visible = torch.from_numpy(picture.bins.pair_count[:len(scene)] > 0)
        return Rendering(rgb, expected, alpha, visible, screen)

    def gathered(self, scene: GaussianScene, camera: Camera,
                 look: Callable[[np.ndarray], np.ndarray], tiles: np.ndarray | None = None,
                 ) -> np.ndarray:
        """See `igs_ros.raster.gather`: about the cost of drawing twice."""
        shot = self._shot(camera, (0.0, 0.0, 0.0), False, False, False, tiles)
        attributes = (scene.means, scene.quats, scene.scales, scene.opacities, scene.sh)
        picture = _draw(self._run, shot, None, *(_array(value) for value in attributes))
        bins, values = picture.bins, _float32(look(picture.rgb))
        rows = np.empty((len(bins.pairs), VALUES), np.float32)
        self._run(gather, bins.tile_pieces, bins.tile_start, bins.pairs, picture.records,
                  shot.max_alpha, shot.stop, values, rows)
        totals = np.empty((len(scene), VALUES), np.float32)
        self._run(sum_rows, _gaussian_pieces(len(scene)), bins.first_slot, bins.pair_count, rows,
                  totals)
        return totals

    def context(self, scene: GaussianScene, camera: Camera, *, antialiased: bool = False,
                tiles: np.ndarray | None = None) -> CpuContext:
        """See `Rasterizer.context`. They are projected and shaded here, once."""
        shot = self._shot(camera, (0, 0, 0), antialiased, False, False, tiles)
        attributes = (scene.means, scene.quats, scene.scales, scene.opacities, scene.sh)
        projected = _project(self._run, shot, *(_array(value) for value in attributes))
        drawn = np.flatnonzero(projected[2])
        return CpuContext(camera, *(value[drawn] for value in projected))

    def warm_up(self) -> None:
        """Compile, or load from the cache, every kernel in every variant that `render` can use."""
        camera = Camera('warm-up', 16, 16, np.array([[16.0, 0, 8], [0, 16, 8], [0, 0, 1]]),
                        np.eye(4))
        scene = GaussianScene(
            torch.tensor([[0.0, 0, 1]], requires_grad=True), torch.tensor([[1.0, 0, 0, 0]]),
            torch.full((1, 3), 0.1), torch.full((1,), 0.5), torch.zeros(1, 1, 3))
        with torch.enable_grad():
            for absgrad, depth in itertools.product((False, True), repeat=2):
                drawn = self.render(scene, camera, absgrad=absgrad, depth=depth)
                (drawn.depth if depth else drawn.rgb).sum().backward()

    def _shot(self, camera, background, antialiased, absgrad, depth, tiles) -> _Shot:
        (fx, _, cx), (_, fy, cy), _ = camera.K
        beyond = 0.15  # of the image size, see cpu_project._screen_rows
        lens = (fx, fy, cx, cy,
                -(cx + beyond * camera.width) / fx, (camera.width * (1 + beyond) - cx) / fx,
                -(cy + beyond * camera.height) / fy, (camera.height * (1 + beyond) - cy) / fy)
        constants = self.constants
        tiles = checked(tiles, camera.height, camera.width)
        return _Shot(
            camera.width, camera.height, _float32(camera.camera_from_world), _float32(lens),
            _float32((constants.near, constants.far, constants.eps2d)), _float32(camera.center),
            _float32(background), tiles.ravel(), tiles_before(tiles),
            np.float32(constants.max_alpha), np.float32(constants.stop_transmittance),
            bool(antialiased), bool(absgrad), bool(depth))

    def _run(self, kernel: Callable, pieces: Iterable[tuple], *arguments) -> None:
        """kernel(*piece, *arguments) for all pieces."""
        if self._pool is None:
            for piece in pieces:
                kernel(*piece, *arguments)
        else:
            tasks = [self._pool.submit(kernel, *piece, *arguments) for piece in pieces]
            for task in tasks:
                task.result()


class _Draw(torch.autograd.Function):
    """(means, quats, scales, opacities, sh) -> (rgb, alpha, sum weight z)."""

    @staticmethod
    def forward(ctx, means, quats, scales, opacities, sh, run, shot, context, screen, drawn):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(means, quats, scales, opacities, sh)
        arrays = [_array(value) for value in (means, quats, scales, opacities, sh)]
        ctx.picture = _draw(run, shot, context, *arrays)
        ctx.run, ctx.shot, ctx.screen = run, shot, screen
        drawn.append(ctx.picture)
        return _outputs(ctx.picture)

    @staticmethod
    @once_differentiable
    def backward(ctx, v_rgb, v_alpha, v_weighted):
        arrays = [_array(value) for value in ctx.saved_tensors]
        totals, absgrad = _pixel_gradients(ctx.run, ctx.shot, ctx.picture, len(arrays[0]), v_rgb,
                                           v_alpha, v_weighted)
        gradients, mean2d = _attribute_gradients(ctx.run, ctx.shot, ctx.picture, totals, *arrays)
        ctx.screen.mean2d = torch.from_numpy(mean2d)
        ctx.screen.absgrad = None if absgrad is None else torch.from_numpy(absgrad)
        return (*(torch.from_numpy(value) for value in gradients), *[None] * 5)


def _project(run, shot: _Shot, means, quats, scales, opacities, sh):
    """Records [N, 11], spans [N, 5] and an upper bound [N] int32 on the number of pairs."""
    count = len(means)
    records = np.empty((count, at.RECORD), np.float32)
    spans = np.empty((count, at.SPAN), np.float32)
    most_pairs = np.empty(count, np.int32)
    pieces = _gaussian_pieces(count)
    run(project, pieces, means, quats, scales, opacities, shot.view, shot.lens, shot.limits,
        shot.antialiased, shot.width, shot.height, shot.tiles_before, records, spans, most_pairs)
    run(shade, pieces, means, sh, shot.center, _degree(sh), records)
    return records, spans, most_pairs


def _draw(run, shot: _Shot, context: CpuContext | None, *attributes) -> _Picture:
    records, spans, most_pairs = _project(run, shot, *attributes)
    if context is not None:
        records = np.concatenate([records, context.records])
        spans = np.concatenate([spans, context.spans])
        most_pairs = np.concatenate([most_pairs, context.most_pairs])
    bins = _bin(run, shot, records, spans, most_pairs)
    size = (shot.height, shot.width)
    rgb = np.empty((*size, 3), np.float32)
    transmittance = np.empty(size, np.float32)
    last = np.empty(size, np.float32)
    weighted_depth = np.empty(size, np.float32) if shot.depth else None
    run(composite, bins.tile_pieces, bins.tile_start, bins.pairs, records,
        shot.background, shot.max_alpha, shot.stop, rgb, transmittance, last, weighted_depth)
    return _Picture(records, bins, rgb, transmittance, last, weighted_depth)


def _bin(run, shot: _Shot, records, spans, most_pairs) -> _Bins:
    order = depth_order(records)
    pieces = _gaussian_pieces(len(order))
    first_entry = np.zeros(len(order) + 1, np.int64)
    np.cumsum(most_pairs[order], out=first_entry[1:])
    if first_entry[-1] > MAX_PAIRS:
        raise InputError(f'rasteriser: {len(order)} Gaussians cover {first_entry[-1]} image '
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
    return _Bins(pair_count, first_slot, tile_start, pairs, _tile_pieces(tile_start))


def _pixel_gradients(run, shot: _Shot, picture: _Picture, count: int, v_rgb, v_alpha, v_weighted):
    """Sums [N, 10] (cpu_records.py) and absgrad [N, 2] or None of the first `count` Gaussians."""
    size = (shot.height, shot.width)
    v_rgb = np.zeros((*size, 3), np.float32) if v_rgb is None else _array(v_rgb)
    v_alpha = np.zeros(size, np.float32) if v_alpha is None else _array(v_alpha)
    v_weighted = None if v_weighted is None else _array(v_weighted)
    bins = picture.bins
    pairs = int(bins.pair_count[:count].sum())
    rows = np.empty((pairs, at.GRADIENT), np.float32)
    absolute_rows = np.empty((pairs, 2), np.float32) if shot.absgrad else None
    run(composite_backward, bins.tile_pieces, bins.tile_start, bins.pairs, count,
        picture.records, shot.background, shot.max_alpha, picture.transmittance,
        picture.last, v_rgb, v_alpha, v_weighted, rows, absolute_rows)
    totals = []
    for array in (rows, absolute_rows):
        total = None
        if array is not None:
            total = np.empty((count, array.shape[1]), np.float32)
            run(sum_rows, _gaussian_pieces(count), bins.first_slot, bins.pair_count, array, total)
        totals.append(total)
    return totals


def _attribute_gradients(run, shot: _Shot, picture: _Picture, totals, means, quats, scales,
                         opacities, sh):
    """Gradients of the five attributes, and of the positions in the image [N, 2]."""
    gradients = [np.zeros_like(value) for value in (means, quats, scales, opacities, sh)]
    grad_means, grad_quats, grad_scales, grad_opacities, grad_sh = gradients
    mean2d = np.zeros((len(means), 2), np.float32)
    pieces = _gaussian_pieces(len(means))
    run(project_backward, pieces, means, quats, scales, opacities, shot.view, shot.lens,
        shot.limits, shot.antialiased, picture.records, totals, grad_means, grad_quats,
        grad_scales, grad_opacities, mean2d)
    run(shade_backward, pieces, means, sh, shot.center, _degree(sh), picture.records, totals,
        grad_sh, grad_means)
    return gradients, mean2d


def _outputs(picture: _Picture):
    weighted = picture.weighted_depth
    return (torch.from_numpy(picture.rgb), torch.from_numpy(1 - picture.transmittance),
            None if weighted is None else torch.from_numpy(weighted))


def _gaussian_pieces(count: int) -> list[tuple[int, int]]:
    return [(start, min(start + GAUSSIANS_PER_TASK, count))
            for start in range(0, count, GAUSSIANS_PER_TASK)]


def _tile_pieces(tile_start: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of tiles with about equal numbers of pairs; together all tiles."""
    shares = np.linspace(0, tile_start[-1], TILE_TASKS + 1)[1:-1]
    cuts = [0, *np.searchsorted(tile_start[:-1], shares).tolist(), len(tile_start) - 1]
    return [(first, end) for first, end in itertools.pairwise(cuts) if first < end]


def _degree(sh: np.ndarray) -> int:
    return int(round(sh.shape[1] ** 0.5)) - 1


def _float32(values) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return _float32(tensor.detach().numpy())
