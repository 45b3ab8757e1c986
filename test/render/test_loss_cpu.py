# SPDX-License-Identifier: Apache-2.0
"""The kernels of the loss are vector code: a slip there costs a factor of 5, silently."""
import re

import numba
import numpy as np
import pytest
import torch
from llvmlite import binding

from igs_ros.render import loss_cpu
from igs_ros.render.loss import Target, photometric_loss


@pytest.mark.parametrize('kernel', [loss_cpu._down, loss_cpu._across, loss_cpu._products,
                                    loss_cpu._derivatives, loss_cpu._gradient],
                         ids=lambda kernel: kernel.py_func.__name__)
def test_loops_are_vector_code(kernel):
    if not binding.get_host_cpu_features().get('fma'):
        pytest.skip('this processor has no vector FMA instructions to look for')
    row, number = numba.float32[::1], numba.float32
    signature = {'_down': (numba.float32[:, ::1], numba.int64, row, numba.int64, numba.int64),
                 '_across': (row, row, numba.int64, numba.int64),
                 '_products': (*[row] * 5, numba.int64, numba.int64),
                 '_derivatives': (*[row] * 8, numba.int64, numba.int64),
                 '_gradient': (*[row] * 5, number, number, row, numba.int64, numba.int64)}
    # compiled anew: cached machine code cannot be looked at
    fresh = numba.njit(**(loss_cpu._FAST | {'cache': False}))(kernel.py_func)
    types = signature[kernel.py_func.__name__]
    fresh.compile(types)
    packed = re.findall(r'v(?:f\w*(?:add|sub)\w*|mul|sub)ps[^\n]*%[yz]mm',
                        fresh.inspect_asm(fresh.signatures[0]))
    assert packed, 'no vector arithmetic'


def test_nothing_is_written_outside_the_tiles():
    rng = np.random.default_rng(0)
    target = Target(rng.random((40, 50, 3)).astype(np.float32))
    rows = rng.random((40, 150)).astype(np.float32)
    tiles = np.zeros((3, 4), bool)
    tiles[1, 1:3] = tiles[2, 3] = True
    gradient = np.full((40, 150), np.nan, np.float32)
    loss_cpu.compare(rows, target.image.reshape(40, 150), *target.moments, tiles,
                     np.float32(1), np.float32(1), gradient)
    written = ~np.isnan(gradient.reshape(40, 50, 3)).any(-1)
    expected = np.zeros((40, 50), bool)
    expected[16:32, 16:48] = expected[32:, 48:] = True
    np.testing.assert_array_equal(written, expected)


def test_a_picture_that_is_not_finite_has_no_finite_loss():
    target = Target(np.zeros((20, 20, 3), np.uint8))
    for value in (np.nan, np.inf):
        picture = torch.zeros(20, 20, 3)
        picture[3, 4, 1] = value
        assert not torch.isfinite(photometric_loss(picture, target, 0.2))
