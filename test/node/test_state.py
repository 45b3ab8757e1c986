# SPDX-License-Identifier: Apache-2.0
"""The node says how it and each camera is doing, whatever comes in and whatever dies inside."""
import threading
import time

import pytest

from igs_ros.core.config import BootstrapConfig, Config
from igs_ros.io.codec.ply import save_ply
from igs_ros.io.recordings.open import open_recording
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.stages.bootstrap.first_scene import first_scene
from igs_ros.vision.preparer import Preparer

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from sensor_msgs.msg import CompressedImage  # noqa: E402

from igs_ros.msg import CameraStatus, SceneStatus  # noqa: E402
from igs_ros.node import convert  # noqa: E402
from igs_ros.node.reconstruct import ReconstructNode  # noqa: E402

CAMERAS = ('cam00', 'cam01', 'cam03')
PERIOD_S = 0.1
PATIENCE_S = 90.0


class Rig:
    """The node in a thread of this process, and cameras that go on until they are told else."""

    def __init__(self, ros, client, node, jpegs):
        from rclpy.executors import SingleThreadedExecutor
        self.node, self.client, self.jpegs = node, client, jpegs
        self.status = client.collect(SceneStatus, '/igs/status', 10)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(node)
        self.stopping = False
        node.start()
        self.thread = threading.Thread(target=self._spin)
        self.thread.start()

    def _spin(self):
        while not self.stopping:
            self.executor.spin_once(timeout_sec=0.05)

    def close(self):
        self.stopping = True
        self.thread.join()
        self.node.close()
        self.executor.remove_node(self.node)
        self.node.destroy_node()

    def send(self, broken=(), off=None, silent=(), formats=None):
        stamp_ns = time.time_ns()
        for name in CAMERAS:
            if name in silent:
                continue
            shift_ns = round((off or {}).get(name, 0) * 1e9)
            message = CompressedImage(
                header=convert.header(stamp_ns + shift_ns, name),
                format=(formats or {}).get(name, 'jpeg'),
                data=b'\xff\xd8\xff\xe0 broken' if name in broken else self.jpegs[name])
            self.client.publish(f'/{name}/image_raw/compressed', message)

    def until(self, condition, **how):
        """Send at the cameras' rate until a status fulfils `condition`; that status."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.status.clear()
            self.send(**how)
            self.client.spin(PERIOD_S)
            for status in self.status:
                if condition(status):
                    return status
        last = self.status[-1] if self.status else None
        pytest.fail(f'waited in vain; the last status: {last}')

    def streams(self):
        self.until(lambda s: s.state == SceneStatus.STREAMING
                   and all(camera.state == CameraStatus.OK for camera in s.cameras))


@pytest.fixture(scope='module')
def rig(ros, client, workbench, tmp_path_factory):
    recording = open_recording(workbench)
    frame_set = next(recording.frame_sets(0, 1, cameras=CAMERAS))
    preparer = Preparer({name: recording.cameras[name] for name in CAMERAS}, 96)
    ply = tmp_path_factory.mktemp('scene') / 'first.ply'
    config = Config(max_gaussians=1000, bootstrap=BootstrapConfig(iterations=10))
    first = first_scene('points', preparer.prepare(frame_set), preparer.cameras,
                        recording.points(), CpuRasterizer(1), config)
    save_ply(first.scene, ply)
    node = ReconstructNode(cli_args=[
        '--ros-args', '-p', f'rig_file:={workbench / "rig.json"}',
        '-p', f'cameras:=[{",".join(CAMERAS)}]', '-p', f'bootstrap.method:={ply}',
        '-p', 'width:=96', '-p', 'motion:=static', '-p', 'key_interval:=0',
        '-p', 'calibration_wait_s:=0.5', '-p', 'stall_after_s:=2.0', '-p', 'max_wait_s:=0.05',
        '-p', 'min_cameras:=2', '-p', 'status_rate_hz:=10.0'])
    made = Rig(ros, client, node, {name: convert.jpeg_bytes(picture.decode(), 90)
                                   for name, picture in frame_set.pictures.items()})
    made.streams()
    yield made
    made.close()


def camera(status, name):
    return status.cameras[CAMERAS.index(name)]


def test_sound_cameras_with_their_figures(rig):
    status = rig.until(lambda s: all(c.rate_hz > 1 for c in s.cameras))
    assert [c.name for c in status.cameras] == list(CAMERAS)
    for one in status.cameras:
        assert one.topic == f'/{one.name}/image_raw/compressed'
        assert one.received >= one.used > 0 and one.age_s >= 0
        assert (one.message, one.refused) == ('', 0)
    assert status.spread_s == 0.0  # one stamp for all


def test_pictures_that_are_no_pictures_stall_the_scene_and_name_the_cameras(rig):
    status = rig.until(lambda s: s.state == SceneStatus.STALLED, broken=CAMERAS)
    assert 'frame sets in' in status.message and '/image_raw/compressed' in status.message
    for one in status.cameras:
        assert one.state == CameraStatus.UNDECODABLE and one.refused >= 3
        assert f'/{one.name}/image_raw/compressed' in one.message == one.last_error
    rig.streams()


def test_one_camera_that_sends_another_format(rig):
    status = rig.until(lambda s: camera(s, 'cam01').state == CameraStatus.REFUSED,
                       formats={'cam01': 'h264'})
    assert status.state == SceneStatus.STREAMING
    assert "'h264'; expected jpeg or png" in camera(status, 'cam01').message
    rig.streams()


def test_one_clock_that_is_two_seconds_off(rig):
    status = rig.until(lambda s: camera(s, 'cam03').state == CameraStatus.OUT_OF_TIME
                       # a busy sender is late by a period now and then
                       and 1.5 < camera(s, 'cam03').offset_s < 2.5, off={'cam03': 2.0})
    off = camera(status, 'cam03')
    assert status.cameras_in_last_set == 2 and off.unmatched > 0
    assert 'ahead of those of the other' in off.message and status.state == SceneStatus.STREAMING
    rig.streams()


def test_one_camera_falls_silent(rig):
    status = rig.until(lambda s: camera(s, 'cam00').state == CameraStatus.SILENT,
                       silent=('cam00',))
    assert camera(status, 'cam00').age_s > 2.0
    assert 'last picture on /cam00/image_raw/compressed' in camera(status, 'cam00').message
    rig.streams()


def test_motion_that_always_fails_stalls(rig, monkeypatch):
    timeline = rig.node.work.pipeline._pipeline.timeline
    with monkeypatch.context() as broken:
        broken.setattr(timeline._motion, 'observe', lambda _: {}['lens'])
        status = rig.until(lambda s: s.state == SceneStatus.STALLED)
        assert 'internal_error' in status.message and "KeyError('lens')" in status.message
    rig.streams()


def test_a_callback_that_fails_costs_one_message(rig):
    rig.node.failed(ValueError('one message'))
    status = rig.until(lambda s: 'internal_error:node' in s.drop_causes)
    assert status.state == SceneStatus.STREAMING


@pytest.mark.parametrize('loop', ['view', 'state'])  # the last test: the threads stay dead
def test_a_dead_thread_is_a_failure_and_the_status_goes_on(rig, monkeypatch, loop):
    def die():
        raise SystemExit(3)
    dying = {'view': rig.node.work._views, 'state': rig.node.work._states}[loop].thread
    monkeypatch.setattr(dying, '_run_once', die)
    dying.wake()
    for _ in range(2):  # and goes on
        status = rig.until(lambda s: f"'{loop}' has died of SystemExit(3)" in s.message)
        assert status.state == SceneStatus.FAILED and 'restart the node' in status.message


def test_without_a_clock_the_node_says_so_and_its_status_goes_on(client, processes, workbench):
    node = processes('igs_ros.node.reconstruct', '--ros-args', '-p', 'use_sim_time:=true',
                     '-p', f'rig_file:={workbench / "rig.json"}', '-p', 'stall_after_s:=1.0',
                     '-p', 'bootstrap.iteration:=3', '-p', 'min_camera:=2', '-r', '__ns:=/sim')
    status = client.collect(SceneStatus, '/sim/igs/status', 10)
    assert client.spin(PATIENCE_S, lambda: status and '/clock' in status[-1].message), \
        node.log.read_text()
    message = status[-1]
    assert message.state == SceneStatus.WAITING and message.message.startswith('no frame set for')
    assert 'use_sim_time is set, but nothing new has come on /clock' in message.message
    assert convert.nanoseconds(message.header.stamp) == 0
    assert all(c.state == CameraStatus.NEVER_SEEN for c in message.cameras)
    assert message.cameras[0].topic == '/sim/cam00/image_raw/compressed'
    count = len(status)
    assert client.spin(PATIENCE_S, lambda: len(status) > count)
    assert len(node.lines('WARN.*nothing new has come on /clock')) == 1
    for wrong, right in (('bootstrap.iteration', 'bootstrap.iterations'),
                         ('min_camera', 'min_cameras')):
        assert len(node.lines(f"WARN.*parameter '{wrong}' .* did you mean {right}")) == 1
    assert len(node.lines('WARN.*parameter')) == 2
    assert node.stop() == 0
