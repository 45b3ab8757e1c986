# SPDX-License-Identifier: Apache-2.0
"""From anchor features to the motion of Gaussians (reference/igs_reference.md 1.8 and 1.9)."""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SHARPNESS = 10.0  # 1/m; published: softmax(-10 d), where the paper has exp(-d)
_FIRST_TURN = (1.0, 0.01, 0.01, 0.01)  # w x y z of an untrained network


def neighbor_weights(distances: Tensor) -> Tensor:
    """[N, K] weights of the nearest anchors, sum 1; distances [N, K] m."""
    return torch.softmax(-_SHARPNESS * distances, -1)


def interpolate(features: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """Features of Gaussians [B, N, C]: weighted sums over their nearest anchors.

    Args:
        features: [B, A, C] of the anchors.
        indices: [N, K] int64 rows of anchors.
        weights: [N, K], sum 1.
    """
    total = features.new_zeros(len(features), len(indices), features.shape[2])
    for rank in range(indices.shape[1]):  # a gather of all ranks would take K times the memory
        total = total + features[:, indices[:, rank]] * weights[:, rank, None]
    return total


class Decoder(nn.Module):
    """An MLP with two heads: displacement and turn."""

    def __init__(self, channels: int = 128):
        super().__init__()
        self.mlp_net = nn.ModuleDict({'layers': nn.Sequential(
            nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, channels), nn.SiLU(),
            nn.Linear(channels, channels))})
        heads = nn.Linear(channels, 3), nn.Linear(channels, 4)
        self.out_layers = nn.ModuleList(heads)
        for head, start in zip(heads, ((0.0,) * 3, _FIRST_TURN), strict=True):
            nn.init.zeros_(head.weight)
            head.bias.data = torch.tensor(start)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Displacements [..., 3] m and turns [..., 4], wxyz, raw, of `features` [..., C]."""
        hidden = self.mlp_net['layers'](features)
        return self.out_layers[0](hidden), self.out_layers[1](hidden)


def turned(quats: Tensor, turns: Tensor) -> Tensor:
    """Orientations after the published update: quats * turns, both normalized, Hamilton.

    Args:
        quats: [..., 4] wxyz, any length.
        turns: [..., 4] wxyz, any length; one without length is no turn.

    Returns:
        [..., 4] wxyz, unit.
    """
    none = turns.new_tensor((1.0, 0.0, 0.0, 0.0))
    turns = torch.where(turns.norm(dim=-1, keepdim=True) > 1e-12, turns, none)
    w, x, y, z = F.normalize(quats, dim=-1).unbind(-1)
    tw, tx, ty, tz = F.normalize(turns, dim=-1).unbind(-1)
    return torch.stack([
        w * tw - x * tx - y * ty - z * tz,
        w * tx + x * tw + y * tz - z * ty,
        w * ty - x * tz + y * tw + z * tx,
        w * tz + x * ty - y * tx + z * tw], -1)
