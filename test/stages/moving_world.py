# SPDX-License-Identifier: Apache-2.0
"""A speckled wall, a speckled ball that may move before it, and a rig that may move as well."""
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet, RawFrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.rasterizer import render_view

STEP_NS = 100_000_000
STEP_M = np.array([0.03, 0.015, 0.01])  # of the ball, per step
K = np.array([[130.0, 0, 80], [0, 130, 60], [0, 0, 1]])


def _camera(name: str, x: float, y: float) -> Camera:
    pose = np.eye(4)
    pose[:2, 3] = -x, -y
    return Camera(name, 160, 120, K, pose)


RIG = {name: _camera(name, x, y)
       for name, x, y in (('a', -0.3, 0.0), ('b', 0.3, 0.05), ('c', 0.0, -0.3), ('d', 0.0, 0.3))}


def rig_at(shift_m: float, turn_deg: float) -> dict[str, Camera]:
    """The cameras when the rig has moved to the right, and turned."""
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec([0, np.radians(turn_deg), 0]).as_matrix()
    motion[0, 3] = shift_m
    return {name: camera.placed(camera.camera_from_world @ np.linalg.inv(motion))
            for name, camera in RIG.items()}


def swaying(step: int) -> dict[str, Camera]:
    """The cameras at a step: 2 cm and 1 degree further at each."""
    return rig_at(0.02 * step, 1.0 * step)


class MovingWorld:
    """`ball` marks the Gaussians [N] bool that move."""

    def __init__(self):
        rng = np.random.default_rng(0)
        x, y = np.meshgrid(np.arange(-3.2, 3.2, 0.11), np.arange(-1.9, 1.9, 0.11))
        # depths differ: were they equal, the order in which they are drawn would be by chance
        wall = np.stack([x.ravel(), y.ravel(), 3 + rng.uniform(-0.1, 0.1, x.size)], 1)
        ball = rng.normal(size=(900, 3))
        ball = [0.0, 0.0, 1.9] + 0.3 * ball / np.linalg.norm(ball, axis=1, keepdims=True)
        count = len(wall) + len(ball)
        self.ball = np.arange(count) >= len(wall)
        radius = np.where(self.ball, 0.018, 0.055)
        self.scene = GaussianScene(
            torch.from_numpy(np.concatenate([wall, ball])).float(),
            torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
            torch.from_numpy(np.repeat(radius[:, None], 3, 1)).float(),
            torch.full((count,), 0.9),
            torch.from_numpy(rng.uniform(-1.5, 1.5, (count, 1, 3))).float())
        self.front = self.ball & (self.scene.means[:, 2].numpy() < 1.8)  # what the cameras see
        self.rasterizer = CpuRasterizer(1)

    def moved(self, step: int) -> GaussianScene:
        """The true scene when the ball has moved."""
        shift = torch.from_numpy(self.ball[:, None] * (step * STEP_M)).float()
        return self.scene.replaced(means=self.scene.means + shift)

    def images(self, scene: GaussianScene, cameras: dict[str, Camera]) -> dict[str, np.ndarray]:
        """uint8 pictures of `scene`."""
        return {name: (render_view(self.rasterizer, scene, camera).rgb * 255).round().astype(
            np.uint8) for name, camera in cameras.items()}

    def raw(self, step: int, cameras: dict[str, Camera], ball: bool = True,
            told: bool = True) -> RawFrameSet:
        """What `cameras` take at a step; ball: whether it moves; told: whether poses come."""
        images = self.images(self.moved(step if ball else 0), cameras)
        poses = {name: camera.camera_from_world for name, camera in cameras.items()}
        return RawFrameSet.of(10**9 + step * STEP_NS, images, poses if told else None)

    def frame_set(self, step: int, cameras: dict[str, Camera], ball: bool = True) -> FrameSet:
        """The same, prepared."""
        raw = self.raw(step, cameras, ball)
        moved = {name: camera for name, camera in cameras.items()
                 if not camera.is_at(RIG[name].camera_from_world)}
        return FrameSet(raw.stamp_ns, {n: p.decode() for n, p in raw.pictures.items()},
                        cameras=moved)
