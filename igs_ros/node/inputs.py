# SPDX-License-Identifier: Apache-2.0
"""Subscriptions of the cameras: messages in, frame sets and calibrations out.

Callbacks check headers and queue; nothing is decoded here.
"""
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

# rclpy.clock_type, where it is defined, is not in every ROS
from rclpy.clock import Clock, ClockType  # pyright: ignore[reportPrivateImportUsage]
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from rclpy.validate_topic_name import validate_topic_name
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.frames import Frame, RawFrameSet
from igs_ros.core.logs import Throttle, ThrottledWarnings
from igs_ros.core.status import Status
from igs_ros.core.timing import Drops
from igs_ros.core.transforms import TransformSource
from igs_ros.io.camera_info import (
    as_sent,
    camera_from_info,
    is_rectified,
    rectification,
    rectified_line,
)
from igs_ros.live.assemble import FrameSetAssembler, usual_min_cameras
from igs_ros.live.camera_watch import CameraReport, CameraWatch, Judged
from igs_ros.live.placing import Placing
from igs_ros.node.convert import (
    held_against,
    nanoseconds,
    picture_from_compressed,
    picture_from_image,
)
from igs_ros.node.filters import FilteredAssembler
from igs_ros.node.params import NodeConfig

_POLL_S = 0.02
_BEHIND_STAMP = 12  # bytes of a serialized message: encapsulation, sec, nanosec
_AGAIN_S = 10.0  # what is lacking at the start is told again
_NOT_BELIEVED = 'implausible'  # the cause of such drops


def steady_clock() -> Clock:
    """For timers that must run when ROS time stands still, or has not begun."""
    return Clock(clock_type=ClockType.STEADY_TIME)


def topic_of(pattern: str, camera: str, setting: str) -> str:
    """A topic pattern with the name of a camera put in.

    Args:
        pattern: with {camera} in it.
        camera: its name.
        setting: where the pattern comes from, for messages.

    Raises:
        InputError: a pattern without {camera}, or a result that is no name of a ROS topic.
    """
    if '{camera}' not in pattern:
        raise InputError(f"{setting}: topic '{pattern}': expected {{camera}} in it, in place of "
                         f"the camera's name, such as {{camera}}/image_raw.")
    topic = pattern.replace('{camera}', camera)
    try:
        validate_topic_name(topic)
    except InvalidTopicNameException:
        raise InputError(
            f"{setting}: '{pattern}' with camera '{camera}' makes '{topic}', which is no ROS "
            f'topic; expected letters, digits and _ between slashes, no digit first. Rename the '
            f"camera in the rig file, or change the pattern.") from None
    return topic


@dataclass
class _Input:
    """What is known of one camera's topics."""

    rig_camera: Camera | None  # None where there is no rig file
    names: tuple[str, str]  # of the topics, before remapping
    image_topic: str
    info_topic: str
    info: bytes = b''  # CameraInfo as it came last and was taken, behind its stamp
    calibrated: Camera | None = None  # by CameraInfo
    in_use: Camera | None = None  # what `cameras` gave out
    changed: bool = False  # reported that another calibration came

    @property
    def pose(self) -> np.ndarray:
        """camera_from_world [4, 4] of the rig file, which TF may replace."""
        return np.eye(4) if self.rig_camera is None else self.rig_camera.camera_from_world


