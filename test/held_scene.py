# SPDX-License-Identifier: Apache-2.0
"""A small scene that holds still, and what outputs ask of a pipeline about it."""
import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import Moved, advanced, first_snapshot
from igs_ros.live.views import draw
from igs_ros.render.choose import make_rasterizer

CAMERA = Camera('view', 32, 24, np.array([[30, 0, 16], [0, 30, 12], [0, 0, 1.0]]), np.eye(4))


def scene(count=50):
    random = torch.Generator().manual_seed(0)
    means = torch.rand((count, 3), generator=random) + torch.tensor([-0.5, -0.5, 2.0])
    quats = torch.nn.functional.normalize(torch.randn((count, 4), generator=random), dim=1)
    return GaussianScene(means, quats, torch.full((count, 3), 0.1), torch.full((count,), 0.9),
                         torch.rand((count, 1, 3), generator=random))


def moved(start, rows, stamp_ns):
    means = start.means.clone()
    means[rows] += 0.01 * stamp_ns
    return Moved(start.replaced(means=means), np.array(rows, np.uint32), stamp_ns)


class Held:
    """What outputs ask of a pipeline; draws with the real rasterizer, and counts."""

    def __init__(self, start=None):
        self.newest = first_snapshot(start or scene(), 10)
        self.rendered = 0
        self.expected = []  # views per second, each time that it was told
        self._rasterizer = make_rasterizer('cpu', 1)

    def snapshot(self):
        return self.newest

    def view(self, camera, snapshot, confidence=False):
        view = draw(self._rasterizer, snapshot, camera, 0.0, confidence=confidence)
        self.rendered += 1
        return view

    def expect_views(self, per_second):
        self.expected.append(per_second)

    def advance(self, stamp_ns):
        self.newest = advanced(self.newest, moved(self.newest.key, [1, 2], stamp_ns))
