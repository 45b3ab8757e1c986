# SPDX-License-Identifier: Apache-2.0
"""`igs bench live`: the loop, the ages, the figures and the picture."""
import json

import numpy as np
import pytest

from igs_ros import sessions
from igs_ros.bench import live as bench_live
from igs_ros.bench.live import Loops, as_cameras_send, forth_and_back
from igs_ros.cli.main import main
from igs_ros.data import open_recording
from igs_ros.frames import EncodedPicture, FrameSet
from igs_ros.metrics import psnr

SETS = [FrameSet(stamp * 100, {'cam': np.full((2, 2, 3), stamp, np.uint8)}) for stamp in range(4)]


@pytest.mark.parametrize('seconds, count', [(0.0, 4), (0.9, 9), (0.35, 4)])
def test_a_loop_goes_forth_and_back_with_rising_stamps(seconds, count):
    loop = forth_and_back(SETS, 0.1, seconds)
    assert [frame_set.stamp_ns for frame_set in loop] == [
        round(number * 1e8) for number in range(count)]
    assert [int(frame_set.images['cam'][0, 0, 0]) for frame_set in loop] == [
        0, 1, 2, 3, 2, 1, 0, 1, 2][:count]


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
        clock.now_s += busy_s
    loops = Loops(SETS, offer, lambda: 0.03125)
    assert loops.play(0.3125) + loops.play(0.15625) == len(offered) == count
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
    picture = sent.images['cam00']
    assert isinstance(picture, EncodedPicture) and picture.data[:2] == b'\xff\xd8'
    assert psnr(raw.images['cam00'].decode(), picture.decode() / 255) > 25
    again, = as_cameras_send([sent])
    assert again.images['cam00'] is picture


def test_the_command_prints_json_and_draws(workbench, tmp_path, capsys):
    plot = tmp_path / 'live.svg'
    with pytest.raises(SystemExit) as ended:
        main(['bench', 'live', str(workbench), '--minutes', '0.05', '--width', '96', '--threads',
              '1', '--max-gaussians', '1500', '--bootstrap-iterations', '20',
              '--refine-iterations', '5', '--frames', '0:6', '--json', '--plot', str(plot)])
    assert ended.value.code == 0
    results = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    row, = results['rows']
    assert row['updates_hz'] > 0 and row['views_hz'] > 0
    assert 0 < row['age_p50_s'] <= row['age_max_s']
    assert set(row['levels']) == {'motion', 'refine', 'view'} and row['rss_mb'] > 50
    summary = results['summary']
    assert summary['frame_sets_offered'] == summary['frame_sets_processed'] + \
        summary['first_scenes'] + summary['sets_lost']
    assert summary['rss_mb_per_min'] is None  # one row is no trend
    assert results['config']['budget']['update_hz'] == 10.0
    assert plot.read_text().startswith('<?xml')
