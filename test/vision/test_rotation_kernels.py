# SPDX-License-Identifier: Apache-2.0
"""The kernels by themselves, against formulas: how much a view, a neighbor and an anchor count."""
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from igs_ros.vision import rotation_kernels as kernels

FOCAL, DEPTH = 200.0, 2.0
PIXEL = DEPTH / FOCAL  # m at that depth
STRENGTH = 1 / PIXEL ** 2


def sight(*offsets, poses=None):
    """Views that look along z at the origin, 2 m off, from the same place unless `poses` says so.

    offsets: px by view, of where each sees the points now; None: a view that does not see them.
    """
    count = len(offsets)
    rotations, translations = np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3))
    translations[:, 2] = DEPTH
    if poses is not None:
        rotations, translations = poses
    focals, centers = np.full((count, 2), FOCAL), np.full((count, 2), 50.0)
    targets = np.array([[offset or (0.0, 0.0)] for offset in offsets]) + 50.0
    usable = np.array([[offset is not None] for offset in offsets])
    return rotations, translations, focals, centers, targets, usable


ORIGIN = np.zeros((1, 3))


def equations(offset, geman_mcclure):
    normal, right = np.full((3, 3), 9.0), np.full(3, 9.0)
    kernels._gather(sight(offset), 0, ORIGIN[0], np.zeros(3), geman_mcclure, normal, right)
    return normal, right


@pytest.mark.parametrize('error_px, weight', [(0, 1), (0.9, 1), (1, 1), (1.25, 0.8), (4, 0.25)])
def test_errors_above_a_pixel_count_linearly(error_px, weight):
    """Huber; a pixel is a hundredth of a meter here, and depth shows nowhere."""
    normal, right = equations((0.6 * error_px, 0.8 * error_px), False)
    np.testing.assert_allclose(normal, weight * STRENGTH * np.diag([1, 1, 0]), atol=1e-9)
    shift = error_px * PIXEL * np.array([0.6, 0.8, 0])
    np.testing.assert_allclose(right, weight * STRENGTH * shift, atol=1e-9)


@pytest.mark.parametrize('error_px, weight', [(0.0, 1), (1.0, 0.64), (2.0, 0.25), (4.0, 0.04)])
def test_errors_far_above_two_pixels_count_for_nothing(error_px, weight):
    """Geman-McClure: 1 / (1 + (error / 2 px)^2)^2."""
    normal, _ = equations((0.6 * error_px, 0.8 * error_px), True)
    np.testing.assert_allclose(normal, weight * STRENGTH * np.diag([1, 1, 0]), atol=1e-9)


def test_equations_are_those_of_the_projection():
    """The derivative of a turned camera's pixels, by differences."""
    rotation = Rotation.from_rotvec([0.3, -0.4, 0.2]).as_matrix()
    view = sight((3.0, -2.0), poses=(rotation[None], np.array([[0.1, 0.2, 3.0]])))
    view = (*view[:2], np.array([[200.0, 300.0]]), np.array([[40.0, 60.0]]), *view[4:])
    point, moved = np.array([0.2, -0.3, 0.4]), np.array([0.01, 0.02, -0.03])

    def pixel(place):
        x, y, z = rotation @ place + view[1][0]
        return np.array([200 * x / z + 40, 300 * y / z + 60])
    step = 1e-6 * np.eye(3)
    jacobian = np.array([(pixel(point + moved + one) - pixel(point + moved - one)) / 2e-6
                         for one in step]).T
    error = view[4][0, 0] - pixel(point + moved)
    weight = 1 / max(1.0, np.hypot(*error))
    normal, right = np.empty((3, 3)), np.empty(3)
    kernels._gather(view, 0, point, moved, False, normal, right)
    np.testing.assert_allclose(normal, weight * jacobian.T @ jacobian, rtol=1e-5)
    np.testing.assert_allclose(right, weight * jacobian.T @ (error + jacobian @ moved), rtol=1e-5)


def test_what_lies_behind_a_camera_is_kept_before_it():
    x, y, depth = kernels._in_camera(sight((0, 0)), 0, 1.0, -2.0, -5.0)
    assert depth == 1e-6 and (x, y) == (1e6, -2e6)
    assert kernels._in_camera(sight((0, 0)), 0, 1.0, 0.5, 2.0) == (0.25, 0.125, 4.0)


def test_strength_is_the_mean_of_the_views_that_see_a_point():
    views = sight((0, 0), (0, 0), None)
    views[1][1, 2] = 2 * DEPTH
    np.testing.assert_allclose(kernels.pixels_per_meter(views, ORIGIN),
                               STRENGTH * (1 + 1 / 4) / 2)
    assert kernels.pixels_per_meter(sight(None, None), ORIGIN).tolist() == [0]
    views[2][0] = 100.0, 300.0
    np.testing.assert_allclose(kernels.pixels_per_meter(views, ORIGIN),
                               (100 * 300 / 4 + STRENGTH / 4) / 2)


