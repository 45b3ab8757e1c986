# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch

from igs_ros.apps.bench import neighbors
from igs_ros.apps.cli.main import main
from igs_ros.core.errors import InputError


def test_results(monkeypatch, capsys):
    monkeypatch.setattr(neighbors, 'SMALL', ((300, 20),))
    monkeypatch.setattr(neighbors, 'PUBLISHED', (900, 40))
    with pytest.raises(SystemExit) as ended:
        main(['bench', 'neighbors', '--json', '--device', 'cpu'])
    assert ended.value.code == 0
    results = json.loads(capsys.readouterr().out)
    by = {(row['by'], row['points'], row['anchors']) for row in results['rows']}
    assert ('torch', 300, 20) in by and ('torch', 900, 40) not in by
    assert len([b for b in by if 'k-d tree' in b[0]]) == 2
    assert results['torch_cluster'] == any(b[0] == 'torch_cluster' for b in by)
    assert all(row['fps_ms'] > 0 and row['knn_ms'] > 0 for row in results['rows'])


def test_points_are_many_different_ones():
    points = neighbors.bench_points(1000)
    assert points.shape == (1000, 3) and len(set(map(tuple, points))) == 1000


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_a_gpu_that_is_not_there():
    with pytest.raises(InputError, match='no CUDA GPU'):
        neighbors.run('cuda')
