# SPDX-License-Identifier: Apache-2.0
"""What comes round regularly while a scene is kept.

A log line every ten seconds, and memory that malloc holds free is given back every minute.
"""
from __future__ import annotations

import logging
import time
from collections.abc import Callable

from igs_ros.core.machine import trim_heap
from igs_ros.core.status import State, Status
from igs_ros.live.threads import PeriodicThread

log = logging.getLogger(__name__)
EVERY_S = 10.0
ROUNDS_PER_TRIM = 6


class Heartbeat:
    """Logs what happened since the last line, while the scene streams, and trims the heap.

    `thread` is its thread.
    """

    def __init__(self, status: Callable[[], Status]):
        self._status = status
        self._before, self._before_s = Status(), time.monotonic()
        self._rounds = 0
        self.thread = PeriodicThread('heartbeat', self._round,
                                     lambda error: log.error('no figures to log: %r', error))

    def _round(self) -> float:
        self._rounds += 1
        if self._rounds == 1:  # a loop begins at once; there is nothing to say yet
            return EVERY_S
        if self._rounds % ROUNDS_PER_TRIM == 0:
            trim_heap()
        status, now_s = self._status(), time.monotonic()
        if status.state == State.STREAMING:
            log.info('%s', line(self._before, status, now_s - self._before_s))
        self._before, self._before_s = status, now_s
        return EVERY_S


def line(before: Status, now: Status, seconds: float) -> str:
    """What happened between two statuses; percentiles are of the newest runs.

    Args:
        before: the status at the beginning.
        now: the status at the end.
        seconds: from `before` to `now`.
    """
    updates = (now.frame_sets_processed - before.frame_sets_processed) / seconds
    parts = [f'{updates:.1f} updates/s']
    for path, name in (('age', 'age'), ('update/motion', 'motion'), ('refine', 'refine'),
                       ('view', 'view')):
        if path in now.stages:
            stage = now.stages[path]
            parts.append(f'{name} {_time(stage.p50_s)} / {_time(stage.p95_s)} / '
                         f'{_time(stage.p99_s)}')
    keys = now.keys_refined - before.keys_refined
    discarded = now.refinements_discarded - before.refinements_discarded
    parts.append(f'{keys} keys' + (f' ({discarded} discarded)' if discarded else ''))
    if now.polished > before.polished:
        parts.append(f'{now.polished - before.polished} polishes')
    parts.append(f'{now.gaussians} Gaussians')
    parts.append(now.reduced or 'full effort')
    drops = {cause: count - before.drops.get(cause, 0) for cause, count in now.drops.items()}
    lost = ', '.join(f'{cause} {count}' for cause, count in drops.items() if count)
    parts.append(f'dropped: {lost or "nothing"}')
    gpu = f' + GPU {now.gpu_mb:.0f} MB' if now.gpu_mb else ''
    return ', '.join(parts) + f', {now.rss_mb:.0f} MB{gpu} (p50 / p95 / p99)'


def _time(seconds: float) -> str:
    return f'{seconds:.2f} s' if abs(seconds) >= 1 else f'{1000 * seconds:.0f} ms'
