# SPDX-License-Identifier: Apache-2.0
"""Transforms from /tf and /tf_static: in tf2's buffer where a ROS has it, else in our own."""
from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.clock import JumpThreshold  # pyright: ignore[reportPrivateImportUsage]
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time

from igs_ros.core.errors import InputError
from igs_ros.core.logs import ThrottledWarnings
from igs_ros.core.transforms import (
    HISTORY_S,
    FutureTransform,
    PastTransform,
    Transform,
    TransformBuffer,
    TransformError,
    TransformSource,
)
from igs_ros.node.convert import nanoseconds

_DEPTH = 100  # as tf2_ros
_SET_BACK_NS = -1_000_000_000  # of the node's clock, as tf2_ros


def tf_message() -> type | None:
    """The type of the messages on /tf; None where tf2_msgs is not installed."""
    try:
        return importlib.import_module('tf2_msgs.msg').TFMessage
    except ImportError:
        return None


def tf_qos(static: bool, depth: int = _DEPTH) -> QoSProfile:
    """The QoS of /tf, or of /tf_static: a late subscriber gets what holds for good."""
    durability = DurabilityPolicy.TRANSIENT_LOCAL if static else DurabilityPolicy.VOLATILE
    return QoSProfile(depth=depth, history=HistoryPolicy.KEEP_LAST, durability=durability,
                      reliability=ReliabilityPolicy.RELIABLE)


def transform_source(node: Node, warnings: ThrottledWarnings) -> TransformSource:
    """Subscribe to the transforms; `node` says which buffer holds them.

    Raises:
        InputError: their messages are not installed.
    """
    try:
        library = importlib.import_module('tf2_ros')
    except ImportError as error:
        kind = tf_message()
        if kind is None:
            raise InputError(
                'poses of cameras or views are to come from TF, but the Python package tf2_msgs '
                'is not installed; expected it beside rclpy. Install ros-$ROS_DISTRO-tf2-msgs (or '
                'this package again: its wheel brings it), or give a rig_file, '
                'and views no frame.') from error
        node.get_logger().info(f'TF in a buffer of our own: there is no tf2_ros ({error})')
        return TopicTransforms(node, kind, warnings)
    node.get_logger().info("TF in tf2_ros' buffer")
    return Tf2Transforms(node, library)


def transform_of(message: TransformStamped) -> Transform:
    """The transform in a message.

    Raises:
        InputError: it is none.
    """
    at, turn = message.transform.translation, message.transform.rotation
    return Transform(message.header.frame_id, message.child_frame_id,
                     nanoseconds(message.header.stamp), np.array((at.x, at.y, at.z)),
                     np.array((turn.w, turn.x, turn.y, turn.z)))


class TopicTransforms(TransformBuffer):
    """Our buffer, fed from the topics.

    Args:
        node: that subscribes.
        kind: TFMessage.
        warnings: takes what is wrong with transforms that came.
    """

    def __init__(self, node: Node, kind: type, warnings: ThrottledWarnings):
        super().__init__()
        self._warnings = warnings
        for topic, static in ('/tf', False), ('/tf_static', True):
            node.create_subscription(kind, topic, partial(self._on_message, static),
                                     tf_qos(static))
        threshold = JumpThreshold(min_forward=None, on_clock_change=True,
                                  min_backward=Duration(nanoseconds=_SET_BACK_NS))
        self._jumps = node.get_clock().create_jump_callback(
            threshold, post_callback=lambda _: self.clear_timed())

    def _on_message(self, static: bool, message: Any) -> None:  # TFMessage
        for one in message.transforms:
            try:
                said = self.add(transform_of(one), static)
            except InputError as error:
                self._warnings.add('bad_transform', 'tf', str(error))
                continue
            if said:
                self._warnings.add('doubtful_transform', 'tf', said)


class Tf2Transforms:
    """tf2_ros' buffer behind the interface of ours; library: tf2_ros.

    What is wrong with single transforms tf2 logs itself.
    """

    def __init__(self, node: Node, library: Any):
        self._library = library
        self._buffer = library.Buffer(Duration(seconds=HISTORY_S), node)
        self._listener = library.TransformListener(self._buffer, node)

    @property
    def version(self) -> int:
        """Another one every second: tf2 does not tell what changed."""
        return int(time.monotonic())

    def is_static(self, target: str, source: str) -> bool:
        """As `TransformBuffer.is_static`."""
        newest = self._asked(self._buffer.get_latest_common_time, target, source)
        return newest.nanoseconds == 0

    def lookup(self, target: str, source: str, stamp_ns: int | None = None) -> np.ndarray:
        """As `TransformBuffer.lookup`.

        Args:
            target: frame of the result.
            source: frame of the points that it is for.
            stamp_ns: the time; None = the newest at which all of the way is known.

        Returns:
            [4, 4] float64 target_from_source.

        Raises:
            FutureTransform: the time is later than what was heard of.
            PastTransform: it is earlier than what is remembered.
            TransformError: there is no way between the two.
        """
        found = self._asked(self._buffer.lookup_transform_core, target, source,
                            Time(nanoseconds=stamp_ns or 0))
        found.header.frame_id, found.child_frame_id = 'target', 'source'  # may be one frame
        return transform_of(found).matrix

    def clear_timed(self) -> None:
        """As `TransformBuffer.clear_timed`."""
        self._buffer.clear()

    def _asked(self, function: Callable[..., Any], target: str, source: str, *more: object,
               ) -> Any:  # what the function of tf2 returns
        try:
            return function(target, source, *more)
        except self._library.TransformException as error:
            text = f"no transform from '{source}' to '{target}': {' '.join(str(error).split())}"
            if not isinstance(error, self._library.ExtrapolationException):
                raise TransformError(text) from error
            past = 'past' in str(error)
            raise (PastTransform if past else FutureTransform)(text) from error
