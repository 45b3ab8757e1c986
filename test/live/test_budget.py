# SPDX-License-Identifier: Apache-2.0
"""The budget on simulated machines: it holds deadlines, climbs back, and does not flap."""
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igs_ros.core.config import BudgetConfig, Config
from igs_ros.live.budget import LONGEST_PATIENCE, ROOM, Budget, Ladder

RUNGS, MISSES, PATIENCE = 7, 3, 20
COSTS = [ROOM ** (rung / 1.1) for rung in range(RUNGS)]  # of each rung, full effort = 1
DURATIONS = st.lists(st.floats(0, 5, allow_nan=False), max_size=300)


def ladder(deadline_s=1.0, patience=PATIENCE):
    return Ladder(range(RUNGS), deadline_s, MISSES, patience)


def run(held, seconds_at_full, turns, seed=0, noise=0.0, fixed_s=0.0):
    """Levels after each turn on a machine that needs so long for a turn at full effort."""
    random = np.random.default_rng(seed)
    levels = []
    for _ in range(turns):
        factor = np.exp(random.normal(0, noise)) if noise else 1.0
        held.note(fixed_s + seconds_at_full * COSTS[held.level] * factor)
        levels.append(held.level)
    return levels


def changes(levels):
    return int((np.diff(levels) != 0).sum())


@given(DURATIONS)
def test_the_level_stays_on_the_ladder_and_climbs_by_one(durations):
    held = ladder()
    before = 0
    for seconds in durations:
        changed = held.note(seconds)
        assert 0 <= held.level < RUNGS and held.effort == held.level
        assert held.level >= before - 1 and (held.level != before) == changed
        before = held.level


@given(DURATIONS, st.floats(0, 5), st.floats(0, 5))
def test_a_longer_turn_never_asks_for_more(durations, one, other):
    short, long = ladder(), ladder()
    for seconds in durations:
        short.note(seconds)
        long.note(seconds)
    short.note(min(one, other))
    long.note(max(one, other))
    assert short.level <= long.level


@given(st.lists(st.sampled_from([0.1, 0.9, 3.0]), max_size=2000))
def test_no_machine_makes_it_flap_faster_than_its_patience(durations):
    held = ladder()
    levels = [held.level]
    for seconds in durations:
        held.note(seconds)
        levels.append(held.level)
    steps = np.diff(levels)
    climbs, falls = np.flatnonzero(steps < 0), np.flatnonzero(steps > 0)
    assert (np.diff(climbs) >= PATIENCE).all() and (np.diff(falls) >= MISSES).all()
    # after a fall, room has to be shown from the beginning
    for climb in climbs:
        assert (climb - falls[falls < climb][-1]) >= PATIENCE


@pytest.mark.parametrize('seconds', [0.3, 0.99, 1.3, 2.0, 4.0, 6.5])
def test_a_steady_machine_settles_at_the_first_rung_that_fits(seconds):
    held = ladder()
    levels = run(held, seconds, 20_000)
    fits = [rung for rung in range(RUNGS) if seconds * COSTS[rung] <= 1.0]
    assert levels[-1] in fits[:2]  # one lower where the dearest that fits leaves no room
    assert changes(levels[1000:]) == 0
    assert levels.index(levels[-1]) <= 3 * MISSES


@given(st.floats(0.2, 6), st.floats(0.2, 6))
def test_a_slower_machine_settles_no_higher(one, other):
    fast, slow = (run(ladder(), seconds, 600)[-1] for seconds in sorted((one, other)))
    assert fast <= slow


def test_it_climbs_back_when_the_load_is_gone():
    held = ladder()
    assert run(held, 30.0, 200)[-1] == RUNGS - 1 and held.late
    assert run(held, 0.5, 2 * RUNGS * PATIENCE)[-1] == 0 and not held.late


def test_a_machine_between_two_rungs_is_asked_ever_more_rarely():
    """A large fixed part: every rung has room, but the one above does not fit."""
    held = ladder()
    levels = []
    for _ in range(20_000):
        held.note(0.6 if held.level else 1.2)
        levels.append(held.level)
    climbs = np.flatnonzero(np.diff(levels) < 0)
    waits = np.diff(climbs)
    assert waits.max() <= LONGEST_PATIENCE * PATIENCE + MISSES + 1
    assert (waits[6:] >= LONGEST_PATIENCE * PATIENCE).all()
    assert np.mean(levels) > 0.9


