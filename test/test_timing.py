# SPDX-License-Identifier: Apache-2.0
"""Stage times, drop counters and what a block costs."""
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from igs_ros.timing import Drops, StageTime, Timings, spending


def test_stages_keep_last_mean_and_count():
    timings = Timings()
    for seconds in (1.0, 2.0, 6.0):
        timings.add('motion', seconds)
    timings.add('view', 0.5)
    assert timings.snapshot() == {'motion': StageTime(6.0, 3.0, 3),
                                  'view': StageTime(0.5, 0.5, 1)}


def test_a_snapshot_does_not_change_later():
    timings, drops = Timings(), Drops()
    seen = timings.snapshot(), drops.snapshot()
    timings.add('motion', 1.0)
    drops.add('late')
    assert seen == ({}, {})


def test_a_stage_is_timed_also_when_it_raises():
    timings = Timings()
    with pytest.raises(ValueError, match='broken'), timings.stage('motion'):
        time.sleep(0.02)
        raise ValueError('broken')
    motion = timings.snapshot()['motion']
    assert motion.count == 1 and 0.02 <= motion.last_s < 2


def test_drops_count_by_cause():
    drops = Drops()
    drops.add('late')
    drops.add('superseded', 3)
    drops.add('late', 2)
    assert drops.snapshot() == {'late': 3, 'superseded': 3}


def test_many_threads_lose_nothing():
    timings, drops = Timings(), Drops()

    def work(_):
        for _ in range(500):
            timings.add('motion', 2.0)
            drops.add('late')
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert timings.snapshot()['motion'].count == drops.snapshot()['late'] == 4000
    assert timings.snapshot()['motion'].mean_s == pytest.approx(2.0)


def test_spending_tells_waiting_from_work():
    with spending() as waited:
        time.sleep(0.5)
    with spending() as worked:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
    assert waited().wall_s >= 0.5 and waited().cpu_s < 0.25  # other tests' garbage costs some
    assert worked().cpu_s >= 0.05


def test_spending_stands_still_after_the_block():
    with spending() as spent:
        inside = spent()
        time.sleep(0.01)
    after = spent()
    time.sleep(0.01)
    assert spent() == after and after.wall_s >= inside.wall_s + 0.01


def test_spending_counts_a_block_that_raises():
    with pytest.raises(ValueError), spending() as spent:
        time.sleep(0.01)
        raise ValueError
    assert spent().wall_s >= 0.01
