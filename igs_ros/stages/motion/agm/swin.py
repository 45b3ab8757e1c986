# SPDX-License-Identifier: Apache-2.0
"""The transformer of GMFlow: self- and cross-attention of two feature maps in windows.

AGM-Net uses it twice: six blocks inside the frozen flow backbone, and one more block that is
fine-tuned to motion (reference/igs_reference.md 1.1 and 1.2).
"""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from igs_ros.stages.motion.agm import windows

_EXPANSION = 4  # of the feed-forward layer, relative to the two maps it is given


class AttentionLayer(nn.Module):
    """One head of attention in windows; with `feed_forward`, an MLP on the message follows."""

    def __init__(self, channels: int, feed_forward: bool):
        super().__init__()
        self.q_proj = nn.Linear(channels, channels, bias=False)
        self.k_proj = nn.Linear(channels, channels, bias=False)
        self.v_proj = nn.Linear(channels, channels, bias=False)
        self.merge = nn.Linear(channels, channels, bias=False)
        self.norm1 = nn.LayerNorm(channels)
        self.mlp = None
        if feed_forward:
            both = 2 * channels
            self.mlp = nn.Sequential(nn.Linear(both, both * _EXPANSION, bias=False), nn.GELU(),
                                     nn.Linear(both * _EXPANSION, channels, bias=False))
            self.norm2 = nn.LayerNorm(channels)

    def forward(self, source: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """[B, H, W, C]: what `source` is after looking at `target`.

        Args:
            source: [B, H, W, C].
            target: [B, H, W, C].
            mask: [4, T, T] of `windows.shifted_mask` for shifted windows, None for those at rest.
        """
        query, key, value = self.q_proj(source), self.k_proj(target), self.v_proj(target)
        message = self.norm1(self.merge(_attend(query, key, value, mask)))
        if self.mlp is not None:
            message = self.norm2(self.mlp(torch.cat([source, message], -1)))
        return source + message


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    maps = [query, key, value]
    if mask is not None:
        maps = [windows.shift(x, -1) for x in maps]
    # windows take the place of heads: neither sees the others
    attended = F.scaled_dot_product_attention(*map(windows.split, maps), attn_mask=mask)
    attended = windows.merge(attended, *query.shape[1:3])
    return attended if mask is None else windows.shift(attended, 1)


class Block(nn.Module):
    """Self-attention, then cross-attention with a feed-forward layer."""

    def __init__(self, channels: int):
        super().__init__()
        self.self_attn = AttentionLayer(channels, feed_forward=False)
        self.cross_attn_ffn = AttentionLayer(channels, feed_forward=True)

    def forward(self, source: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """[B, H, W, C]: `source` after looking at itself and at `target`.

        Args:
            source: [B, H, W, C].
            target: [B, H, W, C].
            mask: see `AttentionLayer.forward`.
        """
        return self.cross_attn_ffn(self.self_attn(source, source, mask), target, mask)


class PairTransformer(nn.Module):
    """Blocks that let two feature maps look at each other; every second one is shifted."""

    def __init__(self, blocks: int, channels: int = 128):
        super().__init__()
        self.layers = nn.ModuleList(Block(channels) for _ in range(blocks))
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Both maps [B, H, W, C] (H and W even), each after looking at the other.

        Within a block the other map is as it was before that block.
        """
        mask = windows.shifted_mask(*first.shape[1:3], like=first)
        source = torch.cat([first, second])
        for index, block in enumerate(self.layers):
            first, second = source.chunk(2)
            source = block(source, torch.cat([second, first]), mask if index % 2 else None)
        first, second = source.chunk(2)
        return first, second

    def update_first(self, first: Tensor, second: Tensor) -> Tensor:
        """`first` [B, H, W, C] after a single block that looks at `second`, which stays.

        Half the work of `forward`.

        Raises:
            AssertionError: there are several blocks, where the second map would have to follow.
        """
        assert len(self.layers) == 1
        return self.layers[0](first, second, None)
