# SPDX-License-Identifier: Apache-2.0
"""What may be asked of a running pipeline: to pause, make a key, load a scene, change settings."""
import threading
from dataclasses import replace

import pytest
import torch
from running import begin, follow, settle, until

from igs_ros.core.config import BudgetConfig, Config, changeable, check_change, setting
from igs_ros.core.errors import InputError
from igs_ros.core.status import State
from igs_ros.io.codec.ply import load_ply, save_ply
from igs_ros.live.budget import Budget
from igs_ros.live.pipeline import LivePipeline


def same(one, other) -> bool:
    return len(one) == len(other) and all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ('means', 'quats', 'scales', 'opacities', 'sh'))


@pytest.fixture
def quiet(rig, config):
    """Makes no key of its own accord."""
    with LivePipeline(replace(config, key_interval=0), rig) as live:
        yield live


def test_paused_nothing_is_taken_and_the_scene_stays(quiet, sets):
    begin(quiet, sets)
    follow(quiet, sets[1])
    quiet.pause()
    shown = quiet.snapshot()
    for frame_set in sets[2:5]:
        quiet.offer(frame_set)
    status = quiet.status()
    assert quiet.paused and quiet.snapshot() is shown
    assert (status.state, status.drops['paused']) == (State.HOLDING, 3)
    assert 'paused' in status.message
    assert quiet.view(next(iter(quiet.working_cameras.values()))).stamp_ns == sets[1].stamp_ns
    assert status.frame_sets_offered == status.frame_sets_processed + status.first_scenes \
        + status.sets_lost
    quiet.resume()
    follow(quiet, sets[5])
    assert quiet.status().state == State.STREAMING and not quiet.paused


def test_what_waits_when_it_is_paused_is_counted(rig, config, sets):
    live = LivePipeline(config, rig)  # not started: nothing is taken
    live.offer(sets[0])
    live.pause()
    assert live.status().queues['frame_sets'] == 0 and live.status().drops == {'paused': 1}
    assert live.status().state == State.WAITING and 'paused' in live.status().message


def test_a_key_is_made_when_it_is_asked_for(quiet, sets):
    begin(quiet, sets)
    follow(quiet, sets[1])
    settle(quiet)
    assert quiet.status().keys_asked == 0
    quiet.refine_now()
    settle(quiet)
    assert quiet.status().keys_asked == 0  # there must be a frame set to fit
    follow(quiet, sets[2])
    settle(quiet)
    follow(quiet, sets[3])
    settle(quiet)
    assert (quiet.status().keys_asked, quiet.status().keys_refined) == (1, 1)


def test_a_key_that_is_asked_for_waits_for_the_one_in_the_making(quiet, sets):
    begin(quiet, sets)
    go_on, refiner = threading.Event(), quiet._pipeline.stages.refiner
    refine = refiner.refine

    def slow(*arguments, **options):
        assert go_on.wait(60)
        return refine(*arguments, **options)
    refiner.refine = slow
    for index in 1, 2:
        quiet.refine_now()
        follow(quiet, sets[index])
    assert quiet.status().drops['key_while_refining'] == 1
    go_on.set()
    until(lambda: quiet.status().keys_refined == 1)
    settle(quiet)
    follow(quiet, sets[3])
    until(lambda: quiet.status().keys_refined == 2)


def test_a_scene_that_was_saved_is_loaded_again(quiet, sets, tmp_path):
    begin(quiet, sets)
    follow(quiet, sets[1])
    before = quiet.snapshot()
    save_ply(before.scene, tmp_path / 'saved.ply')
    quiet.refine_now()
    follow(quiet, sets[2])
    until(lambda: quiet.status().keys_refined == 1)

    loaded = load_ply(tmp_path / 'saved.ply')
    quiet.load(loaded)
    until(lambda: quiet.status().state == State.WAITING)
    assert quiet.snapshot() is None and 'loaded' in quiet.status().message
    two = replace(sets[3], pictures=dict(list(sets[3].pictures.items())[:2]))
    quiet.offer(two)  # a scene that is there need not wait for the third camera
    until(lambda: quiet.status().state == State.STREAMING)
    assert quiet.snapshot().scene_id != before.scene_id and same(quiet.snapshot().scene, loaded)
    assert quiet.first_report.method == 'ply'
    follow(quiet, sets[4])

    quiet.reset()
    until(lambda: quiet.snapshot() is None)
    begin(quiet, sets)
    assert not same(quiet.snapshot().scene, loaded)


