# SPDX-License-Identifier: Apache-2.0
"""Motion without learned weights: optical flow of several views, lifted to 3-D.

    flow between processed pictures -> 2-D tracks of the key's Gaussians -> which of them moved?
    anchors among them -> 3-D motion by robust least squares -> motion of every free Gaussian

Only Gaussians that moved are touched: the others stay equal bit for bit, so that what stands
still does not flicker (reference/quality_calibration.md 2, 3 and 7).
"""
from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from igs_ros.core.camera import Camera
from igs_ros.core.config import MotionConfig
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import SH_C0, GaussianScene
from igs_ros.core.snapshot import Moved
from igs_ros.core.timing import span
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.stages.motion.lift import Anchors, TrackViews, blend, lift, warm_up
from igs_ros.stages.motion.models import MotionEffort
from igs_ros.stages.motion.tracks import Tracks, moving
from igs_ros.vision.flow import FlowCache, spread_views
from igs_ros.vision.neighbors import fps, knn

_NEIGHBORS = 8  # anchors that each Gaussian, and each anchor, is tied to
_MOVING_PX = 0.7  # least flow of a pixel that moves; below it is noise of the flow
_MOVER_SHARE = 2 / 3  # of the anchors that lie on what moved
_COLOR_SPREAD = 0.15  # difference of sRGB (0..1) at which likeness falls to 0.6
_REACH = 3.0  # times the spacing of the anchors: hidden Gaussians farther from movers stay