@pytest.mark.parametrize('seconds', [0.9, 1.4, 2.5])
@pytest.mark.parametrize('noise', [0.1, 0.3])
def test_noise_does_not_make_it_flap(seconds, noise):
    levels = run(ladder(), seconds, 20_000, noise=noise)
    assert changes(levels[2000:]) <= 18_000 / (4 * PATIENCE)


def test_single_outliers_change_nothing():
    held = ladder()
    for turn in range(3000):  # a key is swapped in every fifth turn
        held.note(2.5 if turn % 5 == 0 else 0.8)
        assert held.level == 0


def test_without_a_deadline_nothing_is_reduced():
    held = ladder(deadline_s=0.0)
    assert run(held, 1e6, 100) == [0] * 100


DEADLINES = {'motion': 0.1, 'refine': 2.0, 'view': 1 / 30}
CONFIG = Config(budget=BudgetConfig(update_hz=10.0, view_hz=30.0, refine_s=2.0))


def test_full_effort_is_what_the_settings_say():
    budget = Budget(CONFIG)
    assert budget.on and budget.reduced() == '' and budget.view_scale == 1.0
    assert budget.motion.anchors == CONFIG.motion_model.anchors
    assert budget.motion.flow_scale == budget.refine.scale == 1.0
    assert budget.refine.iterations == CONFIG.refine.iterations
    assert budget.refine.max_free == CONFIG.max_gaussians
    assert budget.levels == {'motion': 0, 'refine': 0, 'view': 0}


def test_each_rung_asks_for_less_and_for_something():
    budget, seen = Budget(CONFIG), []
    for _ in range(100):
        seen.append((budget.motion, budget.refine, budget.view_scale))
        for clock, deadline_s in DEADLINES.items():
            budget.note(clock, 1.01 * deadline_s)
    motions, refines, views = zip(*dict.fromkeys(seen))
    motions, refines = list(dict.fromkeys(motions)), list(dict.fromkeys(refines))
    assert len(motions) == 8 and len(refines) == 7
    for dearer, cheaper in zip(refines, refines[1:]):
        before, after = vars(dearer).values(), vars(cheaper).values()
        assert all(a >= b > 0 for a, b in zip(before, after, strict=True))
    for dearer, cheaper in zip(motions, motions[1:]):
        # without the dear adjusting steps, flow and anchors get some of the time back
        gave_up = dearer.adjust_share > cheaper.adjust_share == 0
        assert gave_up or (dearer.anchors >= cheaper.anchors > 0
                           and dearer.flow_scale >= cheaper.flow_scale > 0
                           and dearer.adjust_share >= cheaper.adjust_share)
    assert sorted(set(views), reverse=True) == [1.0, 0.71, 0.5]


def test_the_phrase_names_what_is_reduced():
    budget = Budget(CONFIG)
    for _ in range(MISSES):
        budget.note('motion', 0.21)
    for _ in range(MISSES):
        budget.note('view', 0.04)
    assert budget.levels == {'motion': 2, 'refine': 0, 'view': 1}
    assert budget.reduced() == \
        'motion: flow at 0.50, 1500 anchors, 75% of the adjusting; view: drawn at 0.71'
    for _ in range(100):
        budget.note('refine', 9.0)
    assert '; refine: 13 iterations, pictures at 0.75, 12000 free, still late;' in budget.reduced()


def test_a_turn_that_was_called_off_counts_if_it_was_late():
    budget = Budget(CONFIG)
    for _ in range(100):
        budget.note_unfinished('refine', 1.9)
    assert budget.levels['refine'] == 0
    for _ in range(2):
        budget.note_unfinished('refine', 2.9)
    assert budget.levels['refine'] == 1


def test_one_that_was_called_off_in_time_says_nothing():
    budget = Budget(CONFIG)
    for seconds in (2.9, 2.0, 2.0, 1.0, 2.9):  # noted, those in time would take the first back
        budget.note_unfinished('refine', seconds)
    assert budget.levels['refine'] == 1
    for _ in range(3):
        budget.note_unfinished('motion', 0.11)
    assert budget.levels['motion'] == 1
    off = Budget(replace(CONFIG, budget=replace(CONFIG.budget, refine_s=0.0)))
    for _ in range(100):
        off.note_unfinished('refine', 100.0)
    assert off.levels['refine'] == 0


