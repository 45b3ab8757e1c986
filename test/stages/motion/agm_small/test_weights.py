# SPDX-License-Identifier: Apache-2.0
"""The file of weights: whole, fitting, small, shipped."""
import pytest
import torch
from safetensors.torch import load_file, save_file

from igs_ros.core.errors import InputError
from igs_ros.stages.motion.agm_small import weights
from igs_ros.stages.motion.agm_small.weights import available


def test_weights_come_back_bit_for_bit(arbitrary, tmp_path):
    path = tmp_path / weights.NAME
    weights.save(arbitrary, path)
    state = weights.load(path).state_dict()
    assert all(torch.equal(state[name], value) for name, value in arbitrary.state_dict().items())


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(InputError, match='nowhere.*cannot be read.*--motion geometric'):
        weights.load(tmp_path / 'nowhere.safetensors')


def test_a_broken_file_is_one_clear_error(tmp_path):
    path = tmp_path / 'broken.safetensors'
    path.write_bytes(b'no safetensors')
    with pytest.raises(InputError, match='cannot be read'):
        weights.load(path)


@pytest.mark.parametrize('fault', ['missing', 'unknown', 'shape'])
def test_weights_that_do_not_fit_are_named(arbitrary, tmp_path, fault):
    path = tmp_path / weights.NAME
    weights.save(arbitrary, path)
    state = load_file(path)
    name = 'extra.weight' if fault == 'unknown' else 'steps.bias'
    if fault == 'missing':
        del state[name]
    else:
        state[name] = torch.zeros(3)
    save_file(state, path)
    with pytest.raises(InputError, match=name):
        weights.load(path)


def test_weights_ship_and_are_small():
    assert available()
    assert weights.SHIPPED.stat().st_size < 10e6
    assert all(value.isfinite().all() for value in weights.load().state_dict().values())


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_not_finite_are_named(arbitrary, tmp_path, value):
    path = tmp_path / weights.NAME
    weights.save(arbitrary, path)
    state = load_file(path)
    state['steps.bias'][1] = value
    save_file(state, path)
    with pytest.raises(InputError, match="'steps.bias' holds NaN or infinite values"):
        weights.load(path)
