# SPDX-License-Identifier: Apache-2.0
"""AGM-Net as a motion model of the pipeline.

    once per key:  region -> anchors -> neighbors; depth and features of the key's pictures
    every target:  one pass of the network -> displacements and turns of the region's Gaussians

Only Gaussians in the region, tied to an anchor that some view sees, are touched; the others stay
equal bit for bit. Where no box is given, the region is what changes in the pictures; anchors are
picked anew when it grows, and where nothing changes, the network does not run.
"""
from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from igs_ros.core.camera import Camera
from igs_ros.core.config import MotionConfig
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import Moved
from igs_ros.core.timing import span
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.stages.expectation import Expectation
from igs_ros.stages.motion.agm import inputs, lift
from igs_ros.stages.motion.agm.decode import turned
from igs_ros.stages.motion.agm.flow import STRIDE
from igs_ros.stages.motion.agm.forward import shared_forward
from igs_ros.stages.motion.agm.inputs import AgmSizes
from igs_ros.stages.motion.agm.net import AgmNet, Key
from igs_ros.stages.motion.models import MotionEffort
from igs_ros.stages.motion.region import BoxRegion, ChangedRegion, Region, follows_data, read_box
from igs_ros.vision.flow import spread_views

_LOG = logging.getLogger(__name__)
_REMEMBERED = 2  # processed frame sets: the newest, and the one before for velocities

Pictures = Mapping[str, np.ndarray]  # [S, S, 3] uint8 by camera


class AgmMotion:
    """Motion model from AGM-Net; see the module.

    `counts`: views_missing (of a moved frame set) and not_finite (results that were not used).

    Args:
        cameras: the working cameras that feed the scene, of any size and intrinsics.
        rasterizer: draws the key's depth; the network runs on its device.
        config: `flow_views` picks the input views, `bbox` the region, `precision` and `compile`
            how the network runs.
        net: with its weights.
        sizes: how much the network is given; None = the published sizes.
        threads: of the network on a CPU.

    Raises:
        InputError: `config.bbox` names no box.
    """

    name = 'agm'

    def __init__(self, cameras: Mapping[str, Camera], rasterizer: Rasterizer,
                 config: MotionConfig, net: AgmNet, sizes: AgmSizes | None = None,
                 threads: int = 1):
        names = spread_views(cameras, config.flow_views)
        self.cameras = {name: cameras[name] for name in names}
        self.rasterizer = rasterizer
        self.device = rasterizer.device
        self.net = net.to(self.device).eval().requires_grad_(False)
        self.sizes = sizes or AgmSizes()
        self.forward = shared_forward(self.net, config.precision, threads,
                                      (len(names), self.sizes) if config.compile else None)
        self._auto = follows_data(config.bbox)
        self._box = None if self._auto else read_box(config.bbox)
        self.counts = {'views_missing': 0, 'not_finite': 0}
        self._lock = threading.Lock()
        self._recent: list[tuple[int, Pictures]] = []  # processed sets, oldest first
        self._told: set[str] = set()

    def set_effort(self, effort: MotionEffort) -> None:
        """Ignored: the published network takes one size of pictures and of anchors."""

    def observe(self, frame_set: FrameSet, shown: GaussianScene | None = None) -> None:
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
        return inputs.squeezed(frame_set.images, tuple(self.cameras), self.sizes.picture)

    def region(self, scene: GaussianScene, frame_set: FrameSet) -> Region:
        """Who of the key `scene`, which shows `frame_set`, may move."""
        if self._auto:
            return ChangedRegion(scene, frame_set.images, frame_set.in_place(self.cameras),
                                 self.rasterizer)
        region = BoxRegion(scene.means.detach().cpu().numpy(), self._box)
        if len(region.rows) == 0:
            self.tell_once('no Gaussian lies in the region: nothing moves until a key has some')
        return region

    def before(self, stamp_ns: int) -> tuple[int, Pictures] | None:
        """The set processed just before the newest, if the newest is `stamp_ns`."""
        with self._lock:
            if len(self._recent) == _REMEMBERED and self._recent[-1][0] == stamp_ns:
                return self._recent[0]
            return None

    @property
    def like(self) -> Tensor:
        """A tensor with the device and dtype of the network."""
        return self.net.upsample.weight

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
    """Of a key with N Gaussians, to the frame set `stamp_ns`."""

    stamp_ns: int
    displacements: Tensor  # [N, 3] m
    turns: Tensor  # [N, 4] wxyz, raw; zeros = not turned


