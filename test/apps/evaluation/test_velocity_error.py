# SPDX-License-Identifier: Apache-2.0
"""Velocities against the truth of the pixel that a point came from."""
import numpy as np
import pytest

from igs_ros.apps.evaluation.velocity_error import matched
from igs_ros.core.camera import Camera
from igs_ros.io.recordings.motion_truth import MotionTruth
from igs_ros.vision.moving import PlannerPoints

CAMERA = Camera('a', 64, 48, np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]]), np.eye(4))
STEP_S = 0.1


def truth():
    motion = np.zeros((48, 64, 3), np.float32)
    motion[:, 40:] = (0.1, 0, 0)  # 1 m/s
    motion[:5] = np.nan
    moving = np.zeros((48, 64), bool)
    moving[:, 40:] = True
    return MotionTruth('a', 0, motion, moving)


def found(positions, velocities, covariances=None):
    points = PlannerPoints(np.array(positions), np.zeros((len(positions), 3)),
                           np.array(velocities), covariances)
    return matched(points, truth(), CAMERA, np.full((24, 32), 2.0), STEP_S)


def test_a_point_is_matched_where_it_was():
    """At the edge: where it is now moves, where it was stood still."""
    one = found([[0.3, 0, 2]], [[1.0, 0, 0]])  # it was at x = 0.2, column 38
    assert one.errors == pytest.approx(np.array([[1.0, 0, 0]])) and not one.moving[0]
    one = found([[0.5, 0, 2]], [[1.5, 0, 0]])  # it was at x = 0.35, column 42
    assert one.errors == pytest.approx(np.array([[0.5, 0, 0]])) and one.moving[0]


def test_points_without_truth_are_left_out():
    hidden, outside, vanished = [0, 0, 2.1], [5, 0, 2], [0, -0.75, 2]
    assert len(found([hidden, outside, vanished], np.zeros((3, 3))).errors) == 0
    assert found([[0, 0, 2.05]], np.zeros((1, 3))).whitened is None


def test_errors_are_counted_in_standard_deviations():
    covariance = np.array([[0.04, 0.01, 0], [0.01, 0.09, 0], [0, 0, 1.0]])
    one = found([[0.5, 0, 2]], [[1.4, 0.3, 0]], covariance[None])
    error = np.array([0.4, 0.3, 0])
    assert (one.whitened ** 2).sum() == pytest.approx(error @ np.linalg.inv(covariance) @ error)
