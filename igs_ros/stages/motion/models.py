# SPDX-License-Identifier: Apache-2.0
"""Motion models: they move a key scene to a newer frame set.

A model is made once per run. For every key scene the pipeline asks it for a `Follower`, which
moves that key, and only that key, to newer frame sets. Followers of one model share what does not
depend on the key (the flow between processed frame sets), so a freshly refined key can be moved
to the newest frame set at little cost. Making and using followers from two threads is safe.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import Moved

PRECISIONS = {'float32': None, 'bfloat16': torch.bfloat16, 'float16': torch.float16}
"""What a network may compute in, by the name in the settings; None: as it is."""


@dataclass(frozen=True)
class MotionEffort:
    """What motion may spend on one frame set."""

    anchors: int  # points at which motion is solved, >= 1
    flow_scale: float  # of the pictures given to the optical flow, 0 < flow_scale <= 1
    adjust_share: float = 1.0  # of the steps that adjust the moved scene to the pictures, 0..1


class Follower(Protocol):
    """Moves one key scene."""

    scene: GaussianScene  # the key
    frame_set: FrameSet  # prepared; what the key shows

    def move_to(self, frame_set: FrameSet) -> Moved:
        """The key moved to `frame_set` (prepared, newer than the last one given, or equal)."""
        ...


class MotionModel(Protocol):
    """Makes followers; counts what went wrong."""

    @property
    def name(self) -> str:
        """What it is called in the settings."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """What went wrong so far, e.g. chain_breaks, views_missing."""
        ...

    def set_effort(self, effort: MotionEffort) -> None:
        """What each step may cost from now on; a model without such a choice ignores it."""
        ...

    def observe(self, frame_set: FrameSet, shown: GaussianScene | None = None) -> None:
        """Note that motion has processed `frame_set` (prepared), in time order.

        shown: given only where a camera has moved: the scene that shows the set before.
        """
        ...

    def follow(self, scene: GaussianScene, frame_set: FrameSet) -> Follower:
        """A follower of the key `scene`.

        Args:
            scene: the key.
            frame_set: prepared; what `scene` shows, maybe not the newest.
        """
        ...
