# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM as a wish, in place of rclpy's handlers.

Those end the middleware at once, while our threads still publish.
"""
from __future__ import annotations

import os
import signal
import time

_APART_S = 1.0  # Ctrl-C under ros2 launch may arrive twice


class StopWish:
    """Takes SIGINT and SIGTERM from now on; a second one, a while later, ends the process."""

    def __init__(self):
        self._first_s: float | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take)

    def __bool__(self) -> bool:
        """Whether the process was asked to stop."""
        return self._first_s is not None

    def _take(self, *_) -> None:
        now = time.monotonic()
        if self._first_s is None:
            self._first_s = now
        elif now - self._first_s > _APART_S:
            os._exit(1)
