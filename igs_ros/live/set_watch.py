# SPDX-License-Identifier: Apache-2.0
"""What is known of the frame sets: how many come, of all cameras or of some, how well they fit."""
from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from igs_ros.core.frames import RawFrameSet

_NEWEST = 32  # frame sets that rate and spread are about


@dataclass(frozen=True)
class SetReport:
    """The frame sets at one moment; NaN where there is nothing to tell yet."""

    complete: int = 0
    partial: int = 0  # without a picture of one or more cameras
    age_s: float = math.nan  # since the last one came
    rate_hz: float = math.nan
    spread_mean_s: float = math.nan  # between the first and the last stamp in a frame set
    spread_max_s: float = math.nan


class SetWatch:
    """Follows the frame sets; safe to use from any thread. now: a steady clock, s."""

    def __init__(self, now: Callable[[], float] = time.monotonic):
        self._now = now
        self._lock = threading.Lock()
        self._complete = self._partial = 0
        self._newest: deque[tuple[float, float]] = deque(maxlen=_NEWEST)  # (came_s, spread_s)

    def came(self, frame_set: RawFrameSet) -> None:
        """A frame set came."""
        with self._lock:
            if frame_set.missing:
                self._partial += 1
            else:
                self._complete += 1
            self._newest.append((self._now(), frame_set.spread_ns * 1e-9))

    def report(self) -> SetReport:
        """The frame sets so far."""
        with self._lock:
            if not self._newest:
                return SetReport()
            first_s, last_s = self._newest[0][0], self._newest[-1][0]
            spreads = [spread for _, spread in self._newest]
            rate_hz = (len(spreads) - 1) / (last_s - first_s) if last_s > first_s else math.nan
            return SetReport(self._complete, self._partial, self._now() - last_s, rate_hz,
                             sum(spreads) / len(spreads), max(spreads))
