# SPDX-License-Identifier: Apache-2.0
"""Which points views see, and what several of them agree on."""
import numpy as np
import pytest
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene
from igs_ros.vision.visibility import Visibility, agreed

CAMERA = Camera('a', 60, 40, np.array([[30.0, 0, 30], [0, 30, 20], [0, 0, 1]]), np.eye(4))


def points(*means) -> GaussianScene:
    count = len(means)
    return GaussianScene(torch.tensor(means), torch.tensor([[1.0, 0, 0, 0]] * count),
                         torch.full((count, 3), 0.01), torch.full((count,), 0.5),
                         torch.zeros(count, 1, 3))


def test_visibility_holds_pixels_and_leaves_out_what_is_not_in_the_picture():
    scene = points([0.0, 0, 1], [0.5, -0.5, 1], [0.0, 0, -1], [3.0, 0, 1])
    visibility = Visibility.of(scene, CAMERA)
    assert visibility.seen.tolist() == [True, True, False, False]
    assert visibility.columns[:2].tolist() == [30, 45] and visibility.rows[:2].tolist() == [20, 5]
    values = visibility.at(np.arange(2400.0).reshape(40, 60))
    assert values.tolist() == [20 * 60 + 30, 5 * 60 + 45, 0, 0]


def test_what_lies_behind_the_known_surface_is_not_seen():
    depth = np.full((40, 60), 2.0)
    depth[:, :20] = np.nan
    scene = points([0.0, 0, 2], [0.0, 0, 1], [0.0, 0, 3], [-2.0, 0, 3])
    visibility = Visibility.of(scene, CAMERA, depth)
    assert visibility.seen.tolist() == [True, True, False, True]


@pytest.mark.parametrize('hits, votes, share, expected', [
    (2, 4, 0.5, True), (1, 4, 0.1, False), (1, 1, 1.0, True), (2, 5, 0.5, False),
    (3, 5, 0.6, True), (0, 0, 0.5, False), (0, 1, 0.0, False)])
def test_two_views_agree_or_the_only_one(hits, votes, share, expected):
    def visibility(seen):
        return Visibility(np.zeros(1, int), np.zeros(1, int), np.array([seen]),
                          np.zeros((1, 2)), np.ones(1), (2, 2))
    masks = {str(view): np.full((2, 2), view < hits) for view in range(6)}
    visible = {str(view): visibility(view < votes) for view in range(6)}
    assert agreed(masks, visible, share).tolist() == [expected]
