# SPDX-License-Identifier: Apache-2.0
"""A thread that does something regularly, or at once when told."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable

from igs_ros.live.worker import Worker

_AFTER_ERROR_S = 1.0


class Loop:
    """Calls `turn` in a thread of its own, until stopped.

    `turn` returns the period in s: from when it was due until it is due again, however long it
    took (at once if it took longer). `wake` makes it come now. An unexpected error is handed to
    `on_error` and costs one turn, never the thread. What is no `Exception` (SystemExit, say) ends
    it all the same: `died_of` then says so.
    """

    def __init__(self, name: str, turn: Callable[[], float],
                 on_error: Callable[[Exception], None]):
        self._turn = turn
        self._on_error = on_error
        self._wanted = threading.Event()
        self._stopping = False
        self._thread = Worker(name, self._run)

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
        self._thread.start()

    def wake(self) -> None:
        """Take the next turn now; never blocks."""
        self._wanted.set()

    def stop(self) -> None:
        """Stop after the turn in hand and wait for it."""
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
                period_s = self._turn()
            except Exception as error:
                self._on_error(error)
                period_s = _AFTER_ERROR_S
            due_s = next_due_s(begun_s, period_s, time.monotonic())


def next_due_s(begun_s: float, period_s: float, now_s: float) -> float:
    """When the next turn is due; begun_s: when this one was due, or came if it was woken.

    The period counts from turn to turn, not from the end of one; turns that were missed are not
    made up for.
    """
    return max(begun_s + period_s, now_s)
