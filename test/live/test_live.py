# SPDX-License-Identifier: Apache-2.0
"""The live pipeline: newest wins, never back in time, nothing kills it."""
import os
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from running import TRAIN, begin, follow, settle, until

from igs_ros.core.config import BootstrapConfig, BudgetConfig, RefineConfig
from igs_ros.core.errors import Cancelled
from igs_ros.core.status import State
from igs_ros.io.pictures import EncodedPicture
from igs_ros.live.budget import Budget
from igs_ros.live.pipeline import LivePipeline
from igs_ros.stages.motion.models import MotionEffort
from igs_ros.vision import preparer


def check_accounts(status) -> None:
    """Every frame set and every key asked for has ended somewhere."""
    assert status.frame_sets_offered == \
        status.frame_sets_processed + status.first_scenes + status.sets_lost
    assert status.keys_asked == status.keys_refined + status.refinements_discarded
    assert status.refinements_discarded == sum(
        count for cause, count in status.drops.items()
        if cause in ('key_diverged', 'key_void', 'key_error'))


def test_newest_wins_and_every_drop_is_counted(live, sets):
    begin(live, sets)
    for frame_set in sets[1:]:
        live.offer(frame_set)  # much faster than it can follow
    until(lambda: live.snapshot().stamp_ns == sets[-1].stamp_ns)
    status = live.status()
    assert status.frame_sets_processed + status.drops.get('superseded', 0) == len(sets) - 1
    assert status.drops['superseded'] > 0
    live.stop()
    check_accounts(live.status())


@pytest.mark.parametrize('motion', ['static', 'geometric'])
def test_refined_key_is_moved_to_the_newest_frame_set_before_it_shows(rig, config, sets,
                                                                      motion):
    shown = []
    live = LivePipeline(replace(config, motion=motion),
                        rig,
                        listeners=[shown.append])
    refine = live._pipeline.stages.refiner.refine

    def slow(scene, frame_set, *arguments, **options):
        refined = refine(scene, frame_set, *arguments, **options)
        until(lambda: live.snapshot().stamp_ns >= frame_set.stamp_ns + 3 * sets[1].stamp_ns)
        return refined
    live._pipeline.stages.refiner.refine = slow
    live.start()
    try:
        begin(live, sets)
        for frame_set in sets[1:]:
            follow(live, frame_set)
            if live.status().keys_refined:
                break
        until(lambda: live.status().keys_refined)
    finally:
        live.stop()
    stamps = [snapshot.stamp_ns for snapshot in shown]
    assert stamps == sorted(stamps)
    fresh = [snapshot for snapshot in shown[1:] if snapshot.is_new_key]
    assert fresh and fresh[0].key_stamp_ns < fresh[0].stamp_ns
    assert live.status().chain_breaks == 0


def test_stamps_that_jump_back_keep_the_scene(live, sets):
    begin(live, sets)
    for frame_set in sets[1:5]:
        follow(live, frame_set)
    settle(live)
    before = live.snapshot()
    follow(live, sets[1])
    after = live.snapshot()
    assert after.scene_id == before.scene_id and len(after.scene) == len(before.scene)
    assert live.status().drops['time_jump'] == 1
    assert after.scene.velocities is None  # the loop itself is no motion
    follow(live, sets[2])
    velocities = live.snapshot().scene.velocities
    assert velocities is not None and velocities.abs().max() < 100


def test_first_scene_waits_for_all_cameras_but_not_for_ever(rig, config, sets, caplog):
    live = LivePipeline(config, rig,
                        complete_wait_s=0.5)
    live.start()
    try:
        partial = sets[0].only(TRAIN[:2])
        live.offer(partial)
        until(lambda: live.status().drops.get('incomplete_first'))
        assert 'cam03' in live.status().message and live.snapshot() is None
        time.sleep(0.6)
        live.offer(partial)
        until(lambda: live.status().state == State.STREAMING)
        assert 'made without cam03' in caplog.text
    finally:
        live.stop()


def test_unusable_pictures_cost_nothing_but_themselves(live, sets, caplog):
    begin(live, sets)
    broken = {name: EncodedPicture(b'not a picture', f'/{name}/image') for name in TRAIN}
    live.offer(replace(sets[1], pictures=broken))
    until(lambda: live.status().drops.get('no_picture'))
    drops = live.status().drops
    assert [drops[f'unusable_picture:{name}'] for name in TRAIN] == [1, 1, 1]
    for name in TRAIN:
        assert caplog.text.count(f"camera '{name}': ") == 1
    live.offer(replace(sets[2], pictures={**sets[2].pictures, 'cam00': broken['cam00']}))
    until(lambda: live.snapshot().stamp_ns == sets[2].stamp_ns)
    assert live.status().cameras_in_last_set == 2
    assert live.status().state == State.STREAMING


def test_a_diverged_refinement_is_counted_and_the_key_stays(live, sets):
    begin(live, sets)

    def diverge(*_, **__):
        raise FloatingPointError('test')
    live._pipeline.stages.refiner.refine = diverge
    for frame_set in sets[1:4]:
        follow(live, frame_set)
    until(lambda: live.status().refinements_discarded)
    assert live.snapshot().key_sequence == 1 and live.status().keys_refined == 0


