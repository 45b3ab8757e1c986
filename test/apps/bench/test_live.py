# SPDX-License-Identifier: Apache-2.0
"""`igs bench live`: the loop, the ages, the figures and the picture."""
import json
import os
import signal
import time

import cv2
import numpy as np
import pytest
import torch

from igs_ros.apps.bench import live as bench_live
from igs_ros.apps.bench import live_plot
from igs_ros.apps.bench.live import Loops, as_cameras_send, forth_and_back, loop_order
from igs_ros.apps.bench.live_figures import RowFile, read_rows, summary, trend
from igs_ros.apps.bench.live_unseen import UnseenView
from igs_ros.apps.cli.main import main
from igs_ros.apps.evaluation import sessions
from igs_ros.core.config import Config
from igs_ros.core.errors import InputError, OutputError
from igs_ros.core.frames import RawFrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import first_snapshot
from igs_ros.core.status import Status
from igs_ros.io.pictures import EncodedPicture
from igs_ros.io.recordings.open import open_recording
from igs_ros.render.choose import make_rasterizer
from igs_ros.render.rasterizer import render_view
from igs_ros.vision.metrics import psnr

SETS = [RawFrameSet.of(stamp * 100, {'cam': np.full((2, 2, 3), stamp, np.uint8)})
        for stamp in range(4)]


@pytest.mark.parametrize('seconds, count', [(0.0, 6), (0.9, 12), (0.35, 6), (0.6, 6)])
def test_a_loop_goes_forth_and_back_to_its_beginning_with_rising_stamps(seconds, count):
    loop = forth_and_back(SETS, 0.1, seconds)
    assert [frame_set.stamp_ns for frame_set in loop] == [
        round(number * 1e8) for number in range(count)]
    assert [int(frame_set.pictures['cam'].decode()[0, 0, 0]) for frame_set in loop] == [
        0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1][:count]


class StandIn:
    """The module `time`; time passes in `sleep`, and `busy_s` in every offer."""

    def __init__(self):
        self.now_s, self.busy_s = 100.0, 0.0

    def monotonic(self):
        return self.now_s

    def monotonic_ns(self):
        return round(self.now_s * 1e9)

    def sleep(self, seconds):
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch):
    made = StandIn()
    monkeypatch.setattr(bench_live, 'time', made)
    monkeypatch.setattr(sessions, 'time', made)
    return made


@pytest.mark.parametrize('busy_s, count', [(0.0, 15), (0.015625, 15), (0.0625, 8)])
def test_playing_goes_round_at_the_rate_and_makes_up_for_nothing(clock, busy_s, count):
    offered = []

    def offer(frame_set):
        offered.append(frame_set)
        at_s.append(clock.now_s)
        clock.now_s += busy_s
    at_s = []
    loops = Loops(SETS, offer, lambda: 0.03125)
    assert loops.play(0.3125) + loops.play(0.15625) == len(offered) == count
    assert clock.now_s - 100 >= 0.46875  # a sample takes its whole time
    assert clock.now_s - 100 <= 0.46875 + busy_s
    assert np.diff(at_s).min() >= 0.03125  # from one call to the next, too
    assert [frame_set.stamp_ns for frame_set in offered] == [
        100 * (number % 4) for number in range(count)]


def test_it_knows_how_long_ago_a_frame_set_was_due(clock):
    loops = Loops(SETS, lambda frame_set: clock.sleep(0.0625), lambda: 0.03125)
    assert np.isnan(loops.age_s(0))
    loops.play(0.03)
    assert loops.age_s(0) == 0.0625
    stamp_ns = loops.clock()
    clock.sleep(0.5)
    assert loops.age_s(0) == 0.5625 and loops.clock() - stamp_ns == 500_000_000


def test_pictures_are_jpeg_and_nearly_the_same(workbench):
    recording = open_recording(workbench)
    raw, = recording.frame_sets(0, 1, ('cam00',))
    sent, = as_cameras_send([raw])
    picture = sent.pictures['cam00']
    assert isinstance(picture, EncodedPicture) and picture.data[:2] == b'\xff\xd8'
    assert psnr(raw.pictures['cam00'].decode(), picture.decode() / 255) > 25
    again, = as_cameras_send([sent])
    assert again.pictures['cam00'] is picture


