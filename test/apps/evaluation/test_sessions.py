# SPDX-License-Identifier: Apache-2.0
"""Playing live: the clock of the recording, and what is kept for scoring."""
import time

import pytest

from igs_ros.apps.evaluation import sessions
from igs_ros.apps.evaluation.offline import Request, run
from igs_ros.apps.evaluation.sessions import PlayClock
from igs_ros.core.config import BootstrapConfig, Config, RefineConfig
from igs_ros.io.results import validate_results

SMALL = Config(width=96, max_gaussians=1500, motion='static', key_interval=2, threads=1,
               bootstrap=BootstrapConfig(iterations=20), refine=RefineConfig(iterations=5))


def test_the_clock_follows_the_recording_also_back():
    clock = PlayClock(5_000_000_000)
    assert clock() >= 5_000_000_000
    clock.reached(7_000_000_000)
    time.sleep(0.02)
    assert 7.02e9 <= clock() < 17e9
    clock.reached(0)
    assert clock() < 7e9


@pytest.mark.parametrize('name, limit', [
    ('KEPT_GAUSSIANS', 2500), ('KEPT_PIXELS', 400_000)])  # two snapshots, three pictures
def test_what_cannot_be_kept_is_shown_but_not_scored(workbench, tmp_path, monkeypatch, caplog,
                                                     name, limit):
    monkeypatch.setattr(sessions, name, limit)
    results = run(Request(workbench, tmp_path, SMALL, last=8, live=True))
    validate_results(results)
    scored = [frame['index'] for frame in results['frames']]
    live = results['live']
    assert sorted(scored + live['skipped'] + live['unscored']) == list(range(1, 8))
    assert live['unscored'] and scored == sorted(scored) and max(scored) < min(live['unscored'])
    assert caplog.text.count('later frames are not scored') == 1


def test_a_live_run_says_how_it_went(workbench):
    live = run(Request(workbench, None, SMALL, last=8, live=True))['live']
    assert live['frame_sets_offered'] == live['frame_sets_processed'] + 1 + sum(
        live['drops'].get(cause, 0) for cause in ('superseded', 'duplicate_stamp'))
    assert {'update', 'update/motion', 'refine', 'age'} <= set(live['stages'])
    assert 0 < live['stages']['age']['p50_s'] < 60  # of the recording's clock, not of today's
    assert live['levels'] == {'motion': 0, 'refine': 0, 'view': 0} and live['rss_mb'] > 50
    assert live['keys_refined'] == pytest.approx(live['stages']['swap']['count'])
