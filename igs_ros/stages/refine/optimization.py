# SPDX-License-Identifier: Apache-2.0
"""The optimization of a key: some Gaussians are free, the others are drawn and stay as they are.

The published schedule (IGS section 3.4, igs_reference 3.1): Adam with constant rates, one random
camera per iteration without replacement, splits bounded by the Gaussian limit every so often.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.errors import Cancelled
from igs_ros.core.scene import MAX_POSITION, GaussianScene
from igs_ros.render.loss import Target
from igs_ros.render.optimize import Densify, LearningRates, Optimizer
from igs_ros.render.rasterizer import Context, Rasterizer

_LOSS_GROWTH = 2.0  # of the last pass through the cameras over the first that is no divergence
_LOSS_NOISE = 0.02  # growth that never is


@dataclass(frozen=True, eq=False)
class ViewTask:
    """One view to be fitted."""

    camera: Camera
    target: Target
    tiles: np.ndarray | None = None  # bool [rows, columns] that are drawn and compared; None = all
    context: Context | None = None  # frozen Gaussians that show there


@dataclass(frozen=True)
class Hyperparameters:
    """How keys are optimized, whatever the settings: igs_reference 3.1, but for the rates."""

    rates: LearningRates
    dssim: float = 0.2  # weight of 1 - SSIM in the loss; L1 gets the rest
    densify_every: int = 20  # iterations
    densify_threshold: float = 1.5e-4  # see `Densify`
    prune_opacity: float = 5e-3  # Gaussians below are removed


PUBLISHED = Hyperparameters(LearningRates(means=1.6e-3, quats=1e-2, log_scales=5e-3, logits=5e-2,
                                          sh_dc=2.5e-3, sh_rest=2.5e-3))
# A key has few iterations, and colors and sizes are what is still wrong after motion.
TUNED = replace(PUBLISHED, rates=replace(PUBLISHED.rates, log_scales=1e-2, sh_dc=1e-2))
HYPERPARAMETERS = {'tuned': TUNED, 'published': PUBLISHED}
"""By setting refine.learning_rates."""


@dataclass(frozen=True)
class Schedule:
    """How to optimize."""

    iterations: int  # at least 1
    rates: LearningRates
    dssim: float
    seed: int  # of the run
    number: int  # of the key; both fix everything random
    densify: Densify | None = None  # None = never
    densify_every: int = 20  # iterations


@dataclass(frozen=True, eq=False)
class Outcome:
    """The free Gaussians after their optimization."""

    scene: GaussianScene
    loss: float  # mean over the last pass through the cameras
    split: int
    pruned: int
    origins: np.ndarray  # [len(scene)] int64: the row given that each is, or descends from


def optimize(scene: GaussianScene, tasks: Mapping[str, ViewTask], rasterizer: Rasterizer,
             schedule: Schedule, *,
             cancelled: Callable[[], bool] = lambda: False) -> Outcome:
    """`scene`, the free Gaussians, fitted to `tasks` (by camera, at least one).

    Args:
        scene: natural values; no tensor of it is written to.
        tasks: the views to fit.
        rasterizer: draws them.
        schedule: iterations, rates, and what fixes everything random.
        cancelled: asked once per iteration.

    Raises:
        FloatingPointError: it diverges.
        Cancelled: soon after `cancelled()` is true.
    """
    optimizer = Optimizer(scene, rasterizer, schedule.rates, dssim=schedule.dssim)
    order = camera_order(sorted(tasks), (schedule.seed, schedule.number))
    generator = torch.Generator().manual_seed(schedule.seed * 1_000_003 + schedule.number)
    losses, split, pruned = [], 0, 0
    for iteration in range(schedule.iterations):
        if cancelled():
            raise Cancelled
        task = tasks[next(order)]
        losses.append(optimizer.backward(task.camera, task.target, tiles=task.tiles,
                                         context=task.context))
        if schedule.densify and iteration and iteration % schedule.densify_every == 0:
            # published: the parameters are replaced here, so this iteration takes no step
            report = optimizer.densify(schedule.densify, generator)
            split, pruned = split + report.split, pruned + report.pruned
        else:
            optimizer.step()
    refined = optimizer.scene()
    finite, far = torch.stack([refined.finite().all(),
                               (refined.means.abs() > MAX_POSITION).any()]).tolist()
    if not finite:
        raise FloatingPointError('the refined scene holds NaN or infinite values')
    if far:
        raise FloatingPointError(f'Gaussians lie more than {MAX_POSITION:g} m from the origin')
    values = torch.stack(losses).cpu().numpy()
    first, last = values[:len(tasks)].mean(), values[-len(tasks):].mean()
    if last > _LOSS_GROWTH * first + _LOSS_NOISE:
        raise FloatingPointError(f'the loss rose from {first:.3f} to {last:.3f}')
    return Outcome(refined, float(last), split, pruned, optimizer.origins.cpu().numpy())


def camera_order(names: list[str], seed: int | tuple[int, ...]) -> Iterator[str]:
    """Names without end: each pass is a random permutation of all of them."""
    rng = np.random.default_rng(seed)
    while True:
        for index in rng.permutation(len(names)):
            yield names[index]
