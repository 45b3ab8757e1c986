# SPDX-License-Identifier: Apache-2.0
"""The ladder round by round: when exactly it goes down, by how much, and when it climbs."""
import pytest

from igs_ros.live.budget import Ladder

RUNGS, MISSES = 7, 3
LATE, IN_TIME, ROOMY = 1.01, 1.0, 0.7  # s; the deadline is 1 s, and 0.7 s the longest with room


def ladder(patience=20):
    return Ladder(range(RUNGS), 1.0, MISSES, patience)


def noted(held, *rounds):
    """The level after each of some rounds."""
    levels = []
    for seconds in rounds:
        before = held.level
        assert held.note(seconds) == (held.level != before)
        levels.append(held.level)
    return levels


def lowered(patience=4, times=1):
    """At level `times`, with a patience of 4 rounds."""
    held = ladder(patience=patience)
    noted(held, *[LATE] * MISSES * times)
    assert held.level == times
    return held


def climbs_after(held):
    """How many rounds with room it takes to climb, at most 1000."""
    level = held.level
    return next(count for count in range(1, 1000) if held.note(ROOMY) and held.level == level - 1)


def test_it_goes_down_at_the_third_late_round_in_a_row():
    assert noted(ladder(), LATE, LATE, LATE) == [0, 0, 1]
    assert noted(ladder(), *[IN_TIME] * 1000)[-1] == 0  # just in time is in time


def test_or_when_more_than_a_third_are_late():
    assert noted(ladder(), *[LATE, IN_TIME, IN_TIME] * 300)[-1] == 0
    # a late one counts two, one in time takes one back: 2 1 3 2 4 3 5 4 6
    assert noted(ladder(), *[LATE, IN_TIME] * 4, LATE) == [0] * 8 + [1]
    assert noted(ladder(), *[IN_TIME] * 50, LATE, LATE, LATE)[-1] == 1  # no credit is saved up


@pytest.mark.parametrize('seconds, level', [
    ((1.42, 1.42, 1.42), 1), ((2.03, 9, 9), 1), ((9, 2.05, 9), 2), ((9, 9, 2.92), 3),
    ((2.91, 9, 9), 2), ((9, 9, 8.4), 5), ((9, 9, 8.6), 6), ((99, 99, 99), 6)])
def test_by_as_many_rungs_as_the_least_late_round_needs(seconds, level):
    """A rung saves 30 %: two of them do for 1 / 0.7 ** 2 = 2.04 s."""
    assert noted(ladder(), *seconds)[-1] == level


def test_the_least_late_round_is_forgotten_once_all_is_in_time():
    assert noted(ladder(), 1.1, IN_TIME, IN_TIME, 2.05, 2.05, 2.05)[-1] == 2
    assert noted(ladder(), 1.1, IN_TIME, 2.05, 2.05, 2.05)[-1] == 1  # 2 1 3 5 7
    assert noted(lowered(), 2.05, 2.05, 2.05)[-1] == 3  # nor does the last fall count


def test_the_lowest_rung_is_late_until_a_round_is_in_time():
    held = lowered(times=RUNGS - 1)
    assert noted(held, LATE, LATE)[-1] == RUNGS - 1 and not held.late
    noted(held, LATE)
    assert held.late and held.level == RUNGS - 1
    noted(held, LATE)
    assert held.late
    noted(held, IN_TIME, IN_TIME)
    assert not held.late


def test_it_climbs_after_its_patience_with_room_in_three_of_four():
    assert climbs_after(lowered()) == 4
    held = lowered()
    noted(held, *[0.71] * 100)  # in time, without room
    assert held.level == 1 and climbs_after(held) == 4
    held = lowered(patience=8)
    noted(held, *[ROOMY] * 5, 0.71)  # 5 - 3
    assert climbs_after(held) == 6
    held = lowered()
    noted(held, *[ROOMY, ROOMY, ROOMY, 0.71] * 100)
    assert held.level == 1
    held = lowered()
    noted(held, ROOMY, ROOMY, ROOMY, LATE)
    assert climbs_after(held) == 4


def failed(times, patience=4):
    """At level 1 after so many climbs that did not last."""
    held = lowered(patience)
    for _ in range(times):
        climbs_after(held)
        noted(held, LATE, LATE, LATE)
        assert held.level == 1
    return held


@pytest.mark.parametrize('climbs, patience', [(0, 4), (1, 8), (2, 16), (5, 128), (6, 128)])
def test_a_climb_that_does_not_last_doubles_the_patience_up_to_thirty_two_times(climbs, patience):
    assert climbs_after(failed(climbs)) == patience


def test_a_climb_that_lasts_four_patiences_halves_it_again():
    held = failed(2)  # 16
    assert climbs_after(held) == 16
    noted(held, *[0.9] * 62, LATE, LATE, LATE)  # 65 rounds since, one more than 4 x 16
    assert held.level == 1 and climbs_after(held) == 8
    noted(held, *[0.9] * 29, LATE, LATE, LATE)  # 32, no more than 4 x 8: it failed
    assert held.level == 1 and climbs_after(held) == 16


def test_a_climb_lasts_when_the_next_one_follows():
    held = lowered(patience=4, times=3)
    climbs_after(held)
    noted(held, LATE, LATE, LATE)
    assert held.level == 3 and climbs_after(held) == 8 and held.level == 2
    assert climbs_after(held) == 8  # which shows that the one before lasted: 4
    assert climbs_after(held) == 4 and held.level == 0


def test_the_patience_never_falls_below_the_first():
    held = lowered(patience=5)
    for _ in range(3):
        assert climbs_after(held) == 5
        noted(held, *[0.9] * 100, LATE, LATE, LATE)


def test_at_full_effort_there_is_nothing_to_climb():
    held = lowered()
    climbs_after(held)
    assert noted(held, *[ROOMY] * 100) == [0] * 100
    assert noted(held, LATE, LATE, LATE)[-1] == 1 and climbs_after(held) == 4
