# SPDX-License-Identifier: Apache-2.0
"""No thread dies unnoticed."""
import pytest

from igs_ros.live.loop import Loop
from igs_ros.live.worker import Worker


@pytest.mark.parametrize('error', [SystemExit(3), KeyboardInterrupt(), MemoryError(),
                                   RecursionError('deep')])
def test_whatever_ends_a_thread_is_logged_with_its_traceback(error, caplog):
    def fails():
        raise error
    worker = Worker('motion', fails)
    worker.start()
    worker.join()
    assert worker.died_of == repr(error)
    assert "thread 'motion' has died, restart the node" in caplog.text
    assert 'in fails' in caplog.text  # its traceback


def test_a_thread_that_ends_by_itself_has_not_died():
    worker = Worker('motion', lambda: None)
    worker.start()
    worker.join()
    assert worker.died_of == ''


def test_a_loop_dies_of_what_is_no_exception(caplog):
    def turn():
        raise SystemExit(3)
    loop = Loop('view', turn, lambda error: None)
    assert loop.died_of == ''
    loop.start()
    loop._thread.join()
    assert (loop.name, loop.died_of) == ('view', 'SystemExit(3)')
    loop.stop()


def test_a_loop_survives_exceptions_but_not_those_of_its_error_handler(caplog):
    def handler(error):
        raise error
    loop = Loop('state', lambda: 1 / 0, handler)
    loop.start()
    loop._thread.join()
    assert 'ZeroDivisionError' in loop.died_of
