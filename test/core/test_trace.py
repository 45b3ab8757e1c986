# SPDX-License-Identifier: Apache-2.0
"""The trace file, read as a viewer reads it."""
import json
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igs_ros.apps.cli.main import main
from igs_ros.core.timing import span, spans_to
from igs_ros.core.trace import Trace


def written(trace, folder):
    path = folder / 'trace.json'
    trace.write(path)
    return json.loads(path.read_text())


def check_nesting(rows):
    """Spans of one thread lie inside each other or apart, with the path of those around them."""
    spans = [row for row in rows if row['ph'] == 'X']
    for thread in {row['tid'] for row in spans}:
        around = []
        ordered = sorted((row for row in spans if row['tid'] == thread),
                         key=lambda row: (row['ts'], -row['dur'], len(row['args']['path'])))
        for row in ordered:
            while around and row['ts'] >= around[-1]['ts'] + around[-1]['dur'] - 0.11:
                around.pop()
            if around:
                assert row['ts'] + row['dur'] <= around[-1]['ts'] + around[-1]['dur'] + 0.21
            path = '/'.join([*(outer['name'] for outer in around), row['name']])
            assert row['args']['path'] == path and row['cat'] == path.split('/')[0]
            around.append(row)
    return spans


def test_spans_of_two_threads(tmp_path):
    trace = Trace()

    def work():
        with spans_to(trace), span('refine'):
            time.sleep(0.01)
    thread = threading.Thread(target=work, name='refine')
    with spans_to(trace), span('update'):
        thread.start()
        with span('decode'):
            time.sleep(0.002)
        with span('motion'), span('flow'):
            time.sleep(0.002)
        thread.join()
    content = written(trace, tmp_path)
    spans = check_nesting(content['traceEvents'])
    names = {row['tid']: row['args']['name'] for row in content['traceEvents']
             if row['name'] == 'thread_name'}
    assert sorted(names.values()) == ['MainThread', 'refine']
    assert {(names[row['tid']], row['args']['path']) for row in spans} == {
        ('refine', 'refine'), ('MainThread', 'update'), ('MainThread', 'update/decode'),
        ('MainThread', 'update/motion'), ('MainThread', 'update/motion/flow')}
    by_name = {row['name']: row for row in spans}
    assert 2_000 <= by_name['flow']['dur'] <= by_name['update']['dur'] and \
        10_000 <= by_name['refine']['dur'] <= by_name['update']['dur']


def test_gauges_are_counters(tmp_path):
    trace = Trace()
    trace.gauge('scene age', {'ms': 120.5})
    trace.gauge('rungs', {'motion': 2, 'view': 0})
    rows = [row for row in written(trace, tmp_path)['traceEvents'] if row['ph'] == 'C']
    assert [(row['name'], row['args']) for row in rows] == [
        ('scene age', {'ms': 120.5}), ('rungs', {'motion': 2, 'view': 0})]
    assert 0 <= rows[0]['ts'] <= rows[1]['ts']


@given(st.integers(0, 50), st.integers(1, 10))
def test_only_the_newest_events_are_kept_and_the_others_counted(count, kept):
    trace = Trace(kept)
    for number in range(count):
        trace.span(f'stage{number}', number, number + 1)
    assert [event[1] for event in trace._events] == [
        f'stage{number}' for number in range(max(0, count - kept), count)]
    assert trace._left_out == max(0, count - kept)


def test_unknown_numbers_are_left_out(tmp_path):
    trace = Trace()
    trace.gauge('loss', {'nan': float('nan'), 'count': np.int64(3)})
    row = written(trace, tmp_path)['traceEvents'][-1]
    assert row['args'] == {'count': 3.0}


FLAGS = ('--width 96 --max-gaussians 1500 --key-interval 2 --bootstrap-iterations 20 '
         '--refine-iterations 5 --frames 0:6').split()


@pytest.mark.parametrize('live', [False, True], ids=['lockstep', 'live'])
def test_a_run_leaves_a_trace(workbench, tmp_path, live):
    file = tmp_path / 'trace.json'
    with pytest.raises(SystemExit) as ended:
        main(['run', str(workbench), '--out', str(tmp_path / 'out'), '--profile', str(file),
              *FLAGS, *(['--live'] if live else [])])
    assert ended.value.code == 0
    content = json.loads(file.read_text())
    assert content['otherData'] == {'events_left_out': 0}
    spans = check_nesting(content['traceEvents'])
    names = {row['tid']: row['args']['name'] for row in content['traceEvents']
             if row['name'] == 'thread_name'}
    seen = {(names[row['tid']], row['args']['path']) for row in spans}
    motion, refine = ('motion', 'refine') if live else ('MainThread', 'MainThread')
    assert {(motion, 'bootstrap'), (motion, 'update'), (motion, 'update/decode'),
            (motion, 'update/motion'), (refine, 'refine'), (motion, 'swap')} <= seen
    gauges = {row['name'] for row in content['traceEvents'] if row['ph'] == 'C'}
    assert gauges == ({'Gaussians', 'scene age', 'rungs below full effort'} if live
                      else {'Gaussians'})
    results = json.loads((tmp_path / 'out' / 'results.json').read_text())
    stages = results['live' if live else 'detail']['stages']
    assert stages['update/motion']['count'] == \
        sum(row['args']['path'] == 'update/motion' for row in spans)
    assert {'p50_s', 'p95_s', 'p99_s'} <= set(stages['refine'])
