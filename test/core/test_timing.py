# SPDX-License-Identifier: Apache-2.0
"""Stage times, drop counters and what a block costs."""
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igs_ros.core import timing
from igs_ros.core.timing import WINDOW, Drops, StageTime, Timings, span, spans_to, spending


def test_stages_keep_count_last_mean_and_greatest():
    timings = Timings()
    for seconds in (1.0, 6.0, 2.0):
        timings.add('motion', seconds)
    timings.add('view', 0.5)
    stages = timings.snapshot()
    assert stages['motion'] == StageTime(3, 2.0, 3.0, 6.0, 2.0, *np.percentile([1, 6, 2],
                                                                               [95, 99]))
    assert stages['view'] == StageTime(1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=3 * WINDOW))
@settings(max_examples=20)
def test_percentiles_are_of_the_newest_runs_and_the_rest_of_all(seconds):
    timings = Timings()
    for value in seconds:
        timings.add('motion', value)
    stage = timings.snapshot()['motion']
    assert (stage.p50_s, stage.p95_s, stage.p99_s) == pytest.approx(
        np.percentile(seconds[-WINDOW:], [50, 95, 99]))
    assert stage.mean_s == pytest.approx(np.mean(seconds)) and stage.max_s == max(seconds)
    assert stage.count == len(seconds) and stage.last_s == seconds[-1]


def test_hours_of_runs_take_no_more_memory():
    timings = Timings()
    for _ in range(2 * WINDOW):
        timings.add('motion', 0.1)
    tracemalloc.start()
    try:
        for _ in range(20 * WINDOW):
            timings.add('motion', 0.1)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 4096


def test_a_snapshot_does_not_change_later():
    timings, drops = Timings(), Drops()
    seen = timings.snapshot(), drops.snapshot()
    timings.add('motion', 1.0)
    drops.add('late')
    assert seen == ({}, {})


def test_spans_inside_spans_have_paths():
    timings = Timings()
    with spans_to(timings):
        with span('update'):
            with span('motion'), span('flow'):
                pass
            with span('motion'):
                pass
        with span('swap'):
            pass
    assert {name: stage.count for name, stage in timings.snapshot().items()} == {
        'update': 1, 'update/motion': 2, 'update/motion/flow': 1, 'swap': 1}


def test_a_span_is_timed_also_when_it_raises():
    timings = Timings()
    with spans_to(timings):
        with pytest.raises(ValueError, match='broken'), span('motion'):
            time.sleep(0.02)
            raise ValueError('broken')
        with span('after'):
            pass
    motion = timings.snapshot()['motion']
    assert motion.count == 1 and motion.last_s >= 0.02
    assert 'after' in timings.snapshot()  # the path is that of before


def test_spans_go_to_the_sinks_of_their_thread_and_block():
    outer, inner, other = Timings(), Timings(), Timings()

    def work():
        with span('nobody'):
            pass
        with spans_to(other), span('elsewhere'):
            pass
    with span('before'):
        pass
    with spans_to(outer), span('a'):
        with spans_to(inner), span('b'):
            pass
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert [list(each.snapshot()) for each in (outer, inner, other)] == [['a'], ['b'],
                                                                        ['elsewhere']]


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


def test_spending_tells_waiting_from_work(monkeypatch):
    now = SimpleNamespace(wall=5.0, cpu=2.0)
    monkeypatch.setattr(timing, 'time', SimpleNamespace(
        perf_counter=lambda: now.wall, process_time=lambda: now.cpu))
    with spending() as waited:
        now.wall += 0.5
    with spending() as worked:
        now.wall, now.cpu = now.wall + 0.25, now.cpu + 0.125
    assert (waited().wall_s, waited().cpu_s) == (0.5, 0.0)
    assert (worked().wall_s, worked().cpu_s) == (0.25, 0.125)


def test_spending_counts_work_of_this_process():
    with spending() as worked:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
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
