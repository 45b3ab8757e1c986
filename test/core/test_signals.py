# SPDX-License-Identifier: Apache-2.0
"""One interrupt is a wish, a later one an order."""
import subprocess
import sys

PROGRAM = """
import os, signal, time
from igs_ros.core import signals
stop = signals.ShutdownFlag()
assert not stop
os.kill(os.getpid(), signal.{first})
os.kill(os.getpid(), signal.{first})
assert stop
signals._APART_S = 0.0
os.kill(os.getpid(), signal.{second})
time.sleep(10)
"""


def ended_with(first, second):
    program = PROGRAM.format(first=first, second=second)
    return subprocess.run([sys.executable, '-c', program], timeout=60).returncode


def test_signals():
    assert ended_with('SIGINT', 'SIGINT') == 1
    assert ended_with('SIGTERM', 'SIGINT') == 1
