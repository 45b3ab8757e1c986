# SPDX-License-Identifier: Apache-2.0
"""The node as a process, fed over Fast DDS: the real line on a tiny scene, then bad input."""
import json
import time
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
from picture_bytes import resized_jpeg

from igs_ros.io.recordings.open import open_recording

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from geometry_msgs.msg import PoseStamped  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2  # noqa: E402

from igs_ros.io.codec.state import apply_update  # noqa: E402
from igs_ros.msg import GaussianCloud, GaussianUpdate, SceneStatus  # noqa: E402
from igs_ros.node import convert, convert_scene  # noqa: E402

CAMERAS = ('cam00', 'cam01', 'cam03')
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TINY = ['-p', 'width:=96', '-p', 'bootstrap.iterations:=40', '-p', 'max_gaussians:=2000',
        '-p', 'refine.iterations:=5', '-p', 'key_interval:=3', '-p', 'motion_model.anchors:=300']


@pytest.fixture(scope='module')
def line(processes, line_class, client, workbench, tmp_path_factory):
    """The node, brought to STREAMING by the player."""
    table = tmp_path_factory.mktemp('play') / 'table.json'
    process = processes('igs_ros.node.reconstruct', '--ros-args', *TINY,
                        '-p', f'rig_file:={workbench / "rig.json"}',
                        '-p', f'cameras:=[{",".join(CAMERAS)}]', '-p', 'view_camera:=cam02',
                        '-p', f'points_file:={workbench / "points3d.ply"}',
                        '-p', 'stall_after_s:=2.0')
    player = processes('igs_ros.node.play', workbench, '--frames', '0:3', '--table', table,
                       '--start-timeout', 120)
    assert player.wait() == 0, player.log.read_text() + process.log.read_text()
    made = line_class(process, client, open_recording(workbench), CAMERAS)
    made.table = json.loads(table.read_text())
    made.player_log = player.log.read_text()
    return made


def psnr(one, other):
    error = np.mean((one.astype(float) - other.astype(float)) ** 2)
    return 10 * np.log10(255 ** 2 / error)


def small(pixels):
    return cv2.resize(pixels, (96, 72), interpolation=cv2.INTER_AREA)


# --- what it is for --------------------------------------------------------------------------


def test_the_player_writes_its_table(line):
    frames = line.table['frames']
    warm_up = [f for f in frames if f['repeated']]
    played = [f for f in frames if not f['repeated']]
    assert warm_up and {f['index'] for f in warm_up} == {0}
    assert [(f['index'], f['shown']) for f in played] == [(0, True), (1, True), (2, True)]
    stamps = [f['stamp_ns'] for f in frames]
    assert stamps == sorted(stamps) and len(set(stamps)) == len(stamps)
    assert line.table['cameras'] == list(CAMERAS)  # cam02 is held out


def test_the_unseen_camera_is_rendered(line):
    views = line.client.collect(Image, '/igs/view/image', 1)
    jpegs = line.client.collect(CompressedImage, '/igs/view/image/compressed', 1)
    depths = line.client.collect(Image, '/igs/view/depth', 1)
    infos = line.client.collect(CameraInfo, '/igs/view/camera_info', 1)
    stamp_ns = line.step(1)
    everything = (views, jpegs, depths, infos)
    assert line.client.until(lambda: all(
        any(convert.nanoseconds(m.header.stamp) == stamp_ns for m in part)
        for part in everything))
    view, jpeg, depth, info = (part[-1] for part in everything)
    assert {m.header.frame_id for m in (view, jpeg, depth, info)} == {'igs_view_optical_frame'}

    truth = small(line.frames[1]['cam02'])
    rendered = convert.picture_from_image(view, '/v').decode()
    assert psnr(rendered, truth) > 15  # a gray picture has 11
    assert psnr(convert.picture_from_compressed(jpeg, '/v').decode(), rendered) > 28

    expected = line.recording.cameras['cam02'].resized(96)
    camera = convert.camera_from_info(info, '/v', 'cam02', expected.camera_from_world)
    assert np.allclose(camera.K, expected.K) and (camera.width, camera.height) == (96, 72)

    meters = np.frombuffer(depth.data, np.float32).reshape(72, 96)
    assert depth.encoding == '32FC1' and np.isfinite(meters).mean() > 0.5
    points = line.recording.points().xyz
    _, true_depths = expected.project(points)
    assert abs(np.nanmedian(meters) - np.median(true_depths)) < 0.5


