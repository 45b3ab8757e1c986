# SPDX-License-Identifier: Apache-2.0
"""The assembler at its bounds: what belongs together, who is waited for, what a jump is."""
import pytest

from igs_ros.core.errors import InputError
from igs_ros.core.frames import Frame
from igs_ros.live.assemble import FrameSetAssembler, _Waiting

MS = 1_000_000


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


def assembler(cameras='ab', spread_ms=20, wait_s=0.25, least=1, queue=4, **options):
    clock = Clock()
    return FrameSetAssembler(cameras, spread_ms / 1e3, wait_s, least, queue, now=clock,
                             **options), clock


def added(target, *frames):
    """What comes of frames (camera, ns): the cameras of each set, in the order of their names."""
    return [''.join(sorted(one.pictures)) for camera, stamp_ns in frames
            for one in target.add(Frame(camera, stamp_ns, None))]


@pytest.mark.parametrize('apart_ns, expected', [
    (20 * MS, ['ab']), (20 * MS + 1, ['a'])])  # b has moved on to a later instant
def test_frames_as_far_apart_as_the_spread_belong_together(apart_ns, expected):
    assert added(assembler()[0], ('a', 0), ('b', apart_ns)) == expected


@pytest.mark.parametrize('seconds, emitted', [(0.25 - 1e-9, 0), (0.25, 1)])
def test_a_set_waits_as_long_as_it_may(seconds, emitted):
    target, clock = assembler()
    added(target, ('a', 0))
    clock.seconds = seconds
    assert len(target.poll()) == emitted


def test_the_first_frame_of_a_set_counts_for_its_waiting():
    target, clock = assembler('abc')
    added(target, ('a', 5 * MS))
    clock.seconds = 0.2
    added(target, ('b', 0))
    clock.seconds = 0.25
    assert len(target.poll()) == 1


@pytest.mark.parametrize('next_ms, expected', [
    (35, ['ab']),  # 15 ms from b, and 0.75 of 20 ms are no less
    (34.999, ['a', 'ab']), (5, ['ab']),
    (5.001, ['a', 'a'])])  # and so does the one after it
def test_a_set_is_cut_where_the_rest_fits_the_next_frame_clearly_better(next_ms, expected):
    """a at 0 and soon again, b 20 ms after its first one."""
    target, _ = assembler(spread_ms=25)
    assert added(target, ('a', 0), ('a', round(next_ms * MS)), ('b', 20 * MS)) == expected


def test_the_widest_gap_is_where_a_set_is_cut():
    """a and b at 0 and 2 ms, c and d at 14 and 16: the next of a and b are as near to those."""
    target, _ = assembler('abcd', spread_ms=20)
    first = [('a', 0), ('b', 2 * MS), ('a', 15 * MS), ('b', 17 * MS)]
    assert added(target, *first, ('c', 14 * MS), ('d', 16 * MS)) == ['ab', 'abcd']
    target, _ = assembler('abcd', spread_ms=20)
    far = [('a', 0), ('b', 2 * MS), ('a', 33 * MS), ('b', 35 * MS)]
    assert added(target, *far, ('c', 14 * MS), ('d', 16 * MS))[0] == 'abcd'


def test_equal_stamps_do_not_keep_a_set_from_being_cut():
    target, _ = assembler('abc', spread_ms=20)
    assert added(target, ('a', 0), ('b', 0), ('a', 15 * MS), ('b', 15 * MS), ('c', 14 * MS)) \
        == ['ab', 'abc']


def test_a_later_frame_of_a_camera_does_not_prolong_its_waiting():
    target, clock = assembler('abc', least=1)
    added(target, ('a', 0), ('b', 0))
    clock.seconds = 0.2
    added(target, ('a', 40 * MS), ('b', 40 * MS))
    clock.seconds = 0.25
    assert [one.stamp_ns for one in target.poll()] == [0]


def test_what_waits_at_the_stamp_of_a_set_is_too_late_for_the_next_one():
    """a came at 0 and 5 ms, b at 5 for the first time, c at 20: the set is of 5 ms."""
    target, _ = assembler('abc', spread_ms=25)
    assert added(target, ('a', 0), ('a', 5 * MS), ('b', 5 * MS), ('c', 20 * MS)) == ['abc']
    assert target.waiting()['a'] == 0 and target.counts['superseded']['a'] == 1


def test_a_second_picture_of_a_stamp_takes_the_place_of_the_first():
    target, _ = assembler()
    added(target, ('a', 0), ('a', 0))
    assert target.waiting()['a'] == 1 and target.counts['superseded']['a'] == 1


def test_a_period_is_the_lower_median_of_the_last_five_steps():
    target, _ = assembler()
    stamp, camera = 0, target._cameras['a']
    for step, period in ((None, None), (40, 40), (20, 20), (30, 30), (60, 30), (70, 40),
                         (80, 60), (90, 70), (0, 70), (-5, 70)):
        stamp += step or 0
        added(target, ('a', stamp * MS))
        assert camera.period_ns == (None if period is None else period * MS)
        if step == 0:
            assert len(camera.steps_ns) == 5  # the same stamp again is no step


