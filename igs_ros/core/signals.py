# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM: as a wish to stop soon, or both as KeyboardInterrupt.

rclpy's own handlers would end the middleware at once, while our threads still publish.
"""
from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

_APART_S = 1.0  # Ctrl-C under ros2 launch may arrive twice


class ShutdownFlag:
    """Takes SIGINT and SIGTERM from now on; a second one, a while later, ends the process.

    As a context manager, it gives them back at the end.
    """

    def __init__(self):
        self._first_s: float | None = None
        self._before = {number: signal.signal(number, self._take)
                        for number in (signal.SIGINT, signal.SIGTERM)}

    def __enter__(self) -> ShutdownFlag:
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        """Whether the process was asked to stop."""
        return self._first_s is not None

    def _take(self, *_) -> None:
        now = time.monotonic()
        if self._first_s is None:
            self._first_s = now
        elif now - self._first_s > _APART_S:
            os._exit(1)


@contextmanager
def interrupts() -> Iterator[None]:
    """Within the block, SIGTERM interrupts as SIGINT does; then all is as before.

    Raises:
        KeyboardInterrupt: in the main thread, when one of them comes.
    """
    def raise_it(*_) -> None:
        raise KeyboardInterrupt
    before = {signal.SIGINT: signal.getsignal(signal.SIGINT),
              signal.SIGTERM: signal.signal(signal.SIGTERM, raise_it)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
