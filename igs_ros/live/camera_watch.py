# SPDX-License-Identifier: Apache-2.0
"""What is known of each input camera: does it send, is it used, is its clock right."""
from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from igs_ros.core.status import Decoding
from igs_ros.live.offsets import OUT_OF_STEP, UNKNOWN, Offset, offsets, period_s

_NEWEST = 32  # pictures that rate and offset are about
_IN_A_ROW = 3  # bad pictures that make a fault; one alone is counted only
_OFFSETS_EVERY_S = 0.5  # they, and jitter, cost 0.1 ms a camera; status asks 30 times a second
_BACK_S = 0.25  # a stamp that far behind the one before: the clock was set back


class CameraState(IntEnum):
    """How one camera is doing; the first that holds, from SILENT on."""

    OK = 0
    NEVER_SEEN = 1
    SILENT = 2
    REFUSED = 3  # messages that are no pictures, or pictures from an unknown place
    UNDECODABLE = 4  # or of another size than the calibration
    OUT_OF_TIME = 5  # late, or stamps too far from those of the others
    IMPLAUSIBLE = 6


@dataclass(frozen=True)
class CameraReport:
    """One camera at one moment; NaN where there is nothing to tell yet."""

    name: str
    topic: str
    state: CameraState
    message: str  # what is wrong, '' = nothing
    age_s: float  # since its last picture
    rate_hz: float
    offset_s: float  # its stamps minus those of the others
    received: int
    used: int  # became part of a frame set
    refused: int  # or could not be decoded
    unmatched: int  # came too late, or waited in vain
    implausible: int
    last_error: str
    last_error_age_s: float
    jitter_s: float = math.nan  # standard deviation of the steps between arrivals


@dataclass(frozen=True)
class Judged:
    """What the assembler and the pipeline know of the cameras; counts by camera."""

    used: Mapping[str, int] = field(default_factory=dict)
    late: Mapping[str, int] = field(default_factory=dict)
    unmatched: Mapping[str, int] = field(default_factory=dict)  # late ones included
    decoding: Mapping[str, Decoding] = field(default_factory=dict)
    implausible: Mapping[str, str] = field(default_factory=dict)  # why, of those not believed now
    not_believed: Mapping[str, int] = field(default_factory=dict)


@dataclass(eq=False)
class _Seen:
    topic: str
    pictures: deque = field(default_factory=lambda: deque(maxlen=_NEWEST))  # (arrival_s, stamp_s)
    received: int = 0
    refused: int = 0
    refused_in_a_row: int = 0
    lost_in_a_row: int = 0
    came_s: float | None = None
    period_s: float = math.nan
    jitter_s: float = math.nan
    used: int = 0  # at the last look
    unmatched: int = 0
    used_s: float | None = None  # when that last grew
    unmatched_s: float | None = None
    error: str = ''
    error_s: float = math.nan


