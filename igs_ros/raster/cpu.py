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
from igs_ros.raster.cpu_bins import count_pairs, depth_order, place_pairs
from igs_ros.raster.cpu_project import project, project_backward
from igs_ros.raster.cpu_sh import shade, shade_backward
from igs_ros.raster.cpu_tiles import composite, composite_backward, sum_rows
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
    max_alpha: np.float32
    stop: np.float32
    antialiased: bool
    absgrad: bool
    depth: bool


@dataclass(frozen=True, eq=False)
class _Bins:
    """The pairs of Gaussians and tiles."""

    pair_count: np.ndarray  # [N] int64
    first_slot: np.ndarray  # [N] int64, first gradient row of a Gaussian
    tile_start: np.ndarray  # [tiles + 1] int64
    pair_gaussian: np.ndarray  # [pairs] int32, by tile, near to far
    pair_slot: np.ndarray  # [pairs] int32


@dataclass(frozen=True, eq=False)
class _Picture:
    """What the kernels drew, and what the way back needs."""

    records: np.ndarray  # [N, 12] float32
    bins: _Bins
    rgb: np.ndarray  # [H, W, 3] float32
    transmittance: np.ndarray  # [H, W] float32
    last: np.ndarray  # [H, W] int32
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
               antialiased: bool = False, absgrad: bool = False,
               depth: bool = True) -> Rendering:
        """See `Rasterizer.render`. With `depth` off, `Rendering.depth` is None and costs nothing.

        Lens distortion is not drawn: the camera has to be an undistorted one.
        """
        shot = self._shot(camera, background, antialiased, absgrad, depth)
        attributes = (scene.means, scene.quats, scene.scales, scene.opacities, scene.sh)
        screen = CpuScreenGradients()
        if torch.is_grad_enabled() and any(value.requires_grad for value in attributes):
            drawn = []
            rgb, alpha, weighted = _Draw.apply(*attributes, self._run, shot, screen, drawn)
            picture = drawn[0]
        else:
            picture = _draw(self._run, shot, *(_array(value) for value in attributes))
            rgb, alpha, weighted = _outputs(picture)
        expected = None if weighted is None else weighted / alpha.clamp_min(1e-10)
        visible = torch.from_numpy(picture.bins.pair_count > 0)
        return Rendering(rgb, expected, alpha, visible, screen)

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

    def _shot(self, camera, background, antialiased, absgrad, depth) -> _Shot:
        (fx, _, cx), (_, fy, cy), _ = camera.K
        beyond = 0.15  # of the image size, see cpu_project._screen_rows
        lens = (fx, fy, cx, cy,
                -(cx + beyond * camera.width) / fx, (camera.width * (1 + beyond) - cx) / fx,
                -(cy + beyond * camera.height) / fy, (camera.height * (1 + beyond) - cy) / fy)
        constants = self.constants
        return _Shot(
            camera.width, camera.height, _float32(camera.camera_from_world), _float32(lens),
            _float32((constants.near, constants.far, constants.eps2d)), _float32(camera.center),
            _float32(background), np.float32(constants.max_alpha),
            np.float32(constants.stop_transmittance), bool(antialiased), bool(absgrad),
            bool(depth))

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
    def forward(ctx, means, quats, scales, opacities, sh, run, shot, screen, drawn):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(means, quats, scales, opacities, sh)
        arrays = [_array(value) for value in (means, quats, scales, opacities, sh)]
        ctx.picture = _draw(run, shot, *arrays)
        ctx.run, ctx.shot, ctx.screen = run, shot, screen
        drawn.append(ctx.picture)
        return _outputs(ctx.picture)

    @staticmethod
    @once_differentiable
    def backward(ctx, v_rgb, v_alpha, v_weighted):
        arrays = [_array(value) for value in ctx.saved_tensors]
        totals, absgrad = _pixel_gradients(ctx.run, ctx.shot, ctx.picture, v_rgb, v_alpha,
                                           v_weighted)
        gradients, mean2d = _attribute_gradients(ctx.run, ctx.shot, ctx.picture, totals, *arrays)
        ctx.screen.mean2d = torch.from_numpy(mean2d)
        ctx.screen.absgrad = None if absgrad is None else torch.from_numpy(absgrad)
        return (*(torch.from_numpy(value) for value in gradients), None, None, None, None)


