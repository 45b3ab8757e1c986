# SPDX-License-Identifier: Apache-2.0
"""How a live reconstruction is doing."""
from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from igs_ros.timing import StageTime


class State(IntEnum):
    """Where a pipeline stands."""

    WAITING = 0  # for the first usable frame set
    BOOTSTRAP = 1  # the first scene is being made
    STREAMING = 2  # the scene follows the cameras
    FAILED = 3  # no first scene could be made; tried again with the next frame set


@dataclass(frozen=True)
class Status:
    """The state of a live pipeline, for people and monitors."""

    state: State = State.WAITING
    message: str = ''
    stamp_ns: int = 0  # of the frame set shown
    scene_age_s: float = 0.0  # now - stamp
    scene_id: int = 0
    key_sequence: int = 0
    sequence: int = 0
    gaussians: int = 0
    cameras_expected: int = 0
    cameras_in_last_set: int = 0
    frame_sets_processed: int = 0
    keys_refined: int = 0
    refinements_discarded: int = 0
    chain_breaks: int = 0
    progress: float = 0.0  # of the first scene, 0..1
    stages: dict[str, StageTime] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict)
