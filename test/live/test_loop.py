# SPDX-License-Identifier: Apache-2.0
"""The worker thread: regular, prompt, and not to be killed by an error."""
import threading
from types import SimpleNamespace

import pytest
from running import PATIENCE_S

from igs_ros.live import loop as live_loop
from igs_ros.live.loop import Loop, next_due_s


def test_turns_come_regularly_and_at_once_when_woken():
    turns = threading.Semaphore(0)

    def turn():
        turns.release()
        return 60.0
    loop = Loop('test', turn, lambda error: None)
    loop.start()
    assert turns.acquire(timeout=PATIENCE_S)
    assert not turns.acquire(timeout=0.1)
    loop.wake()
    assert turns.acquire(timeout=PATIENCE_S)
    loop.stop()  # in the middle of a minute's rest
    assert not loop._thread.is_alive()


def test_an_error_costs_one_turn():
    errors, done = [], threading.Event()

    def turn():
        if not errors:
            raise ZeroDivisionError('once')
        done.set()
        return 60.0
    loop = Loop('test', turn, errors.append)
    loop.start()
    assert done.wait(PATIENCE_S)
    loop.stop()
    assert [str(error) for error in errors] == ['once']


def test_a_loop_that_never_started_can_be_stopped():
    Loop('test', lambda: 1.0, print).stop()


def test_the_period_counts_from_turn_to_turn_not_from_the_end_of_one():
    """A turn of 50 ms at 10 Hz: the next one is due 100 ms after this one was."""
    assert next_due_s(7.0, 0.1, 7.05) == pytest.approx(7.1)


def test_turns_that_were_missed_are_not_made_up_for():
    assert next_due_s(7.0, 0.1, 7.5) == 7.5


def test_a_loop_keeps_its_period(monkeypatch):
    """On a clock of the test: turns of 50 ms and one of 350 ms, at 10 Hz."""
    clock = Clock(turns=(0.05, 0.05, 0.35, 0.05, 0.05))
    monkeypatch.setattr(live_loop, 'time', SimpleNamespace(monotonic=lambda: clock.now_s))
    loop = Loop('test', clock.turn, lambda error: None)
    loop._wanted = clock
    clock.loop = loop
    loop._run()
    assert clock.starts == pytest.approx([0.0, 0.1, 0.2, 0.55, 0.65])


class Clock:
    """Time that passes in turns and in waiting for the next one, in place of the loop's event."""

    def __init__(self, turns):
        self.now_s, self.starts, self._turns = 0.0, [], list(turns)

    def turn(self):
        self.starts.append(self.now_s)
        self.now_s += self._turns.pop(0)
        if not self._turns:
            self.loop._stopping = True
        return 0.1

    def wait(self, seconds):
        self.now_s += seconds

    def clear(self):
        pass