def _draw(run, shot: _Shot, means, quats, scales, opacities, sh) -> _Picture:
    count = len(means)
    records = np.empty((count, at.RECORD), np.float32)
    spans = np.empty((count, at.SPAN), np.float32)
    pieces = _gaussian_pieces(count)
    run(project, pieces, means, quats, scales, opacities, shot.view, shot.lens, shot.limits,
        shot.antialiased, records, spans)
    run(shade, pieces, means, sh, shot.center, _degree(sh), records)
    bins = _bin(run, shot, records, spans)
    size = (shot.height, shot.width)
    rgb = np.empty((*size, 3), np.float32)
    transmittance = np.empty(size, np.float32)
    last = np.empty(size, np.int32)
    weighted_depth = np.empty(size, np.float32) if shot.depth else None
    run(composite, _tile_pieces(bins.tile_start), bins.tile_start, bins.pair_gaussian, records,
        shot.background, shot.max_alpha, shot.stop, rgb, transmittance, last, weighted_depth)
    return _Picture(records, bins, rgb, transmittance, last, weighted_depth)


def _bin(run, shot: _Shot, records, spans) -> _Bins:
    tiles = -(-shot.width // at.TILE) * -(-shot.height // at.TILE)
    order = depth_order(records)
    pieces = _gaussian_pieces(len(order))
    pair_count = np.zeros(len(records), np.int64)
    block_counts = np.zeros((len(pieces), tiles), np.int64)
    frame = (order, records, spans, shot.width, shot.height)
    run(count_pairs, [(*piece, counts) for piece, counts in zip(pieces, block_counts)],
        *frame, pair_count)
    tile_start = np.zeros(tiles + 1, np.int64)
    np.cumsum(block_counts.sum(0), out=tile_start[1:])
    pairs = int(tile_start[-1])
    if pairs > MAX_PAIRS:
        raise InputError(f'rasteriser: {len(order)} Gaussians cover {pairs} image tiles; expected '
                         f'at most {MAX_PAIRS}. Limit the size of the Gaussians.')
    # where each block goes on within the list of each tile
    cursors = tile_start[:-1] + np.cumsum(block_counts, 0) - block_counts
    first_slot = np.cumsum(pair_count) - pair_count
    pair_gaussian, pair_slot = np.empty(pairs, np.int32), np.empty(pairs, np.int32)
    run(place_pairs, [(*piece, cursor) for piece, cursor in zip(pieces, cursors)],
        *frame, first_slot, pair_gaussian, pair_slot)
    return _Bins(pair_count, first_slot, tile_start, pair_gaussian, pair_slot)


def _pixel_gradients(run, shot: _Shot, picture: _Picture, v_rgb, v_alpha, v_weighted):
    """Sums [N, 10] per Gaussian (cpu_records.py) and absgrad [N, 2] or None."""
    size = (shot.height, shot.width)
    v_rgb = np.zeros((*size, 3), np.float32) if v_rgb is None else _array(v_rgb)
    v_alpha = np.zeros(size, np.float32) if v_alpha is None else _array(v_alpha)
    v_weighted = None if v_weighted is None else _array(v_weighted)
    bins = picture.bins
    pairs, count = len(bins.pair_gaussian), len(picture.records)
    rows = np.empty((pairs, at.GRADIENT), np.float32)
    absolute_rows = np.empty((pairs, 2), np.float32) if shot.absgrad else None
    run(composite_backward, _tile_pieces(bins.tile_start), bins.tile_start, bins.pair_gaussian,
        bins.pair_slot, picture.records, shot.background, shot.max_alpha, picture.transmittance,
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
