# SPDX-License-Identifier: Apache-2.0
"""`igs bench views`: what counts as the latency of a pose, and the whole benchmark once."""
import json

import numpy as np
import pytest
from held_scene import CAMERA, Held

from igs_ros.apps.bench import views
from igs_ros.apps.cli.main import main


def at(x):
    pose = np.eye(4)
    pose[0, 3] = x
    return pose


def test_every_pose_counts_once_until_it_or_a_newer_one_is_out(monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr(views.time, 'perf_counter', lambda: now_s[0])
    head, held = views.Head(), Held()

    def out(x, s):
        now_s[0] = s
        head.send((held.view(CAMERA.placed(at(x)), held.newest),))
    for number in range(4):
        now_s[0] = 0.01 * number
        head.pose(at(number))
    out(2, 0.1)
    assert head.latencies_s == pytest.approx([0.1, 0.09, 0.08])
    assert head.shown_s == pytest.approx([0.08])
    out(2, 0.2)  # the same picture again
    assert len(head.latencies_s) == 3
    out(3, 0.33)
    assert head.shown_s == pytest.approx([0.08, 0.3]) and not head.poses


def bench(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(['bench', 'views', *map(str, arguments)])
    return ended.value.code


def test_the_benchmark_runs(workbench, capsys):
    assert bench(workbench, '--views', 2, '--seconds', 0.5, '--frames', '0:2', '--width', 64,
                 '--max-gaussians', 500, '--bootstrap-iterations', 5, '--refine-iterations', 2,
                 '--json') == 0
    results = json.loads(capsys.readouterr().out)
    assert [(row['views'], row['scene']) for row in results['rows']] == [(2, 'live'), (2, 'held')]
    for row in results['rows']:
        assert 0 < row['shown_p50_s'] <= row['shown_p95_s']
        assert 0 < row['pose_to_view_p50_s'] <= row['pose_to_view_p95_s']
        assert row['poses'] > 0 and row['cpu_cores'] > 0
    assert results['rows'][1]['updates_hz'] == 0
    views.print_table(results)
    assert 'held' in capsys.readouterr().out


@pytest.mark.parametrize('arguments', [['--views', '0'], ['--poses-hz', '0'], ['--seconds', '-1']])
def test_numbers_that_cannot_be(workbench, capsys, arguments):
    assert bench(workbench, *arguments) == 2
    error = capsys.readouterr().err
    assert 'expected views, poses per second and seconds above 0' in ' '.join(error.split())