def test_an_error_inside_costs_one_turn(live, sets, caplog):
    begin(live, sets)
    motion = live._pipeline.timeline._motion
    observe, motion.observe = motion.observe, lambda _: 1 / 0
    live.offer(sets[1])
    until(lambda: live.status().drops.get('internal_error'))
    assert 'ZeroDivisionError' in caplog.text
    motion.observe = observe
    follow(live, sets[2])
    live.stop()
    check_accounts(live.status())


def test_an_error_in_refinement_costs_one_key(live, sets, caplog):
    begin(live, sets)
    refiner = live._pipeline.stages.refiner
    refine, refiner.refine = refiner.refine, lambda *_, **__: 1 / 0
    for frame_set in sets[1:3]:
        follow(live, frame_set)
    until(lambda: live.status().drops.get('key_error'))
    assert 'ZeroDivisionError' in caplog.text and live.status().refinements_discarded == 1
    live._pipeline.stages.refiner.refine = refine
    for frame_set in sets[3:5]:
        follow(live, frame_set)
    until(lambda: live.status().keys_refined)


def test_an_error_of_a_listener_loses_no_count(rig, config, sets):
    def listen(snapshot):
        if snapshot.is_new_key and snapshot.key_sequence > 1 or snapshot.stamp_ns in broken:
            raise RuntimeError('listener')
    broken = {sets[2].stamp_ns}
    live = LivePipeline(config, rig, listeners=[listen])
    live.start()
    try:
        begin(live, sets)
        for frame_set in sets[1:7]:
            live.offer(frame_set)
            settle(live)
    finally:
        live.stop()
    status = live.status()
    assert status.drops['internal_error'] == 1 and status.drops['key_error'] > 0
    check_accounts(status)


def test_a_key_from_before_a_jump_is_void(live, sets):
    begin(live, sets)
    refine = live._pipeline.stages.refiner.refine

    def late(scene, frame_set, *arguments, **options):
        refined = refine(scene, frame_set, *arguments, **options)
        until(lambda: live.status().drops.get('time_jump'))
        return refined
    live._pipeline.stages.refiner.refine = late
    for frame_set in (*sets[1:5], sets[1]):
        follow(live, frame_set)
    settle(live)
    status = live.status()
    assert status.drops['key_void'] == status.refinements_discarded == 1
    assert status.keys_refined == 0 and live.snapshot().stamp_ns == sets[1].stamp_ns
    live.stop()
    check_accounts(live.status())


def test_the_threads_that_decode_end_with_the_engine(rig, config, sets, monkeypatch):
    monkeypatch.setattr(preparer, 'usable_cores', lambda: 4)
    monkeypatch.setattr(preparer, '_WORTH_PX', 0)

    def decoding() -> bool:
        return any(thread.name.startswith('prepare_') for thread in threading.enumerate())
    with LivePipeline(replace(config, threads=2), rig) as live:
        live.offer(sets[0])
        until(decoding)
    assert not decoding()


def test_what_waits_at_the_end_is_counted(live, sets):
    begin(live, sets)
    live._exchange.stop()
    for frame_set in sets[1:4]:
        live.offer(frame_set)
    live.stop()
    assert live.status().drops['called_off'] == 3
    check_accounts(live.status())


def test_refinement_yields_to_motion(live, sets):
    threads = {thread.name: thread.native_id for thread in live._threads}
    nice = {name: os.getpriority(os.PRIO_PROCESS, thread) for name, thread in threads.items()}
    assert nice['motion'] < nice['refine']


def test_a_late_clock_does_less_and_says_so(rig, config, sets, monkeypatch):
    note = Budget.note
    monkeypatch.setattr(Budget, 'note', lambda self, clock, _: note(self, clock, 60.0))
    tight = replace(config, motion='geometric',
                    budget=BudgetConfig(update_hz=10, view_hz=10, refine_s=1.0))
    live = LivePipeline(tight, rig)
    live.start()
    try:
        begin(live, sets)
        assert live.status().levels == {'motion': 0, 'refine': 0, 'view': 0}
        sharp = live.view(live.working_cameras['cam01'])
        for frame_set in sets[1:]:
            follow(live, frame_set)
            settle(live)  # or keys would be skipped
            live.view(live.working_cameras['cam01'])
        effort = live._pipeline._model.inner.effort
        assert effort == live._budget.motion and effort.flow_scale < 1
        status = live.status()
        assert all(level > 0 for level in status.levels.values())
        assert status.reduced == live._budget.reduced() != ''
        coarse = live.view(live.working_cameras['cam01'], live._pipeline.timeline.snapshot)
        assert coarse.rgb.shape == sharp.rgb.shape and coarse.depth.shape == sharp.depth.shape
    finally:
        live.stop()


