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
from igs_ros.stages.expectation import Expectation
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
        self._recent: list[FrameSet] = []  # the newest set, and the one before
        self._lock = threading.Lock()

    def set_effort(self, effort: MotionEffort) -> None:
        """What each step may cost from now on; at first, all that the settings say.

        Flow is most of the cost, which grows with the square of `flow_scale`. Safe at any time:
        flows of different sizes chain.
        """
        self.effort = effort

    def observe(self, frame_set: FrameSet, shown: GaussianScene | None = None) -> None:
        """Match the pictures of `frame_set` (prepared) with those of the set before.

        shown: the scene of then; without it, cameras that moved are not matched.
        """
        with span('flow'):
            expected = {}
            if shown is not None and self._recent and self.config.chained:
                before = self._recent[-1]
                then = Expectation.of(shown, before, self.cameras, self.rasterizer)
                expected = {name: then.expected(camera)
                            for name, camera in frame_set.in_place(self.cameras).items()
                            if name in frame_set.images and name in before.images
                            and frame_set.moved_since(before, name)}
            self.flows.observe(frame_set, self.effort.flow_scale, expected)
        self._recent = [*self._recent[-1:], frame_set.only(self.cameras)]

    def cameras_at(self, stamp_ns: int) -> dict[str, Camera]:
        """Where the flow views were in the set `stamp_ns`, one of the two observed last."""
        known = next((one for one in self._recent if one.stamp_ns == stamp_ns), None)
        return dict(self.cameras) if known is None else known.in_place(self.cameras)

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
        self._cameras = frame_set.in_place(model.cameras)  # of the flow views, at the key
        self._views = TrackViews.of(list(self._cameras.values()))
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
            motion = self._motion(stamp_ns, frame_set) or self._last
            moved = self._moved_scene(motion, self._last)
            self._last = motion
            return Moved(moved, motion.rows.astype(np.uint32), stamp_ns)

    def _motion(self, stamp_ns: int, frame_set: FrameSet | None) -> _Motion | None:
        """From the key to the set `stamp_ns`, where it is at hand; None: no view has a picture."""
        effort, images = self._model.effort, frame_set and frame_set.images
        cameras = self._model.cameras_at(stamp_ns) if frame_set is None \
            else frame_set.in_place(self._model.cameras)
        with span('tracks'):
            current, known, counts = self._tracks.at(
                stamp_ns, images, effort.flow_scale, cameras,
                self._points + self._last.displacements)
        views, start = self._views_from(cameras)
        if images is not None:
            self._model.count(counts)
        if counts['views_missing'] == len(current):
            return None
        moved, still = moving(start, current, known, _MOVING_PX)
        if not moved.any():
            return _Motion.none(stamp_ns, len(moved))
        with span('lift'):
            picked = self._pick_anchors(moved, still, effort.anchors)
            anchors, spacing = self._solve_anchors(views, picked, current, known)
        rows = np.flatnonzero(~still)
        indices, weights, nearest = self._nearest_anchors(rows, picked, spacing)
        share = (weights * moved[picked][indices]).sum(1) / weights.sum(1)
        free = moved[rows] | ((share > 0.5) & (nearest < _REACH * spacing))
        rows, indices, weights = rows[free], indices[free], weights[free]
        displacements = np.zeros_like(self._points)
        with span('blend'):
            displacements[rows], turns = blend(views, self._points[rows], current[:, rows],
                                               known[:, rows], anchors, indices, weights)
        return _Motion(stamp_ns, rows, displacements, turns)

    def _views_from(self, cameras: Mapping[str, Camera]) -> tuple[TrackViews, np.ndarray]:
        """The flow views from `cameras`, and where they would see still Gaussians [V, N, 2] px."""
        start = self._tracks.start
        moved = [v for v, name in enumerate(self._cameras)
                 if not cameras[name].is_at(self._cameras[name].camera_from_world)]
        if not moved:
            return self._views, start
        start = start.copy()
        for v in moved:
            pixels, depth = list(cameras.values())[v].project(self._points)
            start[v] = np.where((depth > 0)[:, None], pixels, start[v])
        return TrackViews.of(list(cameras.values())), start

    def _pick_anchors(self, moved: np.ndarray, still: np.ndarray, total: int) -> np.ndarray:
        """Rows of `total` anchors: most on what moved, the rest on what stood still."""
        movers, others = np.flatnonzero(moved), np.flatnonzero(still)
        on_movers = min(len(movers), max(1, round(total * _MOVER_SHARE)))
        return np.concatenate([
            movers[fps(self._points[movers], on_movers)],
            others[fps(self._points[others], total - on_movers)]])

    def _solve_anchors(self, views, picked, current, known) -> tuple[Anchors, float]:
        """The motion of Gaussians `picked`, and their usual distance in m."""
        points = self._points[picked]
        distances, indices = knn(points, points, _NEIGHBORS + 1)
        distances, indices = distances[:, 1:], indices[:, 1:]  # the first one is the point itself
        spacing = max(float(np.median(distances)), 1e-9) if distances.size else 1.0
        weights = self._likeness(picked, picked[indices], distances, spacing)
        anchors = lift(views, points, current[:, picked], known[:, picked], indices, weights)
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
