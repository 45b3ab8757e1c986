# SPDX-License-Identifier: Apache-2.0
"""How right the velocities of points for planners are, and their covariances, by true motion."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.io.recordings.motion_truth import MotionTruth
from igs_ros.vision.moving import PlannerPoints
from igs_ros.vision.visibility import Visibility

_ON_SURFACE = 0.03  # relative depth that a point may lie off the surface that it belongs to


@dataclass(frozen=True, eq=False)
class Matched:
    """Points whose true velocity is known."""

    errors: np.ndarray  # [P, 3] m/s
    moving: np.ndarray  # [P] bool: the surface belongs to something that moves
    whitened: np.ndarray | None  # [P, 3] errors in standard deviations, None without covariances


def matched(points: PlannerPoints, truth: MotionTruth, camera: Camera, surface: np.ndarray,
            step_s: float) -> Matched:
    """The points that `camera` saw a step before, each with the truth of its pixel.

    Args:
        points: with velocities, a step after the frame of `truth`.
        truth: of the step.
        camera: that of the truth.
        surface: [h, w] m, depth of the scene as `camera` saw it at the frame of `truth`.
        step_s: of the frames.
    """
    starts = points.positions - points.velocities * step_s
    found = Visibility.of_points(starts, camera)
    there = surface[found.rows * surface.shape[0] // camera.height,
                    found.columns * surface.shape[1] // camera.width]
    motion = truth.motion[found.rows, found.columns].astype(np.float64)
    good = found.seen & np.isfinite(motion).all(1) \
        & (np.abs(found.depth - there) < _ON_SURFACE * found.depth)
    errors = points.velocities[good] - motion[good] / step_s
    whitened = None
    if points.covariances is not None:
        roots = np.linalg.cholesky(points.covariances[good])
        whitened = np.linalg.solve(roots, errors[..., None])[..., 0]
    return Matched(errors, truth.moving[found.rows, found.columns][good], whitened)