class CameraWatch:
    """Follows the messages of all cameras; safe to use from any thread.

    Args:
        topics: by camera, resolved.
        silent_after_s: how long a camera may send nothing, or nothing that is used.
        now: a steady clock, s.
    """

    def __init__(self, topics: Mapping[str, str], silent_after_s: float,
                 now: Callable[[], float] = time.monotonic):
        self._seen = {name: _Seen(topic) for name, topic in topics.items()}
        self._limit_s = silent_after_s
        self._now = now
        self._lock = threading.Lock()
        self._offsets: dict[str, Offset] = {}
        self._offsets_s = -math.inf

    def came(self, name: str, stamp_ns: int) -> None:
        """A picture of camera `name` came that can be one."""
        with self._lock:
            seen, now = self._arrived(name), self._now()
            stamp_s = stamp_ns * 1e-9
            if seen.pictures and stamp_s < seen.pictures[-1][1] - _BACK_S:
                seen.pictures.clear()
            seen.pictures.append((now, stamp_s))
            seen.refused_in_a_row = 0

    def refused(self, name: str, text: str) -> None:
        """A message of camera `name` came that is no picture, as `text` says."""
        with self._lock:
            seen = self._arrived(name)
            seen.refused += 1
            seen.refused_in_a_row += 1
            seen.error, seen.error_s = text, self._now()

    def lost(self, name: str, text: str) -> None:
        """A picture of camera `name` that came could not go on, as `text` says."""
        with self._lock:
            seen = self._seen[name]
            seen.refused += 1
            seen.lost_in_a_row += 1
            seen.error, seen.error_s = text, self._now()

    def went_on(self, name: str) -> None:
        """A picture of camera `name` went on to wait for those of the others."""
        with self._lock:
            self._seen[name].lost_in_a_row = 0

    def _arrived(self, name: str) -> _Seen:
        seen, now = self._seen[name], self._now()
        if seen.came_s is None or now - seen.came_s > self._limit_s:
            seen.used_s = now  # it is given time to be used
        seen.received += 1
        seen.came_s = now
        return seen

    def report(self, judged: Judged = Judged()) -> dict[str, CameraReport]:
        """All cameras now; to be asked for at least every `silent_after_s`."""
        with self._lock:
            now = self._now()
            if now - self._offsets_s >= _OFFSETS_EVERY_S:
                self._measure(now)
            return {name: self._of(name, seen, self._offsets.get(name, UNKNOWN), judged, now)
                    for name, seen in self._seen.items()}

    def _measure(self, now: float) -> None:
        """Offsets of the cameras that send."""
        live = {name: np.array(seen.pictures).T for name, seen in self._seen.items()
                if seen.pictures and now - seen.pictures[-1][0] <= self._limit_s}
        periods = {name: period_s(rows[1]) for name, rows in live.items()}
        self._offsets = offsets({name: (rows[0], rows[1]) for name, rows in live.items()}, periods)
        self._offsets_s = now
        for name, rows in live.items():
            self._seen[name].period_s = periods[name]
            self._seen[name].jitter_s = _jitter_s(rows[0])

    def _of(self, name: str, seen: _Seen, offset: Offset, judged: Judged, now: float,
            ) -> CameraReport:
        decoding = judged.decoding.get(name, Decoding())
        used, unmatched = judged.used.get(name, 0), judged.unmatched.get(name, 0)
        if used != seen.used:
            seen.used, seen.used_s = used, now
        if unmatched != seen.unmatched:
            seen.unmatched, seen.unmatched_s = unmatched, now
        state, message = self._state(name, seen, offset, judged, now)
        error, error_s = max((seen.error, seen.error_s), (decoding.text, decoding.at_s),
                             key=lambda one: one[1] if one[0] else -math.inf)
        if state in (CameraState.OUT_OF_TIME, CameraState.IMPLAUSIBLE) or offset.doubt:
            error, error_s = message or offset.doubt, now
            seen.error, seen.error_s = error, error_s
        return CameraReport(
            name, seen.topic, state, message,
            math.nan if seen.came_s is None else now - seen.came_s, _rate_hz(seen.pictures),
            offset.seconds, seen.received, used, seen.refused + decoding.bad, unmatched,
            judged.not_believed.get(name, 0), error, now - error_s if error else math.nan,
            seen.jitter_s)

    def _state(self, name: str, seen: _Seen, offset: Offset, judged: Judged, now: float,
               ) -> tuple[CameraState, str]:
        decoding = judged.decoding.get(name, Decoding())
        if seen.came_s is None:
            return CameraState.NEVER_SEEN, f'never a picture on {seen.topic}'
        if now - seen.came_s > self._limit_s:
            stamp = f', stamp {seen.pictures[-1][1]:.3f}' if seen.pictures else ''
            return CameraState.SILENT, (f'last picture on {seen.topic} {now - seen.came_s:.1f} s '
                                        f'ago{stamp}')
        if max(seen.refused_in_a_row, seen.lost_in_a_row) >= _IN_A_ROW:
            return CameraState.REFUSED, seen.error
        if decoding.in_a_row >= _IN_A_ROW:
            return CameraState.UNDECODABLE, decoding.text
        timing = self._timing(name, seen, offset, judged, now)
        if timing:
            return CameraState.OUT_OF_TIME, timing
        if name in judged.implausible:
            return CameraState.IMPLAUSIBLE, judged.implausible[name]
        return CameraState.OK, ''

    def _timing(self, name: str, seen: _Seen, offset: Offset, judged: Judged, now: float) -> str:
        """What is wrong with the times of a camera's pictures, '' = nothing."""
        unused = seen.used_s is not None and now - seen.used_s > self._limit_s \
            and seen.unmatched_s is not None and seen.unmatched_s > seen.used_s
        if abs(offset.seconds) > OUT_OF_STEP * seen.period_s:
            side = 'ahead of' if offset.seconds > 0 else 'behind'
            late = ', or its pictures come late' if offset.seconds < 0 else ''
            return (f'{seen.topic}: stamps {abs(offset.seconds):.3f} s {side} those of the other '
                    f"cameras' pictures that arrive with them: its clock is off{late}. "
                    f'Synchronize the clocks of the cameras (PTP, NTP)')
        if not unused:
            return ''
        if judged.late.get(name, 0):
            return (f'{seen.topic}: none of its pictures is used, {judged.late[name]} came after '
                    f'their frame set was made. Look for what delays them, or raise max_wait_s')
        return (f'{seen.topic}: none of its pictures is used, {seen.unmatched} found no pictures '
                f'of other cameras within max_spread_s. Check the stamps of this camera')


def _rate_hz(pictures: deque) -> float:
    """Pictures per second between the first and the last of `pictures`."""
    if len(pictures) < 2 or pictures[-1][0] <= pictures[0][0]:
        return math.nan
    return (len(pictures) - 1) / (pictures[-1][0] - pictures[0][0])


def _jitter_s(arrivals: np.ndarray) -> float:
    """How unevenly pictures arrived [N], s, as `ros2 topic hz` says it; NaN before the third."""
    return math.nan if len(arrivals) < 3 else float(np.std(np.diff(arrivals)))
