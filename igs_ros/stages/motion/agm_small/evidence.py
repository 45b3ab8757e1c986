# SPDX-License-Identifier: Apache-2.0
"""What the input views show of an instant, and what each Gaussian could do to look like it."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from igs_ros.core.camera import Camera
from igs_ros.core.scene import SH_C0, GaussianScene
from igs_ros.render.exposure import Exposure, ExposureLearner
from igs_ros.render.gather import gathered
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.render.tiles import TILE, pixels_of, tiles_with, worst_tiles
from igs_ros.stages.expectation import Expectation
from igs_ros.vision.changes import changed_pixels

_ENERGY = 0.97  # share of the squared error that the tiles to look at hold
_AROUND = np.ones((3, 3), np.uint8)  # tiles beside changed ones: what moves wrongly spoils them


@dataclass(frozen=True, eq=False)
class _KeyView:
    """One input view at the key."""

    camera: Camera
    picture: np.ndarray  # [H, W, 3] uint8
    drawn: Tensor  # [H, W, 3] the key itself
    exposure: Exposure


class KeyViews:
    """The input views of one key.

    Args:
        scene: the key.
        cameras: of the input views.
        images: [H, W, 3] uint8 by camera, what the key shows; cameras without one are left out.
        rasterizer: draws the key once per view.
    """

    def __init__(self, scene: GaussianScene, cameras: Mapping[str, Camera],
                 images: Mapping[str, np.ndarray], rasterizer: Rasterizer):
        self._rasterizer = rasterizer
        self._key = Expectation(scene, images, cameras, rasterizer)
        names = [name for name in cameras if name in images]
        learner = ExposureLearner(names, rasterizer.device)
        drawn = {}
        for name in names:
            with torch.no_grad():
                drawn[name] = rasterizer.render(scene, cameras[name], depth=False).rgb
            learner.see(name, drawn[name], _colors(images[name], rasterizer.device))
        exposures = learner.exposures.cameras
        self._views = {name: _KeyView(cameras[name], images[name], drawn[name], exposures[name])
                       for name in names}

    def evidence(self, images: Mapping[str, np.ndarray],
                 cameras: Mapping[str, Camera] | None = None) -> Evidence:
        """Of a later instant with these pictures, uint8 [H, W, 3] by camera.

        cameras: where they were taken; None: where those of the key were.
        """
        views = []
        for name, key in self._views.items():
            if name not in images:
                continue
            camera, shown, reference = key.camera, key.drawn, key.picture
            if cameras is not None and self._key.moved(cameras[name]):
                camera = cameras[name]
                with torch.no_grad():
                    drawn = self._rasterizer.render(self._key.scene, camera)
                shown = drawn.rgb
                reference = self._key.expected(camera, drawn).reference(images[name])
            mask = changed_pixels(images[name], reference)
            colors = _colors(images[name], shown.device)
            colors = (colors - key.exposure.offset) / key.exposure.gain
            # where nothing changed the key shows what should be seen, with its own faults
            changed = torch.from_numpy(mask).to(colors.device)[..., None]
            tiles = cv2.dilate(tiles_with(mask).astype(np.uint8), _AROUND).astype(bool)
            views.append(_View(camera, mask, torch.where(changed, colors, shown), tiles))
        return Evidence(views, self._rasterizer)


@dataclass(eq=False)
class _View:
    """One input view at a later instant."""

    camera: Camera
    mask: np.ndarray  # [H, W] bool, changed since the key
    target: Tensor  # [H, W, 3] what should be seen, in the colors of the scene
    tiles: np.ndarray  # bool, to look at


@dataclass(frozen=True, eq=False)
class Slopes:
    """Which way each of N Gaussians should go to lessen the squared error in each of V views.

    Sums over the pixels of error x derivative of the picture.
    """

    colors: Tensor  # [V, N, 3]
    means: Tensor  # [V, N, 3] per m
    log_scales: Tensor  # [V, N, 3]
    logits: Tensor  # [V, N]
    quats: Tensor  # [V, N, 4]

    def select(self, rows: Tensor) -> Slopes:
        """Some of the Gaussians."""
        return Slopes(*(value[:, rows] for value in vars(self).values()))


class Evidence:
    """The input views of one instant; made by `KeyViews.evidence`."""

    def __init__(self, views: list[_View], rasterizer: Rasterizer):
        self._views, self._rasterizer = views, rasterizer

    @property
    def cameras(self) -> list[Camera]:
        """Of the V views."""
        return [view.camera for view in self._views]

    @property
    def changed(self) -> dict[str, np.ndarray]:
        """[H, W] bool by camera: pixels that changed since the key."""
        return {view.camera.name: view.mask for view in self._views}

    def weights(self, scene: GaussianScene) -> Tensor:
        """[V, N] blending weight of each Gaussian in the pixels that matter, summed, in px.

        `scene` is where the corrections start. From here on only the tiles are looked at that
        hold most of its squared error.
        """
        found = [self._weights(scene, view) for view in self._views]
        shape = (len(self._views), len(scene))
        return torch.from_numpy(np.array(found, np.float32).reshape(shape)).to(scene.device)

    def slopes(self, scene: GaussianScene) -> Slopes:
        """Of `scene` as it is now."""
        views = [self._slopes(scene, view) for view in self._views]
        return Slopes(*(torch.stack(values) for values in zip(*views)))

    def _weights(self, scene, view: _View) -> np.ndarray:
        def look(drawn: np.ndarray) -> np.ndarray:
            error = np.square(view.target.cpu().numpy() - drawn).sum(-1)
            view.tiles = _worst(error, view.tiles)
            pixels = pixels_of(view.tiles, *error.shape).astype(np.float32)
            return np.stack([0 * pixels, 0 * pixels, 0 * pixels, pixels], -1)
        return gathered(self._rasterizer, scene, view.camera, look, view.tiles)[:, 3]

    def _slopes(self, scene, view: _View) -> tuple[Tensor, ...]:
        leaves = [value.detach().clone().requires_grad_() for value in (
            scene.means, scene.quats, scene.scales, scene.opacities, scene.sh)]
        with torch.enable_grad():
            drawn = self._rasterizer.render(GaussianScene(*leaves), view.camera, depth=False,
                                            tiles=view.tiles).rgb
            pixels = torch.from_numpy(pixels_of(view.tiles, *view.mask.shape)).to(drawn.device)
            error = torch.where(pixels[..., None], view.target - drawn.detach(), 0.0)
            slopes = torch.autograd.grad(drawn, leaves, error)
        means, quats, scales, opacities, sh = slopes
        return (sh[:, 0] / SH_C0, means, scales * scene.scales,
                opacities * scene.opacities * (1 - scene.opacities), quats)


def _worst(error: np.ndarray, tiles: np.ndarray) -> np.ndarray:
    """Those of some tiles that hold most of the error [H, W]."""
    rows = np.add.reduceat(error, range(0, error.shape[0], TILE), axis=0)
    sums = np.add.reduceat(rows, range(0, error.shape[1], TILE), axis=1) * tiles
    return worst_tiles(sums, _ENERGY) & tiles


def _colors(image: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(image.astype(np.float32) * np.float32(1 / 255)).to(device)