def test_views_come_without_new_frame_sets(line):
    views = line.client.collect(Image, '/igs/view/image', 1)
    stamp_ns = line.step(0)
    assert line.client.until(lambda: views and convert.nanoseconds(
        views[-1].header.stamp) == stamp_ns)
    views.clear()
    assert line.client.until(lambda: len(views) >= 4)
    assert {convert.nanoseconds(view.header.stamp) for view in views} == {stamp_ns}


def steer(line, camera, frame='map'):
    message = PoseStamped()
    message.header.frame_id = frame
    message.pose.position.x, message.pose.position.y, message.pose.position.z = camera.center
    turn = Rotation.from_matrix(camera.world_from_camera[:3, :3]).as_quat()
    (message.pose.orientation.x, message.pose.orientation.y, message.pose.orientation.z,
     message.pose.orientation.w) = turn
    line.client.publish('/igs/view/pose', message)


def test_a_pose_steers_the_view(line):
    line.step(0)
    views = line.client.collect(Image, '/igs/view/image', 1)
    pictures = {name: small(line.frames[0][name]) for name in ('cam00', 'cam02', 'cam03')}

    def shown():
        rendered = convert.picture_from_image(views[-1], '/v').decode()
        scores = {name: psnr(rendered, picture) for name, picture in pictures.items()}
        return max(scores, key=scores.get)
    for name in ('cam00', 'cam03', 'cam02'):
        steer(line, line.recording.cameras[name])
        assert line.client.until(lambda wanted=name: views and shown() == wanted), name


def test_a_late_joiner_gets_the_key_and_what_moved(line):
    line.step(0)
    line.client.spin(0.5)
    keys = line.client.collect(GaussianCloud, '/igs/gaussians', LATCHED)
    updates = line.client.collect(GaussianUpdate, '/igs/gaussians/updates', 1)
    assert line.client.until(lambda: keys)
    stamp_ns = line.step(1)
    assert line.client.until(lambda: updates and convert.nanoseconds(
        updates[-1].header.stamp) == stamp_ns)
    update = convert_scene.update_from_message(updates[-1])
    key, = [k for k in keys if k.sequence == update.base_sequence]
    assert key.header.frame_id == updates[-1].header.frame_id == 'map'
    state = apply_update(convert_scene.key_from_message(key), update)
    assert state.count == line.status[-1].gaussians > 100
    assert (update.scene_id, update.sequence) == (line.status[-1].scene_id,
                                                  line.status[-1].sequence)


def test_points_lie_where_the_scene_is(line):
    clouds = line.client.collect(PointCloud2, '/igs/points', 1)
    assert line.client.until(lambda: clouds)
    cloud = clouds[-1]
    xyz = np.frombuffer(cloud.data, np.float32).reshape(-1, 7)[:, :3]
    truth = line.recording.points().xyz
    assert cloud.header.frame_id == 'map' and len(xyz) > 50
    low, high = np.percentile(truth, [2, 98], axis=0)
    inside = ((xyz > low - 0.5) & (xyz < high + 0.5)).all(1)
    assert inside.mean() > 0.7


def test_status_reports_the_stages(line):
    line.step(2)
    status = line.status[-1]
    assert status.state == SceneStatus.STREAMING
    assert (status.cameras_expected, status.cameras_in_last_set) == (3, 3)
    assert {'update', 'update/decode', 'update/motion', 'bootstrap', 'view',
            'age'} <= set(status.stage_names)
    age_ns = convert.nanoseconds(status.header.stamp) - convert.nanoseconds(status.scene_stamp)
    assert status.scene_age_s == pytest.approx(age_ns * 1e-9) and age_ns >= 0


# --- bad input: one clear line each, the node lives and keeps its scene -------------------------


@pytest.fixture
def scene_kept(line):
    """The same scene goes on before and after."""
    line.step(0)
    before = line.status[-1].scene_id
    yield
    line.step(1)
    assert line.process.alive()
    assert line.status[-1].state == SceneStatus.STREAMING
    assert line.status[-1].scene_id == before


