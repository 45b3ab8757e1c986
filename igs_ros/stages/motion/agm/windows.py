# SPDX-License-Identifier: Apache-2.0
"""Attention windows: a feature map cut into 2x2 windows, at rest or shifted by half a window.

Feature maps are [B, H, W, C] with even H and W; a window holds T = H/2 * W/2 tokens.
"""
from __future__ import annotations

import math

import torch
from torch import Tensor

SPLIT = 2  # windows in each direction
_APART = -100.0  # added to the scores of tokens that were not neighbors before the shift


def split(x: Tensor) -> Tensor:
    """Cut [B, H, W, C] into windows [B, 4, T, C]."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, SPLIT, height // SPLIT, SPLIT, width // SPLIT, channels)
    return x.transpose(2, 3).reshape(batch, SPLIT**2, -1, channels)


def merge(windows: Tensor, height: int, width: int) -> Tensor:
    """[B, height, width, C], the inverse of `split`.

    Args:
        windows: [B, 4, T, C].
        height: of the map, even.
        width: of the map, even.
    """
    batch, channels = len(windows), windows.shape[-1]
    x = windows.reshape(batch, SPLIT, SPLIT, height // SPLIT, width // SPLIT, channels)
    return x.transpose(2, 3).reshape(batch, height, width, channels)


def shift(x: Tensor, sign: int) -> Tensor:
    """[B, H, W, C] rolled by half a window: up and left for sign -1, back for sign 1."""
    return torch.roll(x, tuple(sign * step for step in _half_window(*x.shape[1:3])), (1, 2))


def shifted_mask(height: int, width: int, like: Tensor) -> Tensor:
    """[4, T, T]: what to add to the scores of shifted windows.

    After the roll a window may hold parts of opposite borders of the map; as in Swin (Liu et al.
    2021) tokens of different regions do not see each other.

    Args:
        height: of the map, even.
        width: of the map, even.
        like: any tensor with the dtype and device wanted.
    """
    regions = []
    for size, step in zip((height, width), _half_window(height, width), strict=True):
        labels = torch.zeros(size, dtype=torch.long)
        labels[size - size // SPLIT:] = 1
        labels[size - step:] = 2
        regions.append(labels)
    labels = regions[0][:, None] * 3 + regions[1]
    labels = split(labels[None, ..., None])[0, :, :, 0]
    apart = labels[:, :, None] != labels[:, None, :]
    return torch.where(apart, _APART, 0.0).to(like)


def _half_window(height: int, width: int) -> tuple[int, int]:
    return height // SPLIT // 2, width // SPLIT // 2


def sine_position(height: int, width: int, channels: int, like: Tensor) -> Tensor:
    """2-D sine embedding [height, width, channels] of one window; first half y, second half x.

    Sine and cosine alternate; coordinates run from just above 0 to 2 pi, temperature 10000
    (DETR, Carion et al. 2020).

    Args:
        height: of the window.
        width: of the window.
        channels: a multiple of 4.
        like: any tensor with the dtype and device wanted.
    """
    features = torch.arange(channels // 2, dtype=like.dtype, device=like.device)
    periods = 10000 ** (2 * torch.div(features, 2, rounding_mode='floor') / (channels // 2))

    def embedded(size: int) -> Tensor:
        steps = torch.arange(1, size + 1, dtype=like.dtype, device=like.device)
        angles = (steps / (size + 1e-6) * 2 * math.pi)[:, None] / periods
        return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], 2).flatten(1)

    y = embedded(height)[:, None].expand(-1, width, -1)
    x = embedded(width)[None].expand(height, -1, -1)
    return torch.cat([y, x], 2)
