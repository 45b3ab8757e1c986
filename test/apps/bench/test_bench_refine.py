# SPDX-License-Identifier: Apache-2.0
"""The benchmark of refinement measures what it says."""
import json

import numpy as np
import pytest
import torch

from igs_ros.apps.bench import refine
from igs_ros.apps.bench.raster import bench_scene
from igs_ros.apps.cli.main import main
from igs_ros.core.errors import InputError
from igs_ros.render.cpu.rasterizer import CpuRasterizer

TINY = refine.RefinePlan('cpu', 1, 400, 96, 80, 0.3, 2)


def test_results(capsys):
    """Small sizes: the keys, one row per case, positive times."""
    with pytest.raises(SystemExit) as ended:
        main(['bench', 'refine', '--json', '--device', 'cpu', '--gaussians', '400', '--width',
              '96', '--height', '80', '--repeats', '2'])
    assert ended.value.code == 0
    results = json.loads(capsys.readouterr().out)
    assert [row['case'] for row in results['rows']] == ['whole', 'tiles', 'key']
    assert (results['device'], results['gaussians'], results['width']) == ('cpu', 400, 96)
    assert 'cores' in results['machine'] and results['gpu_mb'] == 0
    for row in results['rows']:
        assert list(row['parts']) == ['render', 'loss', 'backward', 'iteration', 'adam', 'densify']
        assert all(part['cpu'] > 0 and part['wall'] > 0 for part in row['parts'].values())
    whole, tiles, key = results['rows']
    assert whole['tiles'] == 1 and 0 < tiles['tiles'] == key['tiles'] < 0.5
    assert whole['free'] == tiles['free'] == 400 and 20 < key['free'] < 250
    assert results['views_per_s'] == pytest.approx(1000 / results['view']['wall'])


def test_a_key_draws_what_the_whole_scene_shows_in_its_tiles():
    scene, camera = bench_scene(TINY.gaussians, TINY.width, TINY.height)
    rasterizer = CpuRasterizer(1)
    cases = refine._cases(TINY, scene, camera, rasterizer)
    key, tiles = cases['key'], cases['tiles'].tiles
    np.testing.assert_array_equal(key.tiles, tiles)
    with torch.no_grad():
        expected = rasterizer.render(scene, camera, tiles=tiles).rgb
        drawn = rasterizer.render(key.scene, camera, tiles=tiles, context=key.context).rgb
    # equal depths aside, the order of the Gaussians in the scene does not matter
    torch.testing.assert_close(drawn, expected)


def test_an_iteration_is_a_step_of_the_optimizer():
    scene, camera = bench_scene(TINY.gaussians, TINY.width, TINY.height)
    rasterizer = CpuRasterizer(1)
    target = refine.Target(np.zeros((TINY.height, TINY.width, 3), np.float32))
    case = refine._cases(TINY, scene, camera, rasterizer)['key']
    before = case.optimizer.scene()
    parts = refine._parts(case, camera, target, rasterizer)
    for part in parts.values():
        part()
    after = case.optimizer.scene()
    assert len(after) == len(before) and not torch.equal(after.sh, before.sh)


@pytest.mark.parametrize('share', [0.0, 1.5])
def test_a_share_outside_the_picture_is_refused(share):
    with pytest.raises(InputError, match='of the tiles'):
        refine.run(refine.RefinePlan('cpu', tiles=share))
