# SPDX-License-Identifier: Apache-2.0
"""Threads: regular, prompt, not to be killed by an error; none dies unnoticed."""
import threading
from types import SimpleNamespace

import pytest
from running import PATIENCE_S

from igs_ros.live import threads as live_threads
from igs_ros.live.threads import PeriodicThread, WatchedThread, next_due_s


def test_turns_come_regularly_and_at_once_when_woken():
    turns = threading.Semaphore(0)

    def turn():
        turns.release()
        return 60.0
    loop = PeriodicThread('test', turn, lambda error: None)
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
    loop = PeriodicThread('test', turn, errors.append)
    loop.start()
    assert done.wait(PATIENCE_S)
    loop.stop()
    assert [str(error) for error in errors] == ['once']


def test_a_loop_that_never_started_can_be_stopped():
    PeriodicThread('test', lambda: 1.0, print).stop()


def test_the_period_counts_from_turn_to_turn_not_from_the_end_of_one():
    """A turn of 50 ms at 10 Hz: the next one is due 100 ms after this one was."""
    assert next_due_s(7.0, 0.1, 7.05) == pytest.approx(7.1)


def test_turns_that_were_missed_are_not_made_up_for():
    assert next_due_s(7.0, 0.1, 7.5) == 7.5


def test_a_loop_keeps_its_period(monkeypatch):
    """On a clock of the test: turns of 50 ms and one of 350 ms, at 10 Hz."""
    clock = Clock(turns=(0.05, 0.05, 0.35, 0.05, 0.05))
    monkeypatch.setattr(live_threads, 'time', SimpleNamespace(monotonic=lambda: clock.now_s))
    loop = PeriodicThread('test', clock.turn, lambda error: None)
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


@pytest.mark.parametrize('error', [SystemExit(3), KeyboardInterrupt(), MemoryError(),
                                   RecursionError('deep')])
def test_whatever_ends_a_thread_is_logged_with_its_traceback(error, caplog):
    def fails():
        raise error
    worker = WatchedThread('motion', fails)
    worker.start()
    worker.join()
    assert worker.died_of == repr(error)
    assert "thread 'motion' has died, restart the node" in caplog.text
    assert 'in fails' in caplog.text  # its traceback


def test_a_thread_that_ends_by_itself_has_not_died():
    worker = WatchedThread('motion', lambda: None)
    worker.start()
    worker.join()
    assert worker.died_of == ''


def test_a_loop_dies_of_what_is_no_exception(caplog):
    def turn():
        raise SystemExit(3)
    loop = PeriodicThread('view', turn, lambda error: None)
    assert loop.died_of == ''
    loop.start()
    loop._thread.join()
    assert (loop.name, loop.died_of) == ('view', 'SystemExit(3)')
    loop.stop()


def test_a_loop_survives_exceptions_but_not_those_of_its_error_handler(caplog):
    def handler(error):
        raise error
    loop = PeriodicThread('state', lambda: 1 / 0, handler)
    loop.start()
    loop._thread.join()
    assert 'ZeroDivisionError' in loop.died_of
