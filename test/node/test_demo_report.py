# SPDX-License-Identifier: Apache-2.0
"""The demo's files from what was seen, without any process."""
import json
from types import SimpleNamespace

import numpy as np
import pytest

from igs_ros.io.recordings.open import open_recording

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from igs_ros.apps.cli.ros import Demo
from igs_ros.io.results import validate_results  # noqa: E402
from igs_ros.io.run_files import RunFiles  # noqa: E402
from igs_ros.msg import SceneStatus  # noqa: E402
from igs_ros.node.demo_report import DemoRun, _rate_hz, report  # noqa: E402
from igs_ros.node.observer import Observer, Processed, Seen  # noqa: E402

S = 1_000_000_000


def watched(recording, last, lost=(), superseded=()):
    """As if frames 0..last had been shown as they are: equal to the truth, after a second."""
    truths = [s.pictures['cam02'].decode() for s in recording.frame_sets(0, last + 1, ('cam02',))]
    made = SimpleNamespace(views={}, processed={}, status=SceneStatus(
        stage_names=['bootstrap', 'motion'], stage_mean_s=[9.0, 0.5], stage_last_s=[9.0, 0.5],
        stage_p95_s=[9.0, 0.75],
        keys_refined=1, drop_causes=['superseded'], drop_counts=[2]))
    for index, truth in enumerate(truths):
        if index not in superseded:
            kind = 'key' if index == 2 else 'candidate'
            made.processed[(index + 1) * S] = Processed(kind, 0.5, 0.0, 100 + index, 0.1)
            if index not in lost:
                noise = np.random.default_rng(index).integers(0, 3, truth.shape)
                made.views[(index + 1) * S] = Seen(
                    np.clip(truth + noise, 0, 255).astype(np.uint8), None, 1.0 + index)
    made.about = lambda stamp_ns: Observer.about(made, stamp_ns)
    return made


def test_results_keep_the_contract_and_name_what_was_not_scored(workbench, tmp_path, capsys):
    recording = open_recording(workbench)
    table = tmp_path / 'stamps.json'
    rows = [{'index': i, 'stamp_ns': (i + 1) * S, 'repeated': False} for i in range(5)]
    table.write_text(json.dumps({'frames': [
        {'index': 0, 'stamp_ns': 1, 'repeated': True}, *rows]}))
    seen = watched(recording, 4, lost=(3,), superseded=(1,))
    run = DemoRun(recording, 'cam02', ('cam00', 'cam01'), 'points', 'cpu', table, seen, 60.0)
    share = report(run, Demo(out=tmp_path), RunFiles(tmp_path, recording.rate_hz))
    assert share == 2 / 19  # of the frames after the first
    results = json.loads((tmp_path / 'results.json').read_text())
    validate_results(results)
    assert [(f['index'], f['kind'], f['gaussians']) for f in results['frames']] == [
        (2, 'key', 102), (4, 'candidate', 104)]
    frame, first, live = results['frames'][0], results['bootstrap'], results['live']
    assert frame['psnr'] > 40 and frame['step_s'] == 0.5 and frame['render_s'] == 0.1
    assert [name for name, value in frame.items() if value is None] == [
        'motion_cpu_s', 'refine_cpu_s', 'step_cpu_s', 'moved', 'state_bytes']
    assert first['method'] == 'points' and first['seconds'] == 9.0 and first['gaussians'] == 100
    assert first['psnr_train'] is None and first['psnr_test'] > 40
    causes = {row['index']: row['cause'] for row in live['unscored']}
    assert set(causes) == {1, 3, *range(5, 20)}
    assert 'not processed' in causes[1] and 'newer scene' in causes[3]
    assert causes[7] == 'not played'
    assert live['scene_updates_per_s'] == 0.5 and live['drops'] == {'superseded': 2}
    assert live['latency_s']['p50'] == 4.0
    assert 'not scored: 15 frames' in capsys.readouterr().out.replace('\n', ' ')


def test_a_single_frame_has_no_rate(workbench, tmp_path):
    assert _rate_hz([]) is None and _rate_hz([3 * S]) is None and _rate_hz([0, S, 2 * S]) == 1.0
    table = tmp_path / 'stamps.json'
    table.write_text(json.dumps({'frames': [{'index': 0, 'stamp_ns': S, 'repeated': False}]}))
    recording = open_recording(workbench)
    run = DemoRun(recording, 'cam02', ('cam00',), 'images', 'cpu', table, watched(recording, 0),
                  1.0)
    assert report(run, Demo(out=tmp_path), RunFiles(tmp_path, recording.rate_hz)) == 0
    results = json.loads((tmp_path / 'results.json').read_text())
    validate_results(results)
    assert results['frames'] == [] and results['live']['scene_updates_per_s'] is None
