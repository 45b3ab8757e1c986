# SPDX-License-Identifier: Apache-2.0
"""The convolutional encoder of GMFlow: pictures to features at an eighth of their size."""
from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

_WIDTHS = (64, 96, 128)


def _instance_norm(x: Tensor) -> Tensor:
    """Each channel of each picture of `x` [B, C, H, W] to mean 0 and variance 1."""
    return F.instance_norm(x, eps=1e-5)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip connection.

    Args:
        inputs: channels.
        outputs: channels.
        stride: px, of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        """[B, outputs, H / stride, W / stride] of `x` [B, inputs, H, W]."""
        y = F.relu(_instance_norm(self.conv1(x)))
        y = F.relu(_instance_norm(self.conv2(y)))
        if self.downsample is not None:
            x = _instance_norm(self.downsample(x))
        return F.relu(x + y)


class Encoder(nn.Module):
    """Seven convolutional layers and a projection, stride 8 (reference/igs_reference.md 1.1)."""

    def __init__(self, channels: int = 128):
        super().__init__()
        small, middle, large = _WIDTHS
        self.conv1 = nn.Conv2d(3, small, 7, 2, padding=3, bias=False)
        self.layer1 = self._stage(small, small, 1)
        self.layer2 = self._stage(small, middle, 2)
        self.layer3 = self._stage(middle, large, 2)
        self.conv2 = nn.Conv2d(large, channels, 1)

    @staticmethod
    def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        return nn.Sequential(ResidualBlock(inputs, outputs, stride),
                             ResidualBlock(outputs, outputs))

    def forward(self, images: Tensor) -> Tensor:
        """[B, channels, H / 8, W / 8] of `images` [B, 3, H, W], normalized."""
        x = F.relu(_instance_norm(self.conv1(images)))
        return self.conv2(self.layer3(self.layer2(self.layer1(x))))
