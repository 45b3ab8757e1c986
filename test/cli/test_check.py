# SPDX-License-Identifier: Apache-2.0
import importlib.util
import sys

import pytest
import torch

from igs_ros.cli.main import main
from igs_ros.motion.agm.net import AgmNet

GMFLOW = 'gmflow/gmflow-scale1-mixdata-train320x576-4c3a6e9a.pth'
AGM = 'igs/15/pytorch_model.bin'


@pytest.fixture
def folder(tmp_path):
    """The authors' layout; returns the folder and both state dicts as they are in the files."""
    state = AgmNet().state_dict()
    flow = {k.removeprefix('backbone.'): v for k, v in state.items() if k.startswith('backbone.')}
    flow['upsampler.0.bias'] = torch.zeros(256)
    own = {k: v for k, v in state.items() if 'backbone' not in k}
    for name in (GMFLOW, AGM):
        (tmp_path / name).parent.mkdir(parents=True)
    torch.save({'model': flow}, tmp_path / GMFLOW)
    torch.save(own, tmp_path / AGM)
    return tmp_path, own


def check(capsys, *arguments):
    """Exit code and output of `igs check`, in one line: the table wraps where it likes."""
    with pytest.raises(SystemExit) as caught:
        main(['check', *arguments])
    captured = capsys.readouterr()
    return caught.value.code, captured.out + captured.err


def words(text):
    return ''.join(text.translate(dict.fromkeys(map(ord, '│┃─━┼ \n'))).split())


def test_machine_alone(capsys):
    code, text = check(capsys)
    assert code == 0 and 'CPU rasteriser' in text and 'weights' not in text


def test_weights_that_fit(capsys, folder):
    code, text = check(capsys, '--weights', str(folder[0]))
    text = words(text)
    assert code == 0
    assert '115tensors,4,199,456parametersfit' in text
    assert '92tensors,17,698,567parametersfit' in text
    assert 'notneeded:upsampler.0.bias' in text and 'noigs/experiment_config.yaml' in text


def test_weights_that_do_not(capsys, folder):
    root, own = folder
    del own['upsample.bias']
    torch.save(own, root / AGM)
    code, text = check(capsys, '--weights', str(root))
    assert code == 1
    assert 'donotfit' in words(text) and 'Missing(1):upsample.bias' in words(text)


def test_no_such_folder(capsys, tmp_path):
    code, text = check(capsys, '--weights', str(tmp_path / 'nowhere'))
    assert code == 2 and 'no such folder' in text


def test_run_without_weights_is_one_error(capsys, tmp_path, workbench):
    with pytest.raises(SystemExit) as caught:
        main(['run', str(workbench), '--out', str(tmp_path / 'out'), '--motion', 'agm'])
    assert caught.value.code == 2
    assert 'motion agm needs weights' in capsys.readouterr().err


def test_missing_torch_is_a_line_of_the_table(capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec',
                        lambda name, *rest: None if name == 'torch' else find(name, *rest))
    monkeypatch.setitem(sys.modules, 'torch', None)  # `import torch` now raises ImportError
    code, text = check(capsys)
    assert code == 1 and 'torchisnotinstalled:pipinstalltorch' in words(text)
