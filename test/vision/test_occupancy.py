# SPDX-License-Identifier: Apache-2.0
"""Voxels against a brute-force walk over them, and a wall whose place is known."""
import numpy as np
import pytest

from igs_ros.core.camera import Camera
from igs_ros.vision.occupancy import FREE, OCCUPIED, UNKNOWN, Box, carve, height_slice
from igs_ros.vision.sights import Sight

TURN = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])  # y of the world is up
K = np.array([[40.0, 0, 32], [0, 40, 24], [0, 0, 1]])


def camera(x=0.0):
    pose = np.eye(4)
    pose[0, 3] = -x
    return Camera('a', 64, 48, K, pose)


def sight(depth, x=0.0, wrong=None):
    depth = np.broadcast_to(np.float32(depth), (48, 64)).copy()
    return Sight(camera(x), depth, depth, np.zeros((48, 64), bool) if wrong is None else wrong)


def box(turn=None, size=0.1):
    """1 x 1 x 2.5 m before a camera at the origin that looks along z of the world."""
    turn = np.eye(3) if turn is None else turn
    ends = np.sort(np.array([[-0.5, -0.5, 0.2], [0.5, 0.5, 2.7]]) @ turn.T, axis=0)
    return Box(ends[0], tuple(np.rint((ends[1] - ends[0]) / size).astype(int)), size, turn)


@pytest.mark.parametrize('turn', [None, TURN])
def test_a_wall_is_occupied_free_before_it_and_unknown_behind(turn):
    cells = box(turn)
    states = carve(cells, [sight(2.03)])
    centers = cells.centers(np.argwhere(np.ones(cells.shape)))
    found = states.ravel()
    pixels, depth = camera().project(centers)
    seen = ((pixels >= 2) & (pixels < (62, 46))).all(1)  # all of the voxel, not its center alone
    assert (found[seen & (depth < 2.03 - 0.13)] == FREE).all()
    assert (found[seen & (depth > 2.0) & (depth < 2.1)] == OCCUPIED).all()
    assert (found[depth > 2.1] == UNKNOWN).all()
    assert (found[(pixels < 0).any(1) | (pixels >= (64, 48)).any(1)] == UNKNOWN).all()


def test_voxels_are_seen_through_as_a_walk_over_them_says():
    random = np.random.default_rng(0)
    cells, found = box(TURN), np.zeros(box(TURN).shape, bool)
    sights = [sight(random.uniform(0.5, 3, (48, 64)), x) for x in (-0.2, 0.3)]
    for one in sights:
        one.depth[random.random((48, 64)) < 0.02] = np.nan
    states = carve(cells, sights)
    for voxel in np.argwhere(np.ones(cells.shape)):
        for one in sights:
            (pixel,), (z,) = one.camera.project(cells.centers(voxel[None]))
            column, row = np.floor(pixel).astype(int)
            if z > 0 and 0 <= row < 48 and 0 <= column < 64:
                around = one.depth[max(0, row - 1):row + 2, max(0, column - 1):column + 2]
                found[tuple(voxel)] |= bool((z < around - 0.13).all())
    assert 0.1 < found.mean() < 0.9
    for one in sights:
        voxels, inside = cells.indices(one.surface()[0])
        found[tuple(voxels[inside].T)] = False
    assert ((states == FREE) == found).all()


def test_nothing_known_makes_nothing_free():
    assert (carve(box(), [sight(np.nan)]) == UNKNOWN).all()
    assert (carve(box(), []) == UNKNOWN).all()


def test_edges_are_no_surface():
    """A pixel between two walls may have a depth between them: nothing is there."""
    depth = np.full((48, 64), 1.0)
    depth[:, 32:] = 2.5
    depth[:, 32] = 1.7
    states = carve(box(), [sight(depth)])
    middle = box().indices(np.array([[0.0, 0.0, 1.7]]))[0][0][2]
    assert not (states[:, :, middle] == OCCUPIED).any()


@pytest.mark.parametrize(('slope', 'kept'), [(0.018, True), (0.022, False)])
def test_a_slanted_surface_is_no_edge_up_to_four_hundredths_of_its_depth(slope, kept):
    """The range is that of three pixels side by side: two steps."""
    one = sight(1.5 * (1 + slope) ** np.arange(64))
    points, areas = one.surface()
    assert (len(points) > 2000) == kept and len(points) == len(areas)


def test_a_pixel_stands_for_the_area_that_it_covers():
    points, areas = sight(2.0).surface()
    assert len(points) == 46 * 62 or len(points) == 48 * 64
    assert areas == pytest.approx((2.0 / 40) ** 2)
    assert points[:, 2] == pytest.approx(2.0)


def test_a_speck_does_not_fill_a_voxel():
    """A fifth of a face is needed; a pixel covers 5 x 5 cm here."""
    depth = np.full((48, 64), np.nan)
    depth[20:27, 29:36] = 2.05  # without its rim, which is an edge, 5 x 5 px
    assert (carve(box(), [sight(depth)]) == OCCUPIED).sum() == 9
    depth[:] = np.nan
    depth[20:23, 29:32] = 2.05  # one pixel within its rim
    assert (carve(box(size=0.1), [sight(depth)]) == OCCUPIED).sum() == 1
    cells = box(size=0.125)
    assert (carve(cells, [sight(depth)]) == OCCUPIED).sum() == 0
    through = carve(cells, [sight(depth), sight(2.6)])  # it is not free for that
    (voxel,) = np.unique(cells.indices(sight(depth).surface()[0])[0], axis=0)
    assert through[tuple(voxel)] == UNKNOWN and through[voxel[0], voxel[1], voxel[2] - 1] == FREE


def test_a_column_is_free_only_where_all_of_it_is():
    states = np.array([[[FREE, FREE], [FREE, UNKNOWN]],
                       [[OCCUPIED, UNKNOWN], [UNKNOWN, UNKNOWN]]], np.int8)
    assert height_slice(states).tolist() == [[FREE, UNKNOWN], [OCCUPIED, UNKNOWN]]


def test_a_box_knows_where_its_voxels_are():
    cells = box(TURN)
    voxels = np.argwhere(np.ones(cells.shape))
    found, inside = cells.indices(cells.centers(voxels))
    assert inside.all() and (found == voxels).all()
    assert not cells.indices(np.array([[9.0, 0, 1], [0, 0, 0.1]]))[1].any()
