# SPDX-License-Identifier: Apache-2.0
"""Key-frame refinement: a short optimisation of the moved scene against the newest pictures.

The published schedule (IGS section 3.4, igs_reference 3.1): all Gaussians and all attributes, a
fresh Adam per key frame with constant rates, one random camera per iteration without replacement,
splits bounded by the Gaussian limit every 20 iterations.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from igs_ros.camera import Camera
from igs_ros.config import RefineConfig
from igs_ros.errors import Cancelled
from igs_ros.frames import FrameSet
from igs_ros.loss import Target
from igs_ros.optimize import Densify, LearningRates, Optimizer, bounded
from igs_ros.raster import Rasterizer
from igs_ros.scene import GaussianScene

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Refined:
    """A refined key scene; `iterations` is 0 when there was nothing to refine against."""

    scene: GaussianScene
    iterations: int
    loss: float  # mean over the last pass through the cameras; NaN without iterations
    split: int = 0
    pruned: int = 0


class Refiner:
    """Refines key scenes of one rig of working cameras."""

    def __init__(self, rasterizer: Rasterizer, cameras: Mapping[str, Camera],
                 config: RefineConfig, max_gaussians: int, seed: int):
        self._rasterizer = rasterizer
        self._cameras = dict(cameras)
        self._config = config
        self._max_gaussians = max_gaussians
        self._seed = seed

    def refine(self, scene: GaussianScene, frame_set: FrameSet, key_number: int,
               cancelled: Callable[[], bool] = lambda: False) -> Refined:
        """`scene` (which is left as it is) fitted to the pictures of `frame_set` (prepared).

        key_number: counts the keys of a run; with the seed it fixes everything random. Cameras
        without a picture are left out. Raises `FloatingPointError` when the optimisation
        diverges: the caller keeps the scene it has; `Cancelled` soon after `cancelled()` is true.
        """
        config = self._config
        scene = bounded(scene, self._max_gaussians)
        targets = {name: Target(image, self._rasterizer.device)
                   for name, image in sorted(frame_set.images.items()) if name in self._cameras}
        if not targets or not len(scene) or not config.iterations:
            return Refined(scene, 0, float('nan'))
        optimizer = Optimizer(scene, self._rasterizer, self._rates(), dssim=config.dssim)
        order = camera_order(sorted(targets), (self._seed, key_number))
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + key_number)
        losses, split, pruned = [], 0, 0
        for iteration in range(config.iterations):
            if cancelled():
                raise Cancelled
            name = next(order)
            losses.append(optimizer.backward(self._cameras[name], targets[name]))
            if iteration and iteration % config.densify_every == 0:
                # published: the parameters are replaced here, so this iteration takes no step
                report = optimizer.densify(self._densify(), generator)
                split, pruned = split + report.split, pruned + report.pruned
            else:
                optimizer.step()
        refined = optimizer.scene()
        if not bool(refined.finite().all()):
            raise FloatingPointError('the refined scene holds NaN or infinite values')
        return Refined(refined, config.iterations, float(np.mean(losses[-len(targets):])),
                       split, pruned)

    def _rates(self) -> LearningRates:
        c = self._config
        return LearningRates(means=c.lr_means, quats=c.lr_quats, log_scales=c.lr_scales,
                             logits=c.lr_opacities, sh_dc=c.lr_sh, sh_rest=c.lr_sh)

    def _densify(self) -> Densify:
        return Densify(self._config.densify_threshold, self._max_gaussians,
                       self._config.prune_opacity)


def camera_order(names: list[str], seed):
    """Names for ever: each pass is a random permutation of all of them."""
    rng = np.random.default_rng(seed)
    while True:
        for index in rng.permutation(len(names)):
            yield names[index]
