# SPDX-License-Identifier: Apache-2.0
"""The assembler: its promises under any input, and the cases that defeat exact synchronizers."""
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igs_ros.core.errors import InputError
from igs_ros.core.frames import Frame
from igs_ros.live.assemble import CAUSES, FrameSetAssembler, usual_min_cameras

MS = 1_000_000


class Clock:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def names(count):
    return [f'cam{i:02d}' for i in range(count)]


def assembler(count=3, spread_ms=20, wait_ms=50, least=1, queue=4, **options):
    clock = Clock()
    made = FrameSetAssembler(names(count), spread_ms / 1e3, wait_ms / 1e3, least, queue,
                             now=clock, **options)
    return made, clock


def play(target, clock, events, poll_ms=5):
    """Feed (arrival ms, camera, stamp ms, picture) in order of arrival, polling in between."""
    sets = []
    for arrival, camera, stamp, picture in sorted(events, key=lambda e: e[:3]):
        while clock.seconds * 1e3 + poll_ms < arrival:
            clock.seconds += poll_ms / 1e3
            sets += target.poll()
        clock.seconds = max(clock.seconds, arrival / 1e3)
        sets += target.add(Frame(camera, round(stamp * MS), picture))
    for _ in range(400):
        clock.seconds += poll_ms / 1e3
        sets += target.poll()
    return sets


def exposures(count, frames, period=100 / 3, offset=lambda camera, k: 0.0, delay=2.0,
              lost=lambda camera, k: False):
    """Pictures are (camera, k): camera's exposure k."""
    events = []
    for i, name in enumerate(names(count)):
        for k in range(frames):
            stamp = k * period + offset(i, k) + 1000
            if not lost(i, k):
                events.append((stamp + delay + 0.1 * i, name, stamp, (name, k)))
    return events


def instants(sets):
    """The exposure numbers of each set."""
    return [{k for _, k in s.pictures.values()} for s in sets]


def conserved(target, fed):
    """Every frame is accounted for once, per camera."""
    waiting = target.waiting()
    for name in waiting:
        ended = sum(target.counts[cause][name] for cause in (*CAUSES, 'used'))
        assert ended + waiting[name] == fed[name]


# --- promises under any input ----------------------------------------------------------------

arrivals = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400), st.integers(0, 60)),
                    max_size=120)


@given(arrivals, st.integers(1, 4), st.integers(1, 5), st.sampled_from([0, 10, 35, 80]),
       st.sampled_from([0, 30, 120]))
