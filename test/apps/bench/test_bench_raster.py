# SPDX-License-Identifier: Apache-2.0
"""The benchmark measures what it says."""
import importlib.util
import json

import pytest

from igs_ros.apps.bench import raster
from igs_ros.apps.cli.main import main
from igs_ros.core.errors import InputError


def test_scene_has_the_overlap_that_results_are_quoted_for():
    assert 38 <= raster.contributing(*raster.bench_scene(20_000, 320, 240)) <= 44


def test_needs_gsplat(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match='gsplat'):
        raster.run()


def test_results(monkeypatch, capsys):
    """Small sizes: the keys, one row per size, positive times."""
    monkeypatch.setattr(raster, 'SIZES', ((32, 24),))
    monkeypatch.setattr(raster, 'COUNTS', (50, 100))
    monkeypatch.setattr(raster, 'COMPARED', (100, 32, 24))
    with pytest.raises(SystemExit) as ended:
        main(['bench', 'raster', '--json'])
    results = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert [row['gaussians'] for row in results['rows']] == [50, 100]
    assert all(row['forward'] > 0 < row['forward_backward'] for row in results['rows'])
    assert results['ratio'] == pytest.approx(
        results['rows'][1]['forward_backward'] / results['yardstick'])
