# SPDX-License-Identifier: Apache-2.0
"""Nothing is left to compile when the scene streams."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from igs_ros.core.errors import Cancelled
from igs_ros.core.jit import COMPILING
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.stages.warm_up import warm_up

ROOT = Path(__file__).resolve().parents[2]
LINE = """
import gc, json, sys
from pathlib import Path
from numba.core.dispatcher import Dispatcher
from igs_ros.apps.cli.options import SceneOptions
from igs_ros.apps.evaluation.offline import Request, run
from igs_ros.core.jit import COMPILING
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.stages.warm_up import warm_up

def known():
    kernels = [thing for thing in gc.get_objects() if isinstance(thing, Dispatcher)]
    return {f'{kernel.py_func.__module__}.{kernel.py_func.__name__} {signature}'
            for kernel in kernels if kernel.py_func.__module__.startswith('igs_ros.')
            for signature in kernel.signatures}

warm_up(CpuRasterizer(1))
before = known()
for live, settings in ((False, ('refine.polish_iterations=2', 'bootstrap.method=images')),
                       (False, ('motion=geometric', 'motion_model.adjust_iterations=0')),
                       (True, ())):
    few = SceneOptions(width=96, max_gaussians=800, bootstrap_iterations=120, device='cpu',
                       refine_iterations=4, key_interval=2, threads=1, set=settings)
    done = run(Request(Path(sys.argv[1]), None, few.config(), first=0, last=4, live=live))
    assert live or [frame['kind'] for frame in done['frames']].count('key') == 1
    assert live or done['frames'][0]['moved'] > 0  # or motion had nothing to do
print(json.dumps([len(before), sorted(known() - before)]))
"""


@pytest.mark.slow
def test_the_line_needs_no_other_kernel(workbench):
    ended = subprocess.run([sys.executable, '-c', LINE, str(workbench)], cwd=ROOT, text=True,
                           capture_output=True, timeout=600)
    assert ended.returncode == 0, ended.stderr[-2000:]
    count, more = json.loads(ended.stdout.splitlines()[-1])
    assert count > 20 and more == []


COMPILES = """
from igs_ros.render import loss
from igs_ros.stages import warm_up
from igs_ros.vision import stereo
from igs_ros.stages.motion import lift
from igs_ros.core.jit import COMPILING
from igs_ros.render.cpu.rasterizer import CpuRasterizer
loss.warm_up = stereo.warm_up = lift.warm_up = CpuRasterizer.warm_up = lambda *_: None  # long
warm_up.warm_up(CpuRasterizer(1), lambda stage, done: print(f'{stage} {done}'))
warm_up.main()
"""


def test_what_is_compiled_is_said_with_progress(tmp_path):
    for compiles in (True, False):
        ended = subprocess.run([sys.executable, '-c', COMPILES], cwd=ROOT, text=True,
                               capture_output=True, timeout=300,
                               env=os.environ | {'NUMBA_CACHE_DIR': str(tmp_path)})
        assert ended.returncode == 0, ended.stderr[-2000:]
        expected = [f'loading kernels {done}' for done in (0.0, 0.2, 0.4, 0.6, 0.8)]
        if compiles:  # the fourth of them; numba tells of every inner function
            expected.insert(4, f'{COMPILING} 0.6')
        assert list(dict.fromkeys(ended.stdout.splitlines())) == expected
        assert ended.stderr.startswith('igs_ros: kernels are compiled already: loaded in ')


def test_progress_tells_and_can_call_it_off():
    told = []
    warm_up(CpuRasterizer(1), lambda stage, done: told.append((stage, done)))
    shares = [done for _, done in told]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] < 1

    def stop(stage, done):
        if done > 0.3:
            raise Cancelled
    with pytest.raises(Cancelled):
        warm_up(CpuRasterizer(1), stop)