# -- settings ----------------------------------------------------------------------------------


def test_what_may_change_while_running():
    names = changeable(Config)
    assert {'budget.update_hz', 'budget.view_hz', 'key_interval', 'max_gaussians'} <= names
    assert not {'width', 'seed', 'device', 'motion', 'bootstrap.method'} & names
    for name in names:
        setting(Config(), name)  # or it raises


@pytest.mark.parametrize(('changes', 'named'), [
    ({'width': 200, 'seed': 3}, 'setting width, seed cannot'),
    ({'key_interval': -1}, 'setting key_interval is -1')])
def test_what_cannot_change_is_refused(quiet, changes, named):
    before = quiet.config
    with pytest.raises(InputError, match=named):
        quiet.change(replace(before, **changes))
    assert quiet.config is before
    check_change(before, replace(before, key_interval=3))  # does not raise


def test_settings_change_between_steps(quiet, sets):
    begin(quiet, sets)
    quiet.change(replace(quiet.config, key_interval=1, max_gaussians=500,
                         budget=BudgetConfig(update_hz=5.0)))
    settle(quiet)
    follow(quiet, sets[1])
    until(lambda: quiet.status().keys_refined == 1)
    assert len(quiet.snapshot().scene) <= 500
    assert quiet._budget.on and quiet.config.key_interval == 1


def test_a_refinement_in_hand_keeps_its_settings(quiet, sets):
    begin(quiet, sets)
    begun, go_on, iterations = threading.Event(), threading.Event(), []

    def watched(refiner):
        refine = refiner.refine

        def slow(*arguments, **options):
            begun.set()
            assert go_on.wait(60)
            refined = refine(*arguments, **options)
            iterations.append(refined.iterations)
            return refined
        refiner.refine = slow
        return refiner
    refiner = watched(quiet._pipeline.stages.refiner)
    quiet.refine_now()
    follow(quiet, sets[1])
    assert begun.wait(60)
    quiet.change(replace(quiet.config, refine=replace(quiet.config.refine, iterations=3)))
    until(lambda: quiet._pipeline.stages.refiner is not refiner)
    watched(quiet._pipeline.stages.refiner)
    go_on.set()
    until(lambda: quiet.status().keys_refined == 1)
    settle(quiet)
    quiet.refine_now()
    follow(quiet, sets[2])
    until(lambda: quiet.status().keys_refined == 2)
    assert iterations == [10, 3]


def of(update_hz, view_hz=10.0):
    return Config(budget=BudgetConfig(update_hz=update_hz, view_hz=view_hz))


def test_a_budget_that_changes_stays_on_its_rungs():
    budget = Budget(of(2.0))
    for _ in range(3):
        budget.note('motion', 0.7)
    assert budget.levels == {'motion': 1, 'refine': 0, 'view': 0}
    effort = budget.motion
    budget.change(of(2.0, view_hz=20.0))
    assert budget.levels['motion'] == 1 and budget.motion == effort
    budget.change(of(4.0))
    assert budget.levels['motion'] == 1
    for _ in range(3):
        budget.note('motion', 0.4)  # in time before
    assert budget.levels['motion'] > 1
    budget.change(of(0.0))
    assert not budget.on and not any(budget.levels.values()) and budget.reduced() == ''
    assert budget.motion == Budget(of(0.0)).motion
