# SPDX-License-Identifier: Apache-2.0
"""Scenes on the CUDA device of fake_cuda.py become the same files and messages as on the CPU."""
import numpy as np
import pytest
import torch

from igs_ros.core.errors import InputError
from igs_ros.core.scene import GaussianScene, checked, concatenated
from igs_ros.io.codec import state
from igs_ros.io.codec.ply import save_ply


def scene(seed=0, count=20):
    random = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand((count, *shape), generator=random)
    return GaussianScene(rand(3), torch.nn.functional.normalize(rand(4), dim=1), rand(3), rand(),
                         rand(4, 3), rand(3))


def bits(arrays):
    return {name: value.tobytes() if isinstance(value, np.ndarray) else value
            for name, value in arrays.fields().items()}


def test_files(cuda, tmp_path):
    for device in ('cpu', 'cuda'):
        save_ply(scene().to(device), tmp_path / device)
    assert (tmp_path / 'cpu').read_bytes() == (tmp_path / 'cuda').read_bytes()


@pytest.mark.parametrize('kind', [np.asarray, torch.from_numpy,
                                  lambda rows: torch.from_numpy(rows).cuda()])
def test_messages(cuda, kind):
    made = []
    for device in ('cpu', 'cuda'):
        key = scene().to(device)
        moved = key.replaced(means=key.means + 0.1 * (key.means > 0.5))
        source = np.arange(len(key))
        update = state.update_arrays(
            key, moved, source_rows=kind(source) if device == 'cuda' else source)
        made.append((bits(state.key_arrays(key)), bits(update)))
    assert made[0] == made[1]


def test_a_scene_is_cut_joined_and_checked_where_it_is(cuda):
    key = scene().to('cuda')
    both = concatenated([key, key.select(key.opacities > 0.5).with_sh_degree(1)])
    assert both.device.type == 'cuda' and len(both) > len(key)
    assert both.with_sh_degree(2).sh.device.type == 'cuda'
    assert checked(both, 'here') is both
    with pytest.raises(InputError, match='NaN'):
        checked(key.replaced(means=key.means * float('nan')), 'here')