def test_three_equations_are_solved_and_singular_ones_are_not():
    rng = np.random.default_rng(0)
    root, b = rng.normal(size=(3, 3)), rng.normal(size=3)
    A, solution = root @ root.T, np.full(3, 7.0)
    kernels._solve_symmetric(A, b, solution)
    np.testing.assert_allclose(solution, np.linalg.solve(A, b), rtol=1e-9)
    solution[:] = 7.0
    kernels._solve_symmetric(np.zeros((3, 3)), b, solution)
    assert solution.tolist() == [7, 7, 7]


def test_a_point_alone_is_held_where_it_is_by_a_ten_thousandth_of_a_view():
    views, moved = sight((0.05, 0.0)), np.zeros((1, 3))
    kernels.solve_alone(views, ORIGIN, np.array([STRENGTH]), moved)
    np.testing.assert_allclose(moved[0, :2], [0.05 * PIXEL / 1.0001, 0], rtol=1e-6, atol=1e-12)
    assert abs(moved[0, 2]) < 1e-3 * moved[0, 0]  # what it saw says nothing about depth
    unseen = np.full((1, 3), 3.0)
    kernels.solve_alone(sight(None), ORIGIN, np.zeros(1), unseen)
    assert unseen.tolist() == [[3, 3, 3]]


def swept(views, strength, before, weights, rotations=None):
    """Displacement of the origin, whose neighbors lie 1 m off along x and y."""
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    neighbors = np.array([[1, 2], [0, 2], [0, 1]])
    rotations = np.tile(np.eye(3), (3, 1, 1)) if rotations is None else rotations
    all_views = (*views[:4], np.repeat(views[4], 3, 1), views[5] & np.array([True, False, False]))
    displacements = np.zeros((3, 3))
    kernels.sweep(all_views, points, np.array([strength, 0.0, 0.0]), neighbors,
                  np.array([weights, (1.0, 1), (1, 1)]), rotations, np.array(before, float),
                  displacements)
    return displacements[0]


def test_all_neighbors_together_count_a_tenth_of_a_view():
    """0.01 px, so small that Geman-McClure counts it fully; along depth they decide alone."""
    shift = 0.01 * PIXEL
    moved = swept(sight((0.0, 0.0)), STRENGTH, [[9, 9, 9], [shift, 0, 0], [shift, 0, 4 * shift]],
                  (1.0, 3.0))
    np.testing.assert_allclose(moved, [shift * 0.1 / 1.1, 0, 3 * shift], rtol=1e-3, atol=1e-9)


def test_without_a_view_a_point_goes_with_its_neighbors_as_they_turn():
    turn = Rotation.from_rotvec([0, 0, np.pi / 2]).as_matrix()
    moved = swept(sight(None), 0.0, [[9, 9, 9], [0.5, 0, 0], [0.5, 0, 0]], (1.0, 0.0),
                  np.stack([np.eye(3), turn, np.eye(3)]))
    # from the neighbor it lies at (-1, 0), turned (0, -1): 1 m to the right and 1 m back
    np.testing.assert_allclose(moved, [1.5, -1, 0], atol=1e-9)
    none = swept(sight(None), 0.0, [[9, 9, 9], [1, 1, 1], [1, 1, 1]], (0.0, 0.0))
    np.testing.assert_allclose(none, 0, atol=1e-9)


def blended(offset, displacements, weights=(1.0, 1.0), rotations=None):
    """Displacement and rotation of the origin between anchors at that very place."""
    views, count = sight(offset), len(displacements)
    moved, turned = np.zeros((1, 3)), np.zeros((1, 3, 3))
    kernels.blend(views, ORIGIN, kernels.pixels_per_meter(views, ORIGIN), np.zeros((count, 3)),
                  np.array(displacements, float),
                  np.tile(np.eye(3), (count, 1, 1)) if rotations is None else np.array(rotations),
                  np.arange(count)[None], np.array([weights]), moved, turned)
    return moved[0], turned[0]


def test_anchors_count_as_much_as_one_view():
    shift = 0.01 * PIXEL
    moved, _ = blended((0.0, 0.0), [[shift, 0, shift]] * 2)
    np.testing.assert_allclose(moved, [shift / 2, 0, shift], rtol=1e-3)


@pytest.mark.parametrize('error_px, agreement', [(2.0, 0.25), (4.0, 0.04), (1000.0, 1e-4)])
def test_an_anchor_counts_by_how_well_it_explains_what_a_view_saw(error_px, agreement):
    """One fits, the other is off by so much; the view then pulls the point back half-way."""
    displacements = np.array([[0, 0, 0], [error_px * PIXEL, 0, 0]])
    moved, _ = blended((0.0, 0.0), displacements)
    expected = error_px * PIXEL * agreement / (1 + agreement)
    assert 0.499 * expected < moved[0] < 0.6 * expected
    views = sight((0.0, 0.0))
    assert kernels._agreement(views, 0, ORIGIN[0], displacements[1]) == pytest.approx(agreement)
    assert kernels._agreement(sight(None), 0, ORIGIN[0], displacements[1]) == 1


