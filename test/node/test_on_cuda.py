# SPDX-License-Identifier: Apache-2.0
"""Scenes on the CUDA device of fake_cuda.py as ROS messages: those of the CPU."""
import pytest
import torch

from igs_ros.core.scene import GaussianScene
from igs_ros.io.codec.state import key_arrays, update_arrays

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from igs_ros.node import convert, convert_scene  # noqa: E402


def scene():
    random = torch.Generator().manual_seed(0)

    def rand(*shape):
        return torch.rand((20, *shape), generator=random)
    return GaussianScene(rand(3), torch.nn.functional.normalize(rand(4), dim=1), rand(3), rand(),
                         rand(4, 3), rand(3))


def test_points_keys_and_updates(cuda):
    head, sent = convert.header(9, 'map'), []
    for device in ('cpu', 'cuda'):
        key = scene().to(device)
        moved = key.replaced(means=key.means + 0.1)
        sent.append([
            convert_scene.points_message(key, head, 0.5),
            convert_scene.points_message(key.replaced(velocities=None), head, 0.0),
            convert_scene.key_message(key_arrays(key), head),
            convert_scene.update_message(update_arrays(key, moved), head)])
    assert sent[0] == sent[1]


def test_points_cost_few_waits(cuda):
    key = scene().to('cuda')
    with cuda.counted() as costs:
        convert_scene.points_message(key, convert.header(9, 'map'), 0.5)
    assert costs.waits.total() <= 6 and costs.downloads.total() == 3 and not costs.uploads, costs
