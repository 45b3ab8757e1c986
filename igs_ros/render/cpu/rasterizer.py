# SPDX-License-Identifier: Apache-2.0
"""The CPU rasterizer: numba kernels on a pool of threads, one autograd function.

Stages of a picture (picture.py): project and shade (project.py, sh.py), bin (bins.py), composite
(tiles.py). Work is cut into pieces that do not depend on the number of threads and every number is
written by one piece, so pictures and gradients are the same bits for any `threads`.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.scene import GaussianScene
from igs_ros.render.cpu.bins import tiles_before
from igs_ros.render.cpu.gather import VALUES, gather
from igs_ros.render.cpu.picture import (
    CpuContext,
    DrawnPicture,
    RenderParams,
    attribute_gradients,
    draw,
    gaussian_pieces,
    pixel_gradients,
    projected,
)
from igs_ros.render.cpu.tiles import sum_rows
from igs_ros.render.rasterizer import GSPLAT_1_5, Context, RasterConstants, Rendering
from igs_ros.render.tiles import checked


@dataclass
class CpuScreenGradients:
    """Gradients in the image plane, px; filled by `backward`."""

    mean2d: torch.Tensor | None = None  # [N, 2]
    absgrad: torch.Tensor | None = None  # [N, 2], only if asked for


class CpuRasterizer:
    """`Rasterizer` on the CPU; may be called from several threads at once.

    Kernels are compiled on first use and kept (igs_ros.core.jit): see `warm_up`.

    Args:
        threads: that work on one picture.
        constants: of the drawing.

    Raises:
        InputError: fewer than one thread.
    """

    name = 'cpu'

    def __init__(self, threads: int = 2, constants: RasterConstants = GSPLAT_1_5):
        if threads < 1:
            raise InputError(f'rasterizer: {threads} threads; expected at least 1.')
        self.device = torch.device('cpu')
        self.threads = threads
        self.constants = constants
        self._pool = ThreadPoolExecutor(threads, 'raster') if threads > 1 else None

    def render(self, scene: GaussianScene, camera: Camera, *,
               background: tuple[float, float, float] = (0.0, 0.0, 0.0),
               antialiased: bool = False, absgrad: bool = False, depth: bool = True,
               tiles: np.ndarray | None = None, context: Context | None = None) -> Rendering:
        """See `Rasterizer.render`.

        Args:
            scene: on the CPU.
            camera: an undistorted one: lens distortion is not drawn.
            background: sRGB 0..1.
            antialiased: whether opacities are lowered where the blur widens Gaussians.
            absgrad: whether to collect `ScreenGradients.absgrad`, too.
            depth: whether to draw it.
            tiles: bool [rows, columns]; those that are not drawn show the background and alpha 0,
                and cost as much as filling them in.
            context: drawn along, made by `context` for this very camera.

        Raises:
            TypeError: `context` is of another rasterizer.
            InputError: the Gaussians cover more tiles than can be counted in int32.
        """
        if context is not None and not isinstance(context, CpuContext):
            raise TypeError(f'a {type(context).__name__} was not made by this rasterizer')
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
            picture = draw(self._run, shot, context, *(_array(value) for value in attributes))
            rgb, alpha, weighted = _outputs(picture)
        expected = None if weighted is None else weighted / alpha.clamp_min(1e-10)
        visible = torch.from_numpy(picture.bins.pair_count[:len(scene)] > 0)
        return Rendering(rgb, expected, alpha, visible, screen)

    def gathered(self, scene: GaussianScene, camera: Camera,
                 look: Callable[[np.ndarray], np.ndarray], tiles: np.ndarray | None = None,
                 ) -> np.ndarray:
        """See `igs_ros.render.gather`: about the cost of drawing twice.

        Args:
            scene: of N Gaussians, on the CPU.
            camera: an undistorted one.
            look: gets the picture, [H, W, 3] float32, and gives values [H, W, 4].
            tiles: bool [rows, columns], those to draw; None = all.

        Raises:
            InputError: the Gaussians cover more tiles than can be counted in int32.
        """
        shot = self._shot(camera, (0.0, 0.0, 0.0), False, False, False, tiles)
        attributes = (scene.means, scene.quats, scene.scales, scene.opacities, scene.sh)
        picture = draw(self._run, shot, None, *(_array(value) for value in attributes))
        bins, values = picture.bins, _float32(look(picture.rgb))
        rows = np.empty((len(bins.pairs), VALUES), np.float32)
        self._run(gather, bins.tile_pieces, bins.tile_start, bins.pairs, picture.records,
                  shot.max_alpha, shot.stop, values, rows)
        totals = np.empty((len(scene), VALUES), np.float32)
        self._run(sum_rows, gaussian_pieces(len(scene)), bins.first_slot, bins.pair_count, rows,
                  totals)
        return totals

    def context(self, scene: GaussianScene, camera: Camera, *, antialiased: bool = False,
                tiles: np.ndarray | None = None) -> CpuContext:
        """See `Rasterizer.context`. They are projected and shaded here, once.

        Args:
            scene: on the CPU.
            camera: of the pictures to come, an undistorted one.
            antialiased: as these will be drawn.
            tiles: bool [rows, columns], those that will be drawn; None: all.
        """
        shot = self._shot(camera, (0, 0, 0), antialiased, False, False, tiles)
        attributes = (scene.means, scene.quats, scene.scales, scene.opacities, scene.sh)
        made = projected(self._run, shot, *(_array(value) for value in attributes))
        drawn = np.flatnonzero(made[2])
        return CpuContext(camera, *(value[drawn] for value in made))

    def warm_up(self) -> None:
        """Compile, or load from the cache, every kernel in every variant that can be used."""
        camera = Camera('warm-up', 16, 16, np.array([[16.0, 0, 8], [0, 16, 8], [0, 0, 1]]),
                        np.eye(4))
        scene = GaussianScene(
            torch.tensor([[0.0, 0, 1]], requires_grad=True), torch.tensor([[1.0, 0, 0, 0]]),
            torch.full((1, 3), 0.1), torch.full((1,), 0.5), torch.zeros(1, 1, 3))
        with torch.enable_grad():
            for absgrad, depth in itertools.product((False, True), repeat=2):
                drawn = self.render(scene, camera, absgrad=absgrad, depth=depth)
                (drawn.require_depth() if depth else drawn.rgb).sum().backward()
        self.gathered(scene, camera, lambda rgb: np.zeros((*rgb.shape[:2], VALUES), np.float32))

    def _shot(self, camera, background, antialiased, absgrad, depth, tiles) -> RenderParams:
        (fx, _, cx), (_, fy, cy), _ = camera.K
        beyond = 0.15  # of the image size, see cpu_project._screen_rows
        lens = (fx, fy, cx, cy,
                -(cx + beyond * camera.width) / fx, (camera.width * (1 + beyond) - cx) / fx,
                -(cy + beyond * camera.height) / fy, (camera.height * (1 + beyond) - cy) / fy)
        constants = self.constants
        tiles = checked(tiles, camera.height, camera.width)
        return RenderParams(
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
        ctx.picture = draw(run, shot, context, *arrays)
        ctx.run, ctx.shot, ctx.screen = run, shot, screen
        drawn.append(ctx.picture)
        return _outputs(ctx.picture)

    @staticmethod
    @once_differentiable
    # torch calls it with one gradient for each output
    def backward(ctx, v_rgb, v_alpha, v_weighted):  # pyright: ignore[reportIncompatibleMethodOverride]
        arrays = [_array(value) for value in ctx.saved_tensors]
        given = (None if value is None else _array(value)
                 for value in (v_rgb, v_alpha, v_weighted))
        totals, absgrad = pixel_gradients(ctx.run, ctx.shot, ctx.picture, len(arrays[0]), *given)
        gradients, mean2d = attribute_gradients(ctx.run, ctx.shot, ctx.picture, totals, *arrays)
        ctx.screen.mean2d = torch.from_numpy(mean2d)
        ctx.screen.absgrad = None if absgrad is None else torch.from_numpy(absgrad)
        return (*(torch.from_numpy(value) for value in gradients), *[None] * 5)


def _outputs(picture: DrawnPicture):
    weighted = picture.weighted_depth
    return (torch.from_numpy(picture.rgb), torch.from_numpy(1 - picture.transmittance),
            None if weighted is None else torch.from_numpy(weighted))


def _float32(values) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return _float32(tensor.detach().numpy())
