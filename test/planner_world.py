# SPDX-License-Identifier: Apache-2.0
"""A wall with a box before it, or without, as Gaussians and as the pictures of three cameras."""
import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene, concatenated
from igs_ros.live.planning import PlanningConfig
from igs_ros.render.support import supported

SIZE = (160, 120)
K = np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]])
FLAT = PlanningConfig(up='-y', min_height=-0.45, max_height=0.45, region='0.5 -0.6 2.3 0.6')
# y of the world is down, z ahead: the grid's x is the world's z, its y the world's -x


def cameras():
    made = {}
    for name, x in (('a', -0.25), ('b', 0.0), ('c', 0.25)):
        pose = np.eye(4)
        pose[0, 3] = -x
        made[name] = Camera(name, *SIZE, K, pose)
    return made


def plate(depth, half_x, half_y, seed, spacing=0.02):
    """A textured plate of Gaussians across the view, at z = depth."""
    x, y = np.meshgrid(np.arange(-half_x, half_x, spacing), np.arange(-half_y, half_y, spacing))
    means = np.stack([x.ravel(), y.ravel(), np.full(x.size, depth)], 1)
    colors = np.random.default_rng(seed).uniform(-1.7, 1.7, (len(means), 1, 3))
    count = len(means)
    return GaussianScene(
        torch.from_numpy(means).float(), torch.tensor([[1.0, 0, 0, 0]] * count),
        torch.tensor([[0.6 * spacing, 0.6 * spacing, 0.002]] * count), torch.full((count,), 0.95),
        torch.from_numpy(colors).float())


def scenes(rasterizer):
    """Scene and pictures of the wall alone, and with the box before it, by name."""
    wall = plate(2.22, 1.3, 1.0, 0, 0.03)
    both = concatenated([wall, plate(1.42, 0.15, 0.15, 1)])

    def pictures(scene):
        images = {name: rasterizer.render(scene, camera).rgb.clamp(0, 1)
                  for name, camera in cameras().items()}
        return FrameSet(10, {name: (255 * image).round().byte().numpy()
                             for name, image in images.items()})

    def known(scene):
        shown = pictures(scene)
        return supported(scene, shown, cameras(), rasterizer).scene, shown
    return {'without': known(wall), 'with': known(both)}
