# SPDX-License-Identifier: Apache-2.0
"""The live pipeline: newest wins, never back in time, nothing kills it."""
import time
from dataclasses import replace

import numpy as np
import pytest

from igs_ros.bootstrap import first_scene
from igs_ros.codec.ply import write_scene
from igs_ros.config import BootstrapConfig, Config, RefineConfig
from igs_ros.data import open_recording
from igs_ros.frames import EncodedPicture, FrameSet, Preparer
from igs_ros.live import LivePipeline
from igs_ros.raster.cpu import CpuRasterizer
from igs_ros.status import State

TRAIN = ('cam00', 'cam01', 'cam03')
PATIENCE_S = 60.0


@pytest.fixture(scope='module')
def recording(workbench):
    return open_recording(workbench)


@pytest.fixture(scope='module')
def sets(recording) -> list[FrameSet]:
    return list(recording.frame_sets(0, 12, cameras=TRAIN))


@pytest.fixture(scope='module')
def config(recording, sets, tmp_path_factory) -> Config:
    """Small, starting from a first scene on disk, so that tests start at once."""
    small = Config(width=96, max_gaussians=2000, key_interval=2, threads=1,
                   bootstrap=BootstrapConfig(iterations=40), refine=RefineConfig(iterations=10))
    preparer = Preparer({name: recording.cameras[name] for name in TRAIN}, 96)
    made = first_scene('points', preparer.prepare(sets[0]), preparer.cameras, recording.points(),
                       CpuRasterizer(1), small)
    path = tmp_path_factory.mktemp('scene') / 'first.ply'
    write_scene(path, made.scene)
    return replace(small, bootstrap=BootstrapConfig(method=str(path)))


@pytest.fixture
def live(recording, config):
    shown = []
    pipeline = LivePipeline(config, {name: recording.cameras[name] for name in TRAIN},
                            on_snapshot=shown.append)
    pipeline.shown = shown
    pipeline.start()
    yield pipeline
    pipeline.stop()


def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, 'waited in vain'
        time.sleep(0.01)


def settle(live) -> None:
    """Until nothing is left to do."""
    until(lambda: live._mailbox is None and live._job is None and live._result is None
          and not live._refining)
    time.sleep(0.05)


def follow(live, frame_set: FrameSet) -> None:
    """Offer and wait until it is shown."""
    live.offer(frame_set)
    until(lambda: live.snapshot().stamp_ns == frame_set.stamp_ns)


def begin(live, sets) -> None:
    live.offer(sets[0])
    until(lambda: live.status().state == State.STREAMING)


def test_newest_wins_and_every_drop_is_counted(live, sets):
    begin(live, sets)
    for frame_set in sets[1:]:
        live.offer(frame_set)  # much faster than it can follow
    until(lambda: live.snapshot().stamp_ns == sets[-1].stamp_ns)
    status = live.status()
    assert status.frame_sets_processed + status.drops.get('superseded', 0) == len(sets) - 1
    assert status.drops['superseded'] > 0


@pytest.mark.parametrize('motion', ['static', 'geometric'])
def test_refined_key_is_moved_to_the_newest_frame_set_before_it_shows(recording, config, sets,
                                                                      motion):
    shown = []
    live = LivePipeline(replace(config, motion=motion),
                        {name: recording.cameras[name] for name in TRAIN},
                        on_snapshot=shown.append)
    refine = live._stages.refiner.refine

    def slow(scene, frame_set, number, cancelled):
        refined = refine(scene, frame_set, number, cancelled)
        until(lambda: live.snapshot().stamp_ns >= frame_set.stamp_ns + 3 * sets[1].stamp_ns)
        return refined
    live._stages.refiner.refine = slow
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


def test_first_scene_waits_for_all_cameras_but_not_for_ever(recording, config, sets, caplog):
    live = LivePipeline(config, {name: recording.cameras[name] for name in TRAIN},
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


def test_unusable_pictures_cost_nothing_but_themselves(live, sets):
    begin(live, sets)
    broken = {name: EncodedPicture(b'not a picture', f'/{name}/image') for name in TRAIN}
    live.offer(replace(sets[1], images=broken))
    until(lambda: live.status().drops.get('no_picture'))
    assert live.status().drops['unusable_picture'] == 3
    live.offer(replace(sets[2], images={**sets[2].images, 'cam00': broken['cam00']}))
    until(lambda: live.snapshot().stamp_ns == sets[2].stamp_ns)
    assert live.status().cameras_in_last_set == 2
    assert live.status().state == State.STREAMING


def test_a_diverged_refinement_is_counted_and_the_key_stays(live, sets):
    begin(live, sets)

    def diverge(*_):
        raise FloatingPointError('test')
    live._stages.refiner.refine = diverge
    for frame_set in sets[1:4]:
        follow(live, frame_set)
    until(lambda: live.status().refinements_discarded)
    assert live.snapshot().key_sequence == 1 and live.status().keys_refined == 0


def test_an_error_inside_costs_one_turn(live, sets, caplog):
    begin(live, sets)
    motion = live._timeline._motion
    observe, motion.observe = motion.observe, lambda _: 1 / 0
    live.offer(sets[1])
    until(lambda: live.status().drops.get('internal_error'))
    assert 'ZeroDivisionError' in caplog.text
    motion.observe = observe
    follow(live, sets[2])


def test_reset_makes_a_new_scene(live, sets):
    begin(live, sets)
    live.reset()
    until(lambda: live.status().state == State.WAITING)
    assert live.snapshot() is None
    live.offer(sets[3])
    until(lambda: live.snapshot() is not None)
    assert live.snapshot().scene_id == 2


def test_no_first_scene_is_a_state_not_a_death(recording, config, sets, tmp_path):
    missing = replace(config, bootstrap=BootstrapConfig(method=str(tmp_path / 'none.ply')))
    live = LivePipeline(missing, {name: recording.cameras[name] for name in TRAIN})
    live.start()
    try:
        live.offer(sets[0])
        until(lambda: live.status().state == State.FAILED)
        assert 'none.ply' in live.status().message
        assert live.snapshot() is None and live.view(recording.cameras['cam00']) is None
    finally:
        live.stop()


def test_an_unexpected_error_in_the_first_scene_is_said_and_tried_again(live, sets, monkeypatch):
    first_scene = live._stages.first_scene
    monkeypatch.setattr(live._stages, 'first_scene', lambda *_: 1 / 0)
    live.offer(sets[0])
    until(lambda: live.status().state == State.FAILED)
    assert 'division' in live.status().message
    monkeypatch.setattr(live._stages, 'first_scene', first_scene)
    begin(live, sets)


def test_views_come_without_new_frame_sets(live, sets):
    begin(live, sets)
    camera = live.working_cameras['cam01']
    first, second = live.view(camera), live.view(camera)
    np.testing.assert_array_equal(first.rgb, second.rgb)
    assert first.stamp_ns == sets[0].stamp_ns and second.age_s >= first.age_s


def test_stopping_calls_off_the_first_scene_and_refinement(recording, config, sets, live):
    endless = replace(config, bootstrap=BootstrapConfig(method='images', iterations=10 ** 6))
    slow = LivePipeline(endless, {name: recording.cameras[name] for name in TRAIN})
    slow.start()
    slow.offer(sets[0])
    until(lambda: slow.status().progress > 0)
    slow.stop()
    assert slow.snapshot() is None
    begin(live, sets)
    live._stages.refiner._config = RefineConfig(iterations=10 ** 6)
    follow(live, sets[1])
    follow(live, sets[2])
    until(lambda: live._refining)
    live.stop()
    assert live.snapshot().stamp_ns == sets[2].stamp_ns
