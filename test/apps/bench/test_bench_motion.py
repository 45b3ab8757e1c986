# SPDX-License-Identifier: Apache-2.0
"""The benchmark of motion measures what it says, without recordings and weights."""
import json
import time

import numpy as np
import pytest

from igs_ros.apps.bench import motion
from igs_ros.apps.bench.motion_world import make_world
from igs_ros.apps.cli.main import main
from igs_ros.core.errors import InputError
from igs_ros.core.timing import span, spans_to
from igs_ros.render.cpu.rasterizer import CpuRasterizer

TINY = ['--gaussians', '600', '--anchors', '40', '--picture', '32', '--repeats', '2',
        '--device', 'cpu']


@pytest.fixture(scope='module')
def world():
    return make_world(600, 2, 96, CpuRasterizer(1))


def test_world_moves_where_it_says(world):
    """To and fro, a step at a time, the ball alone, and no two neighbors in time alike."""
    sets = world.sets()
    taken = [next(sets) for _ in range(17)]
    stamps = [frame_set.stamp_ns for frame_set in taken]
    assert stamps == sorted(set(stamps))
    pictures = [frame_set.images['cam0'] for frame_set in taken]
    assert all((one != other).any() for one, other in zip(pictures, pictures[1:]))
    np.testing.assert_array_equal(pictures[0], pictures[8])
    assert world.moving.sum() == 60 and (pictures[0] != pictures[4]).any(-1).mean() < 0.5


def test_results(monkeypatch, capsys):
    monkeypatch.setattr(motion.MotionPlan, 'size', 96)
    with pytest.raises(SystemExit) as ended:
        main(['bench', 'motion', '--json', '--motions', 'agm', 'geometric', *TINY])
    assert ended.value.code == 0
    results = json.loads(capsys.readouterr().out)
    rows = {(row['motion'], row.get('precision')): row for row in results['rows']}
    assert set(rows) == {('agm', 'float32'), ('agm', 'bfloat16'), ('geometric', None)}
    assert results['unit'] == 'ms, CPU time' and results['device'] == 'cpu'
    agm = rows['agm', 'float32']
    assert set(agm['parts']) == {'region', 'flow', 'lift', 'transformer', 'decode'}
    assert set(agm['key_parts']) == {'neighbors', 'key'}
    assert agm['error'] == 0 and 0 < rows['agm', 'bfloat16']['error'] < 0.2
    assert {'flow', 'tracks', 'lift', 'blend'} <= set(rows['geometric', None]['parts'])
    for row in results['rows']:
        assert 0 < row['candidate']['p50'] <= row['candidate']['p95']
        parts = sum(part['p50'] for name, part in row['parts'].items() if '/' not in name)
        assert parts <= 1.2 * row['candidate']['p95']


def test_nothing_to_time():
    with pytest.raises(InputError, match='none of'):
        motion.run(motion.MotionPlan(motions=(), device='cpu', gaussians=50, size=32))


def test_spans_by_another_clock():
    seen = []

    class Sink:
        def span(self, path, start_s, end_s):
            seen.append((path, end_s - start_s))
    with spans_to(Sink(), clock=time.process_time), span('idle'):
        time.sleep(0.05)
    assert seen[0][0] == 'idle' and seen[0][1] < 0.04
