# SPDX-License-Identifier: Apache-2.0
"""The recorder (`igs record`): what goes into the reconstruction node, and comes out, into a bag.

Messages are taken as they are serialized; nothing is decoded. Topics that come later are taken
when they come.
"""
from __future__ import annotations

import importlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TypeVar

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rclpy.event_handler import QoSMessageLostInfo, SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)

from igs_ros.core.errors import InputError, OutputError
from igs_ros.core.files import shipped
from igs_ros.core.signals import ShutdownFlag
from igs_ros.io.recordings.bag_writer import BagWriter, definitions
from igs_ros.node.options import RecordOptions

_Policy = TypeVar('_Policy', bound=Enum)
_TF = ('/tf', '/tf_static')
_NEVER = ('/parameter_events', '/rosout')
_LOOK_S, _SAY_S = 1.0, 10.0
_DEPTH = 100  # messages of a topic that may wait for this process


class Recorder(Node):
    """Subscribes to topics as they come, and hands what comes to a writer."""

    def __init__(self, options: RecordOptions):
        super().__init__('igs_recorder', start_parameter_services=False, enable_rosout=False)
        self._options = options
        self._known: set[str] = set()  # topics that are recorded, or cannot be
        self._last_ns = 0
        self.lost = Counter()  # messages by topic that the middleware lost
        self._own_executor = SingleThreadedExecutor()
        self._own_executor.add_node(self)

    def destroy_node(self) -> None:
        """As of any node; its executor ends with it, or rclpy complains at exit."""
        self._own_executor.shutdown()
        super().destroy_node()

    def spin(self, seconds: float) -> None:
        """Take what comes for at most so long."""
        self._own_executor.spin_once(timeout_sec=seconds)

    def look(self, writer: BagWriter) -> None:
        """Take the topics that are there now, and were not before."""
        kinds = dict(self.get_topic_names_and_types())
        for topic in self.wanted():
            publishers = self.get_publishers_info_by_topic(topic)
            if topic not in self._known and publishers:  # their QoS tells what to ask for
                self._known.add(topic)
                try:
                    self._take(topic, kinds[topic], [p.qos_profile for p in publishers], writer)
                except InputError as error:
                    self.get_logger().warning(f'{topic} is not recorded: {error}')

    def wanted(self) -> list[str]:
        """Names of the topics asked for; none while the node is not there."""
        if self._options.topics:
            return [self.resolve_topic_name(topic) for topic in self._options.topics]
        namespace, _, name = self._options.node.rpartition('/')
        if (name, namespace or '/') not in self.get_node_names_and_namespaces():
            return []
        ends = [*self.get_subscriber_names_and_types_by_node(name, namespace or '/'),
                *self.get_publisher_names_and_types_by_node(name, namespace or '/')]
        topics = [topic for topic, _ in ends if topic not in _NEVER]
        return list(dict.fromkeys((*topics, *_TF)))

    def _take(self, topic: str, kinds: list[str], profiles: list[QoSProfile],
              writer: BagWriter) -> None:
        if len(kinds) != 1:
            raise InputError(f'types {", ".join(kinds)}; expected one. Stop who publishes the '
                             f'other.')
        package, _, name = kinds[0].partition('/msg/')
        try:
            message = getattr(importlib.import_module(f'{package}.msg'), name)
        except (ImportError, AttributeError):
            raise InputError(f'{kinds[0]} is not installed; source the workspace that has '
                             f'it.') from None
        types = definitions(kinds[0], definition)
        writer.add(topic, kinds[0], types, [offered(profile) for profile in profiles])
        self.create_subscription(
            message, topic, partial(self._on_message, writer, topic), asked(profiles),
            raw=True, event_callbacks=SubscriptionEventCallbacks(
                message_lost=partial(self._on_lost, topic)))
        self.get_logger().info(f'recording {topic} ({kinds[0]})')

    def _on_message(self, writer: BagWriter, topic: str, data: bytes) -> None:
        # by reception, and in order: a reader without an index relies on it
        self._last_ns = max(self._last_ns, time.time_ns())
        writer.put(topic, self._last_ns, data)

    def _on_lost(self, topic: str, info: QoSMessageLostInfo) -> None:
        self.lost[topic] += info.total_count_change


