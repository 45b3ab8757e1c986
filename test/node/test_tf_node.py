# SPDX-License-Identifier: Apache-2.0
"""The node as a process, without a rig file: a broadcaster beside it tells the poses."""
import importlib.util
import time

import cv2
import numpy as np
import pytest

from igs_ros.io.recordings.open import open_recording

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
TFMessage = pytest.importorskip('tf2_msgs.msg', reason='tf2_msgs is not installed (make venv)'
                                ).TFMessage
from sensor_msgs.msg import Image  # noqa: E402
from visualization_msgs.msg import MarkerArray  # noqa: E402

from igs_ros.core.transforms import TransformBuffer  # noqa: E402
from igs_ros.msg import SceneStatus  # noqa: E402
from igs_ros.node import convert, tf_in, tf_out  # noqa: E402

CAMERAS = ('cam00', 'cam01', 'cam03')
TINY = ['-p', 'width:=96', '-p', 'bootstrap.iterations:=40', '-p', 'max_gaussians:=2000',
        '-p', 'refine.iterations:=5', '-p', 'key_interval:=3', '-p', 'motion_model.anchors:=300']

own_buffer = pytest.mark.skipif(importlib.util.find_spec('tf2_ros') is not None,
                                reason='tf2_ros is installed, and says these things itself')


@pytest.fixture(scope='module')
def line(processes, line_class, client, workbench):
    """The node before TF is there: CameraInfo and pictures have come."""
    process = processes('igs_ros.node.reconstruct', '--ros-args', *TINY, '-p',
                        f'cameras:=[{",".join(CAMERAS)}]', '-p',
                        f'points_file:={workbench / "points3d.ply"}', '-p', 'stall_after_s:=2.0')
    made = line_class(process, client, open_recording(workbench), CAMERAS)
    for name in CAMERAS:
        client.publish(f'/{name}/camera_info', convert.info_message(
            made.recording.cameras[name], convert.header(1, name)))
    made.publish(0)
    return made


def test_1_what_is_lacking_is_said(line):
    said = "no transform from 'map' to 'cam00': "
    assert line.client.until(lambda: line.process.lines(said)), line.process.log.read_text()

    def told():
        line.publish(0)
        return line.client.spin(0.3, lambda: line.status and said in line.status[-1].message)
    assert line.client.until(told), line.status[-1].message
    assert line.status[-1].state == SceneStatus.WAITING


def test_2_with_a_broadcaster_it_reconstructs(line, processes, workbench):
    """rig_tf broadcasts the rig; the view, which stands where TF has cam00, shows its picture."""
    processes('igs_ros.node.rig_tf', '--ros-args', '-p', f'rig_file:={workbench / "rig.json"}',
              '-p', "frame:='{camera}'")
    views = line.client.collect(Image, '/igs/view/image', 1)
    timed = line.client.collect(TFMessage, '/tf')
    markers = line.client.collect(MarkerArray, '/igs/cameras', tf_in.tf_qos(True))

    def streaming():
        line.publish(0)
        return line.client.spin(0.5, lambda: line.status[-1].state == SceneStatus.STREAMING)
    assert line.client.until(streaming), line.process.log.read_text()
    assert line.process.lines("poses of 3 cameras in 'map' from TF, all static; 'cam00', 'cam01'")
    stamp_ns = line.step(1)
    assert line.client.until(lambda: views and convert.nanoseconds(
        views[-1].header.stamp) == stamp_ns)
    rendered = convert.picture_from_image(views[-1], '/v').decode()
    truth = cv2.resize(line.frames[1]['cam00'], (96, 72), interpolation=cv2.INTER_AREA)
    error = np.mean((rendered.astype(float) - truth) ** 2)
    assert 10 * np.log10(255 ** 2 / error) > 15  # a gray picture has 11

    # the view's frame at the view's stamp, where the camera of the rig file stands
    assert line.client.until(lambda: any(convert.nanoseconds(
        t.header.stamp) == stamp_ns for message in timed for t in message.transforms))
    buffer = TransformBuffer()
    for one in (t for message in timed for t in message.transforms):
        buffer.add(tf_in.transform_of(one), static=False)
    assert np.allclose(buffer.lookup('igs_view_optical_frame', 'map', stamp_ns),
                       line.recording.cameras['cam00'].camera_from_world, atol=1e-9)
    assert line.client.until(lambda: markers)
    assert [m.header.frame_id for m in markers[-1].markers] == list(CAMERAS)