class GeometricMotion:
    """Motion model from optical flow and geometry; see the module.

    `counts`: views_missing (of a moved frame set) and chain_breaks (direct flow).

    Args:
        cameras: the working cameras that feed the scene.
        rasterizer: draws the key's depth.
        config: settings.
    """

    name = 'geometric'

    def __init__(self, cameras: Mapping[str, Camera], rasterizer: Rasterizer,
                 config: MotionConfig):
        warm_up()
        names = spread_views(cameras, config.flow_views)
        self.cameras = {name: cameras[name] for name in names}
        self.rasterizer = rasterizer
        self.config = config
        self.flows = FlowCache(names if config.chained else (), int(config.cache_mb * 1e6))
        self.effort = MotionEffort(config.anchors, 1.0)
        self.counts = {'views_missing': 0, 'chain_breaks': 0}
        self._lock = threading.Lock()

    def set_effort(self, effort: MotionEffort) -> None:
        """What each step may cost from now on; at first, all that the settings say.

        Flow is most of the cost, which grows with the square of `flow_scale`. Safe at any time:
        flows of different sizes chain.
        """
        self.effort = effort

    def observe(self, frame_set: FrameSet) -> None:
        """Match the pictures of `frame_set` (prepared) with those of the set before."""
        with span('flow'):
            self.flows.observe(frame_set, self.effort.flow_scale)

    def follow(self, scene: GaussianScene, frame_set: FrameSet) -> GeometricFollower:
        """A follower of `scene`, which shows `frame_set` (prepared)."""
        return GeometricFollower(self, scene, frame_set)

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to `counts`."""
        with self._lock:
            for cause, number in counts.items():
                self.counts[cause] += number


@dataclass(frozen=True, eq=False)
class _Motion:
    """Of a key with N Gaussians, to the frame set `stamp_ns`."""

    stamp_ns: int
    rows: np.ndarray  # [M] int64 ascending: rows that moved
    displacements: np.ndarray  # [N, 3] float64 m
    turns: np.ndarray  # [M, 3, 3] float64 rotations of the rows

    @classmethod
    def none(cls, stamp_ns: int, count: int) -> _Motion:
        """Nothing moved."""
        return cls(stamp_ns, np.zeros(0, np.int64), np.zeros((count, 3)), np.zeros((0, 3, 3)))


class GeometricFollower:
    """Moves one key; made by `GeometricMotion.follow`.

    Args:
        model: shares what does not depend on the key.
        scene: the key.
        frame_set: prepared; what `scene` shows.
    """

    def __init__(self, model: GeometricMotion, scene: GaussianScene, frame_set: FrameSet):
        self.scene = scene
        self.frame_set = frame_set
        self._model = model
        self._lock = threading.Lock()
        self._views = TrackViews.of(list(model.cameras.values()))
        self._points = scene.means.detach().cpu().numpy().astype(np.float64)
        self._colors = scene.sh[:, 0].detach().cpu().numpy().astype(np.float64) * SH_C0
        with span('follow'):
            self._tracks = Tracks(model.cameras, scene, frame_set, model.rasterizer, model.flows)
        self._last = _Motion.none(frame_set.stamp_ns, len(scene))

    def move_to(self, frame_set: FrameSet) -> Moved:
        """The key moved to `frame_set` (prepared, newer than the last one given, or equal).

        Velocities are those since the frame set processed before; 0 for what did not move.
        Where no flow view has a picture, the scene stays as it was last.
        """
        stamp_ns = frame_set.stamp_ns
        with self._lock:
            if stamp_ns == self.frame_set.stamp_ns:
                return Moved(self.scene, np.zeros(0, np.uint32), stamp_ns)
            before = self._model.flows.previous_stamp(stamp_ns)
            if before is not None and before > self._last.stamp_ns:
                # a key that comes late skipped sets; its velocity is that of the last step
                self._last = self._motion(before, None) or self._last
            motion = self._motion(stamp_ns, frame_set.images) or self._last
            moved = self._moved_scene(motion, self._last)
            self._last = motion
            return Moved(moved, motion.rows.astype(np.uint32), stamp_ns)

    def _motion(self, stamp_ns: int, images) -> _Motion | None:
        """From the key to the set `stamp_ns` with `images`; None where no view has a picture."""
        effort = self._model.effort
        with span('tracks'):
            current, known, counts = self._tracks.at(stamp_ns, images, effort.flow_scale)
        if images is not None:
            self._model.count(counts)
        if counts['views_missing'] == len(current):
            return None
        moved, still = moving(self._tracks.start, current, known, _MOVING_PX)
        if not moved.any():
            return _Motion.none(stamp_ns, len(moved))
        with span('lift'):
            picked = self._pick_anchors(moved, still, effort.anchors)
            anchors, spacing = self._solve_anchors(picked, current, known)
        rows = np.flatnonzero(~still)
        indices, weights, nearest = self._nearest_anchors(rows, picked, spacing)
        share = (weights * moved[picked][indices]).sum(1) / weights.sum(1)
        free = moved[rows] | ((share > 0.5) & (nearest < _REACH * spacing))
        rows, indices, weights = rows[free], indices[free], weights[free]
        displacements = np.zeros_like(self._points)
        with span('blend'):
            displacements[rows], turns = blend(self._views, self._points[rows], current[:, rows],
                                               known[:, rows], anchors, indices, weights)
        return _Motion(stamp_ns, rows, displacements, turns)

    def _pick_anchors(self, moved: np.ndarray, still: np.ndarray, total: int) -> np.ndarray:
        """Rows of `total` anchors: most on what moved, the rest on what stood still."""
        movers, others = np.flatnonzero(moved), np.flatnonzero(still)
        on_movers = min(len(movers), max(1, round(total * _MOVER_SHARE)))
        return np.concatenate([
            movers[fps(self._points[movers], on_movers)],
            others[fps(self._points[others], total - on_movers)]])

    def _solve_anchors(self, picked, current, known) -> tuple[Anchors, float]:
        """The motion of Gaussians `picked`, and their usual distance in m."""
        points = self._points[picked]
        distances, indices = knn(points, points, _NEIGHBORS + 1)
        distances, indices = distances[:, 1:], indices[:, 1:]  # the first one is the point itself
        spacing = max(float(np.median(distances)), 1e-9) if distances.size else 1.0
        weights = self._likeness(picked, picked[indices], distances, spacing)
        anchors = lift(self._views, points, current[:, picked], known[:, picked], indices, weights)
        return anchors, spacing

    def _nearest_anchors(self, rows, picked, spacing):
        """Of Gaussians `rows` [M]: indices and weights [M, K] of anchors, least distance [M]."""
        distances, indices = knn(self._points[rows], self._points[picked], _NEIGHBORS)
        weights = self._likeness(rows, picked[indices], distances, spacing)
        return indices, weights, distances[:, 0]

    def _likeness(self, rows, others, distances, spacing) -> np.ndarray:
        """[M, K] weights of Gaussians `others` [M, K] for `rows` [M]: near, and like in color."""
        colors = np.linalg.norm(self._colors[others] - self._colors[rows][:, None], axis=2)
        exponent = np.square(distances / spacing) + np.square(colors / _COLOR_SPREAD)
        # never 0: a Gaussian far from all anchors still follows the nearest ones
        return np.exp(-0.5 * np.minimum(exponent, 60.0))

    def _moved_scene(self, motion: _Motion, before: _Motion) -> GaussianScene:
        scene, device, rows = self.scene, self.scene.device, motion.rows
        step_s = (motion.stamp_ns - before.stamp_ns) * 1e-9
        velocities = np.zeros(self._points.shape, np.float32)
        if step_s > 0:
            velocities[rows] = (motion.displacements[rows] - before.displacements[rows]) / step_s
        velocities = torch.from_numpy(velocities).to(device)
        if len(rows) == 0:
            return scene.replaced(velocities=velocities)
        index = torch.from_numpy(rows).to(device)
        means, quats = scene.means.detach().clone(), scene.quats.detach().clone()
        places = self._points[rows] + motion.displacements[rows]
        orientations = turned(motion.turns, quats[index].cpu().numpy().astype(np.float64))
        means[index] = torch.from_numpy(places).float().to(device)
        quats[index] = torch.from_numpy(orientations).float().to(device)
        return scene.replaced(means=means, quats=quats, velocities=velocities)


def turned(turns: np.ndarray, quats: np.ndarray) -> np.ndarray:
    """Orientations, turned in the world: turn * orientation.

    Args:
        turns: [N, 3, 3] rotation matrices.
        quats: [N, 4] wxyz, any length but 0.

    Returns:
        [N, 4] wxyz float64, unit.
    """
    if len(quats) == 0:
        return np.zeros((0, 4))
    product = Rotation.from_matrix(turns) * Rotation.from_quat(quats[:, [1, 2, 3, 0]])
    return product.as_quat()[:, [3, 0, 1, 2]]
