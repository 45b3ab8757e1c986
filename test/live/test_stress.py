# SPDX-License-Identifier: Apache-2.0
"""Frame sets at twice the rate that the machine can take: nothing grows, nothing is lost."""
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from running import begin, follow

from igs_ros.apps.bench.live import Loops, forth_and_back
from igs_ros.core.config import BudgetConfig
from igs_ros.core.machine import rss_mb
from igs_ros.live.pipeline import LivePipeline
from igs_ros.live.threads import PeriodicThread

LOOP_S = 3.0  # so that stamps jump back, too
VIEW_HZ = 15.0


class Watch:
    """Samples queues and memory while the pipeline runs."""

    def __init__(self, live):
        self._live = live
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.longest: dict[str, int] = {}
        self.memory: list[tuple[float, float]] = []  # s, MB

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _run(self):
        while not self._ended.wait(0.05):
            for name, length in self._live.status().queues.items():
                self.longest[name] = max(length, self.longest.get(name, 0))
            self.memory.append((time.monotonic(), rss_mb()))


@pytest.mark.parametrize('seconds', [
    pytest.param(5.0, id='short'), pytest.param(60.0, id='minute', marks=pytest.mark.slow)])
def test_twice_the_rate_that_the_machine_can_take(rig, config, sets, seconds):
    # a rate that no machine holds: the budget goes down to its last rung
    config = replace(config, budget=BudgetConfig(update_hz=1000, view_hz=VIEW_HZ, refine_s=0.5))
    turns: list[int] = []  # of motion, from the offer of a frame set until it was shown
    offered_in: dict[int, int] = {}

    def offer(frame_set):
        offered_in[frame_set.stamp_ns] = live.status().frame_sets_processed
        live.offer(frame_set)

    def note(snapshot):
        if snapshot.stamp_ns in offered_in and not snapshot.is_new_key:
            turns.append(live.status().frame_sets_processed - offered_in[snapshot.stamp_ns])
    live = LivePipeline(config, rig, listeners=[note])
    loops = Loops(forth_and_back(sets, 1 / 30, LOOP_S), offer,
                  lambda: live.status().stages['update'].p50_s / 2)
    camera = live.working_cameras['cam01']

    def view() -> float:
        live.view(camera)
        return 1 / VIEW_HZ
    errors: list[Exception] = []
    views = PeriodicThread('views', view, errors.append)
    live.start()
    try:
        begin(live, sets)
        for frame_set in sets[1:8]:  # compilers and first touches are not the matter here
            follow(live, frame_set)
        views.start()
        already = live.status().frame_sets_offered
        with Watch(live) as watch:
            offered = loops.play(seconds)
        views.stop()
    finally:
        live.stop()
    status = live.status()
    assert not errors
    check_nothing_is_lost(status, offered, already, config.key_interval)
    assert set(watch.longest.values()) <= {0, 1}
    assert status.levels['motion'] > 0 and 'still late' in status.reduced
    assert status.stages['view'].count > 2  # as often as the machine lets them
    # it waits while motion finishes what it has in hand; what comes meanwhile takes its place
    assert len(turns) > 5 and max(turns) <= 2
    check_memory(watch.memory)


def check_nothing_is_lost(status, offered, already, key_interval):
    assert status.frame_sets_offered == already + offered
    assert status.frame_sets_offered == \
        status.frame_sets_processed + status.first_scenes + status.sets_lost
    assert status.drops['superseded'] > 0.3 * offered  # it was too much, indeed
    due = status.frame_sets_processed // key_interval
    assert due == status.keys_asked + status.drops.get('key_while_refining', 0)
    assert status.keys_asked == status.keys_refined + status.refinements_discarded
    assert status.keys_refined > 0 and status.drops['time_jump'] > 0


def check_memory(samples):
    """Flat: what the second half of the run adds is noise of the allocator."""
    at_s, mb = np.array(samples).T
    late = at_s > (at_s[0] + at_s[-1]) / 2
    assert np.polyfit(at_s[late], mb[late], 1)[0] * (at_s[-1] - at_s[0]) / 2 < 30.0
