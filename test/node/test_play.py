# SPDX-License-Identifier: Apache-2.0
"""The player without a reconstruction; with one it is tested in test_reconstruct.py."""
import json
import shutil

import numpy as np
import pytest

from igs_ros.io.recordings.open import open_recording

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage  # noqa: E402

from igs_ros.core.transforms import TransformBuffer  # noqa: E402
from igs_ros.msg import SceneStatus  # noqa: E402
from igs_ros.node import convert, tf_in  # noqa: E402

MODULE = 'igs_ros.node.play'


def test_plays_at_a_rate_on_its_own_topics_and_stops_a_loop(workbench, processes, client,
                                                            tmp_path):
    table = tmp_path / 'out' / 'table.json'
    pictures = client.collect(CompressedImage, '/rig/cam01/rgb/compressed')
    infos = client.collect(CameraInfo, '/rig/cam01/info')
    player = processes(MODULE, workbench, '--cameras', 'cam01', '--frames', '0:3', '--rate', '20',
                       '--image-topic', '/rig/{camera}/rgb', '--camera-info-topic',
                       '/rig/{camera}/info', '--loop', '--table', table)
    assert client.until(lambda: len(pictures) >= 8), player.log.read_text()
    assert player.stop() == 0 and not player.lines('Traceback'), player.log.read_text()
    camera = open_recording(workbench).cameras['cam01']
    back = convert.camera_from_info(infos[0], '/t', 'cam01', camera.camera_from_world)
    assert np.array_equal(back.K, camera.K)
    frames = json.loads(table.read_text())['frames']
    assert [f['index'] for f in frames] == [0, 1, 2]  # of the first pass only
    stamps = [convert.nanoseconds(p.header.stamp) for p in pictures]
    assert stamps[:3] == [f['stamp_ns'] for f in frames]
    assert len(player.lines('INFO.*pass 2 done: 3 frames')) == 1 and not player.lines('frame 1 ')
    assert {f['shown'] for f in frames} == {None}  # no status came
    assert stamps[6] - stamps[0] >= 150_000_000  # the second pass is never faster than its rate


