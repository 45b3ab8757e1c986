# SPDX-License-Identifier: Apache-2.0
"""`igs run` as a whole: files, contract, options that do not fit."""
import json
import os
import shutil
import signal
import threading
from dataclasses import replace
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

from igs_ros.apps.cli.main import main
from igs_ros.apps.evaluation.evaluator import Evaluator
from igs_ros.apps.evaluation.offline import Request, run, summary_text
from igs_ros.core.config import BootstrapConfig, Config, RefineConfig
from igs_ros.core.errors import InputError
from igs_ros.core.snapshot import first_snapshot
from igs_ros.io.codec.ply import load_ply
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.results import validate_results
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.rasterizer import render_view
from igs_ros.stages.bootstrap.first_scene import BootstrapReport
from igs_ros.vision.preparer import Preparer

SMALL = Config(width=96, max_gaussians=2000, motion='static', key_interval=2,
               bootstrap=BootstrapConfig(iterations=30), refine=RefineConfig(iterations=10))
FLAGS = ('--width 96 --max-gaussians 2000 --motion static --key-interval 2 '
         '--bootstrap-iterations 30 --refine-iterations 10 --no-left-out').split()


@pytest.fixture(scope='module')
def finished(workbench, tmp_path_factory):
    out = tmp_path_factory.mktemp('out')
    return out, run(Request(workbench, out, SMALL, first=1, last=6))


def test_everything_is_written(finished):
    out, results = finished
    assert json.loads((out / 'results.json').read_text())['frames'][0]['index'] == 2
    with av.open(str(out / 'video.mp4')) as video:
        assert video.streams.video[0].codec_context.pix_fmt == 'yuv420p'
        assert sum(1 for _ in video.decode(video=0)) == 5
    for name in ('contact.png', 'quality.png', 'renders/frame_0005.png'):
        assert (out / name).stat().st_size > 1000
    assert len(load_ply(out / 'final.ply')) == results['frames'][-1]['gaussians']


def test_frame_a_stands_in_bootstrap_only(finished):
    _, results = finished
    assert [frame['index'] for frame in results['frames']] == [2, 3, 4, 5]
    assert [frame['kind'] for frame in results['frames']] == ['candidate', 'key'] * 2
    assert results['bootstrap']['psnr_test'] is not None
    assert results['summary']['frames_scored'] == 4
    assert results['test_view'] == 'cam02' and 'cam02' not in results['train_views']


def test_what_is_known_is_told(workbench, tmp_path, capsys):
    results = run(Request(workbench, tmp_path, SMALL, first=1, last=3, confidence=True,
                          left_out=True))
    known = results['confidence']
    assert list(known['cameras']) == results['train_views']
    assert known['confirmed'] == pytest.approx(np.mean(list(known['cameras'].values())))
    assert 0.2 < known['confirmed'] < 1 and 0 < known['confirmed_last'] < 1
    assert known['left_out']['camera'] == 'cam01' and known['left_out']['psnr_fitted'] > 12
    text = summary_text(results)
    assert f"{known['confirmed']:.0%} of the pictures confirmed" in text
    assert 'cam01, left out of a short first scene' in text
    for name in ('first_scene', 'frame_0002'):
        levels = cv2.imread(str(tmp_path / 'renders' / f'{name}_confidence.png'), -1)
        assert levels.shape == (72, 96) and 0.05 < (levels >= 128).mean() < 1


def test_key_messages_are_larger_than_updates(finished):
    _, results = finished
    candidate, key = results['frames'][:2]
    assert key['state_bytes'] > 23 * 4 * key['gaussians'] > 100 * candidate['state_bytes']


def test_without_test_view_scores_are_null(workbench, tmp_path, caplog):
    recording = shutil.copytree(workbench, tmp_path / 'rig')
    rig = json.loads((recording / 'rig.json').read_text())
    rig.pop('held_out')
    (recording / 'rig.json').write_text(json.dumps(rig))
    results = run(Request(recording, tmp_path / 'out', SMALL, last=3))
    assert results['test_view'] is None and len(results['train_views']) == 4
    assert results['frames'][0]['psnr'] is None and results['summary']['psnr'] is None
    assert np.isfinite(results['bootstrap']['psnr_train'])
    assert 'test' in caplog.text and 'null' in caplog.text


