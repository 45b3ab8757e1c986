# SPDX-License-Identifier: Apache-2.0
"""Nothing is rendered or packed for nobody; what has not changed is not made twice."""
import time

import pytest
import torch
from held_scene import Held, moved

from igs_ros.core.snapshot import advanced, first_snapshot, with_new_key

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from sensor_msgs.msg import PointCloud2  # noqa: E402

from igs_ros.live.planning import PlanningConfig  # noqa: E402
from igs_ros.msg import GaussianCloud, GaussianUpdate, SceneStatus  # noqa: E402
from igs_ros.node import convert, outputs  # noqa: E402
from igs_ros.node.params import NodeConfig  # noqa: E402

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def node(ros):
    made = ros.create_node('igs')
    yield made
    made.destroy_node()


@pytest.fixture
def states(node):
    made = outputs.StateOutput(node, NodeConfig(points_rate_hz=20.0, status_rate_hz=5.0),
                               SceneStatus)
    held = Held()
    made.begin(held)
    made.thread.start()
    yield held, made
    made.thread.stop()


def test_states_are_packed_for_subscribers_only(states, listener, monkeypatch):
    held, made = states
    packed = []
    for name in ('key_arrays', 'update_arrays'):
        real = getattr(outputs, name)
        monkeypatch.setattr(outputs, name, lambda *a, _real=real, _name=name, **k: (
            packed.append(_name), _real(*a, **k))[1])
    held.newest = advanced(held.newest, moved(held.newest.key, [1, 2], 20))
    made.thread.wake()
    time.sleep(0.6)
    assert packed == []

    keys = listener.collect(GaussianCloud, '/igs/gaussians', LATCHED)
    assert listener.until(lambda: keys)
    assert (keys[0].sequence, keys[0].count) == (1, 50)
    assert convert.nanoseconds(keys[0].header.stamp) == 10  # of what the key shows
    # an update that was there before its subscriber is sent all the same
    updates = listener.collect(GaussianUpdate, '/igs/gaussians/updates', 1)
    assert listener.until(lambda: updates)
    assert (updates[0].sequence, updates[0].base_sequence) == (3, 1)
    assert updates[0].moved_rows.tolist() == [1, 2]
    assert convert.nanoseconds(updates[0].header.stamp) == 20
    listener.spin(0.6)
    assert packed == ['key_arrays', 'update_arrays'] and len(keys) == len(updates) == 1

    # a second late subscriber gets the latched key without anything being packed again
    more = listener.collect(GaussianCloud, '/igs/gaussians', LATCHED)
    assert listener.until(lambda: more)
    assert packed.count('key_arrays') == 1

    # a new key
    held.newest = with_new_key(held.newest, held.newest.scene, 20,
                               moved(held.newest.scene, [], 20))
    made.thread.wake()
    assert listener.until(lambda: keys[-1].sequence == held.newest.key_sequence)


@pytest.mark.parametrize('known_only', [True, False])
def test_points_follow_the_scene(states, listener, known_only):
    """30 of 50 Gaussians are known; the others are points only where that does not count."""
    held, made = states
    made.change(NodeConfig(points_rate_hz=20.0, planning=PlanningConfig(known_only=known_only)))
    support = torch.tensor([2] * 30 + [0] * 20, dtype=torch.uint8)
    held.newest = first_snapshot(held.newest.key.replaced(support=support), 10)
    clouds = listener.collect(PointCloud2, '/igs/points', 1)
    assert listener.until(lambda: clouds)
    assert clouds[0].width == (30 if known_only else 50)
    listener.spin(0.5)
    assert len(clouds) == 1  # nothing new
    held.newest = advanced(held.newest, moved(held.newest.key, [1, 2], 20))
    assert listener.until(lambda: len(clouds) == 2)
    assert convert.nanoseconds(clouds[1].header.stamp) == 20


def test_status_comes_regularly_and_to_late_subscribers(states, listener):
    status = listener.collect(SceneStatus, '/igs/status', LATCHED)
    assert listener.until(lambda: len(status) >= 3)
