# SPDX-License-Identifier: Apache-2.0
"""Precision, compilation and threads change nothing but speed, within bounds."""
import logging
import threading
from functools import partial

import pytest
import torch
from golden import Golden, error, formula_net

from igs_ros.stages.motion.agm import forward
from igs_ros.stages.motion.agm.forward import Forward, dummy_inputs, shared_forward
from igs_ros.stages.motion.agm.inputs import AgmSizes

SIZES = AgmSizes(picture=64, anchors=48)


@pytest.fixture(scope='module')
def golden():
    return Golden(torch.float32)


def passed(golden, precision):
    """Displacements and turns of the golden small set, and the key."""
    run = Forward(formula_net(torch.float32), precision)
    key = run.key(golden['in_cur'], golden['in_depth'], golden.rig(), golden.ties())
    return *run(key, golden['in_next']), key


@pytest.fixture(scope='module')
def full(golden):
    return passed(golden, 'float32')


def test_full_precision_is_the_network_itself(golden, full):
    assert error(full[0], golden['dxyz']) < 1e-4 and error(full[1], golden['drot']) < 1e-4


# measured: 0.019 and 0.0026 with AMX, relative to the length of all displacements (all turns)
@pytest.mark.parametrize('precision, bound', [('bfloat16', 0.04), ('float16', 0.006)])
def test_half_precision_stays_near(golden, full, precision, bound):
    displacements, turns, key = passed(golden, precision)
    for found, exact in ((displacements, full[0]), (turns, full[1])):
        assert found.dtype == torch.float32
        apart = (found - exact).norm() / exact.norm()
        assert bound / 100 < apart < bound  # it does compute in half precision
    assert torch.equal(key.grid, full[2].grid), 'geometry keeps its digits'
    assert torch.equal(key.ties.weights, full[2].ties.weights)


def work():
    """The number of threads that torch has used."""
    (torch.rand(300, 300) @ torch.rand(300, 300)).sum()
    return torch.get_num_threads()


def test_the_pass_alone_runs_on_the_threads_given(monkeypatch):
    net, seen, others = formula_net(torch.float32), [], []
    before = torch.get_num_threads()
    run = Forward(net, threads=before + 2)

    def lift(key, maps):
        seen.append(torch.get_num_threads())
        newcomer = threading.Thread(target=lambda: others.append(work()))
        newcomer.start()
        newcomer.join()
        return type(net).lift(net, key, maps)
    monkeypatch.setattr(net, 'lift', lift)
    key, pictures = dummy_inputs(net, 2, 16, 30, 1, SIZES)
    for _ in range(2):
        assert not run(key, pictures)[0].requires_grad
    assert seen == [before + 2] * 2 and others == [before] * 2 and work() == before


def test_an_error_in_the_pass_is_raised_and_the_next_one_runs(monkeypatch):
    net = formula_net(torch.float32)
    run = Forward(net, threads=torch.get_num_threads() + 1)
    key, pictures = dummy_inputs(net, 2, 16, 30, 1, SIZES)
    with monkeypatch.context() as context:
        context.setattr(net, 'lift', lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(key, pictures)
    assert torch.isfinite(run(key, pictures)[0]).all()


def compiled_like_eager(sizes_of_later_keys):
    net = formula_net(torch.float32).to('cuda' if torch.cuda.is_available() else 'cpu')
    plain, fast = Forward(net), Forward(net)
    fast.compile_for(2, SIZES)
    assert fast.compiled and not plain.compiled
    for anchors, gaussians, targets in sizes_of_later_keys:
        key, pictures = dummy_inputs(net, 2, anchors, gaussians, targets, SIZES)
        for found, exact in zip(fast(key, pictures), plain(key, pictures), strict=True):
            assert (found - exact).norm() < 1e-3 * exact.norm()


@pytest.mark.slow
def test_compiled_network_gives_the_same(monkeypatch):
    """Traced, but run by torch's own kernels; generated ones have a test of their own."""
    monkeypatch.setattr(torch, 'compile', partial(torch.compile, backend='eager'))
    compiled_like_eager([(48, 300, 1), (48, 211, 2), (31, 100, 1)])


@pytest.mark.gpu  # on a CPU it passes, too, after two minutes of g++
def test_compiled_network_gives_the_same_with_generated_code():
    compiled_like_eager([(48, 300, 1), (31, 100, 2)])


def test_where_compiling_fails_the_network_runs_as_it_is(monkeypatch, caplog):
    def fail(_):
        def call(*_):
            raise RuntimeError('no C++ compiler\nlong story')
        return call
    monkeypatch.setattr(torch, 'compile', fail)
    net = formula_net(torch.float32)
    run = Forward(net)
    with caplog.at_level(logging.WARNING):
        run.compile_for(2, SIZES)
    assert not run.compiled and len(caplog.records) == 1
    assert 'runs uncompiled: no C++ compiler' in caplog.text
    assert 'long story' not in caplog.text
    key, pictures = dummy_inputs(net, 2, 16, 30, 1, SIZES)
    assert torch.isfinite(run(key, pictures)[0]).all()


@pytest.mark.gpu
@pytest.mark.parametrize('precision, bound', [('float32', 2e-2), ('bfloat16', 6e-2),
                                              ('float16', 2e-2)])
def test_on_a_gpu_it_stays_near(golden, full, precision, bound):
    """float32 with the short products (TF32) that torch's convolutions use there."""
    net = formula_net(torch.float32).cuda()
    key, pictures = dummy_inputs(net, 4, 512, 4000, 2, AgmSizes(picture=128, anchors=512))
    found = Forward(net, precision)(key, pictures)
    net = formula_net(torch.float32)
    key, pictures = dummy_inputs(net, 4, 512, 4000, 2, AgmSizes(picture=128, anchors=512))
    for one, other in zip(found, Forward(net)(key, pictures), strict=True):
        assert (one.cpu() - other).norm() < bound * other.norm()


def test_names_of_precisions():
    with pytest.raises(KeyError):
        Forward(formula_net(torch.float32), 'float8')
    assert set(forward.PRECISIONS) == {'float32', 'bfloat16', 'float16'}


def test_a_scene_that_starts_anew_has_the_same_pass():
    net = formula_net(torch.float32)
    first = shared_forward(net, 'float32', 1, None)
    assert shared_forward(net, 'float32', 1, None) is first
    assert shared_forward(net, 'bfloat16', 1, None) is not first