def test_every_held_out_camera_is_scored_plain_and_fitted(workbench, tmp_path):
    recording = shutil.copytree(workbench, tmp_path / 'rig')
    rig = json.loads((recording / 'rig.json').read_text())
    (recording / 'rig.json').write_text(json.dumps(rig | {'held_out': ['cam02', 'cam00']}))
    results = run(Request(recording, tmp_path / 'out', SMALL, last=2))
    validate_results(results)
    assert results['test_view'] == 'cam02' and results['test_views'] == ['cam02', 'cam00']
    assert results['train_views'] == ['cam01', 'cam03']
    for part, name in ((results['bootstrap'], 'psnr_test'), (results['frames'][0], 'psnr')):
        assert list(part['views']) == ['cam02', 'cam00']
        for fitted in ('', '_fitted'):
            scores = [view[f'psnr{fitted}'] for view in part['views'].values()]
            assert part[name + fitted] == pytest.approx(np.mean(scores)) and len({*scores}) == 2
        assert part[f'{name}_fitted'] > part[name]
    assert results['summary']['psnr_fitted'] == results['frames'][0]['psnr_fitted']


def test_a_camera_that_trains_is_shown_as_it_exposes_and_no_other(finished, workbench):
    recording = open_recording(workbench)
    scene = load_ply(finished[0] / 'final.ply')
    frame_set = next(recording.frame_sets())
    exposed = {'gain': [0.5, 0.5, 0.5], 'offset': [0.25, 0.0, 0.0]}
    made = BootstrapReport('ply', 0, 0, 0, 'iterations', len(scene), 30.0,
                           exposures={'cam00': exposed})

    def shown(camera):
        kept = SimpleNamespace(add=lambda label, view, truth: views.append(view.rgb))
        views = []
        evaluator = Evaluator(Preparer(recording.cameras, 96), [camera], False, CpuRasterizer(1),
                              kept)
        evaluator.first(made, first_snapshot(scene, 0), frame_set)
        return views[0], render_view(CpuRasterizer(1), scene,
                                     Preparer(recording.cameras, 96).cameras[camera]).rgb
    own, plain = shown('cam00')
    np.testing.assert_allclose(own, plain * 0.5 + np.array([0.25, 0, 0]), atol=1e-6)
    np.testing.assert_array_equal(*shown('cam02'))


def test_a_scene_on_disk_is_taken_as_it_is(finished, workbench):
    out, _ = finished
    config = replace(SMALL, bootstrap=BootstrapConfig(method=str(out / 'final.ply')))
    results = run(Request(workbench, None, config, last=2))
    assert results['bootstrap']['iterations'] == 0
    assert results['bootstrap']['gaussians'] == len(load_ply(out / 'final.ply'))


def test_live_run_accounts_for_every_frame(workbench, tmp_path):
    results = run(Request(workbench, tmp_path, SMALL, last=8, live=True))
    validate_results(results)
    shown = [frame['index'] for frame in results['frames']]
    assert sorted(shown + results['live']['skipped']) == list(range(1, 8))
    assert shown[-1] == 7  # the newest frame is never given up
    assert len(results['live']['skipped']) == results['live']['drops'].get('superseded', 0)
    keys = [frame for frame in results['frames'] if frame['kind'] == 'key']
    assert keys and all(frame['refine_s'] > 0 for frame in keys)
    assert results['summary']['psnr_keys'] is not None


def test_live_run_ends_its_threads_when_something_breaks(workbench, monkeypatch):
    monkeypatch.setattr('igs_ros.apps.evaluation.offline.Evaluator.first', lambda *_: 1 / 0)
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        run(Request(workbench, None, replace(SMALL, threads=1), last=4, live=True))
    assert threading.active_count() == before


def test_points_are_read_only_if_wanted(finished, workbench, tmp_path):
    recording = shutil.copytree(workbench, tmp_path / 'rig')
    (recording / 'points3d.ply').write_text('no points')
    out, _ = finished
    config = replace(SMALL, bootstrap=BootstrapConfig(method=str(out / 'final.ply')))
    assert run(Request(recording, None, config, last=2))['frames']
    with pytest.raises(InputError, match='points3d.ply'):
        run(Request(recording, None, SMALL, last=2))


def ended(workbench, out, *arguments):
    """Exit code of a small `igs run`."""
    with pytest.raises(SystemExit) as stopped:
        main(['run', str(workbench), '--out', str(out), '--frames', '1:4', *FLAGS, *arguments])
    return stopped.value.code


def test_a_full_disk_is_one_line_and_keeps_the_results(finished, workbench, tmp_path, capsys,
                                                       full_disk):
    with full_disk(40_000):
        assert ended(workbench, tmp_path) == 2
    validate_results(json.loads((tmp_path / 'results.json').read_text()))
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f'igs: {tmp_path}/final.ply: cannot be written (File too large). Make')
    assert not (tmp_path / 'final.ply').exists()
    assert not [path for path in tmp_path.rglob('*') if '.draft' in path.name]


