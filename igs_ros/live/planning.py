# SPDX-License-Identifier: Apache-2.0
"""What planners ask of a scene: decimated points, what moves, which space is free.

Everything is made of one snapshot and the pictures of the frame set that it shows, when it is
asked for; nothing here knows the time. docs/planners.md has what it is worth.
"""
from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.config import WHILE_RUNNING, Bound
from igs_ros.core.errors import InputError
from igs_ros.core.frames import FrameSet
from igs_ros.core.snapshot import Snapshot
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.render.sights import look
from igs_ros.vision.flow import spread_views
from igs_ros.vision.moving import PlannerPoints, decimated, moving_points
from igs_ros.vision.occupancy import OCCUPIED, Box, carve, height_slice
from igs_ros.vision.sights import Sight, believed

log = logging.getLogger(__name__)
MAX_VOXELS = 4_000_000  # of a grid; 3 views take 0.1 s of CPU for them
_VIEWS = 6  # most that are looked through, spread over the rig
_REACH_M = 10.0  # farthest that a region of its own choice goes from the middle of the rig
_UP = {'x': (0, 1), 'y': (1, 1), 'z': (2, 1), '-x': (0, -1), '-y': (1, -1), '-z': (2, -1)}


@dataclass(frozen=True)
class PlanningConfig:
    """Outputs for planners (docs/planners.md)."""

    rate_hz: Annotated[float, Bound(0.01, 1000), WHILE_RUNNING] = 5.0
    """Of ~/moving_points, ~/occupancy and ~/voxels at most; a new one needs a new scene."""
    points_voxel_m: Annotated[float, Bound(0)] = 0.0
    """Voxels of ~/points, m: one point each, and none that the pictures contradict; 0 = every
    Gaussian."""
    known_only: Annotated[bool, WHILE_RUNNING] = True
    """Only what a second camera (or a depth picture) confirms is a point, occupied or free
    (docs/confidence.md); false = everything that is drawn."""
    voxel_m: Annotated[float, Bound(0.005)] = 0.05
    """Voxels of ~/moving_points and ~/voxels, cells of ~/occupancy, m."""
    min_speed: Annotated[float, Bound(0), WHILE_RUNNING] = 0.1
    """Least speed of ~/moving_points, m/s."""
    up: Literal['z', 'y', 'x', '-z', '-y', '-x'] = 'z'
    """Axis of world_frame that points up, against gravity (z: as REP-103 has it)."""
    min_height: Annotated[float, Bound(-1000, 1000)] = 0.1
    """Lower end of ~/occupancy and ~/voxels along up, m of world_frame."""
    max_height: Annotated[float, Bound(-1000, 1000)] = 2.0
    """Upper end of ~/occupancy and ~/voxels along up, m of world_frame."""
    region: str = ''
    """Ground that ~/occupancy and ~/voxels cover: 'xmin ymin xmax ymax', m, of the grid's frame
    (docs/planners.md; world_frame where z is up); '' = cameras and scene, at most 10 m around."""


def grid_from_world(up: str) -> np.ndarray:
    """[3, 3] rotation to a frame whose z is the axis `up` of the world, 'z' or '-y', say.

    The identity for z; else the axes in cyclic order (for y: grid x = world z, grid y = world x).
    """
    axis, sign = _UP[up]
    turned = np.roll(np.eye(3), axis - 2, axis=1)  # rows: that axis last, cyclic, so a rotation
    return turned if sign > 0 else np.diag([1.0, -1.0, -1.0]) @ turned


class Planning:
    """Makes what planners ask for; for one thread.

    Args:
        config: what they ask for.
        cameras: working cameras that feed the scene.
        rasterizer: draws the scene for them, its own.
        min_opacity: of Gaussians that count.
        threads: of stereo.

    Raises:
        InputError: a region or heights that make no grid.
    """

    def __init__(self, config: PlanningConfig, cameras: Mapping[str, Camera],
                 rasterizer: Rasterizer, min_opacity: float, threads: int = 1):
        self.config = config
        self.min_opacity = min_opacity
        self._cameras = {name: cameras[name] for name in spread_views(cameras, _VIEWS)}
        self._rasterizer = rasterizer
        self._threads = threads
        self._ground = check(config)
        self._box: tuple[int, Box] | None = None  # of a scene_id

    def look(self, snapshot: Snapshot, frame_set: FrameSet, step_s: float) -> PlannerScene:
        """What there is to know of `snapshot`.

        Args:
            snapshot: of the scene.
            frame_set: prepared; what it shows.
            step_s: time between that one and the one before: velocities are measured over it.
        """
        seen = frame_set.only(self._cameras)
        sights = look(snapshot.scene, seen.images, seen.in_place(self._cameras), self._rasterizer,
                      self._threads, self.config.known_only)
        return PlannerScene(self, snapshot, sights, step_s)

    def box(self, snapshot: Snapshot, chosen: np.ndarray) -> Box:
        """The voxels of a scene: they stay where they are until it starts anew."""
        if self._box is None or self._box[0] != snapshot.scene_id:
            turn = grid_from_world(self.config.up)
            ground = self._ground
            if ground is None:
                means = snapshot.scene.means.detach().cpu().numpy()[chosen]
                centers = np.array([camera.center for camera in self._cameras.values()])
                ground = _ground_of(means @ turn.T, centers @ turn.T)
            self._box = snapshot.scene_id, _box_of(self.config, ground, turn)
        return self._box[1]


