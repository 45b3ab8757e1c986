# SPDX-License-Identifier: Apache-2.0
"""What moves, how fast, and how well that is known."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.scene import SH_C0, GaussianScene
from igs_ros.vision.sights import Sight
from igs_ros.vision.visibility import Visibility
from igs_ros.vision.voxels import Voxels

_FLOW_PX = 0.2  # standard deviation of how far a view sees a thing move in a step, px
_ALONE = 1.0  # Gaussians around that weigh as much as the doubt whether they move at all
_PRIOR = 3.0  # m/s: standard deviation of what no view tells
_BEHIND = 0.02  # relative depth that a place may lie behind the surface and still be seen


@dataclass(frozen=True, eq=False)
class PlannerPoints:
    """P points for planners, one per voxel."""

    positions: np.ndarray  # [P, 3] float64 m, world
    rgb: np.ndarray  # [P, 3] float64 0..1, sRGB
    velocities: np.ndarray  # [P, 3] float64 m/s, NaN = unknown
    covariances: np.ndarray | None = None  # [P, 3, 3] float64 (m/s)^2, of the velocities

    def __len__(self) -> int:
        return len(self.positions)


def decimated(scene: GaussianScene, chosen: np.ndarray, size: float) -> PlannerPoints:
    """One point per voxel: means of Gaussians, by opacity.

    Args:
        scene: of which some are taken.
        chosen: [N] bool, which Gaussians.
        size: side of a voxel, m.
    """
    positions, rgb, velocities, weights = _arrays(scene, chosen)
    voxels = Voxels.of(positions, weights, size)
    return PlannerPoints(voxels.mean(positions), voxels.mean(rgb), voxels.mean(velocities))


def moving_points(scene: GaussianScene, chosen: np.ndarray, sights: Mapping[str, Sight],
                  step_s: float, min_speed: float, size: float) -> PlannerPoints:
    """What is faster than `min_speed`, one point per voxel, with covariances of the velocities.

    The covariance adds up how well the views that see the place can tell a motion there (from
    their number, distances and angles, at `_FLOW_PX` per step); how much the velocities in a cell
    twice as large differ; and, the fewer Gaussians that cell holds, the velocity itself. The two
    constants are fitted to true motion: docs/planners.md has how often the covariance holds.

    Args:
        scene: N Gaussians with velocities; without, nothing moves.
        chosen: [N] bool, Gaussians that count.
        sights: of the views, as `believed` takes them.
        step_s: time over which the velocities were measured.
        min_speed: m/s.
        size: of a voxel, m.
    """
    positions, rgb, velocities, weights = _arrays(scene, chosen)
    fast = np.linalg.norm(velocities, axis=1) > min_speed  # never where unknown
    positions, rgb, velocities, weights = (
        values[fast] for values in (positions, rgb, velocities, weights))
    voxels = Voxels.of(positions, weights, size)
    places = voxels.mean(positions)
    means = voxels.mean(velocities)
    covariances = _seen_motion(places, sights, step_s, size) \
        + _differing(positions, velocities, weights, voxels, means, size)
    return PlannerPoints(places, voxels.mean(rgb), means, covariances)


def _seen_motion(places: np.ndarray, sights: Mapping[str, Sight], step_s: float, size: float
                 ) -> np.ndarray:
    """[P, 3, 3] (m/s)^2: of velocities that the views measure at places [P, 3]."""
    information = np.tile(np.eye(3) / (_PRIOR * step_s) ** 2, (len(places), 1, 1))
    for one in sights.values():
        seen = Visibility.of_points(places, one.camera).before(one.drawn, _BEHIND, size).seen
        jacobian = _pixels_per_meter(one.camera, places[seen]) / _FLOW_PX
        information[seen] += jacobian.transpose(0, 2, 1) @ jacobian
    return np.linalg.inv(information) / step_s ** 2


def _differing(positions: np.ndarray, velocities: np.ndarray, weights: np.ndarray,
               voxels: Voxels, means: np.ndarray, size: float) -> np.ndarray:
    """[P, 3, 3] (m/s)^2: by how much velocities around each of P voxels differ.

    positions, velocities [G, 3] and weights [G] of the Gaussians in `voxels`, whose velocities
    are `means` [P, 3].
    """
    around = Voxels.of(positions, weights, 2 * size)
    cell = np.zeros(len(voxels), np.int64)
    cell[voxels.group] = around.group  # a cell holds whole voxels
    doubt = (_ALONE / (np.bincount(around.group) + _ALONE))[cell][:, None, None]
    speeds = np.square(means).sum(1)[:, None, None]
    return (1 - doubt) * around.spread(velocities)[cell] + doubt * speeds * np.eye(3)


def _arrays(scene: GaussianScene, chosen: np.ndarray) -> tuple[np.ndarray, ...]:
    """Positions, colors, velocities and opacities of some Gaussians, float64."""
    velocities = np.full((int(chosen.sum()), 3), np.nan) if scene.velocities is None \
        else scene.velocities.detach().cpu().numpy()[chosen].astype(np.float64)
    rgb = (scene.sh[:, 0].detach().cpu().numpy()[chosen] * SH_C0 + 0.5).clip(0, 1)
    return (scene.means.detach().cpu().numpy()[chosen].astype(np.float64),
            rgb.astype(np.float64), velocities,
            scene.opacities.detach().cpu().numpy()[chosen].astype(np.float64))


def _pixels_per_meter(camera: Camera, points: np.ndarray) -> np.ndarray:
    """[P, 2, 3] px/m: how the picture of world points [P, 3] moves when they do."""
    local = camera.to_camera(points)
    x, y, z = local.T
    rows = np.zeros((len(points), 2, 3))
    rows[:, 0, 0], rows[:, 0, 2] = camera.K[0, 0] / z, -camera.K[0, 0] * x / z ** 2
    rows[:, 1, 1], rows[:, 1, 2] = camera.K[1, 1] / z, -camera.K[1, 1] * y / z ** 2
    return rows @ camera.camera_from_world[:3, :3]
