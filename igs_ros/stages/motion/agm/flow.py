# SPDX-License-Identifier: Apache-2.0
"""The flow backbone: GMFlow at one scale (Xu et al. 2022), up to its matched features.

Flow itself is never computed: AGM-Net takes the features that GMFlow would compare.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn

from igs_ros.stages.motion.agm import windows
from igs_ros.stages.motion.agm.cnn import Encoder
from igs_ros.stages.motion.agm.swin import PairTransformer

STRIDE = 8  # px per feature
MULTIPLE = STRIDE * windows.SPLIT  # the size of a picture is a multiple of this
_MEAN = (0.485, 0.456, 0.406)  # ImageNet
_STD = (0.229, 0.224, 0.225)


class FlowBackbone(nn.Module):
    """Frozen in AGM-Net; reference/igs_reference.md 1.1."""

    def __init__(self, channels: int = 128):
        super().__init__()
        self.backbone = Encoder(channels)
        self.transformer = PairTransformer(6, channels)

    def encode(self, images: Tensor) -> Tensor:
        """Features [B, C, H/8, W/8] of single pictures.

        Args:
            images: [B, 3, H, W] sRGB 0..255, H and W multiples of 16.
        """
        mean = images.new_tensor(_MEAN)[:, None, None]
        std = images.new_tensor(_STD)[:, None, None]
        return self.backbone((images / 255 - mean) / std)

    @staticmethod
    def add_position(features: Tensor) -> Tensor:
        """[B, C, h, w] `features` plus the sine embedding, which starts anew in each window."""
        channels, height, width = features.shape[1:]
        position = windows.sine_position(height // windows.SPLIT, width // windows.SPLIT,
                                         channels, features)
        return features + position.permute(2, 0, 1).repeat(1, windows.SPLIT, windows.SPLIT)

    def match(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """What two pictures are to each other, from their features [B, C, h, w].

        Returns:
            The embeddings of the first and of the second picture, both [B, C, h, w].
        """
        pair = (self.add_position(x).permute(0, 2, 3, 1) for x in (first, second))
        first, second = self.transformer(*pair)
        return first.permute(0, 3, 1, 2), second.permute(0, 3, 1, 2)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [B, C, H/8, W/8] of two pictures [B, 3, H, W], sRGB 0..255."""
        return self.match(*self.encode(torch.cat([first, second])).chunk(2))
