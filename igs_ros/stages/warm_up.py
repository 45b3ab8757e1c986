# SPDX-License-Identifier: Apache-2.0
"""Every compiled kernel of the pipeline, before a frame waits for one.

`python -m igs_ros.stages.warm_up` compiles them; the set-up calls it.
"""
from __future__ import annotations

import sys
import time
from collections.abc import Callable

from igs_ros.core.jit import COMPILING, on_compiling
from igs_ros.render import loss
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.stages.motion import lift
from igs_ros.vision import neighbors_host as host
from igs_ros.vision import stereo

Progress = Callable[[str, float], None]
"""Gets a stage, and which share of it is done, 0..1."""


def warm_up(rasterizer: Rasterizer, progress: Progress = lambda stage, done: None) -> None:
    """Load every kernel that a line with `rasterizer` can use; what is not compiled yet, is.

    Some 30 CPU s to compile, 1 to load. An error of `progress` ends the work.
    """
    parts = [rasterizer.warm_up, stereo.warm_up, lift.warm_up, host.warm_up]
    if rasterizer.device.type == 'cpu':
        parts.append(loss.warm_up)
    for number, part in enumerate(parts):
        done = number / len(parts)
        progress('loading kernels', done)
        with on_compiling(lambda done=done: progress(COMPILING, done)):
            part()


def main() -> int:
    """Compile what is not compiled of a CPU's kernels, and say how long it took."""
    begun_s, compiled = time.perf_counter(), []

    def tell():
        if not compiled:
            print(f'igs_ros: {COMPILING}', file=sys.stderr)
        compiled.append(True)
    with on_compiling(tell):
        warm_up(CpuRasterizer(1))
    done = 'compiled' if compiled else 'are compiled already: loaded'
    print(f'igs_ros: kernels {done} in {time.perf_counter() - begun_s:.0f} s', file=sys.stderr)
    return 0


if __name__ == '__main__':
    sys.exit(main())
