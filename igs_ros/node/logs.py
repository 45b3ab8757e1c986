# SPDX-License-Identifier: Apache-2.0
"""Log lines of the node: those of Python's logging go to ROS."""
from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

_CORE = logging.getLogger('igs_ros')
_owner: ContextVar[RosHandler | None] = ContextVar('igs_ros_log', default=None)


def with_traceback(what: str, error: Exception) -> str:
    """A log text about an unexpected error: `what`, then where it came from."""
    return f'{what}: {error!r}\n' + ''.join(traceback.format_exception(error)).rstrip()


class RosLogger(Protocol):
    """What is used of rclpy's logger."""

    def error(self, message: str) -> object:
        """Log an error."""
        ...

    def warning(self, message: str) -> object:
        """Log a warning."""
        ...

    def info(self, message: str) -> object:
        """Log what is worth knowing."""
        ...


class RosHandler(logging.Handler):
    """Passes records of Python's logging on to a ROS logger.

    Where several nodes share a process, each has its own: lines of threads that were made while
    one was `owning` go to that one alone, all others to all.
    """

    def __init__(self, ros_logger: RosLogger):
        super().__init__(logging.INFO)
        self._ros = ros_logger

    def attach(self) -> None:
        """Take the log of the core, from now on."""
        _CORE.setLevel(logging.INFO)
        _CORE.addHandler(self)
        _CORE.propagate = False  # or Python prints the lines a second time

    def detach(self) -> None:
        """Leave it to others."""
        _CORE.removeHandler(self)
        _CORE.propagate = not any(isinstance(one, RosHandler) for one in _CORE.handlers)

    @contextmanager
    def owning(self) -> Iterator[None]:
        """Threads that are made in this block log here."""
        token = _owner.set(self)
        try:
            yield
        finally:
            _owner.reset(token)

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record."""
        if _owner.get() not in (None, self):
            return
        text = self.format(record)
        # one call each: rclpy wants one severity for one line of code
        if record.levelno >= logging.ERROR:
            self._ros.error(text)
        elif record.levelno >= logging.WARNING:
            self._ros.warning(text)
        else:
            self._ros.info(text)
