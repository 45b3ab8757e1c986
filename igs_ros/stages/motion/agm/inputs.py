# SPDX-License-Identifier: Apache-2.0
"""What AGM-Net is given, made of a key, its cameras and pictures; for inference and training.

`like` is any tensor of the network: what is made has its device and, if of floats, its dtype.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.stages.motion.agm.decode import neighbor_weights
from igs_ros.stages.motion.agm.flow import MULTIPLE
from igs_ros.stages.motion.agm.net import RigTensors, Ties
from igs_ros.vision.neighbors import fps, knn


@dataclass(frozen=True)
class AgmSizes:
    """How much the network is given; the published numbers."""

    picture: int = 512  # px, each side; a multiple of 16
    anchors: int = 8192  # at most
    neighbors: int = 8  # anchors that move a Gaussian

    def __post_init__(self):
        assert self.picture > 0 and self.picture % MULTIPLE == 0, self.picture


def tensor(array: np.ndarray, like: Tensor) -> Tensor:
    """`array` with the device, and if of floats the dtype, of `like`."""
    moved = torch.from_numpy(array).to(like.device)
    return moved.to(like.dtype) if array.dtype.kind == 'f' else moved


def squeezed(images: Mapping[str, np.ndarray], names: Sequence[str], size: int,
             ) -> dict[str, np.ndarray]:
    """Pictures as squares, [size, size, 3] uint8 by camera.

    Bilinear without antialiasing to 8 bits, as the authors store theirs; the aspect ratio is not
    kept.

    Args:
        images: [H, W, 3] uint8 by camera.
        names: of the cameras wanted; those without a picture are left out.
        size: px, each side.
    """
    return {name: cv2.resize(images[name], (size, size), interpolation=cv2.INTER_LINEAR)
            for name in names if name in images}


def stacked(pictures: Mapping[str, np.ndarray], views: Sequence[str], like: Tensor) -> Tensor:
    """[V, 3, S, S] sRGB 0..1 of squeezed pictures.

    Args:
        pictures: [S, S, 3] uint8 by camera.
        views: V of the cameras, in order.
        like: see the module.
    """
    values = np.stack([pictures[name] for name in views]).astype(np.float32) / 255
    return tensor(values, like).permute(0, 3, 1, 2)


def tied(points: np.ndarray | Tensor, sizes: AgmSizes, like: Tensor,
         around: np.ndarray | Tensor | None = None) -> Ties:
    """Anchors, and which of the points of the region they move.

    Args:
        points: [N, 3] m, world.
        sizes: how many anchors at most, and how many of them move a point.
        like: see the module.
        around: [L, 3] m, world, among which the anchors are picked; None: among `points`
            themselves.
    """
    points = torch.as_tensor(points).to(like.device)
    pool = points if around is None else torch.as_tensor(around).to(like.device)
    anchors = pool[fps(pool, sizes.anchors)]
    distances, indices = knn(points, anchors, sizes.neighbors)
    return Ties(anchors.to(like.dtype), indices, neighbor_weights(distances.to(like.dtype)))


def rig_of(cameras: Sequence[Camera], like: Tensor) -> RigTensors:
    """The views of the network: intrinsics as shares of the picture, and poses."""
    shares = [(c.K[0, 0] / c.width, c.K[1, 1] / c.height, c.K[0, 2] / c.width,
               c.K[1, 2] / c.height) for c in cameras]
    return RigTensors(tensor(np.array(shares), like),
                      tensor(np.stack([c.world_from_camera for c in cameras]), like))


@torch.no_grad()
def depths(scene: GaussianScene, cameras: Sequence[Camera], rasterizer: Rasterizer, size: int,
           like: Tensor) -> Tensor:
    """[V, size, size] depth of the key in its views, m along the optical axis; 0 = nothing there.

    Args:
        scene: the key.
        cameras: V of them, without distortion.
        rasterizer: draws, in the size of the cameras.
        size: of the maps, px, each side.
        like: see the module.
    """
    drawn = [rasterizer.render(scene, camera).require_depth() for camera in cameras]
    return torch.cat([F.interpolate(depth[None, None], (size, size), mode='bilinear',
                                    align_corners=False)[0] for depth in drawn]).to(like)
