# SPDX-License-Identifier: Apache-2.0
"""A trace of what every thread did when, as viewers read it (Perfetto, chrome://tracing).

The file is the Trace Event Format as JSON: complete events ('X') for spans, counters ('C'), names
of threads ('M'), times in microseconds.
https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""
from __future__ import annotations

import json
import math
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from igs_ros.core.files import replaced

EVENTS = 200_000  # kept at most, newest: some 30 MB in memory and in the file


class Trace:
    """Collects spans and gauges of all threads; a `igs_ros.core.timing.Sink`."""

    def __init__(self, events: int = EVENTS):
        self._origin_s = time.perf_counter()
        self._lock = threading.Lock()
        self._events: deque[tuple] = deque(maxlen=events)
        self._left_out = 0
        self._threads: dict[int, str] = {}

    def span(self, path: str, start_s: float, end_s: float) -> None:
        """One run of a stage in this thread.

        Args:
            path: of the stage, such as 'update/motion/flow'.
            start_s: by `time.perf_counter`, s.
            end_s: by the same clock, s.
        """
        self._add(('X', path, start_s, end_s - start_s))

    def gauge(self, name: str, values: Mapping[str, float]) -> None:
        """What some numbers are now, NaN = unknown; a viewer draws those of one name together."""
        known = {key: float(value) for key, value in values.items() if math.isfinite(value)}
        self._add(('C', name, time.perf_counter(), known))

    def _add(self, event: tuple) -> None:
        thread = threading.current_thread()
        ident = threading.get_native_id()
        with self._lock:
            self._threads[ident] = thread.name
            self._left_out += len(self._events) == self._events.maxlen
            self._events.append((*event, ident))

    def write(self, path: str | Path) -> None:
        """Write the newest events.

        `otherData.events_left_out` says how many older ones are not in the file.

        Raises:
            OutputError: the file cannot be written.
        """
        with self._lock:
            events, threads, left_out = list(self._events), dict(self._threads), self._left_out
        pid = os.getpid()
        rows = [{'ph': 'M', 'name': 'process_name', 'pid': pid, 'args': {'name': 'igs'}}]
        rows += [{'ph': 'M', 'name': 'thread_name', 'pid': pid, 'tid': ident,
                  'args': {'name': name}} for ident, name in threads.items()]
        rows += [self._row(pid, *event) for event in events]
        content = {'traceEvents': rows, 'displayTimeUnit': 'ms',
                   'otherData': {'events_left_out': left_out}}
        with replaced(Path(path)) as draft:
            draft.write_text(json.dumps(content), encoding='utf-8')

    def _row(self, pid: int, kind: str, name: str, start_s: float, value, ident: int) -> dict:
        row = {'ph': kind, 'name': name, 'pid': pid, 'tid': ident,
               'ts': round((start_s - self._origin_s) * 1e6, 1)}
        if kind == 'C':
            return {**row, 'args': value}
        *_, short = name.split('/')
        return {**row, 'name': short, 'cat': name.split('/')[0], 'dur': round(value * 1e6, 1),
                'args': {'path': name}}
