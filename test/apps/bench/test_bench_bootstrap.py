# SPDX-License-Identifier: Apache-2.0
"""The curve of the first scene's quality against time."""
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from igs_ros.apps.bench import bootstrap
from igs_ros.apps.bench.bootstrap import BootstrapPlan, measure, print_table
from igs_ros.apps.cli.main import main
from igs_ros.core.config import BootstrapConfig, Config

SMALL = Config(width=96, max_gaussians=1500, bootstrap=BootstrapConfig(iterations=120))


@pytest.fixture(scope='module')
def results(workbench):
    """Two seeds, two points of time and the end."""
    return measure(BootstrapPlan([workbench], (0, 1), (0.0, 0.2), SMALL))


def test_points_rise_in_time_and_quality(results):
    assert [row['seed'] for row in results['rows']] == [0, 1]
    for row in results['rows']:
        points = row['points']
        for name in ('seconds', 'cpu_s', 'iterations'):
            values = [point[name] for point in points]
            assert values == sorted(values) and values[0] > 0
        assert points[-1]['iterations'] == row['iterations'] == 120
        assert points[-1]['psnr_train'] > points[0]['psnr_train'] + 1
        assert points[-1]['psnr_test'] > points[0]['psnr_test']


def test_marks_are_scored_once_they_have_passed(results):
    for row in results['rows']:
        marks = [point['mark'] for point in row['points']]
        assert marks[-1] is None  # the last one is the end
        assert marks[:-1] in ([0.0, 0.2], [0.0], [0.2])  # of two passed at once, the later one


def test_a_mark_is_scored_at_the_first_iteration_after_it(monkeypatch):
    """On a machine half as fast as the reference, 0.2 s have passed after 0.4 CPU s."""
    cpu_s = [0.0]
    monkeypatch.setattr(bootstrap.time, 'process_time', lambda: cpu_s[0])
    monkeypatch.setattr(bootstrap, 'reference_ms', lambda: 2 * bootstrap.REFERENCE_MS)
    views = SimpleNamespace(psnr=lambda *_: (20.0, 21.0))
    curve = bootstrap._Curve(views, None, [0.2], _reference=2 * bootstrap.REFERENCE_MS,
                             _since=0.0)
    for iteration in range(1, 10):
        cpu_s[0] += 0.0625
        curve.watch(iteration, lambda: [None] * 5)
    point, = curve.points
    assert (point['mark'], point['iterations']) == (0.2, 7)
    assert point['seconds'] == pytest.approx(7 * 0.0625 / 2)


def test_gap_is_train_minus_test(results):
    for row in results['rows']:
        for point in row['points']:
            assert point['gap'] == pytest.approx(point['psnr_train'] - point['psnr_test'])


def test_same_curve_as_without_watching(workbench, results):
    """Scoring on the way changes nothing: the scene at the end is that of `igs run`."""
    again, = measure(BootstrapPlan([workbench], (0,), (), SMALL))['rows']
    assert len(again['points']) == 1
    for name in ('psnr_test', 'psnr_train', 'gaussians'):
        assert again['points'][-1][name] == results['rows'][0]['points'][-1][name]


def test_cap_of_seconds_is_of_this_clock(workbench):
    config = Config(width=96, max_gaussians=1500,
                    bootstrap=BootstrapConfig('points', iterations=10 ** 6, seconds=3.0))
    row, = measure(BootstrapPlan([workbench], (0,), (), config))['rows']
    assert row['stopped_by'] == 'seconds' and 0 < row['iterations'] < 10 ** 6


def test_table_and_json(results, workbench, capsys):
    print_table(results)
    shown = capsys.readouterr().out
    assert 'workbench' in shown and 'end' in shown and '33 ms' in shown
    with pytest.raises(SystemExit) as ended:
        main(['bench', 'bootstrap', str(workbench), '--width', '96', '--max-gaussians', '1000',
              '--bootstrap-iterations', '5', '--seconds', '1', '--seeds', '4', '--json'])
    assert ended.value.code == 0
    row, = json.loads(capsys.readouterr().out)['rows']
    assert (row['seed'], row['iterations']) == (4, 5)


def test_no_recording_is_one_message(capsys):
    assert not Path('/nowhere').exists()
    with pytest.raises(SystemExit) as ended:
        main(['bench', 'bootstrap', '/nowhere'])
    assert ended.value.code != 0
    assert '/nowhere' in capsys.readouterr().err
