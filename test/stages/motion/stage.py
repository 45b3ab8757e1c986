# SPDX-License-Identifier: Apache-2.0
"""A little world for motion tests: a speckled wall, and a speckled ball that moves before it."""
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.render.cpu.rasterizer import CpuRasterizer

STEP_NS = 100_000_000
SIZES = {'left': (320, 240, 300.0, (150.0, 128.0)), 'middle': (400, 300, 380.0, (220.0, 140.0)),
         'right': (240, 200, 220.0, (120.0, 100.0)), 'top': (320, 240, 300.0, (160.0, 120.0))}
CENTERS = {'left': (-0.7, 0, 0), 'middle': (0, 0.1, 0), 'right': (0.7, 0, 0),
           'top': (0.1, -0.7, 0)}
BALL_CENTER = np.array([0.0, 0.0, 2.0])


def stepped(model, follower, sets):
    """The last of some steps, as the pipeline makes them."""
    for frame_set in sets:
        model.observe(frame_set)
        moved = follower.move_to(frame_set)
    return moved


def cameras(*names) -> dict[str, Camera]:
    """Cameras that look along +z; every size, focal length and principal point differs."""
    rig = {}
    for name in names or SIZES:
        width, height, focal, (x, y) = SIZES[name]
        pose = np.eye(4)
        pose[:3, 3] = -np.array(CENTERS[name])
        rig[name] = Camera(name, width, height, [[focal, 0, x], [0, focal, y], [0, 0, 1]], pose)
    return rig


@dataclass(frozen=True, eq=False)
class Stage:
    """The world; `ball` marks the Gaussians that move."""

    scene: GaussianScene
    ball: np.ndarray  # [N] bool
    rasterizer: CpuRasterizer
    rig: dict[str, Camera]

    def motion(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Displacements [N, 3] m and the turn [3, 3] of the ball after some steps."""
        turn = Rotation.from_rotvec([0.0, 0.04 * step, 0.02 * step]).as_matrix()
        means = self.scene.means.numpy().astype(np.float64)
        moved = (means - BALL_CENTER) @ turn.T + BALL_CENTER + step * np.array([0.02, 0.012, 0.02])
        return np.where(self.ball[:, None], moved - means, 0.0), turn

    def moved(self, step: int) -> GaussianScene:
        """The true scene after some steps (its Gaussians are round: no need to turn them)."""
        displacements = torch.from_numpy(self.motion(step)[0]).float()
        return self.scene.replaced(means=self.scene.means + displacements)

    def frame_set(self, step: int, names=None) -> FrameSet:
        """What the cameras see after some steps."""
        images = {}
        for name in names if names is not None else self.rig:
            with torch.no_grad():
                rgb = self.rasterizer.render(self.moved(step), self.rig[name]).rgb
            images[name] = (rgb.clamp(0, 1).numpy() * 255).round().astype(np.uint8)
        missing = tuple(name for name in self.rig if name not in images)
        return FrameSet(10**9 + step * STEP_NS, images, missing)


def make_stage() -> Stage:
    """The world, always the same."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(-3, 3, 60), np.linspace(-2.5, 2.5, 50))
    wall = np.stack([x.ravel(), y.ravel(), np.full(x.size, 3.0)], 1)
    ball = rng.normal(size=(700, 3))
    ball = BALL_CENTER + 0.35 * ball / np.linalg.norm(ball, axis=1, keepdims=True)
    means = np.concatenate([wall, ball])
    count = len(means)
    radius = np.where(np.arange(count) < len(wall), 0.05, 0.022)
    scene = GaussianScene(
        torch.from_numpy(means).float(),
        torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        torch.from_numpy(np.repeat(radius[:, None], 3, 1)).float(),
        torch.full((count,), 0.97),
        torch.from_numpy(rng.uniform(-1.7, 1.7, (count, 1, 3))).float())
    return Stage(scene, np.arange(count) >= len(wall), CpuRasterizer(1), cameras())