# --- who is waited for ------------------------------------------------------------------------


@pytest.mark.parametrize('wait_s, period_ns, away_s', [
    (0.25, None, 1.0), (0.5, None, 1.5),  # one second, or three times the wait
    (0.25, 500 * MS, 2.0), (0.25, 125 * MS, 0.75)])  # four periods, or three times the wait
def test_a_camera_is_away_after_several_waits_and_periods_without_a_frame(wait_s, period_ns,
                                                                         away_s):
    target, _ = assembler(wait_s=wait_s)
    camera = target._cameras['b']
    target._begun_s, camera.period_ns = 8.0, period_ns
    for camera.seen_s in (None, 8.0):  # never seen: since the first frame of all
        for since_s, expected in ((away_s, True), (away_s + 1 / 64, False)):
            target._finished_s = 8.0 + since_s
            assert target._expected(camera, ['a']) == expected
    target._finished_s = None  # nothing was finished yet: all are waited for
    assert target._expected(camera, ['a'])


@pytest.mark.parametrize('ways_s, expected', [
    ([0.75] * 5, True), ([0.76] * 5, False), ([0.9, 0.9, 0.75, 0.9, 0.9], True),
    ([9.0] * 4, True)])  # four do not tell
def test_a_camera_whose_frames_come_later_than_that_is_not_waited_for(ways_s, expected):
    """The oldest frame took half a second to come, and waits for a quarter."""
    target, _ = assembler('abc')
    target._cameras['a'].frames = [_Waiting(Frame('a', 10 * 10 ** 9, None), 10.5),
                                   _Waiting(Frame('a', 20 * 10 ** 9, None), 99.0)]
    target._cameras['b'].frames = [_Waiting(Frame('b', 11 * 10 ** 9, None), 99.0)]
    camera = target._cameras['c']
    camera.ways_s.extend(ways_s)
    assert target._expected(camera, ['a', 'b']) == expected


# --- jumps ------------------------------------------------------------------------------------


@pytest.mark.parametrize('back_ns, jumps', [(250 * MS, 0), (250 * MS + 1, 1)])
def test_a_clock_was_set_back_when_a_stamp_lies_further_behind_than_a_quarter_second(back_ns,
                                                                                    jumps):
    target, _ = assembler()
    added(target, ('a', 1000 * MS), ('a', 1000 * MS - back_ns))
    assert target.jumps == jumps


@pytest.mark.parametrize('stamp_ns, seconds, old', [
    (5000 * MS, 0.0, True), (5000 * MS - 1, 0.0, False),  # half-way from 9 s to 1 s
    (9000 * MS, 0.999, True), (9000 * MS, 1.0, False)])  # by then all have come in
def test_frames_of_other_cameras_from_before_a_jump_are_told_by_the_nearer_time(stamp_ns, seconds,
                                                                              old):
    target, clock = assembler()
    added(target, ('a', 9000 * MS), ('a', 1000 * MS))
    clock.seconds = seconds
    added(target, ('b', stamp_ns))
    assert target.counts['jump']['b'] == old and target.counts['jump']['a'] == 1
    if old:  # once it has followed, later ones are its own
        added(target, ('b', 1001 * MS), ('b', 6000 * MS))
        assert target.counts['jump']['b'] == 1 == target.jumps


def test_after_a_jump_the_own_camera_is_believed():
    target, _ = assembler()
    added(target, ('a', 9000 * MS), ('a', 1000 * MS), ('a', 9000 * MS))
    assert target.counts['jump']['a'] == 1 and target.jumps == 1


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize('options', [
    {'least': 0}, {'least': 3}, {'spread_ms': -1}, {'wait_s': -0.1}, {'queue': 0},
    {'jump_s': 0.0}, {'jump_s': -1.0}])
def test_settings_that_cannot_work_are_refused(options):
    with pytest.raises(InputError):
        assembler(**options)


@pytest.mark.parametrize('options, sets', [
    ({'least': 1}, ['ab']), ({'least': 2}, ['ab']), ({'spread_ms': 0}, ['ab']),
    ({'wait_s': 0.0}, ['a']), ({'queue': 1}, ['ab']), ({'jump_s': 1e-6}, ['ab'])])
def test_those_at_the_bounds_are_taken(options, sets):
    target, _ = assembler(**options)
    assert added(target, ('a', 0), ('b', 0)) == sets


@pytest.mark.parametrize('queue', [1, 2, 3])
def test_a_queue_holds_so_many_frames(queue):
    target, _ = assembler(wait_s=100.0, queue=queue)
    sets = [added(target, ('a', number * 40 * MS)) for number in range(queue + 1)]
    assert sets == [[]] * queue + [['a']] and target.waiting() == {'a': queue, 'b': 0}
