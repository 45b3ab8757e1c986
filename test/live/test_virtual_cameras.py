# SPDX-License-Identifier: Apache-2.0
"""When virtual cameras draw: newest pose, newest scene, never more often than they may."""
import threading
import time

import numpy as np
import pytest
import torch
from held_scene import CAMERA, Held
from hypothesis import given, settings
from hypothesis import strategies as st

from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene
from igs_ros.core.timing import Drops
from igs_ros.live import virtual_cameras
from igs_ros.live.virtual_cameras import ViewLoop, VirtualCamera

PATIENCE_S = 60.0


class Kept:
    """An outlet that keeps what it gets."""

    def __init__(self, wanted=True):
        self.watched = wanted
        self.sent = []

    def wanted(self):
        return self.watched

    def send(self, views):
        self.sent.append(views)

    @property
    def last(self):
        return self.sent[-1][0]


class Clock:
    """What the module takes for time; it passes when a test says so."""

    s = 100.0

    def monotonic(self):
        return self.s


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(virtual_cameras, 'time', made)
    return made


def shifted(x):
    pose = np.eye(4)
    pose[0, 3] = x
    return pose


def loop_of(*cameras, errors=None):
    made = ViewLoop(cameras, (errors if errors is not None else []).append)
    made.begin(Held())
    return made, made._source


def turn(loop, clock, seconds=0.0):
    """One round after so long; how long it would sleep then."""
    clock.s += seconds
    return loop._run_once()


def test_a_pose_is_drawn_at_once_when_the_view_is_idle(clock):
    kept = Kept()
    one = VirtualCamera('left', CAMERA, 10.0, kept)
    loop, held = loop_of(one)
    assert turn(loop, clock) == pytest.approx(0.1)
    assert held.rendered == 1 and len(kept.sent) == 1
    turn(loop, clock, 0.1)  # the same again
    assert held.rendered == 1 and len(kept.sent) == 2
    clock.s += 0.03  # the last drawing is 0.13 s ago, the last sending 0.03
    one.place(shifted(0.2))
    assert turn(loop, clock) == pytest.approx(0.1)
    assert held.rendered == 2 and len(kept.sent) == 3
    assert np.array_equal(kept.last.camera.camera_from_world, shifted(0.2))


def test_poses_never_queue_and_never_make_more_than_the_rate(clock):
    kept, drops = Kept(), Drops()
    one = VirtualCamera('left', CAMERA, 20.0, kept, drops=drops)
    loop, held = loop_of(one)
    turn(loop, clock)
    for number in range(100):  # a second of them
        clock.s += 0.01
        one.place(shifted(number))
        loop._run_once()
    assert held.rendered == 1 + 20
    drawn = [views[0].camera.camera_from_world[0, 3] for views in kept.sent]
    assert drawn == sorted(drawn) and drawn[-1] == 99
    assert drops.snapshot() == {'superseded_pose:left': 80}


def test_a_new_scene_is_shown_at_once_unless_a_rate_is_set(clock):
    free, bound = Kept(), Kept()
    loop, held = loop_of(VirtualCamera('a', CAMERA, 1.0, free),
                         VirtualCamera('b', CAMERA, 1.0, bound, every_scene=False))
    turn(loop, clock)
    held.advance(20)
    assert turn(loop, clock, 0.25) == pytest.approx(0.75)  # then b is due
    assert (free.last.stamp_ns, bound.last.stamp_ns) == (20, 10)
    turn(loop, clock, 0.75)
    assert bound.last.stamp_ns == 20


def test_a_paused_scene_keeps_its_stamp_while_the_view_moves(clock):
    kept = Kept()
    one = VirtualCamera('left', CAMERA, 10.0, kept)
    loop, held = loop_of(one)
    for number in range(5):
        one.place(shifted(0.1 * number))
        turn(loop, clock, 10.0)
    assert {views[0].stamp_ns for views in kept.sent} == {10} and held.rendered == 5


def test_nothing_is_drawn_for_nobody_and_at_once_for_who_comes(clock):
    kept, drops = Kept(wanted=False), Drops()
    one = VirtualCamera('slow', CAMERA, 0.1, kept, drops=drops)
    loop, held = loop_of(one)
    assert turn(loop, clock) == pytest.approx(0.2)  # to look again, though it draws every 10 s
    for _ in range(3):
        one.place(shifted(1.0))
        turn(loop, clock, 0.3)
    assert not held.rendered and not held.expected
    assert drops.snapshot() == {}  # nothing was lost
    kept.watched = True
    turn(loop, clock, 0.3)
    assert held.rendered == 1 and held.expected == [0.1]


def test_who_is_due_longest_is_first(clock):
    order = []
    kept = {name: Kept() for name in 'ab'}
    for name, one in kept.items():
        one.send = lambda views, _name=name: order.append(_name)
    a, b = (VirtualCamera(name, CAMERA, rate, kept[name])
            for name, rate in (('a', 10.0), ('b', 20.0)))
    loop, _ = loop_of(a, b)
    turn(loop, clock)
    turn(loop, clock, 0.12)
    assert order[2:] == ['b', 'a']  # since 0.07 and 0.02 s


