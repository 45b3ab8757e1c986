# SPDX-License-Identifier: Apache-2.0
"""A rig of raw Image topics with everything wrong that a first evening brings; false starts."""
import json

import cv2
import numpy as np
import pytest

from igs_ros.io.recordings.open import open_recording

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from igs_ros.msg import SceneStatus  # noqa: E402
from igs_ros.node import convert, convert_scene  # noqa: E402

WIDTH, HEIGHT = 96, 72


@pytest.fixture(scope='module')
def rig(workbench, tmp_path_factory):
    """A rig.json for small pictures, and those pictures of the first frame."""
    recording = open_recording(workbench)
    cameras = {name: camera.resized(WIDTH) for name, camera in recording.cameras.items()}
    path = tmp_path_factory.mktemp('rig') / 'rig.json'
    path.write_text(json.dumps({'pixel_center': 0.5, 'cameras': [
        {'name': c.name, 'width': c.width, 'height': c.height, 'K': c.K.tolist(),
         'world_to_camera': c.camera_from_world.tolist()} for c in cameras.values()]}))
    frame_set = next(recording.frame_sets(0, 1))
    pictures = {name: cv2.resize(picture.decode(), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
                for name, picture in frame_set.pictures.items()}
    return path, cameras, pictures


def padded(pixels, encoding, stamp_ns, padding=5):
    """A raw Image with padded rows, as drivers with aligned buffers send it."""
    channels = {'rgb8': pixels, 'bgr8': pixels[..., ::-1],
                'mono8': cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]}[encoding]
    rows = np.full((HEIGHT, WIDTH * channels.shape[2] + padding), 255, np.uint8)
    rows[:, :-padding] = channels.reshape(HEIGHT, -1)
    message = Image(header=convert.header(stamp_ns, 'camera'), height=HEIGHT, width=WIDTH,
                    encoding=encoding, step=rows.shape[1])
    convert.fill(message.data, rows)
    return message


