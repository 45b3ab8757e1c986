# SPDX-License-Identifier: Apache-2.0
"""Stage times by path, drop counters, and what a block costs.

Code says what it does with `with span('flow'):`. Whoever wants to know installs sinks for its
thread with `spans_to`; spans inside spans get paths, such as 'update/motion/flow'.
"""
from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

_SHARES = np.array([0.5, 0.95, 0.99])
WINDOW = 1000  # newest runs of a stage that its percentiles are about


@dataclass(frozen=True)
class StageTime:
    """How long a stage took, in seconds."""

    count: int  # runs so far
    last_s: float
    mean_s: float  # of all runs
    max_s: float  # of all runs
    p50_s: float  # percentiles of the newest `WINDOW` runs, interpolated linearly
    p95_s: float
    p99_s: float


class _Stage:
    """The runs of one stage, in bounded memory."""

    __slots__ = ('count', 'last', 'mean', 'max', 'ring')

    def __init__(self):
        self.count, self.last, self.mean, self.max = 0, 0.0, 0.0, 0.0
        self.ring = np.zeros(WINDOW)

    def add(self, seconds: float) -> None:
        self.ring[self.count % WINDOW] = self.last = seconds
        self.count += 1
        self.mean += (seconds - self.mean) / self.count
        self.max = max(self.max, seconds)

    def times(self) -> StageTime:
        newest = np.sort(self.ring[:min(self.count, WINDOW)])
        # as np.percentile has it, in a fifth of the time: every status asks for all stages
        p50, p95, p99 = np.interp(_SHARES * (len(newest) - 1), np.arange(len(newest)),
                                  newest).tolist()
        return StageTime(self.count, self.last, self.mean, self.max, p50, p95, p99)


class Timings:
    """Wall times of named stages, in bounded memory; safe to use from several threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._stages: dict[str, _Stage] = {}

    def add(self, name: str, seconds: float) -> None:
        """Note one run of the stage `name`."""
        with self._lock:
            stage = self._stages.get(name)
            if stage is None:
                stage = self._stages[name] = _Stage()
            stage.add(seconds)

    def span(self, path: str, start_s: float, end_s: float) -> None:
        """Note one run; see `Sink`.

        Args:
            path: of the stage, by which it is counted.
            start_s: of the run, s.
            end_s: of the run, s, by the same clock.
        """
        self.add(path, end_s - start_s)

    def last_s(self, name: str) -> float:
        """The newest run of the stage `name`; 0 before the first."""
        with self._lock:
            return self._stages[name].last if name in self._stages else 0.0

    def snapshot(self) -> dict[str, StageTime]:
        """All stages so far."""
        with self._lock:
            return {name: stage.times() for name, stage in self._stages.items()}


class Sink(Protocol):
    """Takes spans."""

    def span(self, path: str, start_s: float, end_s: float) -> None:
        """One run of a stage in this thread.

        Args:
            path: of the stage, such as 'update/motion/flow'.
            start_s: by the clock of `spans_to`, s.
            end_s: by the same clock, s.
        """
        ...


class Recorder:
    """The sinks of one thread, and the spans that it is in; any thread may ask `inside`."""

    __slots__ = ('sinks', 'clock', 'path', '_open')

    def __init__(self, sinks: tuple[Sink, ...], clock: Callable[[], float]):
        self.sinks = sinks
        self.clock = clock
        self.path = ''
        self._open: tuple[tuple[str, float], ...] = ()  # (path, start_s), outermost first

    def enter(self, path: str, start_s: float) -> None:
        """A span began."""
        self.path = path
        self._open += ((path, start_s),)

    def leave(self, outside: str) -> None:
        """The innermost span ended.

        Args:
            outside: the path around it.
        """
        self.path = outside
        self._open = self._open[:-1]

    def inside(self) -> tuple[str, float]:
        """Path of the innermost span, and for how many s the outermost one lasts.

        Outside of all spans: '' and 0.
        """
        spans = self._open  # replaced as a whole, never changed
        return (spans[-1][0], self.clock() - spans[0][1]) if spans else ('', 0.0)


class _Here(threading.local):
    recorder: Recorder | None = None


_here = _Here()


@contextmanager
def spans_to(*sinks: Sink, clock: Callable[[], float] = time.perf_counter) -> Iterator[Recorder]:
    """Within the block, spans of this thread go to `sinks`, and no longer to those outside.

    `as recorder` tells other threads where this one is.

    Args:
        sinks: each takes every span.
        clock: what they are measured by, s; benchmarks count CPU seconds, or wait for the device.
    """
    outside = _here.recorder
    recorder = _here.recorder = Recorder(sinks, clock)
    try:
        yield recorder
    finally:
        _here.recorder = outside


class span:  # noqa: N801 (used as a statement)
    """`with span('flow'):` times the block, however it ends; without sinks it does nothing."""

    __slots__ = ('_name', '_recorder', '_outside', '_start_s')

    def __init__(self, name: str):
        self._name = name

    def __enter__(self) -> None:
        recorder = self._recorder = _here.recorder
        if recorder is not None:
            self._outside = recorder.path
            self._start_s = recorder.clock()
            recorder.enter(f'{self._outside}/{self._name}' if self._outside else self._name,
                           self._start_s)

    def __exit__(self, *_: object) -> None:
        recorder = self._recorder
        if recorder is not None:
            end_s = recorder.clock()
            for sink in recorder.sinks:
                sink.span(recorder.path, self._start_s, end_s)
            recorder.leave(self._outside)


class Drops:
    """Counts what was dropped, by cause; safe to use from several threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, cause: str, count: int = 1) -> None:
        """Count `count` more drops for `cause`."""
        with self._lock:
            self._counts[cause] += count

    def snapshot(self) -> dict[str, int]:
        """Drops so far by cause."""
        with self._lock:
            return dict(self._counts)


@dataclass(frozen=True)
class Spent:
    """What a piece of work cost: wall seconds, and CPU seconds of all threads of the process."""

    wall_s: float
    cpu_s: float


@contextmanager
def spending() -> Iterator[Callable[[], Spent]]:
    """What a block costs, to be asked within it or after it.

    `with spending() as spent: ...`, then `spent().wall_s`.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    result = []

    def spent() -> Spent:
        if result:
            return result[0]
        return Spent(time.perf_counter() - wall, time.process_time() - cpu)
    try:
        yield spent
    finally:
        result.append(spent())
