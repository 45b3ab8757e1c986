# SPDX-License-Identifier: Apache-2.0
"""Views of a few points, whose masks are written out: what refinement decides by, made by hand."""
import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene
from igs_ros.stages.refine.residuals import ViewResidual
from igs_ros.vision.visibility import Visibility

WIDTH, HEIGHT = 60, 40
NOTHING = np.zeros((HEIGHT, WIDTH), bool)
EVERYWHERE = np.ones((HEIGHT, WIDTH), bool)


def camera(name: str, x: float = 0.0) -> Camera:
    """Looks along +z from (x, 0, 0)."""
    pose = np.eye(4)
    pose[0, 3] = -x
    return Camera(name, WIDTH, HEIGHT, np.array([[30.0, 0, 30], [0, 30, 20], [0, 0, 1]]), pose)


def gaussians(*means, scale: float = 0.01, opacity: float = 0.5) -> GaussianScene:
    """Round gray ones."""
    count = len(means)
    return GaussianScene(torch.tensor(means), torch.tensor([[1.0, 0, 0, 0]] * count),
                         torch.full((count, 3), scale), torch.full((count,), opacity),
                         torch.zeros(count, 1, 3))


def residual(view: Camera, points, *, wrong=NOTHING, changed=None, change=None) -> ViewResidual:
    """What `view` tells about points [N, 3]."""
    points = np.reshape(points, (-1, 3)).astype(float)
    return ViewResidual(view, np.zeros((HEIGHT, WIDTH, 3), np.uint8),
                        Visibility.of_points(points, view), wrong,
                        np.zeros(len(points), np.float32),
                        NOTHING.astype(np.float32) if change is None else change, changed)


def votes(count: int, hits: int, mask: str) -> dict[str, ViewResidual]:
    """`count` views that see one point; the first `hits` of them have it in `mask`, all else not.

    mask: 'wrong' or 'changed'.
    """
    return {f'cam{v}': residual(camera(f'cam{v}'), [[0.0, 0.0, 2.0]],
                                **{mask: EVERYWHERE if v < hits else NOTHING})
            for v in range(count)}
