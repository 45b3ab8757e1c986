# SPDX-License-Identifier: Apache-2.0
"""Key scenes as a reconstruction would have them: fewer, other Gaussians, fitted to pictures.

A perfect key would teach a network to trust it. So some of the world's Gaussians, disturbed, with
holes and with floaters, are fitted for a few steps to the pictures of the cameras that may see.
"""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from igs_ros.apps.training.procedural.world import World
from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene, concatenated
from igs_ros.render.loss import Target
from igs_ros.render.optimize import LearningRates, Optimizer
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.vision.neighbors import knn

_ITERATIONS = (60, 200)  # of the fit, least and most
_COUNT = (10000, 26000)  # Gaussians, least and most
_FLOATERS = (50, 600)
_HOLES = 6  # most patches without Gaussians
_MEANS_RATE = 6e-5  # of the distance of the scene
_REACH = 4.0  # spacings: a Gaussian farther from every surface belongs to none
_RATES = LearningRates(means=0.0, quats=1e-3, log_scales=5e-3, logits=5e-2, sh_dc=5e-3,
                       sh_rest=2.5e-4)


def imperfect_key(dense: GaussianScene, images: Mapping[str, np.ndarray],
                  cameras: Mapping[str, Camera], distance: float, rasterizer: Rasterizer,
                  rng: np.random.Generator) -> GaussianScene:
    """A fit of fewer Gaussians to pictures of a dense scene; SH of degree 1, on the CPU.

    Args:
        dense: the scene at time 0, on the CPU; what is transparent in it is not there.
        images: [H, W, 3] uint8 sRGB by camera: what is fitted to.
        cameras: those of `images` and others, without distortion; floaters lie before all.
        distance: of what the cameras look at, m.
        rasterizer: draws the fit.
        rng: decides about flaws and iterations.
    """
    present = dense.select(dense.opacities > 0.5)
    start = concatenated([_disturbed(present, rng), _floaters(cameras, distance, rng)])
    rates = LearningRates(**{**vars(_RATES), 'means': _MEANS_RATE * distance})
    optimizer = Optimizer(start, rasterizer, rates)
    targets = {name: Target(image, rasterizer.device) for name, image in images.items()}
    waiting: list[str] = []
    for _ in range(int(rng.integers(*_ITERATIONS))):
        if not waiting:
            waiting = [str(name) for name in rng.permutation(sorted(images))]
        name = waiting.pop()
        optimizer.backward(cameras[name], targets[name])
        optimizer.step()
    fitted = optimizer.scene().to('cpu')
    return fitted.select(fitted.opacities > 0.005)


def displacements(world: World, points: np.ndarray, times: tuple[float, ...]) -> np.ndarray:
    """How far points on the world's surfaces are carried, [T, N, 3] float32 m.

    A point moves as if fixed to the nearest surface point; NaN where there is none nearby, or
    where its surface is not there at that time.

    Args:
        world: what moves.
        points: [N, 3] m, world, at time 0.
        times: T of them, in frames.
    """
    start, frames = world.points(0.0)
    rows = np.flatnonzero(world.present(0.0))
    gaps, nearest = knn(points, start[rows], 1)
    source = rows[nearest[:, 0]]
    spacing = np.repeat([t.spacing for t in world.things], [len(t.paint) for t in world.things])
    lost = gaps[:, 0] > _REACH * spacing[source]
    carried = np.empty((len(times), len(points), 3), np.float32)
    for index, time in enumerate(times):
        now, turned = world.points(time)
        local = np.einsum('nji,nj->ni', frames[source], points - start[source])
        carried[index] = now[source] + np.einsum('nij,nj->ni', turned[source], local) - points
        carried[index, lost | ~world.present(time)[source]] = np.nan
    return carried


def _disturbed(dense: GaussianScene, rng) -> GaussianScene:
    """Some of the Gaussians, larger to make up for the others, noisy, with holes."""
    count = min(int(rng.integers(*_COUNT)), len(dense))
    rows = np.sort(rng.choice(len(dense), count, replace=False))
    means = dense.means.numpy()
    kept = np.ones(count, bool)
    for _ in range(int(rng.integers(0, _HOLES + 1))):
        gap = np.linalg.norm(means[rows] - means[rng.choice(rows)], axis=1)
        kept &= gap > np.quantile(gap, rng.uniform(0.001, 0.01))
    scene = dense.select(torch.from_numpy(rows[kept]))

    def noise(*shape):
        return torch.from_numpy(rng.normal(size=shape).astype(np.float32))
    n = len(scene)
    growth = (len(dense) / count) ** 0.5
    spread = scene.scales[:, :1]
    quats = torch.nn.functional.normalize(scene.quats + 0.1 * noise(n, 4), dim=1)
    return GaussianScene(
        scene.means + 0.4 * growth * spread * noise(n, 3), quats,
        scene.scales * growth * torch.exp(0.3 * noise(n, 3)),
        torch.full((n,), float(rng.uniform(0.3, 0.9))),
        scene.sh + 0.15 * noise(n, 1, 3) * (torch.arange(4) == 0)[None, :, None])


def _floaters(cameras: Mapping[str, Camera], distance: float, rng) -> GaussianScene:
    """Faint Gaussians in front of single cameras."""
    n = int(rng.integers(*_FLOATERS))
    names = sorted(cameras)
    places = np.empty((n, 3))
    for i in range(n):
        camera = cameras[names[int(rng.integers(len(names)))]]
        pixel = rng.random((1, 2)) * (camera.width, camera.height)
        places[i] = camera.unproject(pixel, distance * rng.uniform(0.15, 1.0, 1))[0]
    scales = distance * 0.005 * np.exp(0.5 * rng.normal(size=(n, 3)))
    quats = rng.normal(size=(n, 4))
    sh = np.concatenate([rng.uniform(-1.5, 1.5, (n, 1, 3)), np.zeros((n, 3, 3))], 1)
    return GaussianScene(*(torch.from_numpy(np.ascontiguousarray(value, np.float32)) for value in (
        places, quats / np.linalg.norm(quats, axis=1, keepdims=True), scales,
        rng.uniform(0.05, 0.5, n), sh)))
