# SPDX-License-Identifier: Apache-2.0
"""Changed pixels, and what several views agree on."""
import numpy as np
import pytest
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene
from igs_ros.vision.changes import Sight, agreed, changed_pixels, changed_share, difference, grown


def gray(level: int, height: int = 40, width: int = 60) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def test_a_flat_change_is_its_size_in_any_channel():
    after = gray(100)
    after[..., 2] += 51
    np.testing.assert_allclose(difference(after, gray(100)), 0.2, atol=1e-6)
    np.testing.assert_allclose(difference(gray(100), after), 0.2, atol=1e-6)


@pytest.mark.parametrize('step, expected', [(7, False), (9, True)])
def test_the_threshold_lies_at_eight_levels(step, expected):
    assert changed_pixels(gray(100 + step), gray(100)).all() == expected


def test_changed_areas_grow_by_four_pixels_to_each_side():
    mask = np.zeros((40, 60), bool)
    mask[20, 30] = True
    expected = np.zeros_like(mask)
    expected[16:25, 26:35] = True
    assert (grown(mask) == expected).all()


def test_the_share_is_the_mean_over_cameras_that_both_have():
    half = gray(100)
    half[:, :30] = 200
    images = {'a': half, 'b': gray(100), 'new': gray(0)}
    share = changed_share(images, {'a': gray(100), 'b': gray(100), 'gone': gray(7)})
    assert share == pytest.approx(0.25, abs=0.02)  # the blur carries the edge a little on
    assert changed_share(images, {}) == 0


CAMERA = Camera('a', 60, 40, np.array([[30.0, 0, 30], [0, 30, 20], [0, 0, 1]]), np.eye(4))


def points(*means) -> GaussianScene:
    count = len(means)
    return GaussianScene(torch.tensor(means), torch.tensor([[1.0, 0, 0, 0]] * count),
                         torch.full((count, 3), 0.01), torch.full((count,), 0.5),
                         torch.zeros(count, 1, 3))


def test_a_sight_holds_pixels_and_leaves_out_what_is_not_in_the_picture():
    sight = Sight.of(points([0.0, 0, 1], [0.5, -0.5, 1], [0.0, 0, -1], [3.0, 0, 1]), CAMERA)
    assert sight.seen.tolist() == [True, True, False, False]
    assert (sight.columns[0], sight.rows[0], sight.columns[1], sight.rows[1]) == (30, 20, 45, 5)
    values = sight.at(np.arange(2400.0).reshape(40, 60))
    assert values.tolist() == [20 * 60 + 30, 5 * 60 + 45, 0, 0]


def test_what_lies_behind_the_known_surface_is_not_seen():
    depth = np.full((40, 60), 2.0)
    depth[:, :20] = np.nan
    sight = Sight.of(points([0.0, 0, 2], [0.0, 0, 1], [0.0, 0, 3], [-2.0, 0, 3]), CAMERA, depth)
    assert sight.seen.tolist() == [True, True, False, True]


@pytest.mark.parametrize('hits, votes, share, expected', [
    (2, 4, 0.5, True), (1, 4, 0.1, False), (1, 1, 1.0, True), (2, 5, 0.5, False),
    (3, 5, 0.6, True), (0, 0, 0.5, False), (0, 1, 0.0, False)])
def test_two_views_agree_or_the_only_one(hits, votes, share, expected):
    def sight(seen):
        return Sight(np.zeros(1, int), np.zeros(1, int), np.array([seen]))
    masks = {str(view): np.full((2, 2), view < hits) for view in range(6)}
    sights = {str(view): sight(view < votes) for view in range(6)}
    assert agreed(masks, sights, share).tolist() == [expected]