@pytest.mark.parametrize('stage, misses, patience', [
    ('motion', 3, 20), ('refine', 2, 3), ('view', 3, 30)])
def test_each_stage_has_its_deadline_misses_and_patience(stage, misses, patience):
    budget, deadline_s = Budget(CONFIG), DEADLINES[stage]
    for _ in range(100):
        budget.note(stage, 0.999 * deadline_s)
    levels = [budget.note(stage, 1.001 * deadline_s) for _ in range(misses)]
    assert levels == [False] * (misses - 1) + [True] and budget.levels[stage] == 1
    rounds = [budget.note(stage, 0.69 * deadline_s) for _ in range(patience)]
    assert rounds == [False] * (patience - 1) + [True] and sum(budget.levels.values()) == 0


def test_the_rungs_are_those_that_docs_has_measured():
    """docs/engine.md: flow, anchors, adjusting; and iterations, size, free."""
    text = (Path(__file__).parents[2] / 'docs' / 'engine.md').read_text()
    rows = [[cell.strip() for cell in line.strip('|').split('|')]
            for line in text.splitlines() if re.match(r'\| \d \| ', line)]
    assert len(rows) == 8 and [row[0] for row in rows] == list('01234567')
    budget, whole = Budget(CONFIG), (CONFIG.motion_model.anchors, CONFIG.refine.iterations)
    for number, row in enumerate(rows):
        assert budget.levels['motion'] == number
        flow, anchors, adjusting = (float(cell) for cell in row[1].split(','))
        effort = budget.motion
        assert (effort.flow_scale, effort.adjust_share) == (flow, adjusting)
        assert effort.anchors == round(anchors * whole[0])
        if row[4]:
            steps, size, free = (float(cell) for cell in row[4].split(','))
            refine = budget.refine
            assert refine.iterations == np.ceil(steps * whole[1]) and refine.scale == size
            assert refine.max_free == round(free * CONFIG.max_gaussians)
        for stage in ('motion', 'refine'):
            for _ in range(MISSES if stage == 'motion' else 2):
                budget.note(stage, 1.01 * DEADLINES[stage])


def test_a_hopeless_start_takes_three_turns():
    """Ten times too slow: what is sure to be needed is done at once, and no more."""
    held = ladder()
    assert run(held, 2.2, MISSES)[-1] == 2
    assert run(ladder(), 10.0, MISSES)[-1] == RUNGS - 1


def test_where_nothing_is_adjusted_no_rung_gives_that_up():
    plain = replace(CONFIG, motion_model=replace(CONFIG.motion_model, adjust_iterations=0))
    budget, seen = Budget(plain), []
    for _ in range(100):
        seen.append(budget.motion)
        budget.note('motion', 0.101)
    efforts = list(dict.fromkeys(seen))
    assert [effort.flow_scale for effort in efforts] == [1, 0.84, 0.71, 0.59, 0.5, 0.42, 0.35]
    assert [effort.anchors for effort in efforts] == [1500] * 5 + [1050, 750]
    assert {effort.adjust_share for effort in efforts} == {0}
    assert 'adjusting' not in budget.reduced()


def test_without_a_rate_there_is_no_budget():
    budget = Budget(replace(CONFIG, budget=BudgetConfig()))
    for _ in range(100):
        for clock in budget.levels:
            budget.note(clock, 100.0)
    assert not budget.on and budget.reduced() == '' and set(budget.levels.values()) == {0}


def test_any_rate_makes_a_budget():
    assert Budget(replace(CONFIG, budget=BudgetConfig(update_hz=0.1))).on


def test_tiny_settings_stay_at_least_one():
    tiny = replace(CONFIG, max_gaussians=1, motion_model=replace(CONFIG.motion_model, anchors=1),
                   refine=replace(CONFIG.refine, iterations=1))
    budget = Budget(tiny)
    for _ in range(100):
        for clock in budget.levels:
            budget.note(clock, 100.0)
    assert (budget.motion.anchors, budget.refine.iterations, budget.refine.max_free) == (1, 1, 1)
