# SPDX-License-Identifier: Apache-2.0
"""True space, on a wall with a plate before it whose voxels can be counted."""
import numpy as np
import pytest

from igs_ros.apps.evaluation.planner_truth import (
    Event,
    TrueFrame,
    events,
    space_error,
    updates_until,
)
from igs_ros.core.camera import Camera
from igs_ros.io.recordings.depth_truth import DepthTruth
from igs_ros.vision.occupancy import FREE, OCCUPIED, UNKNOWN, Box

CAMERA = Camera('a', 160, 120, np.array([[100.0, 0, 80], [0, 100, 60], [0, 0, 1]]), np.eye(4))
BOX = Box(np.array([-0.5, -0.5, 0.0]), (10, 10, 25), 0.1, np.eye(3))  # z is ahead
PLATE = (slice(50, 70), slice(70, 90))  # px: 0.3 m at 1.5 m


def frame(plate):
    depth, thing = np.full((120, 160), 2.05, np.float32), np.zeros((120, 160), np.uint8)
    if plate:
        depth[PLATE], thing[PLATE] = 1.55, 7
    return TrueFrame({'a': DepthTruth('a', 0, depth, thing)}, {'a': CAMERA})


def test_what_is_occupied_and_free():
    wall, both = frame(False), frame(True)
    assert wall.things() == {0} and both.things() == {0, 7}
    assert wall.occupied(BOX)[:, :, 20].all() and wall.occupied(BOX).sum() == 100
    plate = both.occupied(BOX, 7)
    assert 4 <= plate.sum() <= 16 and plate[:, :, 15].sum() == plate.sum()
    assert plate[4:6, 4:6, 15].all()
    centers = BOX.centers(np.argwhere(np.ones(BOX.shape)))
    free = wall.free(BOX).ravel()
    pixels, _ = CAMERA.project(centers)
    seen = ((pixels >= 0) & (pixels < (160, 120))).all(1) & (centers[:, 2] > 0)
    assert (free == (seen & (centers[:, 2] < 1.93))).all()
    assert not both.free(BOX)[5, 5, 15:].any()  # behind the plate nothing is known


def test_distances_are_those_to_the_nearest_surface():
    found = frame(False).distances(np.array([[0, 0, 2.05], [0, 0, 1.95], [0, 0, -1], [9, 0, 1]]))
    assert found == pytest.approx([0, 0.1], abs=0.02)  # what no camera sees is left out


def test_errors_are_shares_of_true_space():
    free, occupied = np.zeros((2, 2, 50), bool), np.zeros((2, 2, 50), bool)
    free[0], occupied[1, :, 10] = True, True
    states = np.full((2, 2, 50), UNKNOWN, np.int8)
    states[0, 0] = FREE
    states[0, 1, 30:35] = OCCUPIED  # of 100
    states[1, 0, 11] = OCCUPIED  # near enough
    states[1, 1, 10] = FREE
    columns = np.array([[OCCUPIED, FREE], [FREE, UNKNOWN]], np.int8)
    error = space_error(states, columns, free, occupied)
    assert error.free_filled == 0.05 and error.free_known == 0.5
    assert error.missed == 0.0 and error.missed_free == 0.5  # neighbors count for one of these
    assert error.columns_filled == 0.5 and error.columns_missed == 0.5
    states[1, 0, 11], states[1, 0, 13] = UNKNOWN, OCCUPIED  # too far
    assert space_error(states, columns, free, occupied).missed == 1.0


@pytest.mark.parametrize('came', [True, False])
def test_what_came_and_went_is_found_with_its_frame(came):
    frames = {0: frame(not came), 10: frame(came)}
    changes = {index: np.zeros(256) for index in range(11)}
    changes[4][7], changes[6][0], changes[0][7] = 0.5, 0.9, 0.9
    (event,) = events(frames, BOX, changes)
    assert (event.thing, event.came, event.frame) == (7, came, 4)
    assert 4 <= event.voxels.sum() <= 16
    assert events({0: frames[0], 10: frames[0]}, BOX, changes) == []


@pytest.mark.parametrize(('came', 'shares', 'expected'), [
    (True, [0, 0, 0.5], 1), (True, [0, 0.6, 0.4, 0.5], 2), (True, [0, 0, 0.49], None),
    (False, [1, 1, 0.2], 1), (False, [1, 0, 0.21, 0.3, 0], 3), (False, [1, 1, 1], None)])
def test_updates_are_counted_from_the_first_picture_that_shows_it(came, shares, expected):
    event = Event(7, came, 2, np.ones((1, 1, 1), bool))
    found = updates_until(event, dict(enumerate(shares)))
    assert found == expected