def test_scores_are_said_when_even_results_cannot_be_kept(finished, workbench, tmp_path, capsys,
                                                          caplog, full_disk):
    with full_disk(1_000):
        assert ended(workbench, tmp_path) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith('igs: ')
    assert caplog.text.count('frames scored: psnr') == 1 and 'did not end' not in caplog.text
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]


def test_the_trace_of_a_run_that_fails_is_kept(finished, workbench, tmp_path, monkeypatch):
    (tmp_path / 'results.json').write_text('{"scene": 0, "bootstrap": 0, "frames": []}')
    monkeypatch.setattr('igs_ros.apps.evaluation.offline.MotionScorer.summary', lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(Request(workbench, tmp_path, SMALL, last=3, profile=tmp_path / 'trace.json'))
    assert json.loads((tmp_path / 'trace.json').read_text())['traceEvents']
    assert not (tmp_path / 'results.json').exists(), 'of another run than the renders'
    assert (tmp_path / 'previous_run' / 'results.json').exists()


@pytest.mark.parametrize('stop', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so_and_leaves_nothing_half_done(
        finished, workbench, tmp_path, monkeypatch, capsys, stop):
    frame = Evaluator.frame

    def stopping(self, shown):
        if shown.index == 3:
            os.kill(os.getpid(), stop)
        return frame(self, shown)
    monkeypatch.setattr('igs_ros.apps.evaluation.offline.Evaluator.frame', stopping)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert ended(workbench, tmp_path, '--profile', str(tmp_path / 'trace.json')) == 130
    assert capsys.readouterr().err.strip().splitlines()[-1] == 'igs: interrupted'
    assert sorted(path.name for path in tmp_path.rglob('*')) == [
        'first_scene.png', 'frame_0002.png', 'renders', 'trace.json']
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize('arguments, said', [
    (['--out', '{tmp}/file'], '/file: is no folder'),
    (['--out', '{tmp}/file/out'], '/file/out: cannot be written (Not a directory)'),
    (['--out', '/proc/out'], '/proc/out: cannot be written (No such file or directory)'),
    (['--out', '{tmp}/out', '--profile', '{tmp}/file/trace.json'], '/file: is no folder'),
    (['--out', '{tmp}/out', '--profile', '{tmp}'], 'is a folder; expected a file'),
    (['--out', '{tmp}/foreign'], 'results.json: not written by'),
])
def test_outputs_are_checked_before_the_work(workbench, tmp_path, capsys, monkeypatch, arguments,
                                             said):
    monkeypatch.setattr('igs_ros.apps.evaluation.offline._results',
                        lambda *_: pytest.fail('too late'))
    (tmp_path / 'file').write_text('kept')
    (tmp_path / 'foreign').mkdir()
    (tmp_path / 'foreign' / 'results.json').write_text('{}')
    with pytest.raises(SystemExit) as stopped:
        main(['run', str(workbench), *(word.format(tmp=tmp_path) for word in arguments)])
    assert stopped.value.code == 2
    line, = capsys.readouterr().err.strip().splitlines()
    assert line.startswith('igs: ') and said in line
    assert (tmp_path / 'file').read_text() == 'kept'


@pytest.mark.parametrize('arguments, words', [
    (['nowhere'], 'no such folder'),
    (['{data}', '--test-view', 'cam09'], 'cam09'),
    (['{data}', '--train-views', 'cam02'], 'cam02'),
    (['{data}', '--frames', '5'], 'A:B'),
    (['{data}', '--frames', '40:50'], '0:20'),
    (['{data}', '--max-gaussians', '0'], 'max_gaussians'),
    (['{data}', '--seed', '-1'], 'seed'),
    (['{data}', '--bootstrap-seconds', '-1'], 'bootstrap.seconds'),
    (['{data}', '--bootstrap', 'no.ply'], 'no.ply'),
])
def test_unusable_options_are_one_message(workbench, tmp_path, capsys, arguments, words):
    arguments = [part.format(data=workbench) for part in arguments]
    with pytest.raises(SystemExit) as ended:
        main(['run', *arguments, '--out', str(tmp_path), *(
            FLAGS if '--max-gaussians' not in arguments else [])])
    assert ended.value.code == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith('igs: ') and words in message


def test_request_refuses_a_view_that_trains(workbench):
    with pytest.raises(InputError, match='both'):
        run(Request(workbench, None, SMALL, test_view='cam00', train_views=('cam00', 'cam01')))
