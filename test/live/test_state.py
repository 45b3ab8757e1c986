# SPDX-License-Identifier: Apache-2.0
"""The state of a live pipeline tells the truth: what cannot be followed is no streaming."""
import itertools
import threading
from dataclasses import replace

import pytest
from running import TRAIN, begin, until

from igs_ros.core.snapshot import View
from igs_ros.core.status import State
from igs_ros.io.pictures import EncodedPicture
from igs_ros.live.exchange import Exchange
from igs_ros.live.pipeline import LivePipeline


@pytest.fixture
def live(rig, config):
    pipeline = LivePipeline(config, rig, stall_after_s=0.3)
    pipeline.start()
    yield pipeline
    pipeline.stop()


def offer_until(live, sets, condition):
    """Offer one after the other, as cameras do, until it comes true."""
    for frame_set in itertools.cycle(sets):
        live.offer(frame_set)
        try:
            return until(condition, 0.05)
        except AssertionError:
            offer_until.rounds += 1
            assert offer_until.rounds < 2000, live.status()


@pytest.fixture(autouse=True)
def rounds():
    offer_until.rounds = 0


def stalled(live):
    return lambda: live.status().state == State.STALLED


def test_motion_that_fails_at_every_set_stalls_with_its_error(live, sets):
    begin(live, sets)
    motion = live._pipeline.timeline._motion
    observe, motion.observe = motion.observe, lambda _: {}['lens']
    offer_until(live, sets[1:], stalled(live))
    message = live.status().message
    assert 'internal_error' in message and "KeyError('lens')" in message
    motion.observe = observe
    offer_until(live, sets[1:], lambda: live.status().state == State.STREAMING)
    assert live.status().message == ''


def test_pictures_that_cannot_be_decoded_stall_and_name_the_camera(live, sets):
    begin(live, sets)
    broken = [replace(one, pictures={name: EncodedPicture(b'broken', f'/{name}/image')
                                   for name in TRAIN}) for one in sets[1:]]
    offer_until(live, broken, stalled(live))
    status = live.status()
    assert 'unusable_picture:cam00' in status.message and '/image: 6 bytes' in status.message
    assert set(status.decoding) == set(TRAIN)
    one = status.decoding['cam00']
    assert one.bad == one.in_a_row >= 1 and '/cam00/image: 6 bytes' in one.text
    offer_until(live, sets[1:], lambda: live.status().state == State.STREAMING)
    after = live.status().decoding['cam00']
    assert after.in_a_row == 0 and after.bad >= one.bad


def test_undecodable_from_the_start_it_waits_and_says_why(live, sets):
    broken = [replace(sets[0], pictures={'cam00': EncodedPicture(b'broken', '/cam00/image')})]
    offer_until(live, broken, lambda: 'no_picture' in live.status().message)
    assert live.status().state == State.WAITING and '/cam00/image: 6' in live.status().message


def test_a_stage_that_hangs_is_named(live, sets):
    begin(live, sets)
    release = threading.Event()
    motion = live._pipeline.timeline._motion
    observe, motion.observe = motion.observe, lambda one: release.wait() and observe(one)
    try:
        offer_until(live, sets[1:], lambda: live.status().message.startswith(
            'update/motion has been at work for'))
        assert live.status().state == State.STALLED
    finally:
        release.set()
    offer_until(live, sets[1:], lambda: live.status().state == State.STREAMING)


@pytest.mark.parametrize('error', [SystemExit(3), KeyboardInterrupt()])
def test_a_dead_motion_thread_is_a_failure(live, sets, error, caplog):
    begin(live, sets)

    def die(_):
        raise error
    live._pipeline.timeline._motion.observe = die
    live.offer(sets[1])
    until(lambda: live.status().state == State.FAILED)
    message = live.status().message
    assert f"'motion' has died of {error!r}" in message and 'restart the node' in message
    assert "thread 'motion' has died" in caplog.text and 'in die' in caplog.text
    camera = live.working_cameras['cam00']
    assert isinstance(live.view(camera), View)  # what is there is still shown
    live.stop()
    status = live.status()
    assert status.frame_sets_offered == \
        status.frame_sets_processed + status.first_scenes + status.sets_lost


def test_a_dead_refine_thread_is_a_failure(live, sets):
    begin(live, sets)

    def die(*_, **__):
        raise SystemExit
    live._pipeline.stages.refiner.refine = die
    offer_until(live, sets[1:], lambda: live.status().state == State.FAILED)
    assert "'refine' has died of SystemExit()" in live.status().message
    status = live.status()
    assert status.refinements_discarded == status.drops['key_error'] == 1


def test_a_dead_heartbeat_is_a_failure(live, sets, monkeypatch):
    def die():
        raise SystemExit
    begin(live, sets)
    monkeypatch.setattr(live._heartbeat.thread, '_run_once', die)
    live._heartbeat.thread.wake()
    until(lambda: live.status().state == State.FAILED)
    assert "'heartbeat'" in live.status().message


# --- what the exchange notes, in time that the test moves -----------------------------------


class Noted:
    def __init__(self, sets):
        self.now, self.sets = 100.0, sets
        self.exchange = Exchange(3, now=lambda: self.now)
        self.exchange.update(state=State.STREAMING)

    def offer(self, seconds=0.0):
        self.now += seconds
        self.exchange.offer(self.sets[1])
        return self.exchange.wait_for_motion()


@pytest.fixture
def noted(sets):
    return Noted(sets)


def test_what_is_owed_counts_from_the_first_frame_set_in_vain(noted):
    assert noted.exchange.facts().owed_s == 0
    noted.offer()
    noted.offer(3.0)
    noted.exchange.lose('unusable', 'why')
    noted.now += 1
    facts = noted.exchange.facts()
    assert (facts.owed, facts.owed_s, facts.reason) == (2, 4.0, 'why')
    assert facts.lost == {'unusable': 1}
    noted.exchange.count(frame_sets_processed=1)
    facts = noted.exchange.facts()
    assert (facts.owed, facts.owed_s, facts.lost, facts.reason) == (0, 0.0, {}, '')


def test_a_frame_set_that_waits_meanwhile_stays_owed(noted):
    noted.offer()
    noted.now += 6
    noted.exchange.offer(noted.sets[2])  # waits; the first one is in the hands of motion
    noted.now += 1
    noted.exchange.count(frame_sets_processed=1)
    facts = noted.exchange.facts()
    assert (facts.owed, facts.owed_s) == (1, 1.0)


def test_a_scene_that_is_held_on_purpose_owes_nothing(noted):
    noted.exchange.update(held='dark')
    for _ in range(9):
        noted.offer(1.0)
        noted.exchange.update(held='dark')
    assert noted.exchange.facts().owed_s == 0
    noted.exchange.update(held='')
    noted.offer(1.0)
    noted.exchange.update(held='')  # said again and again, this is no progress
    noted.now += 9
    assert noted.exchange.facts().owed_s == 9


def test_progress_of_the_first_scene_is_seen(noted):
    noted.exchange.update(state=State.BOOTSTRAP, message='optimizing', progress=0.1)
    noted.now += 7
    assert noted.exchange.facts().still_s == 7
    noted.exchange.update(cameras_in_last_set=3)
    assert noted.exchange.facts().still_s == 7
    noted.exchange.update(progress=0.2)
    assert noted.exchange.facts().still_s == 0
