# SPDX-License-Identifier: Apache-2.0
"""A made-up world for timing: a speckled wall, and a speckled ball that moves before it."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.render.rasterizer import Rasterizer

_MOVING = 0.1  # share of the Gaussians, as in the recordings
_STEPS = 5
_STEP = np.array([0.015, 0.01, 0.0])  # m per frame set: 3 px
_PERIOD_NS = 33_333_333


@dataclass(frozen=True, eq=False)
class MotionWorld:
    """A scene, who of it moves, and what the cameras see of it over time."""

    scene: GaussianScene  # at the first frame set, on the rasterizer's device
    moving: np.ndarray  # [N] bool
    cameras: dict[str, Camera]
    rasterizer: Rasterizer
    pictures: tuple[dict[str, np.ndarray], ...]  # by step and camera: [H, W, 3] uint8

    @property
    def on_gpu(self) -> bool:
        """Whether it lives on a CUDA device."""
        return self.rasterizer.device.type == 'cuda'

    def sets(self) -> Iterator[FrameSet]:
        """Frame sets without end: the ball goes to and fro."""
        steps = [*range(_STEPS), *range(_STEPS - 2, 0, -1)]
        number = 0
        while True:
            yield FrameSet((number + 1) * _PERIOD_NS, self.pictures[steps[number % len(steps)]])
            number += 1


def make_world(gaussians: int, views: int, size: int, rasterizer: Rasterizer, seed: int = 0,
               ) -> MotionWorld:
    """A wall, a ball before it, and cameras in a row that look at them.

    Args:
        gaussians: of wall and ball together.
        views: how many cameras.
        size: of the pictures, px, each side.
        rasterizer: draws the pictures; the scene lies on its device.
        seed: fixes everything random.
    """
    rng = np.random.default_rng(seed)
    moving = np.arange(gaussians) < round(_MOVING * gaussians)
    ball = rng.normal(size=(moving.sum(), 3))
    ball = 0.45 * ball / np.linalg.norm(ball, axis=1, keepdims=True) + (0.0, 0.0, 2.2)
    wall = rng.uniform((-2.2, -2.0, 3.0), (2.2, 2.0, 3.05), ((~moving).sum(), 3))
    # radii by the area that each of them has to cover
    radius = np.where(moving, np.sqrt(2.5 / max(1, moving.sum())),
                      np.sqrt(17.6 / max(1, (~moving).sum())))
    scene = GaussianScene(
        torch.from_numpy(np.concatenate([ball, wall])).float(),
        torch.tensor([1.0, 0, 0, 0]).repeat(gaussians, 1),
        torch.from_numpy(np.repeat(0.6 * radius[:, None], 3, 1)).float(),
        torch.full((gaussians,), 0.95),
        torch.from_numpy(rng.uniform(-1.5, 1.5, (gaussians, 1, 3))).float()
    ).to(rasterizer.device)
    cameras = {f'cam{view}': _camera(f'cam{view}', x, size)
               for view, x in enumerate(np.linspace(-0.6, 0.6, views))}
    pictures = tuple(_pictures(scene, moving, step, cameras, rasterizer)
                     for step in range(_STEPS))
    return MotionWorld(scene, moving, cameras, rasterizer, pictures)


def _camera(name: str, x: float, size: int) -> Camera:
    pose = np.eye(4)
    pose[0, 3] = -x
    return Camera(name, size, size, np.array([[0.9 * size, 0, size / 2], [0, 0.9 * size, size / 2],
                                              [0, 0, 1]]), pose)


@torch.no_grad()
def _pictures(scene, moving, step, cameras, rasterizer) -> dict[str, np.ndarray]:
    shift = torch.from_numpy(moving[:, None] * _STEP * step).to(scene.means)
    moved = scene.replaced(means=scene.means + shift)
    drawn = {name: rasterizer.render(moved, camera, depth=False).rgb.clamp(0, 1)
             for name, camera in cameras.items()}
    return {name: (rgb * 255).round().byte().cpu().numpy() for name, rgb in drawn.items()}
