# SPDX-License-Identifier: Apache-2.0
"""Threads whose death is noticed: one for long work, one that does something regularly."""
from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)
_AFTER_ERROR_S = 1.0


class WatchedThread(threading.Thread):
    """Runs `work`; whatever ends it, SystemExit included, is logged with its traceback.

    It has the context variables of whoever made it, as a task of asyncio has.
    """

    def __init__(self, name: str, work: Callable[[], None]):
        super().__init__(name=name)
        self._work = work
        self._context = contextvars.copy_context()
        self.died_of = ''  # '' = it has not died

    def run(self) -> None:
        """Called in the thread."""
        try:
            self._context.run(self._work)
        except BaseException as error:
            self.died_of = repr(error)
            log.critical("thread '%s' has died, restart the node: %r", self.name, error,
                         exc_info=True)


class PeriodicThread:
    """Calls `run_once` in a thread of its own, until stopped; `wake` makes it come now.

    It may be started again once it is stopped.

    Args:
        name: of the thread.
        run_once: returns the period in s: from when it was due until it is due again, however
            long it took (at once if it took longer).
        on_error: gets an unexpected error, which costs one round, never the thread. What is no
            `Exception` (SystemExit, say) ends it all the same: `died_of` then says so.
    """

    def __init__(self, name: str, run_once: Callable[[], float],
                 on_error: Callable[[Exception], object]):
        self._run_once = run_once
        self._on_error = on_error
        self._wanted = threading.Event()
        self._stopping = False
        self._thread = WatchedThread(name, self._run)

    @property
    def name(self) -> str:
        """Name of the thread."""
        return self._thread.name

    @property
    def died_of(self) -> str:
        """What the thread died of, '' = it has not."""
        return self._thread.died_of

    def start(self) -> None:
        """Start the thread."""
        if self._thread.ident is not None:
            self._thread = WatchedThread(self.name, self._run)
        self._stopping = False
        self._thread.start()

    def wake(self) -> None:
        """Take the next round now; never blocks."""
        self._wanted.set()

    def stop(self) -> None:
        """Stop after the round in hand and wait for it."""
        self._stopping = True
        self._wanted.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._stopping:
            self._wanted.wait(max(0.0, due_s - time.monotonic()))
            self._wanted.clear()
            if self._stopping:
                return
            begun_s = min(due_s, time.monotonic())  # earlier than due when woken
            try:
                period_s = self._run_once()
            except Exception as error:
                self._on_error(error)
                period_s = _AFTER_ERROR_S
            due_s = next_due_s(begun_s, period_s, time.monotonic())


def next_due_s(begun_s: float, period_s: float, now_s: float) -> float:
    """When the next round is due, on the clock of `begun_s` and `now_s`.

    The period counts from round to round, not from the end of one; rounds that were missed are not
    made up for.

    Args:
        begun_s: when this round was due, or came if it was woken.
        period_s: from one round to the next.
        now_s: when it has ended.
    """
    return max(begun_s + period_s, now_s)
