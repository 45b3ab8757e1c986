# SPDX-License-Identifier: Apache-2.0
"""The player (executable `play`, `igs play`): publishes a recording as if its cameras were there.

Pictures go out as CompressedImage with CameraInfo, stamped with the time of publishing. A thread
encodes them a few frames ahead.
"""
from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from igs_ros.node.environment import exit_without_ros

if __name__ == '__main__':
    exit_without_ros('play')  # the import below may end the process

import numpy as np
import rclpy
import tyro
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, CompressedImage

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.files import checked_file, replaced
from igs_ros.core.signals import ShutdownFlag
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import Recording, test_view, train_views
from igs_ros.msg import SceneStatus
from igs_ros.node import convert
from igs_ros.node.ahead import EncodedFrame, EncodedFrames
from igs_ros.node.convert_scene import shown_stamp_ns
from igs_ros.node.inputs import topic_of
from igs_ros.node.options import PlayOptions
from igs_ros.node.tf_in import tf_message, tf_qos
from igs_ros.node.tf_out import optical_frame, rig_message

_SAY_EVERY_S = 10.0
_CONNECT_S = 10.0  # discovery of the reconstruction's subscriptions


@dataclass
class _Played:
    """What was published, for the table."""

    frames: list[dict] = field(default_factory=list)

    def add(self, index: int, stamp_ns: int, repeated: bool) -> None:
        self.frames.append({'index': index, 'stamp_ns': stamp_ns, 'repeated': repeated,
                            'shown': None})

    def note_shown(self, shown: bool) -> None:
        """Whether the frame added last was shown in time; None stays where nobody looked."""
        self.frames[-1]['shown'] = shown

    def write(self, path: Path, recording: Recording, cameras: Iterable[str]) -> None:
        content = {'recording': str(recording.path), 'scene': recording.name,
                   'cameras': list(cameras), 'frames': self.frames}
        with replaced(path) as draft:
            draft.write_text(json.dumps(content, indent=1))


class _Transforms:
    """Broadcasts where the cameras of a recording are.

    Args:
        node: that publishes.
        world: frame of the poses.
        cameras: by name, where they stand, or stood first.

    Raises:
        InputError: tf2_msgs is not installed.
    """

    def __init__(self, node: Node, world: str, cameras: Mapping[str, Camera]):
        kind = tf_message()
        if kind is None:
            raise InputError('--tf: the Python package tf2_msgs is not installed; expected it '
                             'beside rclpy. Install ros-$ROS_DISTRO-tf2-msgs, or --tf never.')
        self._kind, self._world, self._cameras = kind, world, cameras
        self._static = node.create_publisher(kind, '/tf_static', tf_qos(True, depth=1))
        self._timed = node.create_publisher(kind, '/tf', tf_qos(False))
        self._told: set[str] = set()  # cameras that stand still

    def send(self, frame: EncodedFrame, stamp_ns: int) -> None:
        """Poses of the cameras of a frame that is stamped `stamp_ns`; those without one are left.

        Args:
            frame: with the poses of those that move; the others stand where the rig has them.
            stamp_ns: of its pictures.
        """
        poses = {name: pose for name, pose in frame.poses.items() if np.isfinite(pose).all()}
        if poses:
            self._timed.publish(rig_message(
                self._kind, [self._cameras[name].placed(pose) for name, pose in poses.items()],
                self._world, stamp_ns))
        still = set(frame.pictures) - set(frame.poses)
        if not still <= self._told:
            self._told |= still
            self._static.publish(rig_message(
                self._kind, [self._cameras[name] for name in sorted(self._told)], self._world,
                stamp_ns))


class Interrupted(Exception):
    """Somebody asked the player to stop."""