def test_auto_waits_for_the_status(workbench, processes, client, tmp_path):
    """This test plays the reconstruction: it shows every frame but the last."""
    table = tmp_path / 'table.json'
    pictures = client.collect(CompressedImage, '/cam01/image_raw/compressed')
    client.collect(CameraInfo, '/cam01/camera_info')
    player = processes(MODULE, workbench, '--cameras', 'cam01', '--frames', '0:3', '--table',
                       table, '--frame-timeout', '4.0', '--status-topic', '/fake/status')

    def say(state, shown_ns=None):
        message = SceneStatus(header=convert.header(client.node.get_clock().now().nanoseconds, ''),
                              state=state, scene_age_s=float('nan'))
        if shown_ns is not None:
            message.scene_stamp = convert.time_message(shown_ns)
        client.publish('/fake/status', message,
                       QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    assert client.until(lambda: len(pictures) >= 2)  # the first frame, again and again
    say(SceneStatus.BOOTSTRAP)
    seen = len(pictures)
    assert client.until(lambda: len(pictures) > seen)
    seen = len(pictures)
    say(SceneStatus.STREAMING)
    for _ in range(2):
        assert client.until(lambda before=seen: len(pictures) > before)
        client.spin(0.3)
        assert len(pictures) == seen + 1  # the next one only when this one is shown
        seen += 1
        say(SceneStatus.STREAMING, convert.nanoseconds(pictures[-1].header.stamp))
    assert player.wait() == 0
    played = [f for f in json.loads(table.read_text())['frames'] if not f['repeated']]
    assert [(f['index'], f['shown']) for f in played] == [(0, True), (1, True), (2, False)]
    assert player.lines('WARN.*1 frames were not shown within 4 s')


def test_waits_for_every_refined_key(workbench, processes, client):
    """With a key interval of 1, a frame that is shown is not enough: its key has to be there."""
    pictures = client.collect(CompressedImage, '/keys/cam01/compressed')
    client.collect(CameraInfo, '/keys/cam01/info')
    player = processes(MODULE, workbench, '--cameras', 'cam01', '--frames', '0:2',
                       '--wait-for-keys', '1', '--image-topic', '/keys/{camera}',
                       '--camera-info-topic', '/keys/{camera}/info', '--status-topic',
                       '/keys/status')

    def say(**fields):
        client.publish('/keys/status', SceneStatus(state=SceneStatus.STREAMING, **fields),
                       QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    assert client.until(lambda: pictures)
    say()
    seen = len(pictures)
    for number in (1, 2):
        assert client.until(lambda before=seen: len(pictures) > before)
        seen = len(pictures)
        shown = pictures[-1].header.stamp
        say(scene_stamp=shown, frame_sets_processed=number, keys_refined=number - 1)
        client.spin(0.6)
        assert len(pictures) == seen  # and not before
        say(scene_stamp=shown, frame_sets_processed=number, keys_refined=number)
    assert player.wait() == 0


def test_the_first_pictures_wait_for_late_listeners(workbench, processes, client):
    """A subscription that comes later than the player still gets the first frame of all."""
    player = processes(MODULE, workbench, '--cameras', 'cam01', '--frames', '0:2', '--rate', '50',
                       '--image-topic', '/late/{camera}', '--camera-info-topic',
                       '/late/{camera}/info')
    assert client.until(lambda: '/late/cam01/info' in dict(
        client.node.get_topic_names_and_types()))
    client.spin(1.0)
    infos = client.collect(CameraInfo, '/late/cam01/info')
    client.spin(1.0)
    assert not infos  # nothing is sent while nobody listens to the pictures
    pictures = client.collect(CompressedImage, '/late/cam01/compressed')
    assert client.until(lambda: len(pictures) == 2 and len(infos) == 2), player.log.read_text()
    assert player.wait() == 0 and not player.lines('WARN')


@pytest.mark.parametrize('arguments, words', [
    (['--rate', 'fast'], "--rate 'fast': expected auto or frames per second"),
    (['--cameras', 'cam77'], "no camera 'cam77'"),
    (['--frames', '30:40'], 'frames 30:40'),
    (['--image-topic', '/rig-{camera}'], "--image-topic: .*'/rig-cam00', which is no ROS topic"),
    (['--start-timeout', '0', '--status-topic', '/nobody/status'],
     '/nobody/status: not STREAMING after 0 s .no status yet.; expected a reconstruction'),
])
def test_what_cannot_be_played_ends_with_one_line(workbench, processes, arguments, words):
    player = processes(MODULE, workbench, *arguments)
    assert player.wait() == 2
    assert len(player.lines(f'^play: .*{words}')) == 1, player.log.read_text()


@pytest.fixture(scope='module')
def moving(workbench, tmp_path_factory):
    """The workbench with a second camera that moves to the right, 1 cm at each frame."""
    folder = tmp_path_factory.mktemp('moving') / 'rig'
    shutil.copytree(workbench, folder)
    start = open_recording(workbench).cameras['cam01'].camera_from_world
    poses = []
    for index in range(open_recording(workbench).frames_total):
        pose = start.copy()
        pose[0, 3] -= 0.01 * index
        poses.append(pose.tolist())
    (folder / 'poses.json').write_text(json.dumps({'world_to_camera': {'cam01': poses}}))
    return folder


def test_poses_are_broadcast_with_the_pictures(moving, processes, client):
    """Whoever looks them up at the stamps of the pictures gets those of the recording."""
    TFMessage = pytest.importorskip('tf2_msgs.msg', reason='tf2_msgs is not installed').TFMessage
    latched = QoSProfile(depth=9, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    timed, still = client.collect(TFMessage, '/tf'), client.collect(TFMessage, '/tf_static',
                                                                    latched)
    pictures = client.collect(CompressedImage, '/cam01/image_raw/compressed')
    for name in ('cam00', 'cam01'):
        client.collect(CameraInfo, f'/{name}/camera_info')
    client.collect(CompressedImage, '/cam00/image_raw/compressed')
    player = processes(MODULE, moving, '--cameras', 'cam00', 'cam01', '--frames', '0:4', '--rate',
                       '10', '--world-frame', 'room')
    assert client.until(lambda: len(pictures) == 4 and len(timed) == 4 and still), \
        player.log.read_text()
    assert player.wait() == 0
    buffer = TransformBuffer()
    for message, static in [*((one, False) for one in timed), (still[-1], True)]:
        for one in message.transforms:
            assert one.header.frame_id == 'room'
            buffer.add(tf_in.transform_of(one), static)
    recording = open_recording(moving)
    for index, picture in enumerate(pictures):
        stamp_ns = convert.nanoseconds(picture.header.stamp)
        pose = buffer.lookup(picture.header.frame_id, 'room', stamp_ns)
        np.testing.assert_allclose(pose, recording.poses(index)['cam01'], atol=1e-9)
    np.testing.assert_allclose(buffer.lookup('cam00_optical_frame', 'room'),
                               recording.cameras['cam00'].camera_from_world, atol=1e-9)