class Inputs:
    """The cameras that feed the scene.

    Args:
        node: that subscribes.
        settings: those of the node.
        rig: the cameras, as the rig file has them, None where there is none; by name.
        on_frame_set: called in the executor's thread, must not block.
        transforms: where their poses come from, None = the rig.

    Raises:
        InputError: settings that cannot work.
    """

    def __init__(self, node: Node, settings: NodeConfig, rig: Mapping[str, Camera | None],
                 on_frame_set: Callable[[RawFrameSet], None],
                 transforms: TransformSource | None = None):
        self._settings = settings
        self._node = node
        self._log = node.get_logger()
        self._on_frame_set = on_frame_set
        self._drops = Drops()
        self._warnings = ThrottledWarnings(self._log.warning, self._drops)
        self._assembler = self._new_assembler(settings, rig)
        self._lock = threading.Lock()  # of the assembler: others ask for its counts
        self._jumps = 0
        self._first_s: float | None = None  # when the first picture of all came
        self._placing = None if transforms is None else Placing(
            transforms, settings.world_frame, rig, settings.max_wait_s, settings.queue_size,
            self._on_lost)
        self._say_again = Throttle(_AGAIN_S)
        self.lacking = ''
        """What the cameras lack before they can be used, '' = nothing is known."""
        self._inputs = {name: self._input(name, camera) for name, camera in rig.items()}
        self._subscriptions: list[Subscription] = []
        self._resting = False  # since `stop`
        self._watch = CameraWatch({name: known.image_topic for name, known
                                   in self._inputs.items()}, settings.stall_after_s)
        self._timer = node.create_timer(_POLL_S, self._poll, clock=steady_clock())

    @staticmethod
    def _new_assembler(settings: NodeConfig, rig: Mapping[str, Camera | None]):
        if settings.synchronizer != 'igs':
            return FilteredAssembler(settings.synchronizer, rig, settings.max_spread_s,
                                     settings.queue_size)
        least = settings.min_cameras or usual_min_cameras(len(rig))
        return FrameSetAssembler(rig, settings.max_spread_s, settings.max_wait_s, least,
                                 settings.queue_size)

    def _input(self, name: str, camera: Camera | None) -> _Input:
        settings = self._settings
        image_topic = topic_of(settings.image_topic, name, 'parameter image_topic')
        if settings.transport == 'compressed':
            image_topic += '/compressed'
        info_topic = topic_of(settings.camera_info_topic, name, 'parameter camera_info_topic')
        return _Input(camera, (image_topic, info_topic),
                      self._node.resolve_topic_name(image_topic),
                      self._node.resolve_topic_name(info_topic))

    def topics(self) -> str:
        """Where pictures are expected, for people."""
        return ', '.join(known.image_topic for known in self._inputs.values())

    def start(self) -> None:
        """Subscribe to the cameras."""
        self._resting = False
        settings = self._settings
        reliability = ReliabilityPolicy.BEST_EFFORT \
            if settings.input_reliability == 'best_effort' else ReliabilityPolicy.RELIABLE
        qos = QoSProfile(depth=settings.queue_size, history=HistoryPolicy.KEEP_LAST,
                         reliability=reliability, durability=DurabilityPolicy.VOLATILE)
        kind = CompressedImage if settings.transport == 'compressed' else Image
        for name, known in self._inputs.items():
            self._subscriptions += [
                self._node.create_subscription(kind, known.names[0],
                                               partial(self._on_picture, name), qos),
                # rclpy's annotations know no raw subscriptions
                self._node.create_subscription(
                    CameraInfo, known.names[1],
                    partial(self._on_info_bytes, name),  # pyright: ignore[reportArgumentType]
                    qos, raw=True)]

    def stop(self) -> None:
        """Take no pictures any more, until `start`; what waits stays where it is."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions, self._resting = [], True

    # -- calibrations ---------------------------------------------------------------------------

    def cameras(self) -> dict[str, Camera] | None:
        """The calibrated cameras; None while CameraInfo may still come, or no picture came.

        Cameras without a usable CameraInfo have the intrinsics of the rig file, which is said.
        """
        without = [name for name, i in self._inputs.items() if i.calibrated is None]
        waited_s = 0.0 if self._first_s is None else time.monotonic() - self._first_s
        if without and waited_s <= self._settings.calibration_wait_s:
            return None
        if not self._complete():
            return None
        for name in without:
            self._log.warning(
                f'{self._inputs[name].info_topic}: no usable CameraInfo within {waited_s:.1f} s '
                f"of the first picture; the rig file's intrinsics are used for camera '{name}'")
        cameras = {name: known.calibrated or known.rig_camera
                   for name, known in self._inputs.items()}
        used = {name: camera for name, camera in cameras.items() if camera is not None}
        if self._placing is not None:
            used = self._placing.place(used)
            self._log.info(self._placing.told())
        for name, camera in used.items():
            self._inputs[name].in_use = camera
        return used

    def _complete(self) -> bool:
        """Whether all that has no stand-in is there; what is lacking is told once in a while."""
        lacks = [f'{known.info_topic}: no usable CameraInfo, and no rig file has the intrinsics '
                 f"of camera '{name}'" for name, known in self._inputs.items()
                 if known.calibrated is None and known.rig_camera is None]
        if self._placing is not None:
            lacks += self._placing.lacking().values()
        self.lacking = '; '.join(lacks)
        if lacks and self._first_s is not None and self._say_again.take('lacking') is not None:
            self._log.warning(f'waiting for what the cameras lack: {self.lacking}. Look at the '
                              f'drivers, and for TF at `ros2 run tf2_tools view_frames`.')
        return not lacks

    def optical_frames(self) -> dict[str, str]:
        """The optical frames by camera, where their poses come from TF; else empty."""
        return self._placing.frames() if self._placing is not None else {}

    def _on_lost(self, name: str, text: str) -> None:
        """A picture has no pose."""
        self._watch.lost(name, text)
        if self._inputs[name].in_use is None:  # at the start one line says it of all cameras
            self._drops.add(f'no_transform:{name}')
        else:
            self._warnings.add('no_transform', name, f'{text}. Its picture is left out; if '
                               f'transforms come late, raise max_wait_s.')

    def _on_info_bytes(self, name: str, data: bytes) -> None:
        """One comes with every picture: what says the same as the last one is not looked at."""
        known, content = self._inputs[name], data[_BEHIND_STAMP:]
        if content != known.info:
            known.info = content if self._on_info(name, deserialize_message(data, CameraInfo)) \
                else b''

    def _on_info(self, name: str, message: CameraInfo) -> bool:
        """Whether nothing was wrong with it."""
        known = self._inputs[name]
        well = self._take_frame(name, message.header.frame_id)
        try:
            rectified = is_rectified(known.image_topic)
            camera = camera_from_info(message, known.info_topic, name, known.pose,
                                      rectified=rectified)
            doubt = held_against(camera, as_sent(known.rig_camera, message), known.info_topic) \
                if known.rig_camera is not None else ''
        except InputError as error:
            self._warnings.add('bad_camera_info', name, str(error))
            return False
        if rectified and self._placing is not None and known.calibrated is None:
            self._placing.turn(name, rectification(message, known.info_topic))
        reference = known.in_use or known.calibrated
        if reference is None:
            known.calibrated = camera
            if rectified:
                self._log.info(rectified_line(message, known.info_topic, known.image_topic))
            if doubt:
                self._log.warning(doubt)
        elif not known.changed and not _same_intrinsics(camera, reference):
            known.changed = True
            what = 'the calibration changed while running; the first one stays in use' \
                if known.calibrated else "it came too late and differs from the rig file's " \
                'intrinsics, which stay in use'
            self._warnings.add('changed_camera_info', name, f'{known.info_topic}: {what}. '
                               f'Restart the node to take the new one.')
        return well

    # -- pictures -------------------------------------------------------------------------------

    def _on_picture(self, name: str, message: Image | CompressedImage) -> None:
        topic, stamp_ns = self._inputs[name].image_topic, nanoseconds(message.header.stamp)
        if self._first_s is None:
            self._first_s = time.monotonic()
        try:
            if stamp_ns == 0:
                raise InputError(f'{topic}: pictures with stamp 0; expected the time of '
                                 f'exposure. Make the camera driver fill header.stamp.')
            bits = self._settings.image_bits
            picture = picture_from_compressed(message, topic, bits) \
                if isinstance(message, CompressedImage) \
                else picture_from_image(message, topic, bits)
        except InputError as error:
            self._watch.refused(name, str(error))
            self._warnings.add('bad_message', name, str(error))
            return
        self._watch.came(name, stamp_ns)
        self._take_frame(name, message.header.frame_id)
        frame = Frame(name, stamp_ns, picture)
        self._join([frame] if self._placing is None else self._placing.add(frame))

    def _take_frame(self, name: str, frame_id: str) -> bool:
        """Whether it is the frame that the camera has."""
        said = self._placing.heard(name, frame_id) if self._placing is not None else ''
        if said:
            self._warnings.add('changed_frame', name, said)
        return not said

    def _join(self, frames: list[Frame]) -> None:
        """Give pictures whose places are known to the assembler."""
        for frame in frames:
            self._watch.went_on(frame.camera)
            with self._lock:
                sets = self._assembler.add(frame)
            self._hand_over(sets)
        self._pace()

    def _poll(self) -> None:
        if self._resting:
            return
        if self._placing is not None:
            self._join(self._placing.poll())
        with self._lock:
            sets = self._assembler.poll()
        self._hand_over(sets)
        self._pace()

    def _pace(self) -> None:
        """Let the timer rest while no picture waits: each of its rounds wakes the executor."""
        if not self.waiting():
            self._timer.cancel()
        elif self._timer.is_canceled():
            self._timer.reset()

    def _hand_over(self, sets: list[RawFrameSet]) -> None:
        if self._assembler.jumps != self._jumps:
            self._jumps = self._assembler.jumps
            self._log.warning('stamps of the cameras jumped back (a looping bag?): waiting '
                              'pictures were dropped, the scene is kept')
            if self._placing is not None:
                self._placing.clear()
        for frame_set in sets:
            self._on_frame_set(frame_set)

    # -- how they do; from any thread -----------------------------------------------------------

    def waiting(self) -> int:
        """Pictures that wait for the others of their frame set."""
        placing = 0 if self._placing is None else self._placing.waiting()
        with self._lock:
            return placing + sum(self._assembler.waiting().values())

    def drops(self) -> dict[str, int]:
        """Pictures and calibrations that were not used, by 'cause:camera'."""
        with self._lock:
            drops = self._assembler.drops()
        return {**drops, **self._drops.snapshot()}

    def reports(self, status: Status) -> dict[str, CameraReport]:
        """Every camera, with what the pipeline's `status` knows of it."""
        with self._lock:
            used, late, unmatched = self._assembler.fates()
        not_believed = {name: status.drops.get(f'{_NOT_BELIEVED}:{name}', 0)
                        for name in self._inputs}
        return self._watch.report(Judged(used, late, unmatched, status.decoding,
                                         status.implausible, not_believed))


def _same_intrinsics(one: Camera, other: Camera) -> bool:
    return (one.width, one.height, one.lens) == (other.width, other.height, other.lens) \
        and np.allclose(one.K, other.K) and np.allclose(one.distortion, other.distortion)
