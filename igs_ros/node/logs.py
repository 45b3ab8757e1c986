# SPDX-License-Identifier: Apache-2.0
"""Log lines of the node: those of Python's logging go to ROS."""
from __future__ import annotations

import logging
import traceback
from typing import Protocol


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
    """Passes records of Python's logging on to a ROS logger."""

    def __init__(self, ros_logger: RosLogger):
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