class AgmFollower:
    """Moves one key; made by `AgmMotion.follow`.

    Args:
        model: shares what does not depend on the key.
        scene: the key.
        frame_set: prepared; what `scene` shows.
    """

    def __init__(self, model: AgmMotion, scene: GaussianScene, frame_set: FrameSet):
        self.scene = scene
        self.frame_set = frame_set
        self._model = model
        self._lock = threading.Lock()
        self._cameras = frame_set.in_place(model.cameras)  # where the key was seen from
        self._views = [name for name in model.cameras if name in frame_set.images]
        if not self._views:
            model.tell_once('a key without a picture of any input view does not move')
        self._region = model.region(scene, frame_set)
        self._key: Key | None = None  # None as long as the region is empty
        self._movable = torch.zeros(0, dtype=torch.bool)  # of the region's rows
        self._rows = np.zeros(0, np.int64)  # ascending: those of the region that can move
        if len(self._region.rows):
            self._take_region()
        zeros = model.like.new_zeros(len(scene), 7)
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
            moving = bool(frame_set.cameras or self.frame_set.cameras)
            images = self._from_key(frame_set) if moving else frame_set.images
            with span('region'):
                grown = self._region.update(images)
            if grown:
                self._take_region()
            pictures = inputs.squeezed(images, tuple(self._cameras), self._model.sizes.picture) \
                if moving else self._model.squeezed(frame_set)
            self._model.count('views_missing', len(self._model.cameras) - len(pictures))
            targets = [(stamp_ns, pictures)]
            before = None if moving else self._model.before(stamp_ns)
            if before is not None and before[0] > self._tried_ns:
                # a key that comes late skipped sets; its velocity is that of the last step
                targets.insert(0, before)
            *skipped, motion = self._motions(targets)
            last = next((m for m in skipped if m is not None), self._last)
            moved = self._moved(motion or last, last, stamp_ns)
            self._last, self._tried_ns = motion or last, stamp_ns
            return moved

    def _from_key(self, frame_set: FrameSet) -> dict[str, np.ndarray]:
        """The images of `frame_set`, as the cameras would have taken them from where the key did.

        What is not seen now is as it was.
        """
        now = Expectation.of(self.scene, frame_set, self._model.cameras, self._model.rasterizer)
        images = dict(frame_set.images)
        for name, camera in self._cameras.items():
            if name in images and name in self.frame_set.images and now.moved(camera):
                images[name] = now.expected(camera).completed(self.frame_set.images[name])
        return images

    @torch.no_grad()
    def _take_region(self) -> None:
        """Pick anchors in the region: who can move, and what the network needs of the key."""
        if not self._views:
            return
        model, means = self._model, self.scene.means.detach()
        rows, around = (torch.from_numpy(indices).to(means.device)
                        for indices in (self._region.rows, self._region.around))
        with span('neighbors'):
            ties = inputs.tied(means[rows], model.sizes, model.like, means[around])
        if self._key is None:
            cameras = [self._cameras[name] for name in self._views]
            size = 2 * model.sizes.picture // STRIDE
            with span('key'):
                self._key = model.forward.key(
                    inputs.stacked(model.squeezed(self.frame_set), self._views, model.like),
                    inputs.depths(self.scene, cameras, model.rasterizer, size, model.like),
                    inputs.rig_of(cameras, model.like), ties)
        else:
            self._key = self._key.tied(ties)
        seen = lift.inside(self._key.grid).any(0)
        if not seen.any():
            model.tell_once('no input view looks at the region: nothing moves until one does')
        self._movable = seen[ties.indices].any(1)
        self._rows = self._region.rows[self._movable.cpu().numpy()]

    def _motions(self, targets: list[tuple[int, Pictures]]) -> list[_Motion | None]:
        """The motion to each target; those with the same views go through in one batch."""
        batches: dict[tuple[str, ...], list[int]] = {}
        for index, (_, pictures) in enumerate(targets):
            usable = tuple(name for name in self._views if name in pictures)
            batches.setdefault(usable, []).append(index)
        motions: list[_Motion | None] = [None] * len(targets)
        if self._key is None:
            return motions
        for usable, indices in batches.items():
            if not usable or len(self._rows) == 0:
                continue
            found = self._run(self._key, [targets[index] for index in indices], list(usable))
            for index, motion in zip(indices, found, strict=True):
                motions[index] = motion
        return motions

    @torch.no_grad()
    def _run(self, key: Key, targets: list[tuple[int, Pictures]], views: list[str],
             ) -> list[_Motion | None]:
        model = self._model
        if views != self._views:
            key = key.views([self._views.index(name) for name in views])
        pictures = torch.stack([inputs.stacked(p, views, model.like) for _, p in targets])
        displacements, turns = (x[:, self._movable] for x in model.forward(key, pictures))
        seen = lift.inside(key.grid).any(0)[key.ties.indices].any(1)[self._movable]
        rows = torch.from_numpy(self._rows).to(seen.device)[seen]
        motions = []
        for (stamp_ns, _), displacement, turn in zip(targets, displacements, turns, strict=True):
            if displacement.isfinite().all() and turn.isfinite().all():
                motions.append(_Motion(
                    stamp_ns,
                    self._last.displacements.index_copy(0, rows, displacement[seen]),
                    self._last.turns.index_copy(0, rows, turn[seen])))
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
        rows = torch.from_numpy(self._rows).to(scene.device)
        step_s = (motion.stamp_ns - before.stamp_ns) * 1e-9
        if step_s > 0:
            change = motion.displacements[rows] - before.displacements[rows]
            velocities[rows] = (change / step_s).to(velocities.dtype)
        means, quats = scene.means.detach().clone(), scene.quats.detach().clone()
        means[rows] += motion.displacements[rows].to(means.dtype)
        quats[rows] = turned(quats[rows], motion.turns[rows].to(quats.dtype))
        return Moved(scene.replaced(means=means, quats=quats, velocities=velocities),
                     self._rows.astype(np.uint32), stamp_ns)
