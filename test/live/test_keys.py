# SPDX-License-Identifier: Apache-2.0
"""Keys of the live pipeline: sudden ones, and what is made ready beside motion."""
import threading
from dataclasses import replace

from running import PATIENCE_S, begin, follow, settle, until

from igs_ros.frames import FrameSet
from igs_ros.live import LivePipeline


def test_what_moves_a_new_key_is_made_beside_motion(live, sets):
    begin(live, sets)
    model = live._motion_clock._timeline._motion
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


def darkened(frame_set: FrameSet) -> FrameSet:
    return FrameSet(frame_set.stamp_ns, {name: picture.decode() // 4
                                         for name, picture in frame_set.images.items()})


def test_a_light_that_goes_out_makes_a_key_at_once_or_as_soon_as_it_can(rig, config, sets):
    live = LivePipeline(replace(config, key_interval=0, key_frames='2', early_key=0.5), rig)
    refine, proceed = live._stages.refiner.refine, threading.Event()

    def slow(*arguments, **options):
        proceed.wait(PATIENCE_S)
        return refine(*arguments, **options)
    live._stages.refiner.refine = slow
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
