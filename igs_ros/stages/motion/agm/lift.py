# SPDX-License-Identifier: Apache-2.0
"""Projection-aware lift: anchors gather their features from all views."""
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_OUTSIDE = -4.0  # grid coordinate; the map spans -1..1, so zeros are sampled here
_MIN_DEPTH = 1e-6  # m


def project(points: Tensor, intrinsics: Tensor, camera_from_world: Tensor) -> Tensor:
    """Where the views see points: grid coordinates [V, A, 2], -1..1 over the picture.

    Points behind a camera lie outside its picture (the published code mirrors them into it,
    reference/igs_reference.md 1.6).

    Args:
        points: [A, 3] m, world.
        intrinsics: [V, 4], shares of the picture (see `modulation`).
        camera_from_world: [V, 4, 4], m, OpenCV axes.
    """
    local = points @ camera_from_world[:, :3, :3].mT + camera_from_world[:, None, :3, 3]
    depth = local[..., 2:]
    front = depth > _MIN_DEPTH
    shares = local[..., :2] / torch.where(front, depth, 1.0)
    shares = shares * intrinsics[:, None, :2] + intrinsics[:, None, 2:]
    return torch.where(front, 2 * shares - 1, _OUTSIDE).clamp(_OUTSIDE, -_OUTSIDE)


def inside(grid: Tensor) -> Tensor:
    """[V, A] bool: which points of `grid` [V, A, 2] lie in the picture."""
    return (grid.abs() <= 1).all(-1)


def lift(maps: Tensor, grid: Tensor) -> Tensor:
    """The mean over the views of the features at each anchor; zeros from outside a picture.

    There is no test of visibility: anchors behind a surface take its features, as published.

    Args:
        maps: [B, V, H, W, C].
        grid: [V, A, 2] of `project`.

    Returns:
        [B, A, C].
    """
    batch, views = maps.shape[:2]
    sampled = F.grid_sample(maps.flatten(0, 1).permute(0, 3, 1, 2),
                            grid.repeat(batch, 1, 1)[:, :, None], mode='bilinear',
                            padding_mode='zeros', align_corners=False)
    return sampled.reshape(batch, views, maps.shape[-1], -1).mean(1).mT