FLAGS = ('--width 96 --threads 1 --max-gaussians 1500 --bootstrap-iterations 20 '
         '--refine-iterations 5 --frames 0:6').split()


def bench(workbench, *arguments):
    """Exit code of a few seconds of `igs bench live`."""
    with pytest.raises(SystemExit) as ended:
        main(['bench', 'live', str(workbench), *FLAGS, *map(str, arguments)])
    return ended.value.code


def test_the_command_prints_json_keeps_rows_and_draws(workbench, tmp_path, capsys):
    plot, file = tmp_path / 'live.svg', tmp_path / 'rows.jsonl'
    assert bench(workbench, '--minutes', 0.05, '--json', '--plot', plot, '--out', file) == 0
    results = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    row, = results['rows']
    assert row['updates_hz'] > 0 and row['views_hz'] > 0
    assert 0 < row['age_p50_s'] <= row['age_max_s']
    assert set(row['levels']) == {'motion', 'refine', 'view'} and row['rss_mb'] > 50
    assert 20 < row['heap_mb'] < row['rss_mb'] and 0 < row['heap_free_mb']
    scores = row['psnr_frames']
    assert scores and set(scores) <= set('012345')
    assert 15 < row['psnr'] < 40 and row['psnr'] == pytest.approx(np.mean(list(scores.values())))
    summary = results['summary']
    assert summary['frame_sets_offered'] == summary['frame_sets_processed'] + \
        summary['first_scenes'] + summary['sets_lost']
    assert summary['rss_mb_per_min'] is None  # one row is no trend
    assert summary['psnr'] == summary['psnr_min'] == row['psnr']
    assert results['config']['budget']['update_hz'] == 10.0 and results['test_view'] == 'cam02'
    assert plot.read_text().startswith('<?xml')
    assert read_rows(file) == results and not results['interrupted']


def test_an_interrupted_hour_is_reported_as_far_as_it_went(workbench, tmp_path, capsys,
                                                           monkeypatch):
    def samples(*_):
        yield from ROWS[:3]
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    monkeypatch.setattr('igs_ros.apps.bench.live._sampled', samples)
    file, plot = tmp_path / 'rows.jsonl', tmp_path / 'live.png'
    assert bench(workbench, '--minutes', 60, '--out', file, '--json', '--plot', plot) == 130
    results = json.loads(capsys.readouterr().out)
    assert results['interrupted'] and results['rows'] == ROWS[:3] == read_rows(file)['rows']
    assert plot.stat().st_size > 5000


ROWS = [{'at_s': 10.0 * number, 'updates_hz': 5.0 + number, 'views_hz': 9.0, 'age_p50_s': 0.1,
         'age_p95_s': 0.2 - 0.001 * number, 'age_max_s': 0.3, 'view_p50_s': 0.01,
         'view_p95_s': 0.02, 'keys': 1, 'discarded': 0, 'gaussians': 100, 'reduced': '',
         'levels': {'motion': 0, 'refine': 1, 'view': 0}, 'drops': {}, 'queues': {},
         'rss_mb': 500.0 if number < 3 else 100 + number, 'heap_mb': 50.0, 'heap_free_mb': None,
         'gpu_mb': 0.0, 'psnr': 25 - 0.5 * number if number % 2 else None, 'psnr_frames': {}}
        for number in range(9)]


def test_trends_are_of_the_last_two_thirds_and_leave_out_what_is_not_known():
    made = summary(ROWS, Status())
    assert made['rss_mb_per_min'] == pytest.approx(6.0)  # 1 MB in 10 s, after 500 MB at first
    assert made['age_p95_s_per_min'] == pytest.approx(-0.006)
    assert made['updates_hz_per_min'] == pytest.approx(6.0)
    assert made['psnr_per_min'] == pytest.approx(-3.0) and made['psnr_min'] == 21.5
    assert made['heap_mb_per_min'] == pytest.approx(0.0) and made['rss_mb_max'] == 500.0
    assert trend([{**row, 'psnr': None} for row in ROWS], 'psnr') is None


