# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from igs_ros.stages.motion.agm_small.net import CorrectionNet


@pytest.fixture
def untrained():
    torch.manual_seed(0)
    return CorrectionNet().eval()


@pytest.fixture
def arbitrary():
    """A network that does something, no matter what."""
    torch.manual_seed(1)
    net = CorrectionNet().eval()
    for layer in (net.share, net.steps):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return net
