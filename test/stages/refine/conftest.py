# SPDX-License-Identifier: Apache-2.0
"""A small world: a textured wall, a textured board that may stand before it, four cameras."""
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.config import RefineConfig
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene, concatenated
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.rasterizer import render_view
from igs_ros.stages.refine.optimization import TUNED
from igs_ros.stages.refine.reference import ReferenceImages
from igs_ros.stages.refine.refiner import Refiner
from igs_ros.vision.changes import changed_pixels

sys.path.insert(0, str(Path(__file__).parent))  # for views_of.py

WALL, BOARD = 4.0, 2.5  # m, depth of what there is


def plane(depth, left, right, top, bottom, step, seed) -> GaussianScene:
    """A plane of small Gaussians in random colors.

    Their depths differ a little: were they equal, the smallest step would change the order in
    which they are drawn.
    """
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(left, right, step), np.arange(top, bottom, step))
    means = np.stack([x.ravel(), y.ravel(), depth * (1 + rng.uniform(-0.04, 0.04, x.size))], 1)
    count = len(means)
    return GaussianScene(
        torch.tensor(means, dtype=torch.float32), torch.tensor([[1.0, 0, 0, 0]] * count),
        torch.full((count, 3), 0.5 * step), torch.full((count,), 0.7),
        torch.tensor(rng.uniform(-1.5, 1.5, (count, 1, 3)), dtype=torch.float32))


def camera(name: str, x: float, y: float) -> Camera:
    pose = np.eye(4)
    pose[:2, 3] = -x, -y
    return Camera(name, 128, 96, np.array([[110.0, 0, 64], [0, 110, 48], [0, 0, 1]]), pose)


class World:
    """What there is, the pictures of it, and refiners."""

    def __init__(self):
        self.cameras = {name: camera(name, x, y) for name, x, y in
                        (('a', -0.35, 0.0), ('b', -0.1, 0.1), ('c', 0.1, -0.1), ('d', 0.35, 0.0))}
        self.wall = plane(WALL, -2.6, 2.6, -1.9, 1.9, 0.12, 0)
        self.board = plane(BOARD, -0.4, 0.4, -0.3, 0.4, 0.09, 1)
        self.both = concatenated([self.wall, self.board])

    def pictures(self, scene: GaussianScene, stamp_ns: int = 0, light: int = 0) -> FrameSet:
        """What the cameras see of `scene`; light: levels added to every pixel."""
        views = {name: render_view(CpuRasterizer(1), scene, view).rgb
                 for name, view in self.cameras.items()}
        return FrameSet(stamp_ns, {name: np.uint8(np.clip(255 * rgb + light, 0, 255))
                                   for name, rgb in views.items()})

    def refine(self, start: GaussianScene, wanted: FrameSet, reference: ReferenceImages | None, *,
               limit: int = 5000, threads: int = 1, cameras=None, effort=None, moved=None,
               seed: int = 0, densify_threshold: float = 1e9, **config):
        """One key; without splits, which are for pictures of the usual size."""
        fixed = replace(TUNED, rates=replace(TUNED.rates, means=4e-4),
                        densify_threshold=densify_threshold)
        refiner = Refiner(CpuRasterizer(threads), cameras or self.cameras,
                          RefineConfig(**{'iterations': 40} | config), limit, seed, threads, fixed)
        return refiner.refine(start, wanted, 1, reference=reference, effort=effort, moved=moved)

    def error(self, scene: GaussianScene, wanted: FrameSet, before: FrameSet) -> float:
        """Mean absolute error over all views, 0..1, of pixels that changed since `before`."""
        drawn, errors = self.pictures(scene), []
        for name, image in wanted.images.items():
            changed = changed_pixels(image, before.images[name])
            errors.append(np.abs(drawn.images[name].astype(float) - image)[changed].mean() / 255)
        return float(np.mean(errors))


@pytest.fixture(scope='session')
def world():
    return World()
