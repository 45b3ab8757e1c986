# SPDX-License-Identifier: Apache-2.0
"""The bounded optimization of the first scene."""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.config import BootstrapConfig
from igs_ros.core.scene import GaussianScene
from igs_ros.render.exposure import ExposureLearner, Exposures
from igs_ros.render.importance import importance
from igs_ros.render.loss import Target
from igs_ros.render.optimize import Densify, LearningRates, Optimizer
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.stages.bootstrap.guide import Guide

# Rates are several times the published ones: a first scene has hundreds of steps, not tens of
# thousands. That of positions goes by the size of the seeds, which lie on surfaces already and
# have to slide by as much; a scene's extent says nothing about that.
_MEANS_RATE, _MEANS_DECAY = 0.2, 0.01  # median seed sizes per step; share of it left at the end
_RATES = LearningRates(means=0.0, quats=1e-3, log_scales=2e-2, logits=5e-2, sh_dc=5e-3,
                       sh_rest=5e-3 / 20)
# Iterations at half image size cost a third: a share of all, and the most of them.
_COARSE_SHARE, _COARSE_MAX = 0.2, 150
_DENSIFY_EVERY, _DENSIFY_FROM, _DENSIFY_UNTIL = 100, 200, 0.6  # iterations; share of all
_DENSIFY_THRESHOLD = 8e-4  # of absolute screen gradients
_PRUNE_OPACITY = 5e-3
# Near the limit the least important give way, so that detail goes on growing where it is missing.
_REPLACE_EVERY, _REPLACED, _FULL = 200, 0.03, 0.9  # iterations; shares of the scene, of the limit
_VIEW_EVERY = 3  # iterations from view between the cameras to view between the cameras
_TELL_EVERY = 25  # iterations between progress reports

Watch = Callable[[int, Callable[[], GaussianScene]], None]
"""Is told after every iteration how many are done, and how to get the scene as it stands."""


@dataclass(frozen=True, eq=False)
class FittedScene:
    """A fitted scene, and what ended the fit."""

    scene: GaussianScene
    iterations: int
    stopped_by: str  # iterations or seconds
    exposures: Exposures = Exposures()


class _Limits:
    """How far a fit is: of its iterations or of its time, whichever is nearer to its end."""

    def __init__(self, config: BootstrapConfig, clock: Callable[[], float], begun_s: float | None):
        self._iterations, self._seconds = config.iterations, config.seconds
        self._clock, self._start = clock, clock() if begun_s is None else begun_s

    def share(self, iteration: int) -> float:
        """0 at the start, 1 or more at the end; without a cap of time it looks at no clock."""
        share = iteration / max(1, self._iterations)
        if self._seconds > 0:
            share = max(share, (self._clock() - self._start) / self._seconds)
        return share


def fit(scene: GaussianScene, images: Mapping[str, np.ndarray], cameras: Mapping[str, Camera],
        rasterizer: Rasterizer, config: BootstrapConfig, *, max_gaussians: int, seed: int,
        progress: Callable[[float], None], guide: Guide | None = None,
        watch: Watch | None = None, clock: Callable[[], float] = time.perf_counter,
        begun_s: float | None = None) -> FittedScene:
    """A scene optimized against the pictures; the first iterations run at half size.

    Args:
        scene: where to start.
        images: [H, W, 3] uint8 RGB by camera.
        cameras: working cameras, at least those of `images`.
        rasterizer: draws.
        config: `iterations` bounds the work, `seconds` (0 = none) the time that `clock` tells;
            with the latter the schedule follows the time that is left.
        max_gaussians: bound of the scene at all times.
        seed: fixes everything random.
        progress: gets the share that is done, 0..1, now and then.
        guide: what stereo says to depth and to views between the cameras, if anything.
        watch: see `Watch`.
        clock: s, of the cap of time.
        begun_s: when that began, by the clock; None = now.

    Raises:
        FloatingPointError: it diverges.
    """
    names = sorted(images)
    optimizer = Optimizer(scene.to(rasterizer.device), rasterizer, _RATES, absgrad=True)
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    how = Densify(_DENSIFY_THRESHOLD, max_gaussians, _PRUNE_OPACITY)
    size = float(scene.scales.max(1).values.median()) if len(scene) else 0.0
    learner = ExposureLearner(names if config.exposure else (), rasterizer.device)
    limits = _Limits(config, clock, begun_s)
    views, waiting, half = {}, [], None
    for iteration in range(config.iterations):
        share = limits.share(iteration)
        if share >= 1:
            return FittedScene(optimizer.scene(), iteration, 'seconds', learner.exposures)
        coarse = share < _COARSE_SHARE and iteration < _COARSE_MAX
        if half != coarse:
            half = coarse
            views = _views(names, images, cameras, rasterizer, half)
        if not waiting:
            waiting = [names[index] for index in rng.permutation(len(names))]
        name = waiting.pop()
        optimizer.set_rate('means', size * _MEANS_RATE * _MEANS_DECAY ** share)
        optimizer.backward(*views[name], exposure=_exposure(learner, name, views[name][1]),
                           also=guide and guide.depth_of(name))
        if guide and guide.views and not half and iteration % _VIEW_EVERY == 0:
            view = guide.views[iteration // _VIEW_EVERY % len(guide.views)]
            optimizer.pull(view.camera, lambda rgb, view=view: guide.view_loss(
                view, learner.exposures.apply(view.source, rgb)))
        optimizer.step()
        if iteration % _DENSIFY_EVERY == 0 and iteration >= _DENSIFY_FROM \
                and share <= _DENSIFY_UNTIL:
            if iteration % _REPLACE_EVERY == 0 and len(optimizer) > _FULL * max_gaussians:
                _drop_least(optimizer, rasterizer, {name: cameras[name] for name in names})
            optimizer.densify(how, generator)
        if iteration % _TELL_EVERY == 0:
            progress(share)
        if watch:
            watch(iteration + 1, optimizer.scene)
    return FittedScene(optimizer.scene(), config.iterations, 'iterations', learner.exposures)


def _drop_least(optimizer: Optimizer, rasterizer: Rasterizer, cameras: Mapping[str, Camera]
                ) -> None:
    """Make room for densification: the Gaussians that the cameras see least of go."""
    half = {name: camera.resized(max(1, camera.width // 2)) for name, camera in cameras.items()}
    order = torch.argsort(importance(optimizer.scene(), rasterizer, half), stable=True)
    optimizer.keep(order[int(_REPLACED * len(order)):].sort().values)


def _exposure(learner: ExposureLearner, name: str, target: Target):
    """What camera `name` makes of drawn colors, learned from the same view; or None."""
    if name not in learner:
        return None

    def seen(rgb: torch.Tensor) -> torch.Tensor:
        learner.see(name, rgb.detach(), target.telling)
        return learner.exposures.comparable(name, rgb, target.tensor)
    return seen


def _views(names, images, cameras, rasterizer, half) -> dict[str, tuple[Camera, Target]]:
    views = {}
    for name in names:
        camera, image = cameras[name], images[name]
        if half:
            camera = camera.resized(max(1, camera.width // 2))
            image = cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
        views[name] = (camera, Target(image, rasterizer.device, camera.valid))
    return views
