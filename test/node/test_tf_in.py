# SPDX-License-Identifier: Apache-2.0
"""Transforms over loopback: into the buffer, to the cameras, to the poses of pictures."""
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.logs import ThrottledWarnings
from igs_ros.core.status import Status  # noqa: E402
from igs_ros.core.timing import Drops
from igs_ros.core.transforms import FutureTransform, PastTransform, TransformError
from igs_ros.io.recordings.open import read_cameras

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
TFMessage = pytest.importorskip('tf2_msgs.msg', reason='tf2_msgs is not installed (make venv)'
                                ).TFMessage
from geometry_msgs.msg import TransformStamped  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rosbags.typesys import Stores, get_typestore  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402

from igs_ros.node import convert, reconstruct, tf_in, tf_out  # noqa: E402
from igs_ros.node.inputs import Inputs  # noqa: E402
from igs_ros.node.params import NodeConfig  # noqa: E402

S = 1_000_000_000
PIXELS = np.zeros((24, 32, 3), np.uint8)


def at(x, y=0.0, z=0.0):
    """parent_from_child of a child at a place, axes as the parent's."""
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return pose


def sent(parent, child, pose, stamp_s=1.0):
    return tf_out.transform_message(parent, child, round(stamp_s * S), pose)


class Broadcaster:
    """Publishes on /tf and /tf_static from a node of its own, and spins all nodes."""

    def __init__(self, ros, *nodes):
        self.node = ros.create_node('broadcaster')
        self._publishers = {static: self.node.create_publisher(
            TFMessage, '/tf_static' if static else '/tf', tf_in.tf_qos(static))
            for static in (True, False)}
        self._executor = SingleThreadedExecutor()
        for node in (self.node, *nodes):
            self._executor.add_node(node)

    def send(self, *transforms, static=False):
        publisher = self._publishers[static]
        assert self.until(lambda: publisher.get_subscription_count() > 0)
        publisher.publish(TFMessage(transforms=list(transforms)))

    def until(self, condition):
        end = time.monotonic() + 60
        while not condition() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)
        return condition()

    def close(self):
        self._executor.shutdown()
        self.node.destroy_node()


@pytest.fixture
def heard(ros):
    """Our buffer in a node, beside a broadcaster."""
    made = SimpleNamespace(said=[], drops=Drops())
    made.node = ros.create_node('listener', parameter_overrides=[
        Parameter('use_sim_time', value=True)])
    made.buffer = tf_in.TopicTransforms(made.node, TFMessage,
                                        ThrottledWarnings(made.said.append, made.drops))
    made.broadcaster = Broadcaster(ros, made.node)
    yield made
    made.broadcaster.close()
    made.node.destroy_node()


def knows(made, target, source):
    def look():
        try:
            made.buffer.lookup(target, source)
        except TransformError:
            return False
        return True
    return made.broadcaster.until(look)


def test_the_message_is_that_of_ros(heard):
    """Name and hash of the type on the wire, against those that rosbags makes of ROS' own file."""
    heard.broadcaster.send(sent('map', 'x', at(0)))
    info, = heard.broadcaster.node.get_publishers_info_by_topic('/tf')
    assert info.topic_type == 'tf2_msgs/msg/TFMessage'
    expected = get_typestore(Stores.ROS2_HUMBLE).hash_rihs01('tf2_msgs/msg/TFMessage')
    assert str(info.topic_type_hash) == expected


def test_static_and_timed_transforms_come_through(heard):
    heard.broadcaster.send(sent('head', 'cam', at(0, 0, 1)), static=True)
    heard.broadcaster.send(sent('map', 'head', at(2), 5.0), sent('map', 'head', at(4), 6.0))
    assert knows(heard, 'map', 'cam')
    assert np.allclose(heard.buffer.lookup('map', 'cam', round(5.5 * S))[:3, 3], (3, 0, 1))
    assert not heard.said


