# SPDX-License-Identifier: Apache-2.0
"""What machine this is, for results and benchmarks."""
from __future__ import annotations

import ctypes
import logging
import os
import platform
import resource
import sys
import threading
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)
_M_ARENA_MAX = -8  # of malloc.h
_ARENAS = 2
_SWITCH_S = 5e-4
_NICE = 5  # of threads that yield: enough for others to come first, too little to starve


def machine() -> str:
    """Processor and number of cores."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.exists():
        models = [line.split(':', 1)[1].strip() for line in cpuinfo.read_text().splitlines()
                  if line.startswith('model name')]
        name = models[0] if models else name
    return f'{name}, {os.cpu_count()} cores'


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') \
        else os.cpu_count() or 1


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rss_mb() -> float:
    """Resident memory of this process now, MB; NaN where /proc does not tell."""
    try:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return float('nan')
    return pages * resource.getpagesize() / 2 ** 20


class _Mallinfo2(ctypes.Structure):
    """`struct mallinfo2` of glibc (mallinfo(3)), bytes."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        'arena', 'ordblks', 'smblks', 'hblks', 'hblkhd', 'usmblks', 'fsmblks', 'uordblks',
        'fordblks', 'keepcost')]


@cache
def _libc() -> ctypes.CDLL | None:
    """The C library, None where it is not glibc 2.33 or newer, which is logged for debugging."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallinfo2.restype = _Mallinfo2
    except (OSError, AttributeError, TypeError) as error:
        log.debug('no glibc 2.33 or newer (%s): what malloc holds free is left to it', error)
        return None
    return libc


def heap_mb() -> tuple[float, float]:
    """What `malloc` has handed out, and what it holds free for later, MB; NaN without glibc."""
    libc = _libc()
    if libc is None:
        return float('nan'), float('nan')
    heap = libc.mallinfo2()
    return (heap.uordblks + heap.hblkhd) / 2 ** 20, heap.fordblks / 2 ** 20


def tune_process() -> None:
    """Settings of the whole process that a reconstruction does well with; for entry points.

    One torch thread: small tensors gain nothing by more, which only fight with the rasterizer's
    own pool; scenes depend on it in their last bits. Python's lock changes hands after 0.5 ms
    instead of 5: views need not wait for motion. Few heaps, see `steady_heap`.
    """
    import torch  # seconds to load: not for `igs --help`
    torch.set_num_threads(1)
    sys.setswitchinterval(_SWITCH_S)
    steady_heap()


def steady_heap() -> None:
    """Have malloc serve all threads from few heaps; for entry points, before they start threads.

    Else each thread has a heap of its own, and arrays that one thread makes and another gives up
    leave holes in all of them. MALLOC_ARENA_MAX of the environment wins.
    """
    libc = _libc()
    if libc is not None and 'MALLOC_ARENA_MAX' not in os.environ:
        libc.mallopt(_M_ARENA_MAX, _ARENAS)


def trim_heap() -> None:
    """Give pages that malloc holds free back to the system; it holds up allocations meanwhile."""
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)


def gpu_mb() -> float:
    """GPU memory that torch holds for this process, MB; 0 where it uses none."""
    import torch
    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        return 0.0
    return torch.cuda.memory_reserved() / 2 ** 20


def yield_to_others() -> None:
    """Lower the priority of this thread, and of those that it starts, where the system can."""
    if hasattr(os, 'setpriority') and platform.system() == 'Linux':  # there, threads have one
        thread = threading.get_native_id()
        nice = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(19, nice + _NICE))