def test_the_source_is_told_how_much_is_asked_of_it(clock):
    kept = [Kept(), Kept(wanted=False)]
    pair = VirtualCamera('head', CAMERA, 90.0, kept[0], baseline=0.06)
    loop, held = loop_of(pair, VirtualCamera('top', CAMERA, 5.0, kept[1]))
    turn(loop, clock)
    turn(loop, clock, 0.1)
    assert held.expected == [180.0]
    kept[1].watched = True
    turn(loop, clock, 0.2)
    assert held.expected == [180.0, 185.0]


def test_an_error_costs_that_camera_a_second_and_no_other(clock):
    errors, kept = [], [Kept(), Kept()]
    kept[0].send = lambda views: 1 / 0
    loop, held = loop_of(*(VirtualCamera(name, CAMERA, 10.0, outlet)
                           for name, outlet in zip('ab', kept, strict=True)), errors=errors)
    for _ in range(10):
        held.advance(held.newest.stamp_ns + 10)
        turn(loop, clock, 0.1)
    assert len(kept[1].sent) == 10
    assert [type(error) for error in errors] == [ZeroDivisionError]
    turn(loop, clock, 0.2)
    assert len(errors) == 2


def test_it_follows_a_frame_and_stays_where_that_is_lost(clock):
    kept, poses = Kept(), [shifted(1.0), shifted(1.0), None, shifted(2.0)]
    loop, held = loop_of(VirtualCamera('head', CAMERA, 10.0, kept, follow=lambda: poses.pop(0)))
    for _ in range(4):
        turn(loop, clock, 0.1)
    assert [views[0].camera.camera_from_world[0, 3] for views in kept.sent] == [1, 1, 1, 2]
    assert held.rendered == 2


def test_it_can_be_changed_while_it_runs(clock):
    kept = Kept()
    one = VirtualCamera('left', CAMERA, 1.0, kept)
    loop, held = loop_of(one)
    turn(loop, clock)
    one.change(camera=CAMERA.resized(64), rate_hz=10.0)
    turn(loop, clock, 0.1)
    assert kept.last.rgb.shape == (48, 64, 3) and held.rendered == 2


# --- a pair --------------------------------------------------------------------------------------


def ball(at):
    """One opaque Gaussian, 2 cm wide."""
    return GaussianScene(torch.tensor([at], dtype=torch.float32), torch.tensor([[1.0, 0, 0, 0]]),
                         torch.full((1, 3), 0.02), torch.tensor([0.99]),
                         torch.ones((1, 1, 3)))


def middle(view):
    """Where the light of a picture is, (x, y) px."""
    light = view.rgb.sum(-1)
    y, x = np.indices(light.shape) + 0.5
    return (x * light).sum() / light.sum(), (y * light).sum() / light.sum()


@settings(max_examples=15, deadline=None)
@given(st.floats(0.02, 0.2), st.floats(1.5, 4.0), st.floats(-0.2, 0.2))
def test_the_disparity_of_a_pair_is_focal_length_times_baseline_over_depth(baseline, depth, x):
    camera = Camera('view', 160, 120, np.array([[150, 0, 80], [0, 150, 60], [0, 0, 1.0]]),
                    np.eye(4))
    kept = Kept()
    one = VirtualCamera('head', camera, 10.0, kept, baseline=baseline)
    one.look(time.monotonic())
    held = Held(ball((x, 0.1, depth)))
    one.send(held, held.newest)
    (left, right), = kept.sent
    (xl, yl), (xr, yr) = middle(left), middle(right)
    assert xl - xr == pytest.approx(150 * baseline / depth, abs=0.15)
    assert yl == pytest.approx(yr, abs=0.02)
    assert xl == pytest.approx(80 + 150 * x / depth, abs=0.15)  # the left one is at the pose
    assert left.stamp_ns == right.stamp_ns


# --- the thread ----------------------------------------------------------------------------------


def test_a_flood_of_poses_ends_at_the_newest():
    kept, drops = [Kept(), Kept()], Drops()
    cameras = [VirtualCamera(name, CAMERA, 100.0, outlet, drops=drops)
               for name, outlet in zip('ab', kept, strict=True)]
    errors = []
    loop = ViewLoop(cameras, errors.append)
    held = Held()
    loop.begin(held)
    loop.thread.start()
    try:
        def flood(one):
            for number in range(3000):
                one.place(shifted(number))
        threads = [threading.Thread(target=flood, args=(one,)) for one in cameras]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        end_s = time.monotonic() + PATIENCE_S
        while any(not one.sent or one.last.camera.camera_from_world[0, 3] != 2999 for one in kept):
            assert time.monotonic() < end_s
            time.sleep(0.01)
    finally:
        loop.thread.stop()
    assert not errors and not loop.thread.died_of
    for name, outlet in zip('ab', kept, strict=True):
        drawn = len({id(views) for views in outlet.sent})
        # each pose was drawn or counted; the first picture may have been of none
        assert drops.snapshot()[f'superseded_pose:{name}'] + drawn in (3000, 3001)