def test_bad_transforms_cost_a_line_each_and_the_others_count(heard):
    wrong = sent('map', 'x', at(0))
    wrong.transform.rotation.w = 0.0
    heard.broadcaster.send(wrong, sent('map', 'y', at(0), 0.0), sent('map', 'map', at(0)),
                           sent('map', 'good', at(1)), static=False)
    assert knows(heard, 'map', 'good')
    heard.broadcaster.send(wrong, sent('map', 'better', at(1)), static=False)
    assert knows(heard, 'map', 'better')
    turn, stamp, parent = heard.said  # the second wrong turn is the first again
    assert "frame 'x' in 'map': quaternion (wxyz) [0.0, 0.0, 0.0, 0.0]" in turn
    assert "'y'" in stamp and 'stamp' in stamp and "'map'" in parent
    assert heard.drops.snapshot() == {'bad_transform:tf': 4}


def test_odd_transforms_are_told_and_taken(heard):
    heard.broadcaster.send(sent('map', 'x', at(1), 100.0), sent('odom', 'x', at(2), 100.1))
    assert knows(heard, 'odom', 'x')
    assert "frame 'x' has two parents: 'map', and now 'odom'" in heard.said[0]
    heard.broadcaster.send(sent('odom', 'x', at(3), 1.0))
    assert heard.broadcaster.until(lambda: heard.buffer.lookup('odom', 'x')[0, 3] == 3)
    assert heard.drops.snapshot() == {'doubtful_transform:tf': 2}


def test_a_clock_that_jumps_back_clears_what_is_timed(heard):
    heard.broadcaster.send(sent('head', 'cam', at(1)), static=True)
    heard.broadcaster.send(sent('map', 'head', at(1), 100.0))
    assert knows(heard, 'map', 'cam')
    clock = heard.broadcaster.node.create_publisher(Clock, '/clock', 10)
    assert heard.broadcaster.until(lambda: clock.get_subscription_count() > 0)
    now = heard.node.get_clock().now
    for seconds in (100, 50):
        clock.publish(Clock(clock=convert.time_message(seconds * S)))
        assert heard.broadcaster.until(lambda wanted=seconds: now().nanoseconds == wanted * S)
    assert np.allclose(heard.buffer.lookup('head', 'cam'), at(1))
    with pytest.raises(TransformError):
        heard.buffer.lookup('map', 'cam')


def test_without_the_message_a_line_says_what_to_install(heard, monkeypatch):
    monkeypatch.setattr(tf_in, 'tf_message', lambda: None)
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)  # not installed
    with pytest.raises(InputError, match='tf2_msgs is not installed.*ros-.ROS_DISTRO-tf2-msgs'):
        tf_in.transform_source(heard.node, ThrottledWarnings(print, Drops()))


def test_tf2s_buffer_answers_as_ours(heard):
    library = pytest.importorskip('tf2_ros', reason='tf2_ros is not installed (it has no wheel)')
    both = heard.buffer, tf_in.Tf2Transforms(heard.node, library)
    heard.broadcaster.send(sent('head', 'cam', at(0, 0, 1)), sent('map', 'still', at(7)),
                           static=True)
    heard.broadcaster.send(sent('map', 'head', at(2), 5.0), sent('map', 'head', at(4), 6.0))
    for heard.buffer in both:
        assert knows(heard, 'map', 'cam') and knows(heard, 'map', 'still')
        assert np.allclose(heard.buffer.lookup('map', 'cam', round(5.5 * S))[:3, 3], (3, 0, 1))
        assert heard.buffer.lookup('map', 'cam')[0, 3] == 4
        assert heard.buffer.is_static('map', 'still') and not heard.buffer.is_static('map', 'cam')
        for stamp_s, frame, kind in ((7, 'cam', FutureTransform), (4, 'cam', PastTransform),
                                     (5, 'nothing', TransformError)):
            with pytest.raises(TransformError, match=f"from '{frame}' to 'map'") as raised:
                heard.buffer.lookup('map', frame, stamp_s * S)
            assert type(raised.value) is kind
        heard.buffer.clear_timed()
        assert heard.buffer.lookup('map', 'still')[0, 3] == 7
        with pytest.raises(TransformError):
            heard.buffer.lookup('map', 'cam')


# --- cameras and pictures -----------------------------------------------------------------------


def camera(name):
    return Camera(name, 32, 24, np.array([[30.0, 0, 16], [0, 30, 12], [0, 0, 1.0]]), np.eye(4))


