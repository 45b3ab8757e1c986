# SPDX-License-Identifier: Apache-2.0
"""The benchmarks run on a CUDA device (in host memory, docs/gpu.md); its times mean nothing."""
import json

import pytest

from igs_ros.apps.bench import neighbors
from igs_ros.apps.cli.main import main


@pytest.mark.parametrize('arguments', [
    ['refine', '--gaussians', '400', '--width', '96', '--height', '80', '--repeats', '1'],
    ['neighbors']], ids=lambda arguments: arguments[0])
def test_it_measures_there(cuda, monkeypatch, capsys, arguments):
    monkeypatch.setattr(neighbors, 'SMALL', ((300, 20),))
    monkeypatch.setattr(neighbors, 'PUBLISHED', (900, 40))
    with cuda.counted() as costs, pytest.raises(SystemExit) as ended:
        main(['bench', arguments[0], '--json', '--device', 'cuda', *arguments[1:]])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)['rows']
    assert costs.uploads  # or nothing of it was there
