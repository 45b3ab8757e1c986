# SPDX-License-Identifier: Apache-2.0
"""Stage times and drop counters."""
from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class StageTime:
    """How long a stage took, in seconds."""

    last_s: float
    mean_s: float
    count: int


class Timings:
    """Wall times of named stages; safe to use from several threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._stages: dict[str, StageTime] = {}

    @contextmanager
    def stage(self, name: str):
        """Time the block as one run of the stage `name`, also when it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Note one run of the stage `name`."""
        with self._lock:
            old = self._stages.get(name, StageTime(0.0, 0.0, 0))
            mean = old.mean_s + (seconds - old.mean_s) / (old.count + 1)
            self._stages[name] = StageTime(seconds, mean, old.count + 1)

    def snapshot(self) -> dict[str, StageTime]:
        """All stages so far."""
        with self._lock:
            return dict(self._stages)


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
def spending():
    """`with spending() as spent: ...; spent().wall_s` is what the block cost."""
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
