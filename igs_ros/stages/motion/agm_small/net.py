# SPDX-License-Identifier: Apache-2.0
"""The network: from what each view says of a Gaussian to what the Gaussian does about it.

    views of a Gaussian -> one encoder for all of them -> pooled
    pooled, and what is known of the Gaussian -> its state
    states -> means around anchors -> neighboring anchors -> back to the Gaussians
    state -> steps; state and each view -> how much this view's color counts

The last layers start at zero: untrained, it changes nothing.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

VIEW_FEATURES, FEATURES, STEPS = 11, 24, 8
WIDTH = 48
_MAX_LOGIT = 6.0  # of a view's share in the color
_MIN_WEIGHT = 0.5  # px of blending weight below which a color is changed less and less


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """Which of A anchors M Gaussians belong to, and which anchors are neighbors."""

    anchor: Tensor  # [M] int64
    neighbors: Tensor  # [A, K] int64

    def mean(self, values: Tensor, weights: Tensor) -> Tensor:
        """Weighted means [A, C] of values [M, C] around the anchors; weights [M]."""
        total = values.new_zeros(len(self.neighbors), values.shape[1])
        weight = values.new_zeros(len(self.neighbors), 1)
        total = total.index_add(0, self.anchor, values * weights[:, None])
        weight = weight.index_add(0, self.anchor, weights[:, None])
        return total / (weight + 1e-3)


class CorrectionNet(nn.Module):
    """See the module."""

    def __init__(self, width: int = WIDTH):
        super().__init__()
        self.view = _layers(VIEW_FEATURES, width, width)
        self.own = _layers(2 * width + FEATURES, width, width)
        self.around = _layers(2 * width, width, width)
        self.both = _layers(2 * width, width)
        self.share = nn.Linear(2 * width, 1)
        self.steps = nn.Linear(width, STEPS)
        for last in (self.share, self.steps):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, views: Tensor, features: Tensor, errors: Tensor, weights: Tensor,
                neighborhood: Neighborhood) -> tuple[Tensor, Tensor]:
        """Colors that the views agree on [M, 3], and steps [M, STEPS], without a unit.

        Args:
            views: [V, M, VIEW_FEATURES].
            features: [M, FEATURES].
            errors: [V, M, 3] sums of error x blending weight.
            weights: [V, M] sums of blending weight, px.
            neighborhood: of the M Gaussians.
        """
        seen = self.view(views)
        total = weights.sum(0)
        shares = weights / (total + 1e-3)
        pooled = torch.cat([(shares[..., None] * seen).sum(0), seen.amax(0), features], -1)
        state = self.own(pooled)
        anchors = neighborhood.mean(state, total)
        anchors = self.around(torch.cat([anchors, anchors[neighborhood.neighbors].mean(1)], -1))
        state = self.both(torch.cat([state, anchors[neighborhood.anchor]], -1))
        logits = self.share(torch.cat([seen, state.expand_as(seen)], -1))
        counts = torch.exp(logits.clamp(-_MAX_LOGIT, _MAX_LOGIT))
        colors = (counts * errors).sum(0) \
            / ((counts * weights[..., None]).sum(0) + _MIN_WEIGHT)
        return colors, self.steps(state)


def _layers(inputs: int, *widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(inputs, width), nn.SiLU()]
        inputs = width
    return nn.Sequential(*layers)
