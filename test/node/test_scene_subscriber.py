# SPDX-License-Identifier: Apache-2.0
"""A subscriber over loopback: joins late, loses updates, outlives senders, says what it missed.

test_restart.py has the same with real nodes that are killed.
"""
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from igs_ros.core.scene import GaussianScene
from igs_ros.io.codec.receiver import Missed
from igs_ros.io.codec.state import key_arrays, update_arrays

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from rclpy.executors import MultiThreadedExecutor  # noqa: E402

import igs_ros  # noqa: E402
from igs_ros.msg import GaussianCloud, GaussianUpdate  # noqa: E402
from igs_ros.node import convert, convert_scene, outputs, scene_subscriber  # noqa: E402

COUNT = 30


def scene(seed):
    random = torch.Generator().manual_seed(seed)
    quats = torch.nn.functional.normalize(torch.randn((COUNT, 4), generator=random), dim=1)
    return GaussianScene(torch.rand((COUNT, 3), generator=random), quats,
                         torch.rand((COUNT, 3), generator=random) + 0.01,
                         torch.rand(COUNT, generator=random),
                         torch.rand((COUNT, 4, 3), generator=random),
                         torch.rand((COUNT, 3), generator=random))


def same(left, right):
    return all(torch.equal(getattr(left, name), getattr(right, name))
               for name in ('means', 'quats', 'scales', 'opacities', 'sh', 'velocities'))


class Sender:
    """The two topics as the node publishes them, and what they say."""

    def __init__(self, ros, scene_id):
        self.node, self.scene_id = ros.create_node('sender'), scene_id
        latched = outputs.newest(outputs.DurabilityPolicy.TRANSIENT_LOCAL)
        self._keys = self.node.create_publisher(GaussianCloud, '/igs/gaussians', latched)
        self._updates = self.node.create_publisher(GaussianUpdate, '/igs/gaussians/updates',
                                                   outputs.newest())
        self.key = scene(scene_id)

    def send_key(self, sequence, stamp_ns):
        arrays = key_arrays(self.key, scene_id=self.scene_id, sequence=sequence)
        self._keys.publish(convert_scene.key_message(arrays, convert.header(stamp_ns, 'map')))
        return self.key

    def send_update(self, sequence, base, stamp_ns, rows=(1, 5)):
        """Once somebody listens; the scene that the receiver must show."""
        means = self.key.means.clone()
        means[list(rows)] += 0.01 * sequence
        moved = self.key.replaced(means=means)
        arrays = update_arrays(self.key, moved, scene_id=self.scene_id, sequence=sequence,
                               base_sequence=base)
        self._updates.publish(convert_scene.update_message(arrays,
                                                           convert.header(stamp_ns, 'map')))
        return moved

    def heard(self):
        return self._updates.get_subscription_count() > 0


@pytest.fixture
def sender(ros):
    made = []

    def make(scene_id):
        made.append(Sender(ros, scene_id))
        return made[-1]
    yield make
    for one in made:
        one.node.destroy_node()


def shows(subscriber, sequence):
    state = subscriber.scene()
    return state is not None and state.sequence == sequence


def test_a_late_joiner_follows_and_says_what_it_missed(sender, listener):
    one = sender(7)
    key = one.send_key(1, 1000)  # before anybody listens
    states = []
    subscriber = igs_ros.SceneSubscriber(listener.node, states.append)
    assert subscriber.scene() is None and subscriber.missed() == Missed()
    assert listener.until(lambda: shows(subscriber, 1) and one.heard())
    assert same(subscriber.scene().gaussians, key)

    moved = one.send_update(3, 1, 1300)
    assert listener.until(lambda: shows(subscriber, 3))
    moved = one.send_update(9, 1, 1900)  # 4 to 8 were lost
    assert listener.until(lambda: shows(subscriber, 9))
    state = subscriber.scene()
    assert same(state.gaussians, moved) and state is subscriber.scene()
    assert (state.stamp_ns, state.frame_id, state.scene_id) == (1900, 'map', 7)
    assert [taken.sequence for taken in states] == [1, 3, 9] and states[-1] is state
    assert subscriber.missed() == Missed(states=5)

    subscriber.close()
    assert listener.until(lambda: not one.heard())
    assert shows(subscriber, 9)


