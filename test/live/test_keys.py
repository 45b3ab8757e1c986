# SPDX-License-Identifier: Apache-2.0
"""Keys of the live pipeline: sudden ones, and what is made ready beside motion."""
import threading
from dataclasses import replace

from running import PATIENCE_S, begin, follow, settle, until

from igs_ros.core.frames import RawFrameSet
from igs_ros.live.pipeline import LivePipeline


def test_what_moves_a_new_key_is_made_beside_motion(live, sets):
    begin(live, sets)
    model = live._pipeline.timeline._motion
    follow_key, made_in = model.follow, []

    def noting(scene, frame_set):
        made_in.append(threading.current_thread().name)
        return follow_key(scene, frame_set)
    model.follow = noting
    for frame_set in sets[1:6]:
        follow(live, frame_set)
        settle(live)
    assert live.status().keys_refined >= 1
    assert made_in == ['refine'] * live.status().keys_refined


def darkened(frame_set: RawFrameSet) -> RawFrameSet:
    return RawFrameSet.of(frame_set.stamp_ns, {
        name: picture.decode() // 4 for name, picture in frame_set.pictures.items()})


def test_a_light_that_goes_out_makes_a_key_at_once_or_as_soon_as_it_can(rig, config, sets):
    live = LivePipeline(replace(config, key_interval=0, key_frames='2', early_key=0.5,
                                hold_s=0.0), rig)
    refine, proceed = live._pipeline.stages.refiner.refine, threading.Event()

    def slow(*arguments, **options):
        proceed.wait(PATIENCE_S)
        return refine(*arguments, **options)
    live._pipeline.stages.refiner.refine = slow
    live.start()
    try:
        begin(live, sets)
        follow(live, sets[1])
        assert live.status().keys_asked == 0
        follow(live, sets[2])  # due, and in the making for long
        follow(live, darkened(sets[3]))
        assert live.status().keys_asked == 1
        assert live.status().drops['key_while_refining'] == 1
        proceed.set()
        until(lambda: live.status().keys_refined == 1)
        settle(live)
        for frame_set in sets[4:6]:  # nothing sudden, but one key is owed
            follow(live, darkened(frame_set))
            settle(live)
        assert live.status().keys_asked == 2
    finally:
        proceed.set()
        live.stop()


def dark(frame_set: RawFrameSet) -> RawFrameSet:
    return RawFrameSet.of(frame_set.stamp_ns, {
        name: picture.decode() // 200 for name, picture in frame_set.pictures.items()})


def test_dark_pictures_hold_the_scene_and_the_first_good_ones_make_a_key(rig, config, sets):
    live = LivePipeline(replace(config, key_frames='9'), rig)
    live.start()
    try:
        begin(live, sets)
        follow(live, sets[1])
        shown = live.snapshot()
        for number, frame_set in enumerate(sets[2:5], 1):
            live.offer(dark(frame_set))
            until(lambda: live.status().drops.get('held', 0) == number)  # noqa: B023
            status = live.status()
            assert set(status.implausible) == set(rig) and 'dark' in status.held
            assert live.snapshot() is shown
            assert all(status.drops[f'implausible:{name}'] == number for name in rig)
        assert status.sets_lost == 3 and status.frame_sets_processed == 1
        follow(live, sets[5])
        settle(live)
        status = live.status()
        assert not status.held and not status.implausible
        assert status.keys_asked == 1 and status.keys_refined == 1
    finally:
        live.stop()


def test_a_reset_forgets_what_was_implausible(live, sets):
    begin(live, sets)
    live.offer(dark(sets[1]))
    until(lambda: live.status().held)
    live.reset()
    until(lambda: not live.status().held)
    begin(live, sets[2:])
    follow(live, sets[3])
    assert not live.status().held and 'implausible:cam00' in live.status().drops
