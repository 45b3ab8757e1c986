# SPDX-License-Identifier: Apache-2.0
"""How a live reconstruction is doing."""
from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

from igs_ros.core.timing import StageTime

LOST_SETS = ('superseded', 'no_picture', 'duplicate_stamp', 'incomplete_first', 'unusable',
             'held', 'internal_error', 'called_off', 'paused')
"""Causes of drops, each of which is one frame set that was never shown."""


class State(IntEnum):
    """Where a pipeline stands."""

    WAITING = 0  # for the first usable frame set
    BOOTSTRAP = 1  # the first scene is being made
    STREAMING = 2  # the scene follows the cameras
    STALLED = 3  # there is a scene, and for too long it has not followed the cameras
    FAILED = 4  # no first scene could be made (tried again), or a thread has died
    HOLDING = 5  # there is a scene, and it is held: paused, or the pictures are not believed


@dataclass(frozen=True)
class Decoding:
    """How the pictures of one camera have fared that were looked at."""

    bad: int = 0  # that could not be used
    in_a_row: int = 0  # of them, since the last good one
    text: str = ''  # what was wrong with the last one
    at_s: float = 0.0  # when that was, on a steady clock


@dataclass(frozen=True)
class Status:
    """The state of a live pipeline, for humans and monitors.

    Every frame set that was offered is in one of five places: processed by motion, made the first
    scene, lost for one of `LOST_SETS`, waiting (`queues`), or in the hands of the motion thread.
    """

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
    spread_s: float = 0.0  # between the first and the last stamp in the last frame set
    frame_sets_offered: int = 0
    frame_sets_processed: int = 0
    first_scenes: int = 0  # frame sets that became one
    keys_asked: int = 0  # refinements that were begun, or wait for their turn
    keys_refined: int = 0
    refinements_discarded: int = 0  # for one of the causes key_* in `drops`
    polished: int = 0  # polished scenes that were swapped in
    chain_breaks: int = 0
    progress: float = 0.0  # of the first scene, 0..1
    decoding: dict[str, Decoding] = field(default_factory=dict)  # by camera that had a bad picture
    implausible: dict[str, str] = field(default_factory=dict)  # why, by camera not believed now
    held: str = ''  # why the scene is held, '' = it follows the cameras
    confirmed: float = math.nan  # share of the pictures that a second camera confirms, 0..1
    doubt: str = ''  # why views from elsewhere may not be believed, '' = they may
    levels: dict[str, int] = field(default_factory=dict)  # rungs below full effort, by stage
    reduced: str = ''  # what the budget reduces now, '' = nothing
    rss_mb: float = 0.0  # resident memory of the process
    gpu_mb: float = 0.0  # GPU memory that torch holds, 0 without a GPU
    queues: dict[str, int] = field(default_factory=dict)  # what waits, by queue; each holds <= 1
    stages: dict[str, StageTime] = field(default_factory=dict)  # by path, and 'age' when shown
    drops: dict[str, int] = field(default_factory=dict)

    @property
    def sets_lost(self) -> int:
        """Frame sets that were dropped, for whatever cause."""
        return sum(self.drops.get(cause, 0) for cause in LOST_SETS)
