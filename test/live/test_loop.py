# SPDX-License-Identifier: Apache-2.0
"""The worker thread: regular, prompt, and not to be killed by an error."""
import threading
import time

from igs_ros.live.loop import Loop


def test_turns_come_regularly_and_at_once_when_woken():
    turns = threading.Semaphore(0)

    def turn():
        turns.release()
        return 60.0
    loop = Loop('test', turn, lambda error: None)
    loop.start()
    assert turns.acquire(timeout=5)
    assert not turns.acquire(timeout=0.1)
    loop.wake()
    assert turns.acquire(timeout=5)
    start = time.monotonic()
    loop.stop()
    assert time.monotonic() - start < 5


def test_an_error_costs_one_turn():
    errors, done = [], threading.Event()

    def turn():
        if not errors:
            raise ZeroDivisionError('once')
        done.set()
        return 60.0
    loop = Loop('test', turn, errors.append)
    loop.start()
    assert done.wait(5)
    loop.stop()
    assert [str(error) for error in errors] == ['once']


def test_a_loop_that_never_started_can_be_stopped():
    Loop('test', lambda: 1.0, print).stop()


def test_the_period_counts_from_turn_to_turn_not_from_the_end_of_one():
    """Turns of 50 ms at 10 Hz come every 100 ms; a pause after each would make it 150 ms."""
    starts, done = [], threading.Event()

    def turn():
        starts.append(time.monotonic())
        time.sleep(0.05)
        if len(starts) == 11:
            done.set()
        return 0.1
    loop = Loop('test', turn, lambda error: None)
    loop.start()
    assert done.wait(10)
    loop.stop()
    assert starts[10] - starts[0] < 1.45  # 1.5 at least with a pause after each turn


def test_turns_that_were_missed_are_not_made_up_for():
    starts, done = [], threading.Event()

    def turn():
        starts.append(time.monotonic())
        if len(starts) == 1:
            time.sleep(0.5)  # five periods
        if len(starts) == 4:
            done.set()
        return 0.1
    loop = Loop('test', turn, lambda error: None)
    loop.start()
    assert done.wait(10)
    loop.stop()
    assert starts[3] - starts[1] > 0.15
