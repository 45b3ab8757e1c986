# SPDX-License-Identifier: Apache-2.0
"""The baseline: nothing moves between key frames."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import Moved
from igs_ros.stages.motion.models import MotionEffort


@dataclass(eq=False)
class StaticFollower:
    """Copies its key."""

    scene: GaussianScene
    frame_set: FrameSet

    def move_to(self, frame_set: FrameSet) -> Moved:
        """The key as it is."""
        return Moved(self.scene, np.zeros(0, np.uint32), frame_set.stamp_ns)


@dataclass(eq=False)
class StaticMotion:
    """Motion model without motion."""

    name: str = 'static'
    counts: dict[str, int] = field(default_factory=dict)

    def set_effort(self, effort: MotionEffort) -> None:
        """Nothing could be cheaper."""

    def observe(self, frame_set: FrameSet, shown: GaussianScene | None = None) -> None:
        """Nothing to remember."""

    def follow(self, scene: GaussianScene, frame_set: FrameSet) -> StaticFollower:
        """A follower that copies `scene`."""
        return StaticFollower(scene, frame_set)