class Player(Node):
    """Publishes encoded frames and follows the status of the reconstruction.

    Args:
        options: as the user gave them.
        recording: whose frames are played.
        cameras: names of those that are played.
        stop: true when the player is to end; `Interrupted` then ends any waiting.

    Raises:
        InputError: a pattern that makes no topics.
    """

    def __init__(self, options: PlayOptions, recording: Recording, cameras: tuple[str, ...],
                 stop: ShutdownFlag):
        super().__init__('igs_player')
        # first: rclpy destroys half a player, too
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._stop = stop
        reliable = QoSProfile(depth=4, history=HistoryPolicy.KEEP_LAST,
                              reliability=ReliabilityPolicy.RELIABLE)
        self._cameras = {name: recording.cameras[name] for name in cameras}
        self._pictures = {name: self.create_publisher(
            CompressedImage, topic_of(options.image_topic, name, '--image-topic') + '/compressed',
            reliable) for name in cameras}
        self._infos = {name: self.create_publisher(
            CameraInfo, topic_of(options.camera_info_topic, name, '--camera-info-topic'),
            reliable) for name in cameras}
        latched = QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST,
                             reliability=ReliabilityPolicy.RELIABLE,
                             durability=DurabilityPolicy.TRANSIENT_LOCAL)
        moving = recording.poses is not None
        self._transforms = _Transforms(self, options.bag.world_frame or 'map', self._cameras) \
            if options.tf == 'always' or (moving and options.tf == 'auto') else None
        self.status: SceneStatus | None = None
        self.create_subscription(SceneStatus, options.status_topic, self._on_status, latched)

    def destroy_node(self) -> None:
        """As of any node; its executor ends with it, or rclpy complains at exit."""
        self._executor.shutdown()
        super().destroy_node()

    def _on_status(self, message: SceneStatus) -> None:
        failed = message.state == SceneStatus.FAILED
        if failed and (self.status is None or self.status.state != SceneStatus.FAILED):
            self.get_logger().warning(f'the reconstruction failed: {message.message}')
        self.status = message

    def publish(self, frame: EncodedFrame) -> int:
        """Send one frame of every camera; its stamp in ns."""
        stamp_ns = self.get_clock().now().nanoseconds
        if self._transforms is not None:  # before the pictures, which wait for them
            self._transforms.send(frame, stamp_ns)
        for name, data in frame.pictures.items():
            head = convert.header(stamp_ns, optical_frame(name))
            self._infos[name].publish(convert.info_message(self._cameras[name], head))
            self._pictures[name].publish(convert.jpeg_message(data, head))
        return stamp_ns

    def unheard(self) -> list[str]:
        """Topics of pictures and calibrations without a subscriber."""
        return [publisher.topic_name for publishers in (self._pictures, self._infos)
                for publisher in publishers.values() if not publisher.get_subscription_count()]

    def connected(self) -> bool:
        """Whether somebody listens to the pictures and the calibration of every camera."""
        return not self.unheard()

    def streaming(self) -> bool:
        """Whether the scene follows the cameras."""
        return self.status is not None and self.status.state in (SceneStatus.STREAMING,
                                                                 SceneStatus.STALLED)

    def shows(self, stamp_ns: int) -> bool:
        """Whether the scene shows the frame published with `stamp_ns`, or a later one."""
        shown = None if self.status is None else shown_stamp_ns(self.status)
        return shown is not None and shown >= stamp_ns

    def keys_done(self, interval: int) -> bool:
        """Whether every key due so far has been refined, or given up."""
        if self.status is None:
            return False
        done = self.status.keys_refined + self.status.refinements_discarded
        return done >= self.status.frame_sets_processed // interval

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Take messages for `seconds`, or less when `until` comes true; whether it did."""
        end = time.monotonic() + seconds
        while not until():
            if self._stop:
                raise Interrupted
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._executor.spin_once(timeout_sec=min(left, 0.1))
        return True


def _connect(player: Player, seconds: float) -> None:
    """Wait until every camera has listeners: the first frame set is to be a complete one."""
    if not player.wait(seconds, player.connected):
        player.get_logger().warning(f'nobody listens to: {", ".join(player.unheard())}; playing '
                                    f'anyway')


def _warm_up(player: Player, options: PlayOptions, frames: EncodedFrames,
             played: _Played) -> None:
    """Repeat the first frame until the reconstruction streams; raises `InputError`."""
    first = frames.first()
    end, next_line = time.monotonic() + options.start_timeout, 0.0
    while not player.streaming():
        state = 'no status yet' if player.status is None else player.status.message
        if time.monotonic() > end:
            raise InputError(f'{options.status_topic}: not STREAMING after '
                             f'{options.start_timeout:.0f} s ({state}); expected a reconstruction '
                             f'of these cameras. Check that the node runs and hears them.')
        if time.monotonic() > next_line:
            next_line = time.monotonic() + _SAY_EVERY_S
            player.get_logger().info(f'repeating the first frame until the scene streams: {state}')
        played.add(first.number, player.publish(first), True)
        player.wait(1.0, player.streaming)


def _play_once(player: Player, options: PlayOptions, frames: EncodedFrames, recorded_hz: float,
               played: _Played) -> None:
    """Publish all frames at their pace; with auto, each one is waited for."""
    rate, missed = options.rate_hz(), 0
    started = stamp_ns = None
    with closing(frames.once()) as encoded:
        for number, frame in enumerate(encoded):
            if started is None:  # the recording is open now, which takes a moment
                started = time.monotonic()
            stamp_ns = player.publish(frame)
            played.add(frame.number, stamp_ns, False)
            if not options.loop:
                player.get_logger().info(f'frame {frame.number} ({number + 1} of {frames.total})')
            if rate is None:
                player.wait(1 / recorded_hz)
                shown = player.wait(options.frame_timeout, lambda s=stamp_ns: player.shows(s))
                played.note_shown(shown)
                missed += not shown
                if options.wait_for_keys and shown:
                    player.wait(options.frame_timeout,
                                lambda: player.keys_done(options.wait_for_keys))
            else:
                player.wait(started + (number + 1) / rate - time.monotonic())
    if rate is not None and not options.loop and stamp_ns and player.status is not None:
        missed = not player.wait(options.frame_timeout, lambda s=stamp_ns: player.shows(s))
        played.note_shown(not missed)
    if missed:
        player.get_logger().warning(f'{int(missed)} frames were not shown within '
                                    f'{options.frame_timeout:.0f} s')


def _play(player: Player, options: PlayOptions, frames: EncodedFrames, recording: Recording,
          played: _Played) -> None:
    """Warm up, then play once, or until interrupted; `played` gets the first pass only."""
    auto = options.rate_hz() is None
    _connect(player, min(_CONNECT_S, options.start_timeout))
    if auto or options.wait_for_streaming:
        _warm_up(player, options, frames, played)
    passes = 0
    while True:
        _play_once(player, options, frames, recording.rate_hz,
                   _Played() if passes else played)
        passes += 1
        if not options.loop:
            return
        player.get_logger().info(f'pass {passes} done: {frames.total} frames')


def play(options: PlayOptions, ros_arguments: list[str] | None = None) -> int:
    """Play as `options` say, in a ROS context of its own; the exit code.

    Raises:
        InputError: a recording, options or a reconstruction that cannot be used.
        OutputError: the table cannot be written.
    """
    options.rate_hz()
    if options.table is not None:
        checked_file(options.table)
    recording = open_recording(options.data, options.bag)
    cameras = tuple(options.cameras) or train_views(recording, test_view(recording))
    frames = EncodedFrames(recording, cameras, options.frames)
    played = _Played()
    rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    player = None
    try:
        player = Player(options, recording, cameras, ShutdownFlag())
        _play(player, options, frames, recording, played)
    except Interrupted:
        pass  # the usual end of a loop
    finally:
        if player is not None:
            player.destroy_node()
        rclpy.try_shutdown()
        if options.table is not None:
            played.write(options.table, recording, cameras)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Command line of the player; the exit code."""
    arguments = ['play', *(sys.argv[1:] if arguments is None else arguments)]
    options = tyro.cli(PlayOptions, prog='play', args=remove_ros_args(arguments)[1:])
    try:
        return play(options, arguments)
    except InputError as error:
        print(f'play: {error}', file=sys.stderr)
        return 2  # as `igs` has it


if __name__ == '__main__':
    sys.exit(main())
