# SPDX-License-Identifier: Apache-2.0
"""Points for planners: one per voxel, gated, with velocities and what they are worth."""
import numpy as np
import pytest
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.scene import SH_C0, GaussianScene
from igs_ros.vision.moving import decimated, moving_points
from igs_ros.vision.sights import Sight, believed
from igs_ros.vision.voxels import Voxels

K = np.array([[200.0, 0, 80], [0, 200, 60], [0, 0, 1]])


def sight(x=0.0, depth=2.0, wrong=False):
    pose = np.eye(4)
    pose[0, 3] = -x
    surface = np.full((120, 160), depth, np.float32)
    return Sight(Camera('a', 160, 120, K, pose), surface, surface, np.full((120, 160), wrong))


def scene(means, velocities=None, opacities=None, colors=0.5):
    means = torch.as_tensor(np.array(means), dtype=torch.float32)
    count = len(means)
    return GaussianScene(
        means, torch.tensor([[1.0, 0, 0, 0]] * count), torch.full((count, 3), 0.01),
        torch.full((count,), 0.9) if opacities is None else torch.tensor(opacities),
        torch.full((count, 1, 3), (colors - 0.5) / SH_C0),
        None if velocities is None else torch.as_tensor(np.array(velocities)).float())


def every(one):
    return np.ones(len(one), bool)


def test_voxels_are_summed_up_as_a_walk_over_them_does():
    random = np.random.default_rng(1)
    points, values = random.uniform(-1, 1, (300, 3)), random.normal(size=(300, 3))
    weights = random.uniform(0.1, 1, 300)
    voxels = Voxels.of(points, weights, 0.5)
    mean, spread = voxels.mean(values), voxels.spread(values)
    cells = np.floor(points / 0.5)
    assert len(voxels) == len(np.unique(cells, axis=0)) > 50
    for cell in np.unique(cells, axis=0):
        rows = np.flatnonzero((cells == cell).all(1))
        (group,) = set(voxels.group[rows])
        assert mean[group] == pytest.approx(np.average(values[rows], 0, weights[rows]))
        expected = np.cov(values[rows].T, aweights=weights[rows], ddof=0)
        assert spread[group] == pytest.approx(expected, abs=1e-12)


def test_one_point_per_voxel_the_mean_by_opacity():
    one = scene([[0.01, 0, 1], [0.03, 0, 1], [0.31, 0, 1]], [[1, 0, 0], [2, 0, 0], [0, 0, 3]],
                [0.9, 0.3, 0.5], colors=0.25)
    points = decimated(one, every(one), 0.1)
    assert len(points) == 2 and points.covariances is None
    assert points.positions[0] == pytest.approx([0.015, 0, 1])
    assert points.velocities == pytest.approx(np.array([[1.25, 0, 0], [0, 0, 3]]))
    assert points.rgb == pytest.approx(0.25)
    dark = decimated(scene([[0, 0, 1]], colors=-0.2), np.ones(1, bool), 0.1)
    assert np.isnan(dark.velocities).all() and (dark.rgb == 0).all()
    assert len(decimated(one, np.zeros(3, bool), 0.1)) == 0


def test_what_the_pictures_contradict_or_nobody_sees_is_not_believed():
    one = scene([[0, 0, 2], [0, 0, 2.5], [9, 0, 2]])  # on the surface, behind it, in no picture
    seen = {'a': sight(), 'b': sight(0.2)}
    assert believed(one, seen).tolist() == [True, False, False]
    assert not believed(one, {'a': sight(wrong=True), 'b': sight(0.2, wrong=True)}).any()
    # one of two views may be wrong for other reasons; the only one that sees a thing may not
    assert believed(one, {'a': sight(), 'b': sight(0.2, wrong=True)})[0]
    assert not believed(one, {'a': sight(wrong=True)}).any()


@pytest.mark.parametrize(('wrong', 'views', 'expected'), [
    (0, 1, True), (2, 4, True), (2, 3, False), (3, 5, False), (4, 5, False)])
def test_three_fifths_of_the_views_contradict(wrong, views, expected):
    seen = {str(i): sight(0.01 * i, wrong=i < wrong) for i in range(views)}
    assert believed(scene([[0, 0, 2]]), seen)[0] == expected


def test_only_what_is_faster_moves():
    one = scene([[0, 0, 2], [0.5, 0, 2]], [[0.09, 0, 0], [0.11, 0, 0]])
    found = moving_points(one, every(one), {'a': sight()}, 0.1, 0.1, 0.05)
    assert found.positions == pytest.approx(np.array([[0.5, 0, 2]]))
    assert len(moving_points(scene([[0, 0, 2]]), np.ones(1, bool), {}, 0.1, 0.0, 0.05)) == 0


def covariance(sights, step_s=0.1, count=1000, turning=0.0):
    """Of the velocity of `count` Gaussians in one voxel, half of which are faster and slower."""
    velocities = np.array([[0.2, turning, 0], [0.2, -turning, 0]] * (count // 2))
    one = scene([[0.001, 0.001, 2.01]] * count, velocities)
    found = moving_points(one, every(one), dict(enumerate(sights)), step_s, 0.1, 0.05)
    assert found.velocities == pytest.approx(np.array([[0.2, 0, 0]]), abs=1e-6)
    return found.covariances[0]


def test_a_view_knows_little_of_the_depth_and_others_beside_it_more():
    single = np.sqrt(np.diag(covariance([sight()])))
    pair = np.sqrt(np.diag(covariance([sight(), sight(0.5)])))
    assert single[:2] == pytest.approx(0.2 / 200 * 2 / 0.1, rel=0.1)  # px to m, in 0.1 s
    assert single[2] == pytest.approx(3.0, rel=0.05)  # what no view tells
    assert pair[2] < 0.2 and pair[2] > 2 * pair[0]


def test_the_covariance_grows_with_shorter_steps_and_differing_velocities():
    views = [sight(), sight(0.5)]
    usual = covariance(views)
    assert np.diag(covariance(views, 0.05))[:2] == pytest.approx(4 * np.diag(usual)[:2], rel=0.15)
    turning = covariance(views, turning=0.4)
    assert turning[1, 1] - usual[1, 1] == pytest.approx(0.16, rel=0.01)
    assert turning[0, 0] == pytest.approx(usual[0, 0], rel=0.2)


def test_a_velocity_that_few_share_is_doubted():
    views = [sight(), sight(0.5)]
    alone = scene([[0.01, 0.01, 2.01]], [[1.0, 0, 0]])
    found = moving_points(alone, np.ones(1, bool), dict(enumerate(views)), 0.1, 0.1, 0.05)
    assert found.covariances[0, 0, 0] == pytest.approx(0.5, abs=0.01)  # half of its square
    assert covariance(views, count=10)[0, 0] == pytest.approx(0.04 / 11 + 0.0002, rel=0.2)
