# SPDX-License-Identifier: Apache-2.0
"""The tile kernels are vector code: a slip there costs a factor of 3 to 6, silently."""
import re

import numba
import pytest
from llvmlite import binding

from igs_ros.render.cpu import tiles as cpu_tiles
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.cpu.records import FAST


@pytest.mark.parametrize('kernel', [cpu_tiles.composite, cpu_tiles.composite_backward])
def test_inner_loops_are_vector_code(kernel):
    if not binding.get_host_cpu_features().get('fma'):
        pytest.skip('this processor has no vector FMA instructions to look for')
    CpuRasterizer(1).warm_up()
    # compiled anew: cached machine code cannot be looked at
    fresh = numba.njit(**(FAST | {'cache': False}))(kernel.py_func)
    # the variant with every optional array
    signature = min(kernel.signatures, key=lambda types: str(types).count('none'))
    fresh.compile(signature)
    code = fresh.inspect_asm(signature)
    # 7 for sigma and the exponential, and more; found 10 and 19 (0 with a signed index)
    packed = len(re.findall(r'vf\w*(?:add|sub)\w*ps[^\n]*%[yz]mm', code))
    assert packed >= 8, f'only {packed} vector FMA instructions'