def test_without_a_budget_all_is_at_full_effort(live, sets):
    begin(live, sets)
    for frame_set in sets[1:6]:
        follow(live, frame_set)
    model = live._pipeline._model.inner
    assert model.effort == MotionEffort(live._pipeline.stages.config.motion_model.anchors, 1.0)
    assert live.status().reduced == ''


def test_spare_time_is_used_for_polishing_and_a_key_calls_it_off(rig, config, sets):
    polished = replace(config, refine=replace(config.refine, polish_iterations=5))
    live = LivePipeline(polished, rig)
    called_off, polish = [], live._pipeline.stages.refiner.polish

    def patient(*arguments):
        cancelled = arguments[-1]
        if live.status().polished:  # the first went through; the next waits for a key
            until(cancelled)
            called_off.append(True)
            raise Cancelled
        return polish(*arguments)
    live._pipeline.stages.refiner.polish = patient
    live.start()
    try:
        begin(live, sets)
        follow(live, sets[1])
        until(lambda: live.status().polished == 1)
        follow(live, sets[2])  # of every second one a key is refined; then it is polished, too
        until(lambda: live.status().keys_refined == 1)
        for frame_set in sets[3:5]:
            follow(live, frame_set)
        until(lambda: live.status().keys_refined == 2)
        live.stop()
        assert called_off and live.status().refinements_discarded == 0
        check_accounts(live.status())
    finally:
        live.stop()


def test_motion_that_fails_costs_one_frame_and_is_counted(live, sets):
    begin(live, sets)
    follow(live, sets[1])
    follower = live._pipeline.timeline._follower
    move_to, follower.move_to = follower.move_to, lambda _: 1 / 0
    shown = live.snapshot()
    live.offer(sets[2])
    until(lambda: live.status().drops.get('internal_error'))
    assert live.snapshot() is shown and live.status().state == State.STREAMING
    follower.move_to = move_to
    follow(live, sets[3])
    status = live.status()
    assert status.drops['internal_error'] == 1 and status.frame_sets_processed == 2


def test_motion_that_fails_on_a_new_key_keeps_the_last_one(live, sets):
    begin(live, sets)
    timeline = live._pipeline.timeline
    key, follow_key = timeline._follower.scene, timeline._motion.follow

    def failing(scene, frame_set):
        follower = follow_key(scene, frame_set)
        follower.move_to = lambda _: 1 / 0
        return follower
    timeline._motion.follow = failing
    for frame_set in sets[1:3]:
        follow(live, frame_set)
    until(lambda: live.status().refinements_discarded)
    assert timeline._follower.scene is key and live.snapshot().key_sequence == 1
    timeline._motion.follow = follow_key
    for frame_set in sets[3:7]:
        follow(live, frame_set)
    until(lambda: live.status().keys_refined)


def test_reset_makes_a_new_scene(live, sets):
    begin(live, sets)
    before = live.snapshot().scene_id
    live.reset()
    until(lambda: live.status().state == State.WAITING)
    assert live.snapshot() is None
    live.offer(sets[3])
    until(lambda: live.snapshot() is not None)
    assert live.snapshot().scene_id not in (0, before)


def test_no_first_scene_is_a_state_not_a_death(rig, config, sets, tmp_path):
    missing = replace(config, bootstrap=BootstrapConfig(method=str(tmp_path / 'none.ply')))
    live = LivePipeline(missing, rig)
    live.start()
    try:
        live.offer(sets[0])
        until(lambda: live.status().state == State.FAILED)
        assert 'none.ply' in live.status().message
        assert live.snapshot() is None and live.view(rig['cam00']) is None
    finally:
        live.stop()


def test_an_unexpected_error_in_the_first_scene_is_said_and_tried_again(live, sets, monkeypatch):
    first_scene = live._pipeline.stages.first_scene
    monkeypatch.setattr(live._pipeline.stages, 'first_scene', lambda *_: 1 / 0)
    live.offer(sets[0])
    until(lambda: live.status().state == State.FAILED)
    assert 'division' in live.status().message
    monkeypatch.setattr(live._pipeline.stages, 'first_scene', first_scene)
    begin(live, sets)


def test_views_come_without_new_frame_sets(live, sets):
    begin(live, sets)
    camera = live.working_cameras['cam01']
    first, second = live.view(camera), live.view(camera)
    np.testing.assert_array_equal(first.rgb, second.rgb)
    assert first.stamp_ns == sets[0].stamp_ns and second.age_s >= first.age_s


def test_stopping_calls_off_the_first_scene_and_refinement(rig, config, sets, live):
    endless = replace(config, bootstrap=BootstrapConfig(method='images', iterations=10 ** 6))
    slow = LivePipeline(endless, rig)
    slow.start()
    slow.offer(sets[0])
    until(lambda: slow.status().progress > 0)
    slow.stop()
    assert slow.snapshot() is None
    begin(live, sets)
    live._pipeline.stages.refiner._config = RefineConfig(iterations=10 ** 6)
    follow(live, sets[1])
    follow(live, sets[2])
    until(lambda: live._exchange._refining)
    live.stop()
    assert live.snapshot().stamp_ns == sets[2].stamp_ns