def one_line(line, pattern, drop=None):
    """Wait for the one log line about it, and for its count in the status."""
    assert line.client.until(lambda: line.process.lines(pattern)), line.process.log.read_text()
    if drop is not None:
        assert line.client.until(lambda: line.drops().get(drop)), line.drops()
    line.client.spin(0.3)
    assert len(line.process.lines(pattern)) == 1, line.process.lines(pattern)


@pytest.mark.parametrize('value, shown', [(0.0, '0.0'), (float('nan'), 'nan')])
def test_intrinsics_of_zero_or_nan(line, scene_kept, value, shown):
    camera = {'0.0': 'cam00', 'nan': 'cam01'}[shown]
    message = convert.info_message(line.recording.cameras[camera], convert.header(1, camera))
    message.k = np.full(9, value)
    for _ in range(3):
        line.client.publish(f'/{camera}/camera_info', message)
    one_line(line, rf'WARN.*/{camera}/camera_info: intrinsics K = \[{shown}.*expected finite.*'
             'Calibrate this camera', f'bad_camera_info:{camera}')


def test_changed_calibration(line, scene_kept):
    camera = line.recording.cameras['cam00']
    changed = replace(camera, K=camera.K + np.diag([5.0, 5.0, 0.0]))
    line.client.publish('/cam00/camera_info', convert.info_message(changed, convert.header(1, '')))
    one_line(line, 'WARN.*/cam00/camera_info: the calibration changed.*Restart',
             'changed_camera_info:cam00')


def test_calibration_for_another_size(line, scene_kept):
    message = convert.info_message(line.recording.cameras['cam03'].resized(240),
                                   convert.header(1, 'cam03'))
    for _ in range(3):
        line.client.publish('/cam03/camera_info', message)
    one_line(line, "WARN.*/cam03/camera_info: a calibration for pictures of 240x180 px, but the "
             "rig file's are 480x360; the rig file's intrinsics stay", 'bad_camera_info:cam03')


def test_picture_size_that_disagrees_with_the_calibration(line, scene_kept):
    wrong = convert.jpeg_bytes(cv2.resize(line.frames[0]['cam01'], (64, 48)), 90)
    stamp_ns = line.publish(cameras=['cam00', 'cam03'])
    line.publish(cameras=['cam01'], stamp_ns=stamp_ns, data=wrong)
    one_line(line, 'WARN.*cam01.*64x48 px, but its calibration is for 480x360. Use the cal',
             'unusable_picture:cam01')


def test_corrupt_jpeg(line, scene_kept):
    stamp_ns = line.publish(cameras=['cam00', 'cam01'])
    line.publish(cameras=['cam03'], stamp_ns=stamp_ns, data=b'\xff\xd8\xff\xe0 broken')
    one_line(line, "WARN.*camera 'cam03': /cam03/image_raw/compressed: a damaged JPEG of 11 bytes",
             'damaged_picture:cam03')
    assert line.client.until(lambda: line.shows(stamp_ns))


def test_a_jpeg_bomb_costs_one_picture_of_one_camera(line, scene_kept):
    small_jpeg = convert.jpeg_bytes(np.zeros((48, 64, 3), np.uint8), 90)
    bomb = resized_jpeg(small_jpeg, 60000, 60000)
    for _ in range(3):
        stamp_ns = line.publish(cameras=['cam00', 'cam01'])
        line.publish(cameras=['cam03'], stamp_ns=stamp_ns, data=bomb)
        assert line.client.until(partial(line.shows, stamp_ns)), line.process.log.read_text()
    assert line.status[-1].cameras_in_last_set == 2
    one_line(line, "WARN.*camera 'cam03': .*60000x60000 px; expected at most 16384 px",
             'unusable_picture:cam03')


def test_unknown_encoding(line, scene_kept):
    message = CompressedImage(header=convert.header(time.time_ns(), ''), format='h264',
                              data=b'1234')
    for _ in range(3):
        line.client.publish('/cam00/image_raw/compressed', message)
    one_line(line, "WARN.*/cam00/image_raw/compressed: .*'h264'; expected jpeg or png. Set",
             'bad_message:cam00')


