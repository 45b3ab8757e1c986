# SPDX-License-Identifier: Apache-2.0
"""A thread whose death is noticed."""
from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Worker(threading.Thread):
    """Runs `work`; whatever ends it, SystemExit included, is logged with its traceback."""

    def __init__(self, name: str, work: Callable[[], None]):
        super().__init__(name=name)
        self._work = work
        self.died_of = ''  # '' = it has not died

    def run(self) -> None:
        """Called in the thread."""
        try:
            self._work()
        except BaseException as error:
            self.died_of = repr(error)
            log.critical("thread '%s' has died, restart the node: %r", self.name, error,
                         exc_info=True)