def test_rows_survive_a_kill_and_a_full_disk(tmp_path, caplog, full_disk):
    path = tmp_path / 'deep' / 'rows.jsonl'
    file = RowFile(path)
    for piece in ({'recording': 'little'}, *ROWS[:2]):
        file.keep(piece)
    with path.open('a') as cut:
        cut.write('{"at_s": 20.0, "upda')
    assert read_rows(path) == {'recording': 'little', 'rows': ROWS[:2]}
    with full_disk(path.stat().st_size):
        for row in ROWS[2:]:
            file.keep(row)
    assert caplog.text.count('The run goes on without') == 1 and 'rows.jsonl' in caplog.text
    with pytest.raises(OutputError, match='rows.jsonl'):
        RowFile(path / 'rows.jsonl')
    (tmp_path / 'other').write_text('no rows\n')
    with pytest.raises(InputError, match='other'):
        read_rows(tmp_path / 'other')


def test_outputs_are_checked_before_the_hour(workbench, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('igs_ros.apps.bench.live.run', lambda *_: pytest.fail('too late'))
    for arguments in (('--plot', tmp_path), ('--out', tmp_path)):
        assert bench(workbench, *arguments) == 2
        assert str(tmp_path) in capsys.readouterr().err.strip().splitlines()[-1]


def test_the_plot_has_what_there_is(tmp_path):
    """Without an unseen camera there is no panel for it, without a GPU no line."""
    head = {'recording': 'little', 'rate_hz': 30.0, 'machine': 'box', 'test_view': None}
    live_plot.plot({**head, 'rows': ROWS}, tmp_path / 'with.svg')
    live_plot.plot({**head, 'rows': [{**row, 'psnr': None} for row in ROWS]},
                   tmp_path / 'without.svg')
    still = {'age_p50_s': None, 'age_p95_s': None, 'updates_hz': 0.0}
    live_plot.plot({**head, 'rows': [{**row, **still} for row in ROWS]}, tmp_path / 'still.svg')
    panels = [(tmp_path / f'{name}.svg').read_text().count('<g id="axes_')
              for name in ('with', 'without', 'still')]
    assert panels == [5, 4, 5]


def test_scenes_are_scored_once_a_minute_when_their_frame_is_shown(workbench):
    """The score is that of the scene and picture of the same frame."""
    recording = open_recording(workbench)
    frames = dict(loop_order(6, 0.1, 2.0))
    unseen = UnseenView(recording, 'cam02', Config(width=96, threads=1), 0, frames)
    points = recording.points()
    scene = GaussianScene(
        torch.from_numpy(points.xyz), torch.tensor([[1.0, 0, 0, 0]]).expand(len(points), 4),
        torch.full((len(points), 3), 0.02), torch.full((len(points),), 0.8),
        torch.from_numpy((points.rgb / 255 - 0.5) / 0.2820948).float()[:, None])
    stamps = {frame: stamp for stamp, frame in frames.items()}
    unseen.begin(0.0)  # all are due
    for frame in (3, 3, 4):
        unseen.shown(first_snapshot(scene, stamps[frame]))
    unseen.run_once()
    unseen.shown(first_snapshot(scene, stamps[4]))
    unseen.run_once()
    row = unseen.minute(1e9)
    assert set(row['psnr_frames']) == {3, 4}
    camera = recording.cameras['cam02'].resized(96)
    drawn = render_view(make_rasterizer('cpu', 1), scene, camera).rgb
    picture = next(iter(recording.frame_sets(3, 4, ('cam02',)))).pictures['cam02'].decode()
    truth = cv2.resize(picture, (96, 72), interpolation=cv2.INTER_AREA)
    wanted = -10 * np.log10(np.mean((truth / 255 - np.clip(drawn, 0, 1)) ** 2))
    assert row['psnr_frames'][3] == pytest.approx(wanted, abs=1e-3)
    unseen.shown(first_snapshot(scene, stamps[5]))  # not due for long
    unseen.run_once()
    assert unseen.minute(1.0) == {'psnr': None, 'psnr_frames': {}}
