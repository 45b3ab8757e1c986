# SPDX-License-Identifier: Apache-2.0
"""The parity data and the formula parameters (reference/agm_golden.md)."""
import zlib
from pathlib import Path

import numpy as np
import torch

from igs_ros.stages.motion.agm.decode import neighbor_weights
from igs_ros.stages.motion.agm.net import AgmNet, RigTensors, Ties

PATH = Path(__file__).resolve().parents[3] / 'data' / 'agm_golden.npz'
GOLDEN = 0x9E3779B97F4A7C15


def uniform(name, shape):
    """Numbers in 0..1 that follow from `name`: splitmix64, in C order, float64."""
    count = int(np.prod(shape))
    seed = np.uint64(zlib.crc32(name.encode()) << 32)
    with np.errstate(over='ignore'):
        z = seed + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(11)) * 2.0 ** -53).reshape(shape)


def formula_value(name, shape):
    """The parameter `name` as a float32 tensor."""
    centered = 2 * uniform(name, shape) - 1
    if len(shape) >= 2:
        fan_in = np.prod(shape) / shape[0]
        value = np.sqrt(3 / fan_in) * centered
    elif name.endswith('.weight'):
        value = 1 + 0.1 * centered
    else:
        value = 0.1 * centered
    return torch.from_numpy(value.astype(np.float32))


def fill(module):
    """Give all parameters of `module` their formula values."""
    module.load_state_dict({name: formula_value(name, tuple(tensor.shape))
                            for name, tensor in module.state_dict().items()})
    return module.eval()


def formula_net(dtype, double_division=True):
    """AGM-Net with formula parameters, rounded to float32 also in float64."""
    return fill(AgmNet(double_division)).to(dtype)


class Golden:
    """The arrays as tensors of one dtype, indices as int64."""

    def __init__(self, dtype):
        self.dtype = dtype
        with np.load(PATH) as arrays:
            self._arrays = {name: arrays[name] for name in arrays}

    def __getitem__(self, name):
        array = torch.from_numpy(np.asarray(self._arrays[name]))
        return array.to(self.dtype if array.is_floating_point() else torch.int64)

    def rig(self):
        views = len(self['in_c2w'])
        shares = 1 / (2 * torch.tan(self['in_fov'] / 2))
        intrinsics = torch.cat([shares, torch.full_like(shares, 0.5)]).expand(views, -1)
        return RigTensors(intrinsics, self['in_c2w'])

    def dynamic(self, points):
        """Ascending indices of the points [N, 3] in the box."""
        low, high = self['in_bbox']
        return torch.nonzero(((points >= low) & (points <= high)).all(1))[:, 0]

    def ties(self, points=None, picked=None, count=8):
        """Anchors `picked` among the points in the box, and who is tied to them."""
        points = self['in_xyz'] if points is None else points
        inside = points[self.dynamic(points)]
        anchors = inside[self['fps_idx'] if picked is None else picked]
        distances, indices = torch.cdist(
            inside, anchors, compute_mode='donot_use_mm_for_euclid_dist').topk(
                count, largest=False)
        return Ties(anchors, indices, neighbor_weights(distances))


def error(found, expected):
    """Greatest absolute difference."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    return float((found.double() - expected.double()).abs().max())
