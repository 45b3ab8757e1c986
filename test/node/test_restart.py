# SPDX-License-Identifier: Apache-2.0
"""The node is killed and starts again, or is reset: receivers hold the new scene, never a mix."""
import pytest
import torch

import igs_ros
from igs_ros.io.codec.state import VALUES
from igs_ros.io.recordings.open import open_recording

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from std_srvs.srv import Trigger  # noqa: E402

from igs_ros.msg import SceneStatus  # noqa: E402

CAMERAS = ('cam00', 'cam01', 'cam03')


class Receiving(igs_ros.SceneSubscriber):
    """A subscriber, and the scene_ids that it showed."""

    def __init__(self, node):
        self.ids = []
        super().__init__(node, self._note)

    def _note(self, state):
        assert state.frame_id == 'map'
        if self.ids[-1:] != [state.scene_id]:
            self.ids.append(state.scene_id)

    def sequence(self, scene_id):
        """Of what is shown of this scene, else 0."""
        state = self.scene()
        return state.sequence if state is not None and state.scene_id == scene_id else 0


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
    assert line.client.until(lambda: joined.sequence(scene_id) > 0
                             and joined.sequence(scene_id) == receiver.sequence(scene_id))
    for name in VALUES:
        ours, theirs = (getattr(one.scene().gaussians, name) for one in (receiver, joined))
        assert (ours is None) == (theirs is None)
        assert ours is None or torch.equal(ours, theirs)


def test_kill_9_and_reset(start, client, listener, line_class, workbench):
    line = line_class(start(0), client, open_recording(workbench), CAMERAS)
    receiver = Receiving(client.node)
    first = until_scene_other_than(line, 0)
    for index in range(1, 6):  # sequences well above those that the next run begins with
        line.step(index)
    assert client.until(lambda: receiver.sequence(first) > 4)
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
    assert (receiver.missed().scenes, joined.missed().scenes) == (2, 1)
    assert receiver.missed().refused == joined.missed().refused == 0
