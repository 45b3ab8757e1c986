# SPDX-License-Identifier: Apache-2.0
"""The bounded optimisation of the first scene (quality_calibration section 1, "ps30")."""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from igs_ros.camera import Camera
from igs_ros.config import BootstrapConfig
from igs_ros.loss import Target
from igs_ros.optimize import Densify, LearningRates, Optimizer
from igs_ros.raster import Rasterizer
from igs_ros.scene import GaussianScene

_MEANS_RATE, _MEANS_DECAY = 1.6e-4, 0.01  # per scene extent; share of it left at the end
_EXTENT = 0.4  # scene extent in median depths: the spread of the cameras says nothing about it
_RATES = LearningRates(means=0.0, quats=1e-3, log_scales=5e-3, logits=5e-2, sh_dc=2.5e-3,
                       sh_rest=2.5e-3 / 20)
_DENSIFY_EVERY, _DENSIFY_FROM, _DENSIFY_UNTIL = 100, 200, 0.6  # iterations; share of all
_DENSIFY_THRESHOLD = 8e-4  # of absolute screen gradients
_PRUNE_OPACITY = 5e-3
_TELL_EVERY = 25  # iterations between progress reports


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted scene, and what ended the fit."""

    scene: GaussianScene
    iterations: int
    stopped_by: str  # iterations or seconds


def fit(scene: GaussianScene, images: Mapping[str, np.ndarray], cameras: Mapping[str, Camera],
        rasterizer: Rasterizer, config: BootstrapConfig, *, max_gaussians: int, seed: int,
        progress: Callable[[float], None]) -> Fitted:
    """`scene` optimised against the pictures, never above `max_gaussians`.

    images: uint8 RGB [H, W, 3] by camera; cameras: working cameras. The first iterations run at
    half size. `config.iterations` bounds the work, `config.seconds` (0 = none) the wall time.
    """
    names = sorted(images)
    optimizer = Optimizer(scene.to(rasterizer.device), rasterizer, _RATES, absgrad=True)
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    how = Densify(_DENSIFY_THRESHOLD, max_gaussians, _PRUNE_OPACITY)
    extent = _EXTENT * median_depth(scene, [cameras[name] for name in names])
    coarse = round(config.coarse_fraction * config.iterations)
    views, waiting = {}, []
    end = time.perf_counter() + config.seconds if config.seconds > 0 else float('inf')
    for iteration in range(config.iterations):
        if time.perf_counter() > end:
            return Fitted(optimizer.scene(), iteration, 'seconds')
        if iteration in (0, coarse):
            views = _views(names, images, cameras, rasterizer, iteration < coarse)
        if not waiting:
            waiting = [names[index] for index in rng.permutation(len(names))]
        optimizer.set_rate('means', extent * _MEANS_RATE
                           * _MEANS_DECAY ** (iteration / config.iterations))
        optimizer.backward(*views[waiting.pop()])
        optimizer.step()
        if iteration % _DENSIFY_EVERY == 0 \
                and _DENSIFY_FROM <= iteration <= _DENSIFY_UNTIL * config.iterations:
            optimizer.densify(how, generator)
        if iteration % _TELL_EVERY == 0:
            progress(iteration / config.iterations)
    return Fitted(optimizer.scene(), config.iterations, 'iterations')


def _views(names, images, cameras, rasterizer, half) -> dict[str, tuple[Camera, Target]]:
    views = {}
    for name in names:
        camera, image = cameras[name], images[name]
        if half:
            camera = camera.resized(max(1, camera.width // 2))
            image = cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
        views[name] = (camera, Target(image, rasterizer.device))
    return views


def median_depth(scene: GaussianScene, cameras: list[Camera]) -> float:
    """Median depth of the Gaussians that lie in front of the cameras, over all cameras, m."""
    means = scene.means.cpu().numpy().astype(np.float64)
    depths = np.concatenate([camera.to_camera(means)[:, 2] for camera in cameras])
    return float(np.median(depths[depths > 0])) if (depths > 0).any() else 1.0