@pytest.fixture
def inputs(ros):
    """Cameras a and b with poses from TF, and no rig file."""
    node = ros.create_node('tf_inputs')
    sets = []
    made = Inputs(node, NodeConfig(calibration_wait_s=0.0, transport='raw', max_wait_s=60.0,
                                   max_spread_s=0.02), {'a': None, 'b': None}, sets.append,
                  tf_in.transform_source(node, ThrottledWarnings(print, Drops())))
    made.sets, made.broadcaster = sets, Broadcaster(ros, node)
    yield made
    made.broadcaster.close()
    node.destroy_node()


def picture(inputs, name, stamp_s):
    inputs._on_picture(name, convert.image_message(
        PIXELS, convert.header(round(stamp_s * S), f'{name}_optical')))


def calibrate(inputs):
    for name in 'ab':
        inputs._on_info(name, convert.info_message(
            camera(name), convert.header(S, f'{name}_optical')))


def test_cameras_wait_for_intrinsics_and_transforms(inputs):
    picture(inputs, 'a', 1.0)
    assert inputs.cameras() is None
    assert "/a/camera_info: no usable CameraInfo, and no rig file has the intrinsics of camera " \
        "'a'" in inputs.lacking
    assert "no transform from 'map' to 'a_optical': " in inputs.lacking
    assert "no transform to camera 'b': neither its pictures" in inputs.lacking
    calibrate(inputs)
    inputs.broadcaster.send(sent('map', 'a_optical', at(1)), sent('map', 'b_optical', at(2)),
                            static=True)
    assert inputs.broadcaster.until(lambda: inputs.cameras() is not None)
    assert inputs.lacking == ''
    cameras = inputs.cameras()
    assert [cameras[name].center.tolist() for name in 'ab'] == [[1, 0, 0], [2, 0, 0]]
    assert cameras['a'].K[0, 0] == 30
    assert inputs.optical_frames() == {'a': 'a_optical', 'b': 'b_optical'}


def test_what_is_lacking_is_told_once_for_a_while(inputs, monkeypatch):
    told = []
    monkeypatch.setattr(inputs, '_log', SimpleNamespace(warning=told.append))
    inputs.cameras()
    assert told == []  # no picture yet: nobody is waited for
    picture(inputs, 'a', 1.0)
    for _ in range(5):
        inputs.cameras()
    line, = told
    assert line.startswith('waiting for what the cameras lack: /a/camera_info')


def test_a_moving_camera_carries_its_pose_at_its_stamp_over_loopback(inputs):
    calibrate(inputs)
    inputs.broadcaster.send(sent('neck', 'a_optical', at(0, 0, 1)),
                            sent('map', 'b_optical', at(5)), static=True)
    inputs.broadcaster.send(sent('map', 'neck', at(2), 10.0))
    assert inputs.broadcaster.until(lambda: inputs.cameras() is not None)
    picture(inputs, 'a', 10.51)
    picture(inputs, 'b', 10.5)
    assert inputs.waiting() == 2 and not inputs.sets  # a waits for its transform
    inputs.broadcaster.send(sent('map', 'neck', at(4), 11.0))
    assert inputs.broadcaster.until(lambda: inputs.sets)
    made, = inputs.sets
    assert set(made.pictures) == {'a', 'b'} and set(made.poses) == {'a'}
    # by hand: 0.51 of the way from 2 to 4, 1 m up
    assert np.allclose(np.linalg.inv(made.poses['a'])[:3, 3], (3.02, 0, 1))
    assert inputs.drops() == {}


def test_pictures_without_a_pose_are_counted_and_told(ros, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)  # our buffer takes them without a topic
    node, told = ros.create_node('tf_lost'), []
    made = Inputs(node, NodeConfig(calibration_wait_s=0.0, transport='raw', max_wait_s=0.0),
                  {'a': camera('a')}, print,
                  tf_in.transform_source(node, ThrottledWarnings(print, Drops())))
    made._warnings._warn = told.append
    source, add = made._placing._source, tf_in.transform_of
    try:
        for _ in range(3):
            picture(made, 'a', 10.0)  # nothing is known yet: what lacks is told elsewhere
        assert made.drops() == {'no_transform:a': 3} and told == []
        source.add(add(sent('map', 'a_optical', at(1), 10.0)), static=False)
        assert made.cameras() is not None
        for stamp_s in (10.0, 10.1, 9.0, 11.0):
            picture(made, 'a', stamp_s)
        assert made.drops()['no_transform:a'] == 6
        line, = told
        assert line.startswith("camera 'a': no transform from 'map' to 'a_optical' at 10.100000 s")
        report = made.reports(Status())['a']
        assert report.state.name == 'REFUSED' and 'at 11.000000 s' in report.message
        picture(made, 'a', 10.0)
        assert made.reports(Status())['a'].state.name == 'OK'
    finally:
        node.destroy_node()