@own_buffer
def test_3_a_loop_costs_pictures_and_one_line_and_heals(line):
    before = line.status[-1].scene_id
    publisher = line.client.node.create_publisher(TFMessage, '/tf_static', tf_in.tf_qos(True))
    line.client.until(lambda: publisher.get_subscription_count() > 0)

    def send(parent, child):
        publisher.publish(TFMessage(transforms=[
            tf_out.transform_message(parent, child, 0, np.eye(4))]))
    send('cam00', 'map')
    said = "camera 'cam00': no transforms in a loop of frames: "

    def told():
        line.publish(2)
        return line.client.spin(0.3, lambda: line.process.lines(said))
    assert line.client.until(told), line.process.log.read_text()
    assert len(line.process.lines(said)) == 1
    assert line.client.until(lambda: line.drops().get('no_transform:cam00', 0) > 0)
    send('earth', 'map')  # the second parent is told, and taken
    assert line.client.until(lambda: line.process.lines("frame 'map' has two parents: 'cam00'"))
    line.step(1)
    assert line.process.alive() and line.status[-1].scene_id == before


@own_buffer
def test_4_a_time_in_the_future_and_a_jump_back(line):
    publisher = line.client.node.create_publisher(TFMessage, '/tf', tf_in.tf_qos(False))
    line.client.until(lambda: publisher.get_subscription_count() > 0)
    for stamp_s in (2_000_000_000, 1_000):
        publisher.publish(TFMessage(transforms=[tf_out.transform_message(
            'map', 'robot', stamp_s * 1_000_000_000, np.eye(4))]))
    # one line in ten seconds: that of the two parents may have been the one
    assert line.client.until(lambda: line.drops().get('doubtful_transform:tf', 0) == 2)
    line.step(2)
    assert line.process.alive()


def test_5_a_camera_that_moves_has_its_pose_at_every_picture(line):
    """cam00 on a head that moves over the same place: the scene follows as before."""
    at, static, timed = line.recording.cameras['cam00'].world_from_camera, *(
        line.client.node.create_publisher(TFMessage, topic, tf_in.tf_qos(topic == '/tf_static'))
        for topic in ('/tf_static', '/tf'))
    line.client.until(lambda: all(one.get_subscription_count() for one in (static, timed)))
    static.publish(TFMessage(transforms=[tf_out.transform_message('head', 'cam00', 0, at)]))
    now_ns = time.time_ns()
    line.client.spin(0.3)
    before = line.drops().get('no_transform:cam00', 0)
    lost = line.publish(1, stamp_ns=now_ns)  # no word of the head yet
    assert line.client.until(lambda: line.drops().get('no_transform:cam00', 0) == before + 1)
    assert line.client.until(lambda: line.shows(lost))  # with the other two
    for x, stamp_ns in ((-0.5, now_ns - 10 ** 9), (0.5, now_ns + 10 ** 9)):
        pose = np.eye(4)
        pose[0, 3] = x
        timed.publish(TFMessage(transforms=[
            tf_out.transform_message('map', 'head', stamp_ns, pose)]))
    line.client.spin(0.3)
    line.step(2, stamp_ns=now_ns + 10 ** 8)
    assert line.status[-1].cameras_in_last_set == 3
    assert line.drops()['no_transform:cam00'] == before + 1
    assert line.process.alive() and line.status[-1].state == SceneStatus.STREAMING
