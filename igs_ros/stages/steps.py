# SPDX-License-Identifier: Apache-2.0
"""What the steps of the main path hand on: updates, jobs of keys, keys."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import Moved, Snapshot
from igs_ros.core.timing import Spent
from igs_ros.stages.motion.models import Follower
from igs_ros.stages.plausibility import Checked
from igs_ros.stages.refine.reference import ReferenceImages
from igs_ros.stages.refine.refiner import Refined

NOTHING_SPENT = Spent(0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Update:
    """What one frame set did to the scene."""

    checked: Checked  # the frame set without what is implausible, and why
    moved: Moved | None = None  # None: the scene is held as it was
    key_wanted: bool = False  # due by the schedule, or owed since something sudden
    jumped: bool = False  # the stamps went back
    spent: Spent = NOTHING_SPENT  # by motion


@dataclass(frozen=True, eq=False)
class KeyJob:
    """A moved scene that is to become a key."""

    number: int  # of the key; with the seed it fixes everything random
    epoch: int  # of the scene; keys from before a reset or a jump in time are of no use
    scene: GaussianScene
    moved: np.ndarray  # [M] uint32: rows that motion moved since the key
    reference: ReferenceImages  # what the key was fitted to
    frame_set: FrameSet  # what `scene` shows
    follow: Callable[[GaussianScene, FrameSet], Follower]  # makes what will move the key
    catch_up: bool = False  # the first after frame sets that were held


@dataclass(frozen=True, eq=False)
class Key:
    """A refined scene, ready to be taken."""

    job: KeyJob
    refined: Refined
    follower: Follower  # of the refined scene
    confirmed: Mapping[str, float] = field(default_factory=dict)  # share by camera, 0..1


@dataclass(frozen=True, eq=False)
class Step:
    """What one frame set did in lockstep."""

    kind: str  # 'first' (scene), 'key' or 'candidate'
    snapshot: Snapshot
    motion: Spent
    refinement: Spent  # zeros but for keys
    refined: Refined | None  # None but for keys
    problems: tuple[str, ...]  # pictures that could not be used, and refinements that diverged
    implausible: Mapping[str, str] = field(default_factory=dict)  # why, by camera left out
    held: str = ''  # why nothing was made of the frame set and the scene stays; '' = it moved
