# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import pytest
import torch

from igs_ros import __version__
from igs_ros.apps.cli.main import main
from igs_ros.stages.motion.agm.net import AgmNet

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
    assert code == 0 and 'CPU rasterizer' in text and 'weights' not in text


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


@pytest.fixture
def hidden(tmp_path, monkeypatch):
    """hide(module, code): a module of that name comes first, in processes to come."""
    def hide(module, code):
        folder = tmp_path / 'hides'
        folder.mkdir(exist_ok=True)
        (folder / f'{module}.py').write_text(code)
        entries = [str(folder), *filter(None, [os.environ.get('PYTHONPATH')])]
        monkeypatch.setenv('PYTHONPATH', os.pathsep.join(entries))
    return hide


def test_missing_torch_is_a_line_of_the_table(capsys, hidden):
    hidden('torch', "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    code, text = check(capsys)
    assert code == 1 and 'tensors: torch: is not installed: pip install torch\n' in text


def test_a_part_that_cannot_be_imported_is_named_with_its_error(capsys, hidden):
    hidden('av', "raise ImportError('libavcodec.so.62: cannot open')")
    code, text = check(capsys)
    assert code == 1
    assert 'av: ImportError: libavcodec.so.62: cannot open: pip install av\n' in text


def test_a_part_that_ends_the_process_does_not_hide_the_others(capsys, hidden):
    hidden('plyfile', "import os, sys; print('no such CPU', file=sys.stderr); os._exit(132)")
    code, text = check(capsys)
    assert code == 1
    assert 'plyfile: its import ends the process with code 132: no such CPU' in text
    assert 'matplotlib' in text and 'rclpy' in text  # which come after it


def test_versions_and_folders_are_there(capsys):
    import numba
    _, text = check(capsys)
    assert f'numba{numba.__version__}' in words(text)
    assert words(str(Path(numba.__file__).parent)) in words(text)
    assert f'igs_ros {__version__}, Python' in text


def test_a_gpu_that_is_asked_for_must_do(capsys):
    if torch.cuda.is_available():
        pytest.skip('this machine has a GPU')
    code, text = check(capsys, '--device', 'cuda')
    assert code == 1 and 'torch finds no CUDA GPU' in text
