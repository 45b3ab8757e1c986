# SPDX-License-Identifier: Apache-2.0
"""Which frame sets become key frames."""
from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from igs_ros.core.errors import InputError
from igs_ros.core.frames import FrameSet
from igs_ros.stages.plausibility import Change
from igs_ros.vision.changes import changed_share


class KeySchedule:
    """Frame sets are counted from 1, the first after the first scene.

    Args:
        interval: every so many frame sets, 0 = never.
        explicit: numbers that are keys, such as '5 10 12', instead of the interval; '' = none.
        early: share of the pixels whose change makes a key at once, 0 = never.

    Raises:
        InputError: `explicit` is no list of numbers from 1 on.
    """

    def __init__(self, interval: int, explicit: str = '', early: float = 0.0):
        self._interval = interval
        self._early = early
        self._numbers = _numbers(explicit)

    def due(self, number: int) -> bool:
        """Whether frame set `number` is to become a key frame."""
        if self._numbers:
            return number in self._numbers
        return self._interval > 0 and number % self._interval == 0

    def sudden(self, frame_set: FrameSet, before: FrameSet, change: Change = Change.NONE,
               references: Callable[[], Mapping[str, np.ndarray]] | None = None) -> bool:
        """Whether so much changed that a key must come now.

        A cut, a light that goes on: motion has nothing to follow there.

        Args:
            frame_set: prepared.
            before: the frame set before it, prepared.
            change: what it is, as the check of plausibility has it; after a hold, a key comes
                unless there are to be none.
            references: what its images are compared with where cameras moved; None: with those
                of `before`.
        """
        if change is not Change.NONE and (self._interval or self._numbers):
            return True
        if not self._early:
            return False
        earlier = before.images if references is None else references()
        return changed_share(frame_set.images, earlier) > self._early


def _numbers(text: str) -> frozenset[int]:
    try:
        numbers = frozenset(int(word) for word in text.replace(',', ' ').split())
    except ValueError:
        numbers = frozenset({0})
    if any(number < 1 for number in numbers):
        raise InputError(f"key_frames '{text}': expected numbers of frame sets from 1 on, such as "
                         f"'5 10 12'.")
    return numbers
