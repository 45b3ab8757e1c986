# SPDX-License-Identifier: Apache-2.0
"""What machine this is, for results and benchmarks."""
from __future__ import annotations

import os
import platform
import resource
from pathlib import Path


def machine() -> str:
    """Processor and number of cores."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.exists():
        models = [line.split(':', 1)[1].strip() for line in cpuinfo.read_text().splitlines()
                  if line.startswith('model name')]
        name = models[0] if models else name
    return f'{name}, {os.cpu_count()} cores'


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
