# SPDX-License-Identifier: Apache-2.0
"""Which points views see, and what several of them agree on."""
import numpy as np
import pytest
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene
from igs_ros.vision.visibility import (
    Visibility,
    agreed,
    changed_gaussians,
    count_votes,
    in_picture,
    majority,
)

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


@pytest.mark.parametrize('pixel, depth, expected', [
    ((0.0, 0.0), 1.0, True), ((-1e-6, 0.0), 1.0, False), ((0.0, -1e-6), 1.0, False),
    ((59.999, 39.999), 1.0, True), ((60.0, 39.0), 1.0, False), ((59.0, 40.0), 1.0, False),
    ((30.0, 20.0), 1e-9, True), ((30.0, 20.0), 0.0, False), ((30.0, 20.0), -1.0, False)])
def test_the_picture_begins_at_zero_and_ends_before_its_size(pixel, depth, expected):
    assert in_picture(np.array([pixel]), np.array([depth]), CAMERA).tolist() == [expected]


@pytest.mark.parametrize('surface_m, expected', [(1.945, True), (1.935, False), (np.nan, True)])
def test_a_gaussian_may_lie_a_little_behind_what_it_draws(surface_m, expected):
    """2 % of the depth and two of its largest scales of 0.01 m: up to 1.941 m are allowed."""
    scene = points([0.0, 0, 2])
    scene = scene.replaced(scales=torch.tensor([[0.001, 0.01, 0.005]]))
    visibility = Visibility.of(scene, CAMERA, np.full((40, 60), surface_m))
    assert visibility.seen.tolist() == [expected]


def test_a_point_on_the_surface_is_seen():
    visibility = Visibility.of_points(np.array([[0.0, 0, 2]]), CAMERA)
    assert visibility.before(np.full((40, 60), 2.0), 0.0).seen.all()


def test_surfaces_of_other_sizes_are_looked_up_where_the_point_is():
    """A third as wide and half as high: columns 0 to 19, rows 0 to 19."""
    surface = np.full((20, 20), 9.0)
    surface[5, 15] = 0.5
    scene = np.array([[0.5, -1 / 3 + 0.01, 1], [0.5, 0.01, 1], [-0.5, -1 / 3 + 0.01, 1]])
    visibility = Visibility.of_points(scene, CAMERA)
    assert visibility.columns.tolist() == [45, 45, 15] and visibility.rows.tolist() == [10, 20, 10]
    assert visibility.before(surface, 0.0).seen.tolist() == [False, True, True]
    assert visibility.before(surface, 0.0, np.array([0.6, 0, 0])).seen.all()
    assert visibility.before(surface, 1.1).seen.all() and visibility.seen.all()


@pytest.mark.parametrize('views, hits, expected', [(5, 2, True), (6, 2, False), (10, 4, True),
                                                   (10, 3, False), (1, 1, True), (3, 1, False)])
def test_four_of_ten_views_are_enough_unless_more_are_asked_for(views, hits, expected):
    cameras = {str(v): CAMERA for v in range(views)}
    masks = {str(v): np.full((40, 60), v < hits) for v in range(views)}
    scene = points([0.0, 0, 2], [9.0, 0, 2])  # the second one is seen by none
    assert changed_gaussians(scene, masks, cameras).tolist() == [expected, False]
    assert not changed_gaussians(scene, {}, cameras).any()
    assert len(changed_gaussians(scene, {}, cameras)) == 2


def test_votes_are_counted_by_view():
    scene = np.array([[0.0, 0, 1], [9.0, 0, 1], [0.5, 0, 1]])
    visible = {name: Visibility.of_points(scene, CAMERA) for name in 'abc'}
    left = np.zeros((40, 60), bool)
    left[:, :40] = True
    hits, votes = count_votes({'a': left, 'b': ~left}, visible)  # c has no mask, and no vote
    assert hits.tolist() == [1, 0, 1] and votes.tolist() == [2, 0, 2]
    assert [len(counted) for counted in count_votes({}, {})] == [0, 0]
    assert majority(np.array([2, 2, 1, 0]), np.array([4, 5, 1, 0]), 0.5).tolist() == [
        True, False, True, False]