def test_promises_hold_for_any_input(messages, least, queue, spread_ms, wait_ms):
    target, clock = assembler(4, spread_ms, wait_ms, least, queue, jump_s=10.0)
    fed = dict.fromkeys(names(4), 0)
    sets, used = [], set()
    for number, (camera, stamp, pause) in enumerate(messages):
        clock.seconds += pause / 1e3
        fed[names(4)[camera]] += 1
        sets += target.add(Frame(names(4)[camera], stamp * MS, (number, stamp * MS)))
        assert all(n <= queue for n in target.waiting().values())
    clock.seconds += 10
    sets += target.poll()
    assert not any(target.waiting().values())
    for s in sets:
        stamps = sorted(stamp for _, stamp in s.pictures.values())
        assert len(s.pictures) >= least
        assert stamps[-1] - stamps[0] == s.spread_ns <= spread_ms * MS
        assert s.stamp_ns == stamps[(len(stamps) - 1) // 2]
        assert set(s.missing) == set(names(4)) - set(s.pictures)
        numbers = {number for number, _ in s.pictures.values()}
        assert not numbers & used
        used |= numbers
    assert [s.stamp_ns for s in sets] == sorted({s.stamp_ns for s in sets})
    conserved(target, fed)
    assert sum(target.counts['missing'].values()) == sum(len(s.missing) for s in sets)
    assert sum(target.counts['used'].values()) == len(used)


@given(arrivals, st.integers(1, 4))
def test_accounts_also_hold_when_stamps_jump(messages, least):
    target, clock = assembler(4, 20, 30, least, jump_s=0.05)
    fed = dict.fromkeys(names(4), 0)
    for camera, stamp, pause in messages:
        clock.seconds += pause / 1e3
        fed[names(4)[camera]] += 1
        target.add(Frame(names(4)[camera], stamp * MS, None))
    conserved(target, fed)


@given(st.integers(2, 8), st.floats(0, 7), st.integers(0, 2 ** 32 - 1))
def test_jitter_below_the_spread_costs_nothing(count, jitter, seed):
    random = np.random.default_rng(seed)
    shifts = random.uniform(-jitter, jitter, (count, 30))
    target, clock = assembler(count, spread_ms=2 * jitter + 0.001)
    sets = play(target, clock, exposures(count, 30, offset=lambda i, k: shifts[i, k]))
    assert instants(sets) == [{k} for k in range(30)]
    assert all(len(s.pictures) == count for s in sets)


# --- cases -----------------------------------------------------------------------------------


def test_a_complete_set_is_emitted_at_once_with_its_median_stamp():
    target, _ = assembler(3)
    assert target.add(Frame('cam02', 1000 * MS, 'c')) == []
    assert target.add(Frame('cam00', 1004 * MS, 'a')) == []
    s, = target.add(Frame('cam01', 1007 * MS, 'b'))
    assert s.pictures == {'cam00': 'a', 'cam01': 'b', 'cam02': 'c'}
    assert (s.stamp_ns, s.spread_ns, s.missing) == (1004 * MS, 7 * MS, ())


def test_a_dead_camera_delays_by_max_wait_only():
    target, clock = assembler(3, wait_ms=50, least=2)
    target.add(Frame('cam00', 1000 * MS, 'a'))
    target.add(Frame('cam01', 1000 * MS, 'b'))
    clock.seconds = 0.049
    assert target.poll() == []
    clock.seconds = 0.051
    s, = target.poll()
    assert s.missing == ('cam02',)
    assert target.drops() == {'missing:cam02': 1}


def latencies(sets_at):
    """ms from the exposure of a set until it was emitted, by exposure number."""
    return {k: at * 1e3 - 1000 - k * 100 / 3 for at, s in sets_at for k in instants([s])[0]}


def timed(target, clock, events, poll_ms=1):
    """As `play`, with the time at which each set was emitted; the clock starts with the first."""
    sets, events = [], sorted(events, key=lambda e: e[:3])
    clock.seconds = max(clock.seconds, events[0][0] / 1e3 - 0.1)
    for arrival, camera, stamp, picture in events:
        while clock.seconds * 1e3 + poll_ms < arrival:
            clock.seconds += poll_ms / 1e3
            sets += [(clock.seconds, s) for s in target.poll()]
        clock.seconds = max(clock.seconds, arrival / 1e3)
        sets += [(clock.seconds, s)
                 for s in target.add(Frame(camera, round(stamp * MS), picture))]
    return sets


def test_a_camera_known_to_be_away_is_not_waited_for_until_it_is_back():
    """Away from exposure 30 to 90: the others wait for it a few times, then no more."""
    target, clock = assembler(4, wait_ms=50, least=2)
    sets = timed(target, clock, exposures(4, 120, lost=lambda i, k: i == 2 and 30 <= k < 90))
    late = latencies(sets)
    assert [k for k in late if late[k] > 10] == list(range(30, 34))
    assert max(late[k] for k in range(40, 90)) < 3
    missing = [k for _, s in sets for k in instants([s])[0] if 'cam02' in s.missing]
    assert missing == list(range(30, 90)) and target.drops() == {'missing:cam02': 60}


def test_a_camera_that_never_came_is_waited_for_one_second():
    target, clock = assembler(3, wait_ms=50, least=2)
    late = latencies(timed(target, clock, exposures(3, 90, lost=lambda i, k: i == 1)))
    assert min(late[k] for k in range(25)) > 10 and max(late[k] for k in range(35, 90)) < 3


def test_after_a_pause_of_all_cameras_they_are_waited_for():
    target, clock = assembler(3, wait_ms=50, least=1)
    events = [event for event in exposures(3, 200) if not 1500 < event[2] < 6000]
    sets = timed(target, clock, events)
    assert all(len(s.pictures) == 3 for _, s in sets) and target.drops() == {}


def test_a_camera_that_always_comes_too_late_is_not_waited_for():
    target, clock = assembler(3, wait_ms=50, least=2)
    events = [(t + 200 * (c == 'cam01' and 1500 < s < 3000), c, s, p)
              for t, c, s, p in exposures(3, 120)]
    sets = timed(target, clock, events)
    late = latencies(sets)
    assert max(late[k] for k in range(40, 58)) < 3
    assert len(sets[-1][1].pictures) == 3  # waited for again once it is in time
    assert target.drops()['late:cam01'] >= 40


@pytest.mark.parametrize('count, least', [(1, 1), (2, 1), (3, 2), (7, 4), (12, 6), (21, 11)])
def test_half_of_the_cameras_make_a_frame_set(count, least):
    assert usual_min_cameras(count) == least


def test_one_dead_camera_of_twenty_one_loses_no_set():
    target, clock = assembler(21, least=15)
    sets = play(target, clock, exposures(21, 40, lost=lambda i, k: i == 7 and k > 5))
    assert instants(sets) == [{k} for k in range(40)]
    assert target.drops() == {'missing:cam07': 34}


def test_one_percent_loss_of_twenty_one_cameras_loses_no_set():
    random = np.random.default_rng(0)
    lost = random.random((21, 300)) < 0.01
    shifts = random.uniform(-5, 5, (21, 300))
    target, clock = assembler(21, spread_ms=33, least=15)
    events = exposures(21, 300, offset=lambda i, k: shifts[i, k], lost=lambda i, k: lost[i, k])
    sets = play(target, clock, events)
    assert instants(sets) == [{k} for k in range(300)]  # no exposures mixed, none left out
    assert sum(len(s.missing) for s in sets) == lost.sum()
    assert target.counts['used'].total() == (~lost).sum()


def test_a_camera_that_moved_on_is_not_waited_for():
    target, _ = assembler(2, spread_ms=10, wait_ms=10_000)
    target.add(Frame('cam00', 1000 * MS, 'a0'))
    s, = target.add(Frame('cam01', 1033 * MS, 'b1'))  # cam01 lost its picture at 1000
    assert s.pictures == {'cam00': 'a0'} and s.missing == ('cam01',)


@pytest.mark.parametrize('count', [2, 12])
def test_free_running_cameras_give_a_set_per_period(count):
    phases = np.random.default_rng(1).permutation(count) * (100 / 3) / count
    target, clock = assembler(count, spread_ms=35, least=count)
    sets = play(target, clock, exposures(count, 60, offset=lambda i, k: phases[i]))
    assert len(sets) >= 58
    # one exposure of each camera, and never a wider spread than the phases themselves need
    assert max(s.spread_ns for s in sets[2:]) <= (phases.max() - phases.min() + 0.01) * MS


def test_nearest_exposures_are_joined_when_phases_straddle_the_period():
    """cam01 exposes 3 ms before cam00; after losing one picture the pairs stay 3 ms apart."""
    target, clock = assembler(2, spread_ms=35, least=2)
    sets = play(target, clock, exposures(2, 30, offset=lambda i, k: -3.0 * i,
                                         lost=lambda i, k: i == 1 and k == 10))
    assert {round(s.spread_ns / MS, 3) for s in sets} == {3.0}
    assert instants(sets) == [{k} for k in range(30) if k != 10]
    assert target.drops() == {'incomplete:cam00': 1}


def test_cameras_of_different_rates_pair_with_the_nearest():
    events = exposures(1, 90, period=100 / 9)
    events += [(1000 + k * 100 / 3 + 3, 'cam01', 1000 + k * 100 / 3, ('cam01', k))
               for k in range(30)]
    target, clock = assembler(2, spread_ms=20, least=2)
    sets = play(target, clock, events)
    assert len(sets) == 30
    assert max(s.spread_ns for s in sets) < 2 * MS


def test_duplicate_stamps_keep_the_newest_picture():
    target, _ = assembler(2)
    target.add(Frame('cam00', 1000 * MS, 'first'))
    target.add(Frame('cam00', 1000 * MS, 'second'))
    s, = target.add(Frame('cam01', 1000 * MS, 'b'))
    assert s.pictures['cam00'] == 'second'
    assert target.add(Frame('cam00', 1000 * MS, 'third')) == []  # its set is gone
    assert target.drops() == {'superseded:cam00': 1, 'late:cam00': 1}


def test_late_frames_are_counted_not_used():
    target, clock = assembler(2, wait_ms=50)
    target.add(Frame('cam00', 1000 * MS, 'a'))
    clock.seconds = 1.0
    assert len(target.poll()) == 1
    assert target.add(Frame('cam01', 1000 * MS, 'b')) == []
    assert target.drops() == {'late:cam01': 1, 'missing:cam01': 1}


def test_too_few_cameras_are_dropped_and_counted():
    target, clock = assembler(3, least=2)
    target.add(Frame('cam00', 1000 * MS, 'a'))
    clock.seconds = 1.0
    assert target.poll() == []
    assert target.drops() == {'incomplete:cam00': 1}


def test_a_full_queue_emits_instead_of_waiting():
    target, _ = assembler(2, wait_ms=10_000, queue=2)
    for k in range(6):
        sets = target.add(Frame('cam00', (1000 + 33 * k) * MS, ('cam00', k)))
        assert instants(sets) == ([{k - 2}] if k >= 2 else [])


@pytest.mark.parametrize('dead', [None, 2])
def test_a_looping_bag_goes_on_after_the_jump(dead):
    """With a camera that is off, the Python ApproximateTimeSynchronizer stops for good here."""
    target, clock = assembler(4, least=2)
    sets = []
    for loop in range(4):
        events = exposures(4, 20, lost=lambda i, k: i == dead)
        shifted = [(t + clock.seconds * 1e3, c, s, p) for t, c, s, p in events]
        sets += play(target, clock, shifted)
        assert target.jumps == loop
    seen = instants(sets)
    assert all(len(k) == 1 for k in seen)
    assert len(seen) >= 4 * 20 - 3
    assert target.counts['late'].total() == 0


def test_a_jump_drops_what_waits_and_frames_still_on_their_way():
    target, clock = assembler(2, least=1)
    target.add(Frame('cam00', 9000 * MS, 'old a'))
    assert target.add(Frame('cam00', 1000 * MS, 'new a')) == []
    assert target.add(Frame('cam01', 9000 * MS, 'old b')) == []  # came later, from before
    s, = target.add(Frame('cam01', 1000 * MS, 'new b'))
    assert s.pictures == {'cam00': 'new a', 'cam01': 'new b'}
    assert target.jumps == 1
    assert target.drops() == {'jump:cam00': 1, 'jump:cam01': 1}


def test_one_camera_with_its_clock_set_back_does_not_silence_the_others():
    target, clock = assembler(3, least=2)
    events = exposures(3, 120)
    events = [(t, c, s - 900 if c == 'cam01' and t > 1500 else s, p) for t, c, s, p in events]
    sets = play(target, clock, events)
    assert target.jumps == 1
    assert sum(set(s.pictures) == {'cam00', 'cam02'} for s in sets) > 60


def test_bad_settings_and_strangers_are_refused():
    with pytest.raises(InputError, match='min_cameras is 4'):
        assembler(3, least=4)
    with pytest.raises(InputError, match='queue 0'):
        assembler(3, queue=0)
    target, _ = assembler(2)
    with pytest.raises(InputError, match="'cam09' is not part of the rig"):
        target.add(Frame('cam09', 0, None))


def test_cost_is_linear_in_the_cameras():
    """Lines of the assembler that run per message may grow with the rig, but not faster."""
    lines = {}
    for count in (16, 64):
        events = exposures(count, 40, lost=lambda i, k: i == 3)
        target, clock = assembler(count, spread_ms=40, least=2)
        lines[count] = lines_run(lambda t=target, c=clock, e=events: play(t, c, e)) / len(events)
    assert lines[64] < 4 ** 1.2 * lines[16]


def lines_run(action) -> int:
    """How many lines of igs_ros/live/assemble.py `action` runs."""
    count = 0

    def step(frame, event, _):
        nonlocal count
        count += event == 'line'
        return step
    sys.settrace(lambda frame, event, argument: step
                 if frame.f_code.co_filename.endswith('assemble.py') else None)
    try:
        action()
    finally:
        sys.settrace(None)
    return count
