# SPDX-License-Identifier: Apache-2.0
"""message_filters' synchronizers in place of our assembler, where that package is installed.

They want every camera in every set (docs/topics.md says what follows from that); they are here
for those who know and trust them.
"""
from __future__ import annotations

import importlib
import threading
from collections import Counter
from collections.abc import Iterable
from statistics import median_low
from types import SimpleNamespace

from igs_ros.core.errors import InputError
from igs_ros.core.frames import Frame, RawFrameSet
from igs_ros.live.assemble import JUMP_S, poses_of
from igs_ros.node.convert import time_message


class FilteredAssembler:
    """The interface of `FrameSetAssembler` on top of message_filters.

    Frame sets come in time order: one that is completed after a newer one is dropped and counted.
    `drops` may be called from any thread.

    Args:
        kind: 'approximate' or 'exact'.
        cameras: names of the rig's cameras.
        max_spread_s: greatest difference of the stamps in one set, s; of 'approximate' only.
        queue: waiting frames per camera.
        jump_s: a stamp further behind its camera's newest one means that the clock was set
            back, s.

    Raises:
        InputError: message_filters is not installed.
    """

    def __init__(self, kind: str, cameras: Iterable[str], max_spread_s: float, queue: int,
                 jump_s: float = JUMP_S):
        try:
            self._library = importlib.import_module('message_filters')
        except ImportError as error:
            raise InputError(
                f"parameter synchronizer is '{kind}', but the Python package message_filters is "
                f'not installed ({error}); expected it beside rclpy. Install '
                f'ros-$ROS_DISTRO-message-filters, or use synchronizer igs.') from error
        self._kind = kind
        self._cameras = tuple(cameras)
        self._queue = queue
        self._spread_s = max_spread_s
        self._jump_ns = round(jump_s * 1e9)
        self._sets: list[RawFrameSet] = []
        self._lock = threading.Lock()  # guards the counters
        self._fed, self._used, self._late = Counter(), Counter(), Counter()
        self.jumps = 0
        self._start()

    def _start(self) -> None:
        self._newest: dict[str, int] = {}
        self._last_ns: int | None = None  # stamp of the newest frame set that was made
        self._filters = {name: self._library.SimpleFilter() for name in self._cameras}
        inputs = list(self._filters.values())
        if self._kind == 'exact':
            joined = self._library.TimeSynchronizer(inputs, self._queue)
        else:
            joined = self._library.ApproximateTimeSynchronizer(inputs, self._queue,
                                                               self._spread_s)
        joined.registerCallback(self._collect)  # holds a lock: nothing but collecting here

    def add(self, frame: Frame) -> list[RawFrameSet]:
        """Take one frame; the frame sets that it completes."""
        if frame.stamp_ns < self._newest.get(frame.camera, frame.stamp_ns) - self._jump_ns:
            self.jumps += 1
            self._start()  # their queues never recover from a clock set back
        self._newest[frame.camera] = frame.stamp_ns
        with self._lock:
            self._fed[frame.camera] += 1
        stamped = SimpleNamespace(header=SimpleNamespace(stamp=time_message(frame.stamp_ns)),
                                  frame=frame)
        self._filters[frame.camera].signalMessage(stamped)
        return self.poll()

    def poll(self) -> list[RawFrameSet]:
        """The frame sets that are ready."""
        ready, self._sets = self._sets, []
        return ready

    def waiting(self) -> dict[str, int]:
        """Nothing: message_filters does not tell."""
        return {}

    def drops(self) -> dict[str, int]:
        """Pictures that were not used, by cause and camera.

        Those not joined (or that still wait) are 'unmatched:camera', those joined too late
        'late:camera'.
        """
        with self._lock:
            unused, late = self._fed - self._used - self._late, Counter(self._late)
        return {f'unmatched:{camera}': count for camera, count in sorted(unused.items())} \
            | {f'late:{camera}': count for camera, count in sorted(late.items())}

    def fates(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """By camera: frames that were used, those that came late, and all that were not used."""
        with self._lock:
            return dict(self._used), dict(self._late), dict(self._fed - self._used)

    def _collect(self, *stamped) -> None:
        frames = [item.frame for item in stamped]
        stamps = sorted(frame.stamp_ns for frame in frames)
        stamp_ns = median_low(stamps)
        in_time = self._last_ns is None or stamp_ns > self._last_ns
        with self._lock:
            (self._used if in_time else self._late).update(frame.camera for frame in frames)
        if in_time:
            self._last_ns = stamp_ns
            self._sets.append(RawFrameSet(stamp_ns, {f.camera: f.picture for f in frames}, (),
                                          stamps[-1] - stamps[0], poses=poses_of(frames)))