def test_another_scene_replaces_the_old_one(sender, listener):
    old, new = sender(7), sender(3)
    old.send_key(50, 9000)
    subscriber = igs_ros.SceneSubscriber(listener.node)
    assert listener.until(lambda: shows(subscriber, 50) and new.heard())
    key = new.send_key(1, 100)  # a node whose clock and count start again
    assert listener.until(lambda: shows(subscriber, 1))
    assert subscriber.scene().scene_id == 3 and same(subscriber.scene().gaussians, key)
    assert subscriber.missed() == Missed(scenes=1)


def test_updates_without_their_key_are_said(sender, listener, monkeypatch):
    said, clock = [], [100.0]
    monkeypatch.setattr(listener.node.get_logger(), 'warning', lambda text, **_: said.append(text))
    monkeypatch.setattr(scene_subscriber, 'time', SimpleNamespace(monotonic=lambda: clock[0]))
    one = sender(7)
    subscriber = igs_ros.SceneSubscriber(listener.node)
    assert listener.until(one.heard)
    for sequence, seconds, warnings in ((3, 0, 0), (4, 4.9, 0), (5, 0.2, 1)):
        clock[0] += seconds
        one.send_update(sequence, 1, 1000 + sequence)
        assert listener.until(lambda: subscriber._receiver._early is not None
                     and subscriber._receiver._early[0].sequence == sequence)  # noqa: B023
        assert len(said) == warnings and subscriber.scene() is None
    assert '/igs/gaussians/updates: updates of key 7/1 ' in said[0] and 'for 5 s' in said[0]
    assert subscriber.missed().updates_without_key == 2
    one.send_key(1, 1000)
    assert listener.until(lambda: shows(subscriber, 5))  # the newest one waited
    assert len(said) == 1


def test_malformed_messages_cost_nothing(sender, listener, monkeypatch):
    said = []
    monkeypatch.setattr(listener.node.get_logger(), 'warning', lambda text, **_: said.append(text))
    one = sender(7)
    one.send_key(1, 1000)
    subscriber = igs_ros.SceneSubscriber(listener.node)
    assert listener.until(lambda: shows(subscriber, 1) and one.heard())
    whole, one.key = one.key, scene(8).select(slice(0, COUNT - 1))
    one.send_update(3, 1, 1300)  # of a key of another size
    assert listener.until(lambda: said)
    assert '/igs/gaussians/updates: GaussianUpdate 3: count is 29, applying it gives 30' in said[0]
    one.key = replace(whole, opacities=whole.opacities + 2)
    one.send_key(4, 1400)
    assert listener.until(lambda: len(said) == 2)
    assert '/igs/gaussians: GaussianCloud 4: opacities' in said[1]
    assert shows(subscriber, 1) and subscriber.missed() == Missed(refused=2)
    one.key = whole
    moved = one.send_update(5, 1, 1500)
    assert listener.until(lambda: shows(subscriber, 5))
    assert same(subscriber.scene().gaussians, moved)


def test_any_executor_and_any_thread(sender, ros):
    """Namespaced, in several threads, while others ask; what is asked is always one state."""
    one = sender(7)
    node = ros.create_node('planner', namespace='lab')
    busy, overlaps, taken = threading.Lock(), [], []

    def take(state):
        if not busy.acquire(blocking=False):
            overlaps.append(state)
            return
        taken.append(state.sequence)
        busy.release()
    subscriber = igs_ros.SceneSubscriber(node, take, topic='/igs/gaussians')
    executor = MultiThreadedExecutor(4)
    executor.add_node(node)
    spinning = threading.Thread(target=executor.spin)
    spinning.start()
    stop, mixed = threading.Event(), []

    def ask():
        while not stop.is_set():
            state = subscriber.scene()
            if state is not None and state.sequence > 1:
                moved = (state.gaussians.means - one.key.means)[[1, 5]]
                mixed.extend([] if torch.allclose(
                    moved, torch.full((2, 3), 0.01 * state.sequence), atol=1e-5) else [state])
    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        one.send_key(1, 1000)
        for _ in range(6000):
            if taken and one.heard():
                break
            time.sleep(0.02)
        for sequence in range(3, 60):
            one.send_update(sequence, 1, 1000 + sequence)
            time.sleep(0.005)
        for _ in range(6000):
            if shows(subscriber, 59):
                break
            time.sleep(0.02)
        assert shows(subscriber, 59)
    finally:
        stop.set()
        for thread in asking:
            thread.join()
        executor.shutdown()
        spinning.join()
        node.destroy_node()
    assert taken == sorted(set(taken)) and not overlaps and not mixed
    assert subscriber.missed().states == 59 - 2 - (len(taken) - 1)
