# SPDX-License-Identifier: Apache-2.0
"""AGM-Net as a motion model of the pipeline.

    once per key:  region -> anchors -> neighbours; depth and features of the key's pictures
    every target:  one pass of the network -> displacements and turns of the region's Gaussians

Only Gaussians in the region, tied to an anchor that some view sees, are touched; the others stay
equal bit for bit. Where no box is given, the region is the whole scene: the published boxes are
made by hand, one that follows from the data is not part of this model yet.
"""
from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from igs_ros.camera import Camera
from igs_ros.config import MotionConfig
from igs_ros.frames import FrameSet
from igs_ros.motion import Moved
from igs_ros.motion.agm import lift
from igs_ros.motion.agm.decode import neighbor_weights, turned
from igs_ros.motion.agm.flow import MULTIPLE, STRIDE
from igs_ros.motion.agm.net import AgmNet, Key, Rig, Ties
from igs_ros.motion.flow import spread_views
from igs_ros.motion.region import in_box, read_box
from igs_ros.neighbors import fps, knn
from igs_ros.raster import Rasterizer
from igs_ros.scene import GaussianScene

_LOG = logging.getLogger(__name__)
_REMEMBERED = 2  # processed frame sets: the newest, and the one before for velocities

Pictures = Mapping[str, np.ndarray]  # [S, S, 3] uint8 by camera


@dataclass(frozen=True)
class AgmSizes:
    """How much the network is given; the published numbers."""

    picture: int = 512  # px, each side; a multiple of 16
    anchors: int = 8192  # at most
    neighbors: int = 8  # anchors that move a Gaussian

    def __post_init__(self):
        assert self.picture > 0 and self.picture % MULTIPLE == 0, self.picture


class AgmMotion:
    """Motion model from AGM-Net; see the module.

    cameras: the working cameras that feed the scene, of any size and intrinsics; rasterizer:
    draws the key's depth, the network runs on its device; config: `flow_views` picks the input
    views, `bbox` the region; net: with its weights.

    `counts`: views_missing (of a moved frame set) and not_finite (results that were not used).
    """

    name = 'agm'

    def __init__(self, cameras: Mapping[str, Camera], rasterizer: Rasterizer,
                 config: MotionConfig, net: AgmNet, sizes: AgmSizes | None = None):
        names = spread_views(cameras, config.flow_views)
        self.cameras = {name: cameras[name] for name in names}
        self.rasterizer = rasterizer
        self.device = rasterizer.device
        self.net = net.to(self.device).eval().requires_grad_(False)
        self.sizes = sizes or AgmSizes()
        self.box = read_box(config.bbox)
        self.counts = {'views_missing': 0, 'not_finite': 0}
        self._lock = threading.Lock()
        self._recent: list[tuple[int, Pictures]] = []  # processed sets, oldest first
        self._told: set[str] = set()

    def observe(self, frame_set: FrameSet) -> None:
        """Remember the pictures of `frame_set` (prepared), in the size of the network.

        Sets come in time order; an older one means that time starts anew.
        """
        pictures = self.squeezed(frame_set)
        with self._lock:
            if self._recent and frame_set.stamp_ns < self._recent[-1][0]:
                self._recent = []
            if not self._recent or frame_set.stamp_ns > self._recent[-1][0]:
                self._recent = [*self._recent, (frame_set.stamp_ns, pictures)][-_REMEMBERED:]

    def follow(self, scene: GaussianScene, frame_set: FrameSet) -> AgmFollower:
        """A follower of `scene`, which shows `frame_set` (prepared)."""
        return AgmFollower(self, scene, frame_set)

    def squeezed(self, frame_set: FrameSet) -> Pictures:
        """The input views of `frame_set`, squeezed to squares (not keeping the aspect ratio).

        Bilinear without antialiasing to 8 bits, as the authors store theirs.
        """
        with self._lock:
            known = dict(self._recent).get(frame_set.stamp_ns)
        if known is not None:
            return known
        size = (self.sizes.picture, self.sizes.picture)
        return {name: cv2.resize(frame_set.images[name], size, interpolation=cv2.INTER_LINEAR)
                for name in self.cameras if name in frame_set.images}

    def before(self, stamp_ns: int) -> tuple[int, Pictures] | None:
        """The set processed just before the newest, if the newest is `stamp_ns`."""
        with self._lock:
            if len(self._recent) == _REMEMBERED and self._recent[-1][0] == stamp_ns:
                return self._recent[0]
            return None

    def tensor(self, array: np.ndarray) -> Tensor:
        """`array` with the device, and if of floats the dtype, of the network."""
        tensor = torch.from_numpy(array).to(self.device)
        return tensor.to(self.net.upsample.weight.dtype) if array.dtype.kind == 'f' else tensor

    def stack(self, pictures: Pictures, views: list[str]) -> Tensor:
        """[V, 3, S, S] sRGB 0..1."""
        stacked = np.stack([pictures[name] for name in views]).astype(np.float32) / 255
        return self.tensor(stacked).permute(0, 3, 1, 2)

    def count(self, cause: str, number: int = 1) -> None:
        """Add to `counts`."""
        with self._lock:
            self.counts[cause] += number

    def tell_once(self, message: str) -> None:
        """Warn, but not for every frame set."""
        with self._lock:
            known, self._told = message in self._told, self._told | {message}
        if not known:
            _LOG.warning('agm: %s', message)