def test_a_rig_with_everything_wrong_still_streams(rig, processes, client):
    """cam00 bgr8, cam01 mono8 without calibration, cam02 uncalibrated, cam03 never publishes.

    cam00 has depth, of a wall; that of cam01 has a wrong encoding.
    """
    path, cameras, pictures = rig
    node = processes(
        'igs_ros.node.reconstruct', '--ros-args', '-p', f'rig_file:={path}',
        '-p', 'transport:=raw', '-p', 'image_topic:=/rig/{camera}/image',
        '-p', 'camera_info_topic:=/rig/{camera}/info', '-p', 'min_cameras:=2',
        '-p', 'depth_topic:=/rig/{camera}/depth',
        '-p', 'bootstrap.iterations:=30', '-p', 'max_gaussians:=1500', '-p', 'motion:=static',
        '-p', 'stall_after_s:=2.0', '-p', 'calibration_wait_s:=1.0', '-p', 'max_wait_s:=0.05',
        '-p', f'points_file:={path.parent / "no.ply"}', '-r', '__ns:=/lab')
    status = client.collect(SceneStatus, '/lab/igs/status', QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    zero = convert.info_message(cameras['cam02'], convert.header(1, ''))
    zero.k = np.zeros(9)
    # once there is a scene, nobody subscribes to these
    depths = {name: client.node.create_publisher(Image, f'/rig/{name}/depth', 4)
              for name in ('cam00', 'cam01')}

    def publish():
        client.publish('/rig/cam00/info', convert.info_message(cameras['cam00'],
                                                               convert.header(1, '')))
        client.publish('/rig/cam02/info', zero)
        stamp_ns = client.node.get_clock().now().nanoseconds
        for name, encoding in (('cam00', 'bgr8'), ('cam01', 'mono8'), ('cam02', 'rgb8')):
            client.publish(f'/rig/{name}/image', padded(pictures[name], encoding, stamp_ns))
        for name, encoding in (('cam00', '16UC1'), ('cam01', 'mono16')):
            depth = Image(header=convert.header(stamp_ns, name), height=HEIGHT, width=WIDTH,
                          encoding=encoding, step=2 * WIDTH)
            convert.fill(depth.data, np.full((HEIGHT, WIDTH), 2500, '<u2'))
            depths[name].publish(depth)
        wrong = padded(pictures['cam03'], 'rgb8', stamp_ns)
        wrong.encoding = 'yuv411'
        client.publish('/rig/cam03/image', wrong)
        return stamp_ns

    def streaming():
        return status and status[-1].state == SceneStatus.STREAMING
    for _ in range(120):
        publish()
        if client.spin(1.0, streaming):
            break
    else:
        pytest.fail(node.log.read_text())
    stamp_ns = publish()
    assert client.until(lambda: abs(convert_scene.shown_stamp_ns(status[-1]) - stamp_ns) < 1e6)
    assert status[-1].cameras_in_last_set == 3 and status[-1].cameras_expected == 4
    client.spin(0.5)
    assert node.alive()
    for words in ('/rig/cam02/info: intrinsics K = .*Calibrate this camera',
                  "/rig/cam01/info: no usable CameraInfo within .* rig file's intrinsics",
                  "/rig/cam02/info: no usable CameraInfo within .* rig file's intrinsics",
                  "/rig/cam03/image: images with encoding 'yuv411'; expected one of rgb8",
                  "/rig/cam01/depth: depth with encoding 'mono16'; expected 16UC1",
                  'no.ply.* The first scene is made from the images alone'):
        assert node.lines(f'WARN.*{words}'), (words, node.log.read_text())

    # ~/reset: a new scene from the next frame set
    before = status[-1].scene_id
    assert node.lines('INFO.*[0-9]+ .*depth pictures'), node.log.read_text()
    service = client.node.create_client(Trigger, '/lab/igs/reset')
    assert service.wait_for_service(120)
    future = service.call_async(Trigger.Request())
    assert client.until(future.done) and future.result().success
    for _ in range(120):  # cam03 is waited for anew
        publish()
        if client.spin(1.0, lambda: status[-1].scene_id not in (0, before)):
            break
    else:
        pytest.fail(node.log.read_text())
    assert node.stop() == 0
    assert not node.lines('Traceback|ERROR'), node.log.read_text()


def test_cameras_that_never_publish_are_named(rig, processes, client):
    node = processes('igs_ros.node.reconstruct', '--ros-args', '-p', f'rig_file:={rig[0]}',
                     '-p', 'cameras:=[cam00,cam01]', '-p', 'stall_after_s:=0.5',
                     '-p', 'image_topic:=/dark/{camera}', '-r', '__ns:=/dark')
    status = client.collect(SceneStatus, '/dark/igs/status', QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    assert client.until(lambda: node.lines('WARN')), node.log.read_text()
    client.spin(2.0, lambda: status and status[-1].message.startswith('no frame set'))
    line, = node.lines('WARN')
    for name in ('cam00', 'cam01'):
        assert f"camera '{name}': never a picture on /dark/{name}/compressed" in line
        assert name in status[-1].message
    assert status[-1].state == SceneStatus.WAITING and np.isnan(status[-1].scene_age_s)
    assert node.stop() == 0


# --- false starts ------------------------------------------------------------------------------


@pytest.mark.parametrize('overrides, words', [
    ([], 'parameters rig_file and cameras are both empty; expected a rig file'),
    (['rig_file:=no.json'], 'no.json: cannot be read'),
    (['cameras:=[cam00,cam77]'], 'cameras names cam77; expected cameras of .*cam00, cam01'),
    (['view_camera:=cam77'], "view_camera is 'cam77'; expected a camera of"),
    (['view_pose:=1 2 3'], "view_pose is '1 2 3'; expected seven numbers"),
    (['view_pose:=0 0 0 0 0 0 0'], 'view_pose: a pose with position'),
    (['views:=[left]', 'left.camera:=cam77'], "left.camera is 'cam77'; expected a camera of"),
    (['views:=[left]', 'left.fov_deg:=171'], 'left.fov_deg is 171.0; expected 0 to 170'),
    (['image_topic:=/image'], "parameter image_topic: topic '/image': expected {camera} in it"),
    (['camera_info_topic:=/{camera}/the info'],
     "camera_info_topic: .*camera 'cam00' makes '/cam00/the info', which is no ROS topic.*Rename"),
    (['cameras:=[cam00]', 'min_cameras:=2'], 'min_cameras is 2; expected 1 to'),
    (['transport:=theora'], "transport is 'theora'; expected compressed or raw"),
])
def test_false_starts_say_what_to_do(rig, ros, overrides, words):
    from igs_ros.core.errors import InputError
    from igs_ros.node.reconstruct import ReconstructNode
    if overrides and not overrides[0].startswith('rig_file'):
        overrides = [f'rig_file:={rig[0]}', *overrides]
    arguments = [part for o in overrides for part in ('-p', o)]
    with pytest.raises(InputError, match=words):
        ReconstructNode(cli_args=['--ros-args', *arguments]).start()


def test_a_false_start_ends_with_one_line_and_exit_code_1(processes):
    node = processes('igs_ros.node.reconstruct')
    assert node.wait() == 1
    line, = node.log.read_text().splitlines()
    assert 'FATAL' in line and 'rig_file and cameras are both empty' in line


def test_a_camera_whose_name_is_no_topic_is_named(rig, ros, tmp_path):
    from igs_ros.core.errors import InputError
    from igs_ros.node.reconstruct import ReconstructNode
    named = tmp_path / 'rig.json'
    named.write_text(rig[0].read_text().replace('cam03', 'cam-3'))
    with pytest.raises(InputError, match="camera 'cam-3' makes 'cam-3/image_raw', .* Rename the"):
        ReconstructNode(cli_args=['--ros-args', '-p', f'rig_file:={named}']).start()
