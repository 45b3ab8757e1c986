# SPDX-License-Identifier: Apache-2.0
"""What malloc holds, on glibc: seen by the process itself, in one of its own for each test."""
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from igs_ros.core.machine import heap_mb

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(math.isnan(heap_mb()[0]), reason='needs glibc 2.33 or newer')

HOLES = """
import numpy as np
from igs_ros.core.machine import heap_mb, rss_mb, trim_heap
kept = [np.ones(7000) for _ in range(4000)]  # 56 kB each, too small for pages of their own
used, free = heap_mb()
del kept[1::2]
used_later, free_later = heap_mb()
assert 100 < used - used_later < 115, (used, used_later)
assert 100 < free_later - free < 115, (free, free_later)
before = rss_mb()
trim_heap()
assert 90 < before - rss_mb() < 120, (before, rss_mb())
assert sum(array[0] for array in kept) == len(kept)
"""

HEAPS = """
import ctypes, sys, tempfile, threading
from igs_ros.core.machine import steady_heap
if 'steady' in sys.argv:
    steady_heap()
gate = threading.Barrier(6)
def work():
    kept = []
    gate.wait()
    for _ in range(2000):
        kept.append(bytes(3000))  # beyond what Python keeps for itself
    gate.wait()
threads = [threading.Thread(target=work) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b'w'))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(file.read().count(b'<heap nr='))
"""


def output(program, *arguments, **environment):
    done = subprocess.run([sys.executable, '-c', program, *arguments], text=True, timeout=300,
                          capture_output=True, cwd=ROOT, env={
                              **os.environ, 'PYTHONPATH': str(ROOT), **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_holes_are_counted_and_given_back():
    output(HOLES)


def test_few_heaps_serve_all_threads():
    free = int(output(HEAPS, MALLOC_ARENA_MAX='6'))
    assert int(output(HEAPS, 'steady')) == 2 < free
    assert int(output(HEAPS, 'steady', MALLOC_ARENA_MAX='6')) == free, 'the environment wins'