@dataclass(frozen=True, eq=False)
class _Motion:
    """Of the M movable rows of a key, to the frame set `stamp_ns`."""

    stamp_ns: int
    displacements: Tensor  # [M, 3] m
    turns: Tensor  # [M, 4] wxyz, raw; zeros = not turned


class AgmFollower:
    """Moves one key; made by `AgmMotion.follow`."""

    def __init__(self, model: AgmMotion, scene: GaussianScene, frame_set: FrameSet):
        self.scene = scene
        self.frame_set = frame_set
        self._model = model
        self._lock = threading.Lock()
        self._views = [name for name in model.cameras if name in frame_set.images]
        with torch.no_grad():
            self._rows, self._movable, self._key = self._prepare()
        # [M] int64 of the scene, ascending: who can move
        self._moving_rows = self._rows[self._movable.cpu().numpy()]
        zeros = model.net.upsample.weight.new_zeros(len(self._moving_rows), 7)
        self._last = _Motion(frame_set.stamp_ns, zeros[:, :3], zeros[:, 3:])
        self._tried_ns = frame_set.stamp_ns  # of the last set given, of use or not

    def move_to(self, frame_set: FrameSet) -> Moved:
        """The key moved to `frame_set` (prepared, newer than the last one given, or equal).

        Velocities are those since the frame set processed before; 0 for what did not move.
        What no input view with a picture looks at stays as it was last.
        """
        stamp_ns = frame_set.stamp_ns
        with self._lock:
            if stamp_ns == self.frame_set.stamp_ns:
                return Moved(self.scene, np.zeros(0, np.uint32), stamp_ns)
            pictures = self._model.squeezed(frame_set)
            self._model.count('views_missing', len(self._model.cameras) - len(pictures))
            targets = [(stamp_ns, pictures)]
            before = self._model.before(stamp_ns)
            if before is not None and before[0] > self._tried_ns:
                # a key that comes late skipped sets; its velocity is that of the last step
                targets.insert(0, before)
            *skipped, motion = self._motions(targets)
            last = next((m for m in skipped if m is not None), self._last)
            moved = self._moved(motion or last, last, stamp_ns)
            self._last, self._tried_ns = motion or last, stamp_ns
            return moved

    def _prepare(self) -> tuple[np.ndarray, Tensor, Key | None]:
        """Rows in the region [N], who of them can move [N] bool, and what the network needs."""
        points = self.scene.means.detach().cpu().numpy()
        rows = in_box(points, self._model.box)
        if len(rows) == 0 or not self._views:
            self._model.tell_once(
                'no Gaussian lies in the region: nothing moves until a key has some'
                if self._views else 'a key without a picture of any input view does not move')
            return rows, torch.zeros(len(rows), dtype=torch.bool), None
        model, size = self._model, self._model.sizes.picture
        ties = self._tie(points[rows])
        rig = self._rig()
        key = model.net.key(model.stack(model.squeezed(self.frame_set), self._views),
                            self._depths(2 * size // STRIDE), rig, ties)
        seen = lift.inside(key.grid).any(0)
        if not seen.any():
            model.tell_once('no input view looks at the region: nothing moves until one does')
        return rows, seen[ties.indices].any(1), key

    def _tie(self, points: np.ndarray) -> Ties:
        """Anchors among the region's points [N, 3], and whom they move."""
        anchors = points[fps(points, self._model.sizes.anchors)]
        distances, indices = knn(points, anchors, self._model.sizes.neighbors)
        tensor = self._model.tensor
        return Ties(tensor(anchors), tensor(indices), neighbor_weights(tensor(distances)))

    def _rig(self) -> Rig:
        cameras = [self._model.cameras[name] for name in self._views]
        shares = [(c.K[0, 0] / c.width, c.K[1, 1] / c.height, c.K[0, 2] / c.width,
                   c.K[1, 2] / c.height) for c in cameras]
        return Rig(self._model.tensor(np.array(shares)),
                   self._model.tensor(np.stack([c.world_from_camera for c in cameras])))

    def _depths(self, size: int) -> Tensor:
        """[V, size, size] depth of the key in its views, m; 0 = nothing there."""
        depths = []
        for name in self._views:
            depth = self._model.rasterizer.render(self.scene, self._model.cameras[name]).depth
            depths.append(F.interpolate(depth[None, None], (size, size), mode='bilinear',
                                        align_corners=False)[0, 0])
        return torch.stack(depths).to(self._model.net.upsample.weight.dtype)

    def _motions(self, targets: list[tuple[int, Pictures]]) -> list[_Motion | None]:
        """The motion to each target; those with the same views go through in one batch."""
        batches: dict[tuple[str, ...], list[int]] = {}
        for index, (_, pictures) in enumerate(targets):
            usable = tuple(name for name in self._views if name in pictures)
            batches.setdefault(usable, []).append(index)
        motions: list[_Motion | None] = [None] * len(targets)
        for usable, indices in batches.items():
            if not usable or len(self._moving_rows) == 0:
                continue
            found = self._run([targets[index] for index in indices], list(usable))
            for index, motion in zip(indices, found, strict=True):
                motions[index] = motion
        return motions

    @torch.no_grad()
    def _run(self, targets: list[tuple[int, Pictures]], views: list[str],
             ) -> list[_Motion | None]:
        model, key = self._model, self._key
        if views != self._views:
            key = key.views([self._views.index(name) for name in views])
        pictures = torch.stack([model.stack(p, views) for _, p in targets])
        displacements, turns = (x[:, self._movable] for x in model.net(key, pictures))
        seen = lift.inside(key.grid).any(0)[key.ties.indices].any(1)[self._movable, None]
        motions = []
        for (stamp_ns, _), displacement, turn in zip(targets, displacements, turns, strict=True):
            if displacement.isfinite().all() and turn.isfinite().all():
                motions.append(_Motion(
                    stamp_ns, torch.where(seen, displacement, self._last.displacements),
                    torch.where(seen, turn, self._last.turns)))
            else:
                model.count('not_finite')
                model.tell_once('the network gave NaN or infinite motion: the scene stays as it '
                                'was; check the weights')
                motions.append(None)
        return motions

    def _moved(self, motion: _Motion, before: _Motion, stamp_ns: int) -> Moved:
        scene = self.scene
        velocities = torch.zeros_like(scene.means)
        if motion.stamp_ns == self.frame_set.stamp_ns:
            return Moved(scene.replaced(velocities=velocities), np.zeros(0, np.uint32), stamp_ns)
        rows = torch.from_numpy(self._moving_rows).to(scene.device)
        step_s = (motion.stamp_ns - before.stamp_ns) * 1e-9
        if step_s > 0:
            change = motion.displacements - before.displacements
            velocities[rows] = (change / step_s).to(velocities.dtype)
        means, quats = scene.means.detach().clone(), scene.quats.detach().clone()
        means[rows] += motion.displacements.to(means.dtype)
        quats[rows] = turned(quats[rows], motion.turns.to(quats.dtype))
        return Moved(scene.replaced(means=means, quats=quats, velocities=velocities),
                     self._moving_rows.astype(np.uint32), stamp_ns)
