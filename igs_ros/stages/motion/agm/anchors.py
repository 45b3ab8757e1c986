# SPDX-License-Identifier: Apache-2.0
"""The anchor transformer: every anchor looks at every other one (igs_reference.md 1.7).

There is no position encoding; the order of the anchors does not matter.
"""
from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

_EXPANSION = 4


class Attention(nn.Module):
    """Self-attention of tokens [B, A, width] in several heads."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(width, width, bias=False)
        self.to_v = nn.Linear(width, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, A, width], the same shape."""
        query, key, value = (
            project(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.to_q, self.to_k, self.to_v))
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.to_out(attended.transpose(1, 2).flatten(2))


class GatedLinear(nn.Module):
    """A linear layer whose first half is weighted by the GELU of its second half (GEGLU)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.proj = nn.Linear(inputs, 2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[..., outputs] of `x` [..., inputs]."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Two layers, the first one gated."""

    def __init__(self, width: int):
        super().__init__()
        # the second entry keeps the published numbering, in which dropout stands there
        self.net = nn.Sequential(GatedLinear(width, _EXPANSION * width), nn.Identity(),
                                 nn.Linear(_EXPANSION * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """[..., width], the same shape."""
        return self.net(x)


class AnchorBlock(nn.Module):
    """Attention and a feed-forward layer, normalized before each."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, heads)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, A, width], the same shape."""
        tokens = tokens + self.attn1(self.norm1(tokens))
        return tokens + self.ff(self.norm3(tokens))


class AnchorTransformer(nn.Module):
    """Features of anchors, refined by those of all other anchors, added to what they were.

    Args:
        channels: of the features, a multiple of 32.
        width: of the tokens inside.
        heads: of each attention.
        blocks: of attention and feed-forward layer.
    """

    def __init__(self, channels: int = 128, width: int = 512, heads: int = 8, blocks: int = 4):
        super().__init__()
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, width)
        self.transformer_blocks = nn.ModuleList(AnchorBlock(width, heads) for _ in range(blocks))
        self.proj_out = nn.Linear(width, channels)

    def forward(self, features: Tensor) -> Tensor:
        """[B, A, C] of `features`, the same shape, A at least 1."""
        # the statistics are those of four channels and all anchors
        tokens = self.proj_in(self.norm(features.mT).mT)
        for block in self.transformer_blocks:
            tokens = block(tokens)
        return self.proj_out(tokens) + features
