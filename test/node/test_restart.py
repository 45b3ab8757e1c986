# SPDX-License-Identifier: Apache-2.0
"""The node is killed and starts again, or is reset: receivers hold the new scene, never a mix."""
import numpy as np
import pytest

from igs_ros.io.codec.receiver import SceneReceiver
from igs_ros.io.codec.state import VALUES
from igs_ros.io.recordings.open import open_recording

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from igs_ros.msg import GaussianCloud, GaussianUpdate, SceneStatus  # noqa: E402
from igs_ros.node import convert, convert_scene  # noqa: E402

CAMERAS = ('cam00', 'cam01', 'cam03')
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Receiving(SceneReceiver):
    """A receiver behind the two topics, and the scene_ids that it showed."""

    def __init__(self, node):
        super().__init__()
        self.ids = []
        node.create_subscription(GaussianCloud, '/igs/gaussians', self._on_key, LATCHED)
        node.create_subscription(GaussianUpdate, '/igs/gaussians/updates', self._on_update, 1)

    def _on_key(self, message):
        self.take_key(convert_scene.key_from_message(message), stamp_of(message))
        self._note()

    def _on_update(self, message):
        self.take_update(convert_scene.update_from_message(message), stamp_of(message))
        self._note()

    def _note(self):
        if self.shown is not None and self.ids[-1:] != [self.shown.scene_id]:
            self.ids.append(self.shown.scene_id)


def stamp_of(message):
    return convert.nanoseconds(message.header.stamp)


@pytest.fixture(scope='module')
def start(processes, workbench):
    """Starts the node: keys often, so that one comes soon; another seed is another scene."""
    def start_node(seed):
        return processes(
            'igs_ros.node.reconstruct', '--ros-args', '-p', f'rig_file:={workbench / "rig.json"}',
            '-p', f'cameras:=[{",".join(CAMERAS)}]', '-p', f'seed:={seed}', '-p', 'width:=96',
            '-p', 'bootstrap.iterations:=30', '-p', 'max_gaussians:=1500', '-p', 'motion:=static',
            '-p', 'refine.iterations:=5', '-p', 'key_interval:=2',
            '-p', 'calibration_wait_s:=0.1')
    return start_node


def until_scene_other_than(line, scene_id):
    """Publish until the node shows another scene; its id."""
    def other():
        status = line.status[-1] if line.status else None
        return status is not None and status.state == SceneStatus.STREAMING \
            and status.scene_id not in (0, scene_id)
    for _ in range(120):
        line.publish(0)
        if line.client.spin(1.0, other):
            return line.status[-1].scene_id
    pytest.fail(line.process.log.read_text())


def check_holds_the_new_scene(line, receiver, joined):
    """One key later: what `receiver` shows is, bit for bit, what one who has just joined shows."""
    scene_id = line.status[-1].scene_id
    for index in range(1, 5):
        line.step(index)
    assert line.client.until(lambda: receiver.shown.scene_id == scene_id)
    assert line.client.until(lambda: joined.shown is not None
                             and joined.shown.sequence == receiver.shown.sequence)
    for name in VALUES:
        ours, theirs = getattr(receiver.shown, name), getattr(joined.shown, name)
        assert (ours is None) == (theirs is None)
        assert ours is None or np.array_equal(ours, theirs)


def test_kill_9_and_reset(start, client, listener, line_class, workbench):
    line = line_class(start(0), client, open_recording(workbench), CAMERAS)
    receiver = Receiving(client.node)
    first = until_scene_other_than(line, 0)
    for index in range(1, 6):  # sequences well above those that the next run begins with
        line.step(index)
    assert client.until(lambda: receiver.shown is not None and receiver.shown.sequence > 4)
    line.process.kill()

    line.process = start(1)
    second = until_scene_other_than(line, first)
    joined = Receiving(client.node)
    check_holds_the_new_scene(line, receiver, joined)

    service = client.node.create_client(Trigger, '/igs/reset')
    assert service.wait_for_service(120)
    future = service.call_async(Trigger.Request())
    assert client.until(future.done) and future.result().success
    third = until_scene_other_than(line, second)
    check_holds_the_new_scene(line, receiver, joined)
    assert receiver.ids == [first, second, third] and len(set(receiver.ids)) == 3
    assert joined.ids == [second, third]
