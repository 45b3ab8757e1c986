# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that cannot be gone on with are refused in one line."""
import io
import pickle
import zipfile

import pytest
import torch

from igs_ros.apps.training import checkpoint
from igs_ros.core.errors import InputError

PLAN = {'seed': 0}


def state(**changes) -> checkpoint.State:
    return checkpoint.State(**{
        'step': 2, 'plan': PLAN, 'module': {'a.weight': torch.ones(3, 4)},
        'optimizer': {'state': {0: {'exp_avg': torch.ones(3)}}, 'param_groups': []},
        'schedule': {'last_epoch': 2}, 'scaler': None, **changes})


def load(folder):
    return checkpoint.load(folder, PLAN, torch.device('cpu'))


def test_a_state_comes_back(tmp_path):
    assert load(tmp_path) is None
    checkpoint.save(tmp_path, state())
    assert load(tmp_path).step == 2 and torch.equal(load(tmp_path).module['a.weight'],
                                                    torch.ones(3, 4))


@pytest.mark.parametrize('changes, name', [
    ({'module': {'a.weight': torch.tensor([1.0, float('nan')])}}, 'module.a.weight'),
    ({'optimizer': {'state': {0: {'exp_avg': torch.full((2,), float('inf'))}}}},
     'optimizer.state.0.exp_avg'),
    ({'module': {'a.weight': torch.as_strided(torch.ones(1), (10 ** 9, 10 ** 9), (0, 0))}},
     'module.a.weight'),
])
def test_a_tensor_that_cannot_be_used_is_named(tmp_path, changes, name):
    checkpoint.save(tmp_path, state(**changes))
    with pytest.raises(InputError, match=f"checkpoint.pt: '{name}' holds NaN or infinite"):
        load(tmp_path)


@pytest.mark.parametrize('changes', [{'step': -1}, {'step': 'two'}, {'plan': [1]},
                                     {'module': None}])
def test_a_state_of_other_kinds_is_refused(tmp_path, changes):
    checkpoint.save(tmp_path, state(**changes))
    with pytest.raises(InputError, match='checkpoint.pt: no checkpoint of igs train'):
        load(tmp_path)


class Code:
    """Whose pickle would run code."""

    def __reduce__(self):
        return pytest.fail, ('code from a file was run',)


def packed() -> bytes:
    """A checkpoint compressed, as torch.save never does: a few bytes may make gigabytes."""
    plain, small = io.BytesIO(), io.BytesIO()
    torch.save({'a': torch.zeros(1_000_000)}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(small, 'w', zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    return small.getvalue()


@pytest.mark.parametrize('content', [b'', b'garbage', b'\x80\x02.', pickle.dumps(Code()),
                                     pickle.dumps({'step': 1}, 2)[:-3], packed()],
                         ids=['empty', 'garbage', 'nothing', 'code', 'cut', 'packed'])
def test_what_is_no_file_of_tensors_is_refused(tmp_path, content):
    (tmp_path / checkpoint.NAME).write_bytes(content)
    with pytest.raises(InputError, match='checkpoint.pt: cannot be read as plain') as error:
        load(tmp_path)
    assert str(error.value).isprintable()