def test_pictures_without_a_stamp(line, scene_kept):
    message = convert.jpeg_message(convert.jpeg_bytes(line.frames[0]['cam03'], 90),
                                   convert.header(0, ''))
    line.client.publish('/cam03/image_raw/compressed', message)
    one_line(line, 'WARN.*/cam03/image_raw/compressed: pictures with stamp 0; expected the time',
             'bad_message:cam03')


def test_pose_in_another_frame(line, scene_kept):
    steer(line, line.recording.cameras['cam00'], frame='odom')
    one_line(line, "WARN.*/igs/view/pose: a pose in frame 'odom'; expected 'map'",
             'bad_pose:view')


def test_a_camera_that_stops_and_comes_back(line, scene_kept):
    end = time.monotonic() + 4
    while time.monotonic() < end:
        line.step(0, cameras=['cam00', 'cam01'])
        line.client.spin(0.2)
    one_line(line, "WARN.*camera 'cam03': last picture on /cam03/image_raw/compressed .* ago, "
             'stamp .*frame sets go on without it. Check', 'missing:cam03')
    assert line.status[-1].state == SceneStatus.STREAMING
    assert line.status[-1].cameras_in_last_set == 2
    line.step(0)
    assert line.client.until(lambda: line.process.lines("INFO.*camera 'cam03' is back"))


def test_diagnostics_name_the_camera_that_stops(line, scene_kept):
    arrays = line.client.collect(DiagnosticArray, '/diagnostics', 1)
    topic = '/cam03/image_raw/compressed'

    def found(name):
        status = {one.name: one for array in arrays[-1:] for one in array.status}.get(name)
        return status and (status.level, status.message)

    def feed(cameras, until):
        end = time.monotonic() + 120
        while time.monotonic() < end and not until():
            line.step(0, cameras=cameras)
            line.client.spin(0.1)
        return until()
    names = [*(f'igs: camera {name}' for name in CAMERAS), 'igs: frame sets', 'igs: scene']
    assert feed(CAMERAS, lambda: found('igs: camera cam03') and found('igs: camera cam03')[0]
                != DiagnosticStatus.STALE), arrays[-1:]
    assert {status.name for status in arrays[-1].status} == set(names)
    assert feed(['cam00', 'cam01'], lambda: found('igs: camera cam03')[0]
                == DiagnosticStatus.STALE), arrays[-1:]
    assert f'last picture on {topic}' in found('igs: camera cam03')[1]
    assert found('igs: frame sets')[1].endswith(f'look at {topic}')
    values = {pair.key: pair.value for status in arrays[-1].status if status.name == 'igs: scene'
              for pair in status.values}
    assert values['state'] == 'STREAMING' and int(values['Gaussians']) > 100
    assert 'update/motion p95 (s)' in values
    assert abs(convert.nanoseconds(arrays[-1].header.stamp) - time.time_ns()) < 10e9


def test_no_frame_sets_at_all(line, scene_kept):
    before = len(line.process.lines('WARN.*no frame set for'))
    line.step(0)
    assert line.client.until(lambda: line.status[-1].state == SceneStatus.STALLED)
    assert "camera 'cam00': last picture on /cam00/image_raw" in line.status[-1].message
    lines = line.process.lines('WARN.*no frame set for')
    assert len(lines) == before + 1
    assert all(f"camera '{name}': last picture" in lines[-1] for name in CAMERAS)
    line.step(1)
    assert line.client.until(lambda: line.status[-1].state == SceneStatus.STREAMING)


def test_stamps_that_jump_back(line, scene_kept):
    views = line.client.collect(Image, '/igs/view/image', 1)
    back_ns = time.time_ns() - 100_000_000_000
    for number in range(3):  # a bag that starts again, 30 ms a frame
        line.step(number, stamp_ns=back_ns + number * 30_000_000)
    one_line(line, r'WARN.*stamps of the cameras jumped back \(a looping bag\?\)')
    assert line.client.until(lambda: views and convert.nanoseconds(
        views[-1].header.stamp) == back_ns + 60_000_000)


def test_it_stops_when_told(line):
    line.client.spin(0.1)
    assert line.process.stop() == 0
    assert not line.process.lines('Traceback|ERROR'), line.process.log.read_text()