@dataclass(frozen=True, eq=False)
class PlannerScene:
    """One snapshot for planners; each part is made when it is asked for, once."""

    planning: Planning
    snapshot: Snapshot
    sights: Mapping[str, Sight]
    step_s: float

    @cached_property
    def chosen(self) -> np.ndarray:
        """[N] bool: Gaussians opaque enough, confirmed, and not contradicted by the pictures."""
        scene = self.snapshot.scene
        opaque = scene.opacities.cpu().numpy() >= self.planning.min_opacity
        if self.planning.config.known_only:
            opaque &= scene.known.cpu().numpy()
        return opaque & believed(scene, self.sights)

    @cached_property
    def box(self) -> Box:
        """Where the voxels are."""
        return self.planning.box(self.snapshot, self.chosen)

    @cached_property
    def states(self) -> np.ndarray:
        """[X, Y, Z] int8 of the voxels of `box`: unknown (-1), free (0) or occupied (100)."""
        return carve(self.box, self.sights.values())

    def points(self, size: float) -> PlannerPoints:
        """One point per voxel of `size` m."""
        return decimated(self.snapshot.scene, self.chosen, size)

    def moving(self) -> PlannerPoints:
        """What moves, one point per voxel, with covariances."""
        config = self.planning.config
        return moving_points(self.snapshot.scene, self.chosen, self.sights, self.step_s,
                             config.min_speed, config.voxel_m)

    def grid(self) -> np.ndarray:
        """[X, Y] int8: the columns of `states`."""
        return height_slice(self.states)

    def occupied(self) -> np.ndarray:
        """[V, 3] float64 m, world: centers of the occupied voxels."""
        return self.box.centers(np.argwhere(self.states == OCCUPIED))


def check(config: PlanningConfig) -> np.ndarray | None:
    """The ground [2, 2] m (least and largest x and y) that `region` names, None for ''.

    Raises:
        InputError: a region, heights and voxels that make no grid.
    """
    if not config.min_height < config.max_height:
        raise InputError(f'parameter planning.min_height is {config.min_height} and '
                         f'planning.max_height {config.max_height}; expected the first below the '
                         f'second.')
    if not config.region:
        return None
    try:
        ground = np.array([float(part) for part in config.region.split()]).reshape(2, 2)
    except ValueError:
        ground = np.zeros((2, 2))
    if not (np.isfinite(ground).all() and (ground[0] < ground[1]).all()):
        raise InputError(f"parameter planning.region is '{config.region}'; expected four numbers "
                         f"'xmin ymin xmax ymax' in m, the first two below the last two.")
    voxels = _voxels(config, ground)
    if voxels > MAX_VOXELS:
        raise InputError(f"parameter planning.region '{config.region}' makes {voxels:.0f} voxels "
                         f'of planning.voxel_m {config.voxel_m} m between the two heights; '
                         f'expected at most {MAX_VOXELS}. Make it smaller, or the voxels larger.')
    return ground


def _voxels(config: PlanningConfig, ground: np.ndarray) -> float:
    sides = np.append(ground[1] - ground[0], config.max_height - config.min_height)
    return float(np.ceil(sides / config.voxel_m - 1e-6).prod())


def _ground_of(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """[2, 2] m: around points [P, 3] and cameras [C, 3] of the grid's frame."""
    middle = centers[:, :2].mean(0)
    ends = np.percentile(points[:, :2], (1, 99), axis=0) if len(points) else centers[:, :2]
    ends = np.stack([np.minimum(ends[0], centers[:, :2].min(0)),
                     np.maximum(ends[1], centers[:, :2].max(0))])
    return np.clip(ends, middle - _REACH_M, middle + _REACH_M)


def _box_of(config: PlanningConfig, ground: np.ndarray, turn: np.ndarray) -> Box:
    if (voxels := _voxels(config, ground)) > MAX_VOXELS:  # of our own choice: `check` has the rest
        kept = np.sqrt(MAX_VOXELS / voxels) * 0.99
        middle = ground.mean(0)
        ground = middle + (ground - middle) * kept
        log.warning('planning: %.0f voxels of %g m would cover cameras and scene, at most %d are '
                    'made: the grid ends at x %.2f to %.2f, y %.2f to %.2f m. Set '
                    'planning.region, or larger planning.voxel_m.', voxels, config.voxel_m,
                    MAX_VOXELS, *ground.T.ravel())
    size = config.voxel_m
    corner = np.append(np.floor(ground[0] / size) * size, config.min_height)
    sides = np.append(ground[1], config.max_height) - corner
    x, y, z = (max(1, int(side)) for side in np.ceil(sides / size - 1e-6))
    return Box(corner, (x, y, z), size, turn)
