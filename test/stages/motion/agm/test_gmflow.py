# SPDX-License-Identifier: Apache-2.0
"""The flow backbone alone, up to the flow that GMFlow makes of its features."""
import pytest
import torch
from golden import Golden, error, fill
from torch import nn
from torch.nn import functional as F

from igs_ros.stages.motion.agm.flow import FlowBackbone


class FlowHead(nn.Module):
    """What follows in GMFlow and AGM-Net does without: flow at an eighth, and at full size."""

    def __init__(self):
        super().__init__()
        self.feature_flow_attn = nn.ModuleDict({'q_proj': nn.Linear(128, 128),
                                                'k_proj': nn.Linear(128, 128)})
        self.upsampler = nn.Sequential(nn.Conv2d(130, 256, 3, padding=1), nn.ReLU(),
                                       nn.Conv2d(256, 576, 1))

    def forward(self, first, second):
        batch, channels, height, width = first.shape
        tokens, others = (x.flatten(2).mT for x in (first, second))
        y, x = torch.meshgrid(torch.arange(height).to(first), torch.arange(width).to(first),
                              indexing='ij')
        places = torch.stack([x, y], -1).reshape(1, -1, 2)
        scale = channels ** 0.5
        matched = (tokens @ others.mT / scale).softmax(-1) @ places
        query = self.feature_flow_attn['q_proj'](tokens)
        key = self.feature_flow_attn['k_proj'](query)  # upstream's oddity
        flow = (query @ key.mT / scale).softmax(-1) @ (matched - places)
        flow = flow.mT.reshape(batch, 2, height, width)
        shares = self.upsampler(torch.cat([flow, first], 1))
        shares = shares.reshape(batch, 1, 9, 8, 8, height, width).softmax(2)
        around = F.unfold(8 * flow, 3, padding=1).reshape(batch, 2, 9, 1, 1, height, width)
        full = (shares * around).sum(2).permute(0, 1, 4, 2, 5, 3)
        return flow, full.reshape(batch, 2, 8 * height, 8 * width)


@torch.no_grad()
def found(golden):
    """All that the file holds of GMFlow."""
    images = torch.cat([golden['gm_img0'], golden['gm_img1']])
    backbone = fill(FlowBackbone()).to(golden.dtype)
    features = backbone.encode(images)
    first, second = backbone.match(*features.chunk(2))
    lowres, full = fill(FlowHead()).to(golden.dtype)(first, second)
    return {'gm_cnn': features, 'gm_posadded0': backbone.add_position(features[:2]),
            'gm_f0': first, 'gm_f1': second, 'gm_flow_lowres': lowres, 'gm_flow': full}


@pytest.mark.parametrize('dtype, tolerance', [(torch.float64, 1e-5), (torch.float32, 1e-3)])
def test_gmflow(dtype, tolerance):
    golden = Golden(dtype)
    for name, value in found(golden).items():
        # px; those of the file come from float32 and reach 75
        allowed = 5e-3 if name.startswith('gm_flow') else tolerance
        assert error(value, golden[name]) < allowed, name


def test_forward_takes_pictures():
    golden = Golden(torch.float32)
    with torch.no_grad():
        first, second = fill(FlowBackbone())(golden['gm_img0'], golden['gm_img1'])
    assert error(first, golden['gm_f0']) < 1e-3 and error(second, golden['gm_f1']) < 1e-3
