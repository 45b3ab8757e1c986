# SPDX-License-Identifier: Apache-2.0
"""agm-small as a motion model: geometric motion, corrected."""
from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.config import MotionConfig
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import Moved
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.stages.motion.agm_small import weights
from igs_ros.stages.motion.agm_small.evidence import KeyViews
from igs_ros.stages.motion.agm_small.net import CorrectionNet
from igs_ros.stages.motion.agm_small.rounds import KeyAnchors, carried, corrections
from igs_ros.stages.motion.geometric import GeometricFollower, GeometricMotion
from igs_ros.stages.motion.models import MotionEffort

ROUNDS = 1  # a second one gains little more than a few steps of adjust.py, and costs more
_NEGLIGIBLE = 1 / 512  # of color and opacity; Gaussians that change by less stay as they were


class AgmSmallMotion:
    """Motion model: what `GeometricMotion` does, then a few rounds of correction.

    `counts` as in `GeometricMotion`.

    Args:
        cameras: the working cameras that feed the scene, of which those with optical flow are
            looked at.
        rasterizer: draws the scene; the network runs on its device.
        config: settings of `GeometricMotion`.
        net: other weights than those that ship.

    Raises:
        InputError: there are no weights, or they do not fit.
    """

    name = 'agm_small'

    def __init__(self, cameras: Mapping[str, Camera], rasterizer: Rasterizer,
                 config: MotionConfig, net: CorrectionNet | None = None):
        self.net = (net or weights.load()).to(rasterizer.device)
        self.prior = GeometricMotion(cameras, rasterizer, config)
        self.rasterizer = rasterizer

    @property
    def counts(self) -> dict[str, int]:
        """See `MotionModel`."""
        return self.prior.counts

    def set_effort(self, effort: MotionEffort) -> None:
        """See `GeometricMotion`."""
        self.prior.set_effort(effort)

    def observe(self, frame_set: FrameSet, shown: GaussianScene | None = None) -> None:
        """See `GeometricMotion`."""
        self.prior.observe(frame_set, shown)

    def follow(self, scene: GaussianScene, frame_set: FrameSet) -> AgmSmallFollower:
        """A follower of `scene`, which shows `frame_set` (prepared)."""
        return AgmSmallFollower(self, self.prior.follow(scene, frame_set))


class AgmSmallFollower:
    """Moves one key; made by `AgmSmallMotion.follow`."""

    def __init__(self, model: AgmSmallMotion, prior: GeometricFollower):
        self.scene, self.frame_set = prior.scene, prior.frame_set
        self._model, self._prior = model, prior
        self._views = KeyViews(self.scene, self.frame_set.in_place(model.prior.cameras),
                               self.frame_set.images, model.rasterizer)
        self._anchors = KeyAnchors(self.scene)
        self._before: tuple[GaussianScene, GaussianScene] | None = None
        self._lock = threading.Lock()

    def move_to(self, frame_set: FrameSet) -> Moved:
        """The key moved to `frame_set` (prepared, newer than the last one given, or equal).

        Where no input view has a picture, it is moved by geometry alone.
        """
        with self._lock:
            moved = self._prior.move_to(frame_set)
            if frame_set.stamp_ns == self.frame_set.stamp_ns:
                return moved
            with torch.no_grad():
                corrected = self._corrected(moved, frame_set)
            self._before = (moved.scene, corrected)
            changed = torch.nonzero(_noticeable(moved.scene, corrected)).flatten().cpu().numpy()
            rows = np.union1d(moved.rows, changed).astype(np.uint32)
            return Moved(corrected, rows, moved.stamp_ns)

    def _corrected(self, moved: Moved, frame_set: FrameSet) -> GaussianScene:
        evidence = self._views.evidence(frame_set.images,
                                        frame_set.in_place(self._model.prior.cameras))
        if not evidence.cameras:
            return moved.scene
        scene = carried(moved.scene, self._before, evidence, moved.rows)
        distance = (moved.scene.means - self.scene.means).norm(dim=1)
        *_, scene = scene, *corrections(self._model.net, scene, self._anchors, evidence, distance,
                                        ROUNDS)
        keep = ~_noticeable(moved.scene, scene)
        return scene.replaced(**{name: _mixed(getattr(moved.scene, name), getattr(scene, name),
                                              keep)
                                 for name in ('means', 'quats', 'scales', 'opacities', 'sh')})


def _noticeable(plain: GaussianScene, corrected: GaussianScene) -> torch.Tensor:
    """[N] bool: corrections that can be seen."""
    size = plain.scales.max(1).values
    return (((corrected.sh - plain.sh).abs().amax((1, 2)) > _NEGLIGIBLE)
            | ((corrected.opacities - plain.opacities).abs() > _NEGLIGIBLE)
            | ((corrected.means - plain.means).norm(dim=1) > 0.01 * size)
            | ((corrected.scales - plain.scales).abs().amax(1) > 0.01 * size))


def _mixed(plain: torch.Tensor, corrected: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    return torch.where(keep.reshape(-1, *[1] * (plain.ndim - 1)), plain, corrected)
