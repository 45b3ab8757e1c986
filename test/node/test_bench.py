# SPDX-License-Identifier: Apache-2.0
"""`igs bench node`: what is counted where, and a tiny run of all of it."""
import json
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from igs_ros.node import bench_meter  # noqa: E402


def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_threads_are_told_apart_by_name():
    done, go_on = threading.Event(), threading.Event()

    def work(seconds):
        burn(seconds)
        done.set()
        go_on.wait()
    before = bench_meter.cpu_by_thread()
    for name, seconds in (('view', 0.2), ('raster_0', 0.1)):
        thread = threading.Thread(target=work, args=(seconds,), name=name)
        thread.start()
        assert done.wait(60)
        done.clear()
        spent = bench_meter.since(bench_meter.cpu_by_thread(), before)
        assert spent[name if name == 'view' else 'workers'] == pytest.approx(seconds, abs=0.05)
    go_on.set()


def test_what_is_drawn_for_an_output_is_the_engines():
    threads = {'MainThread': 0.4, 'middleware': 0.2, 'view': 1.0, 'planner': 0.6, 'motion': 3.0,
               'refine': 2.0, 'workers': 1.0, 'state': 0.1}
    found = bench_meter.shares(threads, {'decoding': 0.5, 'drawing': 0.8, 'planning': 0.5}, 10.0)
    assert found['executor'] == pytest.approx(4) and found['middleware'] == pytest.approx(2)
    assert found['decoding'] == pytest.approx(5) and found['outputs'] == pytest.approx(4)
    assert found['but_engine'] == pytest.approx(15)
    assert found['engine'] == pytest.approx({'motion': 25, 'refine': 20, 'workers': 10,
                                             'drawing': 8, 'planning': 5})


def test_parts_count_once_and_while_they_are_at_work():
    parts, seen = bench_meter.Parts(), []

    class Work:
        def outer(self):
            burn(0.05)
            self.inner()
            seen.append(parts.spent_s()['outer'])

        def inner(self):
            burn(0.05)
    parts.measure('outer', Work, 'outer')
    parts.measure('inner', Work, 'inner')
    Work().outer()
    spent = parts.spent_s()
    assert seen[0] == pytest.approx(0.1, abs=0.03)
    assert spent['outer'] == pytest.approx(0.1, abs=0.03) and 'inner' not in spent
    Work().inner()
    assert parts.spent_s()['inner'] == pytest.approx(0.05, abs=0.03)


def test_callbacks_are_timed_and_their_errors_kept():
    callbacks = bench_meter.Callbacks()
    assert callbacks.call('add', lambda a, b: a + b, 1, 2) == 3
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            callbacks.call('slow', lambda: (burn(0.02), 1 / 0))
    report = callbacks.report()
    assert report['slow']['count'] == 2 and report['slow']['cpu_p50_ms'] >= 20
    assert report['add']['cpu_max_ms'] < 20 <= report['slow']['wall_p99_ms']


@pytest.mark.slow
def test_a_tiny_run():
    done = subprocess.run(
        [sys.executable, '-m', 'igs_ros.apps.cli.main', 'bench', 'node', '--cameras', '2',
         '--seconds', '1', '--gaussians', '500', '--json'],
        capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    row, = json.loads(done.stdout)['rigs']
    assert row['cameras'] == 2 and row['frame_sets_hz'] > 0
    share = row['share_pct']
    assert share['but_engine'] == pytest.approx(sum(share[part] for part in (
        'executor', 'middleware', 'decoding', 'outputs')))
    assert min(share[part] for part in ('executor', 'middleware', 'decoding', 'outputs')) > 0
    assert {'camera_info (CameraInfo)', 'compressed (CompressedImage)'} <= set(row['callbacks'])
    for topic in ('view/image', 'gaussians', 'points', 'status', 'occupancy'):
        assert row['outputs'][f'/igs/{topic}'] > 0, row['outputs']
