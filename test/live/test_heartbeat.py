# SPDX-License-Identifier: Apache-2.0
"""The log line of a live run."""
import logging
from dataclasses import replace

import pytest

from igs_ros.core.status import State, Status
from igs_ros.core.timing import StageTime
from igs_ros.live import heartbeat
from igs_ros.live.heartbeat import Heartbeat, line

BEFORE = Status(state=State.STREAMING, frame_sets_processed=100, keys_refined=3,
                refinements_discarded=1, drops={'superseded': 7})
NOW = replace(
    BEFORE, frame_sets_processed=195, keys_refined=5, refinements_discarded=2, gaussians=1234,
    rss_mb=512.4, drops={'superseded': 9, 'key_diverged': 1, 'duplicate_stamp': 0},
    stages={'age': StageTime(95, 0.1, 0.1, 3.0, 0.12, 0.2, 2.5),
            'update/motion': StageTime(95, 0.1, 0.1, 1.0, 0.08, 0.09, 0.1)})


def test_it_tells_what_happened_since_the_last_one():
    assert line(BEFORE, NOW, 10.0) == (
        '9.5 updates/s, age 120 ms / 200 ms / 2.50 s, motion 80 ms / 90 ms / 100 ms, 2 keys '
        '(1 discarded), 1234 Gaussians, full effort, dropped: superseded 2, key_diverged 1, '
        '512 MB (p50 / p95 / p99)')


@pytest.mark.parametrize('changes, words', [
    ({'reduced': 'view: drawn at 0.71'}, 'view: drawn at 0.71'),
    ({'polished': 4}, ', 4 polishes, '), ({'gpu_mb': 700.0}, '+ GPU 700 MB'),
    ({'drops': BEFORE.drops}, 'dropped: nothing')])
def test_what_else_it_may_say(changes, words):
    assert words in line(BEFORE, replace(NOW, **changes), 10.0)


def test_it_is_said_while_the_scene_streams_and_only_then(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(heartbeat, 'EVERY_S', 0.02)
    state = [State.WAITING]
    held = Heartbeat(lambda: replace(NOW, state=state[0]))
    for _ in range(3):
        held._round()
    assert caplog.text == ''
    state[0] = State.STREAMING
    held._round()
    assert caplog.text.count('updates/s') == 1


def test_memory_is_given_back_once_a_minute(monkeypatch):
    """Whether the scene streams or not; EVERY_S and the turns make a minute."""
    trims = []
    monkeypatch.setattr(heartbeat, 'trim_heap', lambda: trims.append(beat._rounds))
    beat = Heartbeat(Status)
    for _ in range(20):
        assert beat._round() == heartbeat.EVERY_S
    assert trims == [6, 12, 18] and heartbeat.EVERY_S * heartbeat.ROUNDS_PER_TRIM == 60
