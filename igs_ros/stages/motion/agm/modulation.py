# SPDX-License-Identifier: Apache-2.0
"""Camera and depth, brought into the feature maps (reference/igs_reference.md 1.4).

Intrinsics are given as shares of the picture [V, 4]: fx / width, fy / height, cx / width,
cy / height. They hold at every resolution, also after the squeeze to a square.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONDITIONS = 33  # 16 of the direction, 16 of the moment, depth


class ModLN(nn.Module):
    """Layer normalization whose shift and scale follow from a condition."""

    def __init__(self, channels: int, conditions: int = CONDITIONS):
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(conditions, channels), nn.SiLU(),
                                 nn.Linear(channels, 2 * channels))

    def shift_and_scale(self, condition: Tensor) -> Tensor:
        """[..., 2 C] of `condition` [..., conditions]: the shift first, then the scale."""
        return self.mlp(condition)

    def forward(self, features: Tensor, shift_and_scale: Tensor) -> Tensor:
        """`features` [..., C] normalized, then scaled and shifted.

        Args:
            features: [..., C].
            shift_and_scale: [..., 2 C], broadcast.
        """
        shift, scale = shift_and_scale.chunk(2, dim=-1)
        return self.norm(features) * (1 + scale) + shift


def camera_rays(intrinsics: Tensor, world_from_camera: Tensor, height: int, width: int,
                ) -> tuple[Tensor, Tensor]:
    """Rays through the pixel centers of a map.

    Args:
        intrinsics: [V, 4], see the module.
        world_from_camera: [V, 4, 4], m, OpenCV axes.
        height: of the map, px.
        width: of the map, px.

    Returns:
        Origins [V, 1, 1, 3] m and unit directions [V, height, width, 3], both in the world.
    """
    fx, fy, cx, cy = intrinsics[..., None, None].unbind(1)  # [V, 1, 1] each
    x = (torch.arange(width).to(intrinsics) + 0.5) / width
    y = (torch.arange(height).to(intrinsics) + 0.5) / height
    x = ((x - cx) / fx).expand(-1, height, -1)
    y = ((y[:, None] - cy) / fy).expand(-1, -1, width)
    local = F.normalize(torch.stack([x, y, torch.ones_like(x)], -1), dim=-1)
    directions = torch.einsum('vij,vhwj->vhwi', world_from_camera[:, :3, :3], local)
    return world_from_camera[:, None, None, :3, 3], directions


def condition(intrinsics: Tensor, world_from_camera: Tensor, depth: Tensor, height: int,
              width: int) -> Tensor:
    """What a map is told about its camera: [V, height, width, 33].

    Each ray is a Pluecker pair, direction first.

    Args:
        intrinsics: [V, 4], see the module.
        world_from_camera: [V, 4, 4], m, OpenCV axes.
        depth: [V, Hd, Wd] m along the optical axis, 0 = nothing there, of any resolution.
        height: of the map, px.
        width: of the map, px.
    """
    origins, directions = camera_rays(intrinsics, world_from_camera, height, width)
    moments = torch.linalg.cross(origins.expand_as(directions), directions)
    depth = F.interpolate(depth[:, None], (height, width), mode='bilinear', align_corners=False)
    return torch.cat([harmonics(directions), harmonics(moments), depth[:, 0, ..., None]], -1)


def harmonics(vectors: Tensor) -> Tensor:
    """Real spherical harmonics up to degree 3 of vectors [..., 3], as polynomials: [..., 16].

    Moments are not unit vectors, so the polynomials matter, not only their values on the sphere.
    """
    x, y, z = vectors.unbind(-1)
    a, b = 0.48860251190292, 1.09254843059208
    return torch.stack([
        torch.full_like(x, 0.282094791773878),
        -a * y, a * z, -a * x,
        b * x * y, -b * y * z, 0.94617469575756 * z**2 - 0.31539156525252, -b * x * z,
        b / 2 * (x**2 - y**2),
        -0.590043589926644 * y * (3 * x**2 - y**2),
        2.89061144264055 * x * y * z,
        0.304697199642977 * y * (1.5 - 7.5 * z**2),
        1.24392110863372 * z * (1.5 * z**2 - 0.5) - 0.497568443453487 * z,
        0.304697199642977 * x * (1.5 - 7.5 * z**2),
        1.44530572132028 * z * (x**2 - y**2),
        -0.590043589926644 * x * (x**2 - 3 * y**2)], -1)
