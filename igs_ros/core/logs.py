# SPDX-License-Identifier: Apache-2.0
"""Log lines that would repeat themselves: said once, or once in a while."""
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # NumPy is heavy for who only logs
    from igs_ros.core.timing import Drops


@cache
def log_once(log: logging.Logger, level: int, message: str) -> None:
    """Log `message`, once in the life of this process."""
    log.log(level, '%s', message)


class Throttle:
    """Lets each key through once, and again every `every_s`; safe to use from several threads."""

    def __init__(self, every_s: float, now: Callable[[], float] = time.monotonic):
        self._every_s = every_s
        self._now = now
        self._lock = threading.Lock()
        self._let_through_s: dict[Hashable, float] = {}
        self._held_back: dict[Hashable, int] = {}

    def take(self, key: Hashable) -> int | None:
        """How many of `key` were held back since the last one; None = hold this one back, too."""
        with self._lock:
            now = self._now()
            if key in self._let_through_s and now - self._let_through_s[key] < self._every_s:
                self._held_back[key] = self._held_back.get(key, 0) + 1
                return None
            # what has long been silent is forgotten: keys may be made of the text of errors
            self._let_through_s = {
                old: at for old, at in self._let_through_s.items()
                if now - at < self._every_s or old in self._held_back} | {key: now}
            return self._held_back.pop(key, 0)


class ThrottledWarnings:
    """Says once what is wrong with a topic, and again every `every_s` while it stays so.

    Each complaint is counted in `drops` as 'cause:camera'.
    """

    def __init__(self, warn: Callable[[str], object], drops: Drops, every_s: float = 10.0,
                 now: Callable[[], float] = time.monotonic):
        self._warn = warn
        self._drops = drops
        self._throttle = Throttle(every_s, now)

    def add(self, cause: str, camera: str, message: str) -> None:
        """Count one bad message of `camera`; log it unless the same was said just before."""
        self._drops.add(f'{cause}:{camera}')
        more = self._throttle.take((cause, camera))
        if more is not None:
            self._warn(message + (f' ({more} more like this since)' if more else ''))