def test_agreement_is_the_mean_over_the_views_that_see_a_point():
    views = sight((0.0, 0.0), (2.0, 0.0), None)
    assert kernels._agreement(views, 0, ORIGIN[0], np.zeros(3)) == pytest.approx(1.25 / 2)


def test_without_views_anchors_are_mixed_by_weight_and_so_is_their_turn():
    turn = Rotation.from_rotvec([0, 0, 0.2]).as_matrix()
    moved, turned = blended(None, [[1, 0, 0], [0, 1, 0]], (3.0, 1.0), [np.eye(3), turn])
    np.testing.assert_allclose(moved, [0.75, 0.25, 0])
    mixed = Rotation.from_matrix([np.eye(3), turn]).mean([3.0, 1.0]).as_matrix()
    np.testing.assert_allclose(turned, mixed, atol=1e-6)


# --- rotations --------------------------------------------------------------------------------


def about_z(angle):
    return Rotation.from_rotvec([0, 0, angle]).as_matrix()


def one_turn(monkeypatch, moments, guess):
    """After a single iteration."""
    monkeypatch.setattr(kernels, 'ROTATION_ITERATIONS', 1)
    rotation = guess.copy()
    kernels.turn_to.py_func(moments, rotation)
    return Rotation.from_matrix(rotation).as_rotvec()


@pytest.mark.parametrize('angle', [0.5, -0.5, 1.14, 1.15, 1.5, 2.0, 2.5, -2.5, 3.0])
def test_one_iteration_turns_by_one_radian_at_most(monkeypatch, angle):
    """Of a turn by some angle the step is 2 sin / |1 + 2 cos|, which is 1 at 1.1468."""
    step = 2 * np.sin(angle) / abs(1 + 2 * np.cos(angle))
    turned = one_turn(monkeypatch, about_z(angle), np.eye(3))
    np.testing.assert_allclose(turned, [0, 0, np.clip(step, -1, 1)], atol=1e-9)


def test_steps_are_taken_from_the_guess_on(monkeypatch):
    guess = Rotation.from_rotvec([0.4, 0.1, 0])
    wanted = Rotation.from_rotvec([0, 0.2, 0.1]) * guess
    turned = Rotation.from_rotvec(one_turn(monkeypatch, wanted.as_matrix(), guess.as_matrix()))
    angle = np.hypot(0.2, 0.1)
    step = 2 * np.sin(angle) / (1 + 2 * np.cos(angle))
    np.testing.assert_allclose((turned * guess.inv()).as_rotvec(),
                               np.array([0, 0.2, 0.1]) * step / angle, atol=1e-9)


@pytest.mark.parametrize('seed', range(4))
def test_the_nearest_rotation_is_found(seed):
    """That of the singular value decomposition."""
    rng = np.random.default_rng(seed)
    moments = Rotation.random(rng=rng).as_matrix() + 0.2 * rng.normal(size=(3, 3))
    u, _, v = np.linalg.svd(moments)
    nearest = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
    rotation = np.eye(3)
    kernels.turn_to(moments, rotation)
    np.testing.assert_allclose(rotation, nearest, atol=1e-4)


def test_moments_are_spread_to_neighbors_by_weight():
    """Each point turns with its own moments first, then with those of its neighbors, too."""
    points = np.array([[0.0, 0, 0], [1, 0, 0], [5, 0, 0], [5, 1, 0]])
    turn = about_z(0.3)
    moved = points.copy()
    moved[1] = turn @ points[1]
    neighbors = np.array([[1], [0], [0], [2]])
    for spread, expected in ((0, [0.3, 0.3]), (1, [0.3, 0.3])):
        rotations = np.tile(np.eye(3), (4, 1, 1))
        kernels.local_rotations(points, moved - points, neighbors, np.ones((4, 1)), spread,
                                rotations)
        angles = Rotation.from_matrix(rotations).as_rotvec()[:, 2]
        np.testing.assert_allclose(angles[:2], expected, atol=1e-6)
        np.testing.assert_allclose(angles[3], 0, atol=1e-9)
    # point 2 sees 25 m^2 that stand still, and then 1 m^2 of its neighbor that turns
    rotations = np.tile(np.eye(3), (4, 1, 1))
    kernels.local_rotations(points, moved - points, neighbors, np.full((4, 1), 0.5), 1, rotations)
    angle = Rotation.from_matrix(rotations[2]).as_rotvec()[2]
    still, turning = 0.5 * 25, 0.5 * 0.5
    expected = np.arctan2(turning * np.sin(0.3), still + turning * np.cos(0.3))
    np.testing.assert_allclose(angle, expected, atol=1e-6)