def definition(kind: str) -> str | None:
    """The text of the .msg file of 'package/msg/Name'; None where none is installed."""
    package, _, name = kind.partition('/msg/')
    if package == 'igs_ros':
        return shipped(f'msg/{name}.msg').read_text()
    try:
        file = Path(get_package_share_directory(package)) / 'msg' / f'{name}.msg'
    except (PackageNotFoundError, ValueError):
        return None
    return file.read_text() if file.is_file() else None


def asked(profiles: Iterable[QoSProfile]) -> QoSProfile:
    """The most that all publishers offer, as `ros2 bag record` asks for it."""
    profiles = list(profiles)
    reliable = all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles)
    latched = all(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles)
    return QoSProfile(
        depth=_DEPTH, history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)


def offered(profile: QoSProfile) -> Qos:
    """The QoS of a publisher, as bags have it."""
    def same(kind: type[_Policy], value: Enum) -> _Policy:
        return kind.__members__.get(value.name, kind['UNKNOWN'])
    deadline, lifespan, lease = (
        QosTime(*divmod(duration.nanoseconds, 1_000_000_000)) for duration in (
            profile.deadline, profile.lifespan, profile.liveliness_lease_duration))
    return Qos(same(QosHistory, profile.history), profile.depth,
               same(QosReliability, profile.reliability),
               same(QosDurability, profile.durability), deadline, lifespan,
               same(QosLiveliness, profile.liveliness), lease,
               profile.avoid_ros_namespace_conventions)


def await_node(recorder: Recorder, options: RecordOptions, stopped: Callable[[], bool]) -> bool:
    """Wait until there is something to record.

    Args:
        recorder: that looks for it.
        options: how long to wait.
        stopped: whether waiting is to end.

    Returns:
        False when stopped before.

    Raises:
        InputError: there is no such node.
    """
    begun_s = time.monotonic()
    while not stopped():
        if recorder.wanted():
            return True
        if time.monotonic() - begun_s > options.timeout:
            raise InputError(f'{options.node}: no such node within {options.timeout:g} s; '
                             f'expected the reconstruction. Start it, name it with --node, or '
                             f'name topics with --topics.')
        recorder.spin(0.1)
    return False


def _until_stopped(recorder: Recorder, writer: BagWriter, stop: ShutdownFlag) -> None:
    look_s, say_s = 0.0, time.monotonic() + _SAY_S
    while not stop and writer.error is None:
        if time.monotonic() >= look_s:
            look_s = time.monotonic() + _LOOK_S
            recorder.look(writer)
        if time.monotonic() > say_s:
            say_s = time.monotonic() + _SAY_S
            recorder.get_logger().info(said(recorder, writer))
        recorder.spin(0.1)


def said(recorder: Recorder, writer: BagWriter) -> str:
    """What was recorded so far, in one line."""
    lost = writer.dropped + recorder.lost
    text = (f'{writer.written.total()} messages of {len(writer.written)} topics, '
            f'{writer.bytes_written / 1e6:.1f} MB')
    return text + ''.join(f'; {count} of {topic} lost' for topic, count in lost.items())


def record(options: RecordOptions, ros_arguments: list[str] | None = None) -> int:
    """Record as `options` say, in a ROS context of its own, until interrupted; the exit code.

    Raises:
        InputError: there is no node to record.
        OutputError: the bag cannot be written (any further).
    """
    if options.out.exists():
        raise OutputError(f'{options.out}: is there already; expected a new folder for the bag. '
                          f'Name another.')
    rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    writer, recorder = None, None
    try:
        with ShutdownFlag() as stop:
            recorder = Recorder(options)
            if await_node(recorder, options, lambda: bool(stop)):
                writer = BagWriter(options.out)
                _until_stopped(recorder, writer, stop)
    finally:
        if recorder is not None:
            recorder.destroy_node()
        rclpy.try_shutdown()
        if writer is not None:
            writer.close()
    if writer is None or recorder is None:
        return 0  # asked to stop before there was a node
    print(f'{options.out}: {said(recorder, writer)}')
    if not writer.written:
        raise InputError(f'{options.out}: a bag without messages; expected some. Check that '
                         f'somebody publishes, in this ROS domain.')
    return 0
