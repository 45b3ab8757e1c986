# SPDX-License-Identifier: Apache-2.0
"""Log lines of the node: those of the core go to ROS, repeated ones are held back."""
from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable

from igs_ros.core.timing import Drops


def with_traceback(what: str, error: Exception) -> str:
    """A log text about an unexpected error: `what`, then where it came from."""
    return f'{what}: {error!r}\n' + ''.join(traceback.format_exception(error)).rstrip()


class RosHandler(logging.Handler):
    """Passes records of Python's logging on to a ROS logger."""

    def __init__(self, ros_logger):
        super().__init__(logging.INFO)
        self._ros = ros_logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record."""
        text = self.format(record)
        # one call each: rclpy wants one severity for one line of code
        if record.levelno >= logging.ERROR:
            self._ros.error(text)
        elif record.levelno >= logging.WARNING:
            self._ros.warning(text)
        else:
            self._ros.info(text)


class ThrottledWarnings:
    """Says once what is wrong with a topic, and again every `every_s` while it stays so.

    Each complaint is counted in `drops` as 'cause:camera'.
    """

    def __init__(self, warn: Callable[[str], None], drops: Drops, every_s: float = 10.0,
                 now: Callable[[], float] = time.monotonic):
        self._warn = warn
        self._drops = drops
        self._every_s = every_s
        self._now = now
        self._said: dict[tuple[str, str], float] = {}
        self._held_back: dict[tuple[str, str], int] = {}

    def add(self, cause: str, camera: str, message: str) -> None:
        """Count one bad message of `camera`; log it unless the same was said just before."""
        self._drops.add(f'{cause}:{camera}')
        key, now = (cause, camera), self._now()
        if key in self._said and now - self._said[key] < self._every_s:
            self._held_back[key] = self._held_back.get(key, 0) + 1
            return
        more = self._held_back.pop(key, 0)
        self._said[key] = now
        self._warn(message + (f' ({more} more like this since)' if more else ''))
