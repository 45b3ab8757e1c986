# SPDX-License-Identifier: Apache-2.0
"""Which rasterizer a device gets; a GPU without gsplat or its kernels is a plain message."""
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from igs_ros.core.errors import InputError
from igs_ros.core.logs import log_once
from igs_ros.render.choose import make_rasterizer


@pytest.fixture
def gpu(monkeypatch):
    """A machine whose torch finds a GPU; the wrapper of gsplat is imported anew."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.delitem(sys.modules, 'igs_ros.render.gsplat_rasterizer', raising=False)
    log_once.cache_clear()
    yield monkeypatch
    sys.modules.pop('igs_ros.render.gsplat_rasterizer', None)  # it may be bound to a stand-in


def without_gsplat(monkeypatch):
    monkeypatch.setitem(sys.modules, 'gsplat', None)


def with_backend(monkeypatch, backend):
    """gsplat is there; `backend` stands for its module that compiles."""
    monkeypatch.setitem(sys.modules, 'gsplat', ModuleType('gsplat'))
    monkeypatch.setitem(sys.modules, 'gsplat.cuda', ModuleType('gsplat.cuda'))
    monkeypatch.setitem(sys.modules, 'gsplat.cuda._backend', backend)


class FailingBuild(ModuleType):
    """What `from ... import _C` meets when nvcc fails."""

    def __getattr__(self, name):
        raise RuntimeError("Error building extension 'gsplat_cuda'\nninja: build stopped")


def without_kernels(monkeypatch):
    with_backend(monkeypatch, SimpleNamespace(_C=None))


def failing_compiler(monkeypatch):
    with_backend(monkeypatch, FailingBuild('gsplat.cuda._backend'))


CASES = pytest.mark.parametrize('breaks, words', [
    (without_gsplat, 'cannot be imported'), (without_kernels, 'no CUDA compiler'),
    (failing_compiler, 'Error building extension')])


@CASES
def test_auto_takes_the_cpu_and_says_why_once(gpu, caplog, breaks, words):
    breaks(gpu)
    for _ in range(2):
        assert make_rasterizer('auto', 1).name == 'cpu'
    assert len(caplog.records) == 1
    assert words in caplog.text and "pip install '.[cuda]'" in caplog.text


@CASES
def test_cuda_is_refused_with_what_to_install(gpu, breaks, words):
    breaks(gpu)
    with pytest.raises(InputError, match=words) as error:
        make_rasterizer('cuda')
    assert "pip install '.[cuda]'" in str(error.value) and 'nvcc' in str(error.value)


def test_kernels_that_load_are_used(gpu):
    with_backend(gpu, SimpleNamespace(_C=object()))
    assert make_rasterizer('auto').name == 'cuda'


def test_without_a_gpu_auto_is_silent_and_cuda_refused(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert make_rasterizer('auto', 1).name == 'cpu' and not caplog.records
    with pytest.raises(InputError, match='finds no CUDA GPU'):
        make_rasterizer('cuda')
