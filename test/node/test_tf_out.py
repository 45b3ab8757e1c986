# SPDX-License-Identifier: Apache-2.0
"""What the node and rig_tf tell TF, heard over loopback and looked up in our buffer."""
import numpy as np
import pytest

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.snapshot import View
from igs_ros.core.transforms import TransformBuffer
from igs_ros.io.recordings.open import read_cameras

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
TFMessage = pytest.importorskip('tf2_msgs.msg', reason='tf2_msgs is not installed (make venv)'
                                ).TFMessage
from visualization_msgs.msg import Marker, MarkerArray  # noqa: E402

from igs_ros.node import rig_tf, tf_in, tf_out  # noqa: E402
from igs_ros.node.params import NodeConfig  # noqa: E402

POSE = np.array([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
LATCHED = tf_in.tf_qos(True)


def camera(name='a', pose=POSE):
    return Camera(name, 40, 20, np.array([[20.0, 0, 20], [0, 20, 10], [0, 0, 1]]), pose)


def test_a_transform_there_and_back():
    message = tf_out.transform_message('map', 'a', 1_500_000_000, POSE)
    back = tf_in.transform_of(message)
    assert (back.parent, back.child, back.stamp_ns) == ('map', 'a', 1_500_000_000)
    assert np.allclose(back.matrix, POSE)


def test_a_rig_in_a_buffer_is_the_rig(workbench):
    rig, buffer = read_cameras(workbench), TransformBuffer()
    for one in tf_out.rig_message(TFMessage, rig.values(), 'map', 0).transforms:
        buffer.add(tf_in.transform_of(one), static=True)
    for name, expected in rig.items():
        found = buffer.lookup(f'{name}_optical_frame', 'map')
        assert np.allclose(found, expected.camera_from_world, rtol=0, atol=1e-9)


def test_frustums_by_hand():
    """40x20 px at 20 px focal length: at 0.2 m, 0.4 m wide and 0.2 m high."""
    marker, = tf_out.frustum_markers({'a': camera()}, {'a': 'a_optical'}).markers
    assert (marker.type, marker.action, marker.header.frame_id) == (
        Marker.LINE_LIST, Marker.ADD, 'a_optical')
    points = np.array([(p.x, p.y, p.z) for p in marker.points]).reshape(8, 2, 3)
    corners = {tuple(np.round(p, 9)) for p in points.reshape(-1, 3)} - {(0, 0, 0)}
    assert corners == {(-0.2, -0.1, 0.2), (0.2, -0.1, 0.2), (0.2, 0.1, 0.2), (-0.2, 0.1, 0.2)}
    lengths = sorted(np.linalg.norm(points[:, 1] - points[:, 0], axis=1).round(6).tolist())
    assert lengths == [0.2, 0.2, 0.3, 0.3, 0.3, 0.3, 0.4, 0.4]


@pytest.fixture
def node(ros):
    made = ros.create_node('igs')
    yield made
    made.destroy_node()


def view(stamp_ns, pose=POSE):
    empty = np.zeros((20, 40), np.float32)
    return View(empty, empty, empty, camera(pose=pose), stamp_ns)


def test_the_rig_is_latched_and_the_view_told_once_a_stamp(node, listener):
    settings = NodeConfig(world_frame='world')
    timed = listener.collect(TFMessage, '/tf')
    out = tf_out.TransformOutput(node, settings, {'a': camera('a'), 'b': camera('b')})
    static = listener.collect(TFMessage, '/tf_static', LATCHED)  # late
    assert listener.until(lambda: static)
    assert [(t.header.frame_id, t.child_frame_id) for t in static[0].transforms] == [
        ('world', 'a_optical_frame'), ('world', 'b_optical_frame')]
    moved = POSE.copy()
    moved[0, 3] = 9
    stamps = iter(range(1, 1000))

    def told():  # again until discovery is through
        out.view(view(next(stamps)), 'eye')
        return listener.spin(0.05, lambda: timed)
    assert listener.until(told)
    last = next(stamps) + 1000
    for pose, stamp_ns in ((POSE, last), (moved, last), (moved, last + 1), (POSE, last - 1)):
        out.view(view(stamp_ns, pose), 'eye')
    assert listener.until(
        lambda: tf_in.transform_of(timed[-1].transforms[0]).stamp_ns == last - 1)
    found = [tf_in.transform_of(m.transforms[0]) for m in timed][-3:]
    assert [(t.parent, t.child, t.stamp_ns) for t in found] == [
        ('world', 'eye', stamp_ns) for stamp_ns in (last, last + 1, last - 1)]
    for one, pose in zip(found, (POSE, moved, POSE), strict=True):
        assert np.allclose(one.matrix, np.linalg.inv(pose))
    out.view(view(last - 1), 'top')  # another view of the same stamp
    assert listener.until(lambda: timed[-1].transforms[0].child_frame_id == 'top')


def test_where_poses_come_from_tf_none_are_told_again(node, listener):
    out = tf_out.TransformOutput(node, NodeConfig(), {})
    static = listener.collect(TFMessage, '/tf_static', LATCHED)
    markers = listener.collect(MarkerArray, '/igs/cameras', LATCHED)
    out.cameras({'a': camera(), 'b': camera('b')}, {'a': 'left_optical'})
    assert listener.until(lambda: markers)
    assert [m.header.frame_id for m in markers[0].markers] == ['left_optical', 'b_optical_frame']
    assert not static


def test_without_tf2_msgs_it_says_so_and_goes_on(ros, monkeypatch, capfd):
    monkeypatch.setattr(tf_out, 'tf_message', lambda: None)
    node = ros.create_node('no_tf')
    out = tf_out.TransformOutput(node, NodeConfig(), {'a': camera()})
    out.view(view(1), 'eye')
    out.cameras({'a': camera()}, {})
    node.destroy_node()
    assert 'no transforms are published: the Python package tf2_msgs' in capfd.readouterr().err


# --- rig_tf --------------------------------------------------------------------------------------


def broadcaster(*parameters):
    arguments = [part for parameter in parameters for part in ('-p', parameter)]
    return rig_tf.RigBroadcaster(cli_args=['--ros-args', *arguments])


def test_rig_tf_broadcasts_a_rig_file(ros, listener, workbench):
    node = broadcaster(f'rig_file:={workbench}', 'world_frame:=rig', "frame:='eye_{camera}'")
    static = listener.collect(TFMessage, '/tf_static', LATCHED)
    try:
        assert listener.until(lambda: static)
    finally:
        node.destroy_node()
    rig = read_cameras(workbench)
    found = {t.child_frame_id: tf_in.transform_of(t) for t in static[0].transforms}
    assert set(found) == {f'eye_{name}' for name in rig}
    assert {t.parent for t in found.values()} == {'rig'}
    assert np.allclose(found['eye_cam01'].matrix, rig['cam01'].world_from_camera, atol=1e-9)


@pytest.mark.parametrize('parameters, words', [
    ([], 'parameter rig_file is empty'),
    (['rig_file:=/nothing.json'], '/nothing.json: cannot be read'),
    (['rig_file:=/x', "frame:='eye'"], "parameter frame is 'eye'; expected {camera} in it"),
])
def test_rig_tf_refuses(ros, parameters, words):
    with pytest.raises(InputError, match=words):
        broadcaster(*parameters)