# --- the node ------------------------------------------------------------------------------------


def node_with(*parameters):
    arguments = [part for parameter in parameters for part in ('-p', parameter)]
    return reconstruct.ReconstructNode(cli_args=['--ros-args', *arguments])


def test_parameters_that_cannot_work():
    with pytest.raises(InputError, match='rig_file and cameras are both empty'):
        node_with().start()
    with pytest.raises(InputError, match='rig_file is empty; .*set extrinsics to tf'):
        node_with('extrinsics:=rig_file', 'cameras:=[a]').start()
    with pytest.raises(InputError, match="view_camera is 'c'; .*parameter cameras: a, b"):
        node_with('cameras:=[a,b]', 'view_camera:=c').start()


@pytest.fixture
def both_ways(ros, workbench):
    """start(*parameters): a node that takes the poses of the recording's cameras from TF."""
    nodes = []

    def start(*parameters):
        node = node_with('transport:=raw', 'calibration_wait_s:=0.0', *parameters)
        nodes.append(node)
        node.start()
        broadcaster = Broadcaster(ros, node)
        nodes.append(broadcaster)
        return node, broadcaster
    yield start
    for one in reversed(nodes):
        one.close()
        if isinstance(one, reconstruct.ReconstructNode):
            one.destroy_node()


def test_cameras_from_tf_are_those_of_the_rig_file(both_ways, workbench):
    """To 1e-9 m and of the rotation matrix: the way goes through quaternions of doubles."""
    rig = read_cameras(workbench / 'rig.json')
    node, broadcaster = both_ways('cameras:=[cam00,cam01]')
    message = tf_out.rig_message(TFMessage, rig.values(), 'map', 0)
    broadcaster.send(*message.transforms, static=True)
    for name in ('cam00', 'cam01'):
        head = convert.header(S, f'{name}_optical_frame')
        node.work._inputs._on_info(name, convert.info_message(rig[name], head))
    assert broadcaster.until(lambda: node.work.pipeline is not None)
    found = node.work.pipeline.working_cameras
    assert list(found) == ['cam00', 'cam01']
    for name, camera in found.items():
        expected = rig[name]
        assert np.allclose(camera.camera_from_world, expected.camera_from_world, rtol=0, atol=1e-9)
        assert np.allclose(camera.K, expected.K)
    # the view stands where its camera does, which was not known before
    view = node.work._views.cameras['view'].camera
    assert np.allclose(view.camera_from_world, rig['cam00'].camera_from_world)


def test_a_rig_file_keeps_its_intrinsics_beside_tf(both_ways, workbench):
    node, broadcaster = both_ways('cameras:=[cam00]', f'rig_file:={workbench}/rig.json',
                                  'extrinsics:=tf', 'world_frame:=odom')
    broadcaster.send(sent('odom', 'left', at(1, 2, 3)), static=True)
    head = convert.header(S, 'left')
    assert broadcaster.until(lambda: knows_frame(node, 'left'))
    node.work._inputs._on_picture('cam00', convert.image_message(PIXELS, head))
    assert broadcaster.until(lambda: node.work.pipeline is not None)
    rig = read_cameras(workbench / 'rig.json')
    camera = node.work.pipeline.working_cameras['cam00']
    assert np.allclose(camera.center, (1, 2, 3)) and np.allclose(camera.K, rig['cam00'].K)


def knows_frame(node, frame):
    try:
        node.work._inputs._placing._source.lookup(frame, node.settings.world_frame)
    except TransformError:
        return False
    return True


def test_transform_messages_of_nobody_are_none():
    with pytest.raises(InputError, match='expected names'):
        tf_in.transform_of(TransformStamped())
