# SPDX-License-Identifier: Apache-2.0
"""Log lines that would repeat themselves: said once, or once in a while."""
from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Hashable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # NumPy is heavy for who only logs
    from igs_ros.core.timing import Drops


@cache
def log_once(log: logging.Logger, level: int, message: str) -> None:
    """Log `message`, once in the life of this process.

    Args:
        log: where; another log may say the same again.
        level: as in `logging`; another level counts as another message.
        message: the whole line, not a format.
    """
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


_CHOSEN = re.compile(r"""(?<!\w)'(?:[^'\\]|\\.)*'|(?<!\w)"(?:[^"\\]|\\.)*"|[-+.\d]+""")


class ThrottledWarnings:
    """Says once what is wrong with a topic, and again every `every_s` while it stays so.

    Another fault of the same topic is said at once: lines are the same if they differ in nothing
    but numbers and quoted text, which whoever sends them chooses.

    Each complaint is counted in `drops` as 'cause:camera'.

    Args:
        warn: takes one line, such as the warning of a node's logger.
        drops: which counts, also what is not said.
        every_s: between two lines about one fault of one camera, s.
        now: the clock, s; it must not jump.
    """

    def __init__(self, warn: Callable[[str], object], drops: Drops, every_s: float = 10.0,
                 now: Callable[[], float] = time.monotonic):
        self._warn = warn
        self._drops = drops
        self._throttle = Throttle(every_s, now)

    def add(self, cause: str, camera: str, message: str) -> None:
        """Count one bad message of `camera`; log it unless the same was said just before.

        Args:
            cause: of the drop, by which it is counted and held back.
            camera: by name.
            message: the line to log.
        """
        self._drops.add(f'{cause}:{camera}')
        more = self._throttle.take((cause, camera, _CHOSEN.sub('', message)))
        if more is not None:
            self._warn(message + (f' ({more} more like this since)' if more else ''))
