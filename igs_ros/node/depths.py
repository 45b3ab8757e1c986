# SPDX-License-Identifier: Apache-2.0
"""Depth topics: pictures of depth cameras join the frame sets that the first scene is made from.

Nothing else looks at depth, so its topics are subscribed to only while a first scene is wanted.
Everything runs in the executor's thread; callbacks check headers and queue.
"""
from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from igs_ros.core.errors import InputError
from igs_ros.core.frames import DepthPicture, Picture, RawFrameSet
from igs_ros.core.logs import ThrottledWarnings
from igs_ros.core.timing import Drops
from igs_ros.io.depth_images import COMPRESSED_DEPTH, nearest, raw_depth, transport_depth
from igs_ros.node.convert import layout_of, nanoseconds
from igs_ros.node.inputs import steady_clock, topic_of
from igs_ros.node.params import NodeConfig

_POLL_S = 0.02
_SETTING = 'parameter depth_topic'


class Depths:
    """Adds depth to frame sets on their way to `hand_over`; subscribes on `start`.

    While a first scene is wanted, frame sets wait for the depth of cameras that send some: at
    first for `calibration_wait_s`, then for `max_wait_s`; the newest `queue_size` of them are
    kept. Afterwards they pass at once, without depth.

    Args:
        node: that subscribes.
        settings: `depth_topic` is not empty.
        cameras: that may have depth.
        hand_over: takes frame sets; called in the executor's thread, must not block.
        wanted: whether a first scene is still to be made.
        now: s, monotonic.

    Raises:
        InputError: a pattern that makes no topics.
    """

    def __init__(self, node: Node, settings: NodeConfig, cameras: Iterable[str],
                 hand_over: Callable[[RawFrameSet], None], wanted: Callable[[], bool], *,
                 now: Callable[[], float] = time.monotonic):
        self._node = node
        self._settings = settings
        self._hand_over = hand_over
        self._wanted = wanted
        self._now = now
        self._drops = Drops()
        self._warnings = ThrottledWarnings(node.get_logger().warning, self._drops)
        self._spread_ns = round(settings.max_spread_s * 1e9)
        self._names = {name: topic_of(settings.depth_topic, name, _SETTING) for name in cameras}
        self._topics = {name: node.resolve_topic_name(topic)
                        for name, topic in self._names.items()}
        self._subscriptions: list[Subscription] = []
        self._came: dict[str, deque[tuple[int, DepthPicture]]] = {}  # stamps, by camera
        self._told = False
        self._held: deque[tuple[RawFrameSet, float]] = deque()  # with times of arrival, s
        self._first_s: float | None = None  # when the first frame set came
        node.create_timer(_POLL_S, self._release, clock=steady_clock())

    def _begin(self) -> None:
        """Wait for depth, as if none had ever come."""
        settings = self._settings
        reliability = ReliabilityPolicy.BEST_EFFORT \
            if settings.input_reliability == 'best_effort' else ReliabilityPolicy.RELIABLE
        qos = QoSProfile(depth=settings.queue_size, history=HistoryPolicy.KEEP_LAST,
                         reliability=reliability, durability=DurabilityPolicy.VOLATILE)
        kind = CompressedImage if settings.depth_topic.endswith(COMPRESSED_DEPTH) else Image
        self._came, self._first_s, self._told = {}, None, False
        self._subscriptions = [
            self._node.create_subscription(kind, topic, partial(self._on_depth, name), qos)
            for name, topic in self._names.items()]

    def start(self) -> None:
        """Subscribe, where a first scene is wanted; `take` does so again where one is."""
        if self._wanted():
            self._begin()

    def stop(self) -> None:
        """Take no depth any more; frame sets that wait for some are dropped."""
        self._end()
        self._held.clear()

    def _end(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self._came = {}

    # -- in and out -----------------------------------------------------------------------------

    def take(self, frame_set: RawFrameSet) -> None:
        """Hand `frame_set` over, now or once its depth is there."""
        if not self._wanted():
            self._release()
            self._hand_over(frame_set)
            return
        if not self._subscriptions:  # the scene was reset
            self._begin()
        if self._first_s is None:
            self._first_s = self._now()
        self._held.append((frame_set, self._now()))
        if len(self._held) > self._settings.queue_size:
            self._held.popleft()
            self._drops.add('before_depth')
        self._release()

    def drops(self) -> dict[str, int]:
        """Depth pictures and frame sets that were not used, by 'cause:camera' or cause."""
        return self._drops.snapshot()

    def _on_depth(self, name: str, message: Image | CompressedImage) -> None:
        topic, stamp_ns = self._topics[name], nanoseconds(message.header.stamp)
        try:
            if stamp_ns == 0:
                raise InputError(f'{topic}: depth with stamp 0; expected the time of exposure. '
                                 f'Make the camera driver fill header.stamp.')
            picture = transport_depth(message.format, message.data.tobytes(), topic) \
                if isinstance(message, CompressedImage) else raw_depth(layout_of(message), topic)
        except InputError as error:
            self._warnings.add('bad_depth', name, str(error))
            return
        queue = self._came.setdefault(name, deque(maxlen=self._settings.queue_size))
        queue.append((stamp_ns, picture))
        self._release()

    def _release(self) -> None:
        wanted = self._wanted()
        while self._held and (not wanted or self._ready(*self._held[0])):
            frame_set, _ = self._held.popleft()
            self._hand_over(self._joined(frame_set))
        if not wanted and self._subscriptions:
            self._end()

    # -- joining --------------------------------------------------------------------------------

    def _ready(self, frame_set: RawFrameSet, arrived_s: float) -> bool:
        """Whether nothing is to be gained by waiting for depth of `frame_set`."""
        now = self._now()
        absent = self._absent()
        assert self._first_s is not None
        if absent and now - self._first_s < self._settings.calibration_wait_s:
            return False
        if absent and not self._told:
            self._told = True
            self._node.get_logger().warning(
                f'no depth within {now - self._first_s:.1f} s of the first frame set on '
                f'{", ".join(self._topics[name] for name in absent)}; the first scene is made '
                f'without. Check the parameter depth_topic and the drivers.')
        return now - arrived_s >= self._settings.max_wait_s or all(
            self._passed(name, frame_set.stamp_ns) for name in self._came
            if name in frame_set.pictures)

    def _absent(self) -> list[str]:
        """Cameras whose depth is still to come: those that somebody publishes, or all."""
        if not self._came:
            return list(self._topics)
        return [name for name, topic in self._topics.items()
                if name not in self._came and self._node.count_publishers(topic)]

    def _passed(self, name: str, stamp_ns: int) -> bool:
        """Whether depth of an instant has come, or some that is later."""
        return any(stamp >= stamp_ns - self._spread_ns for stamp, _ in self._came[name])

    def _joined(self, frame_set: RawFrameSet) -> RawFrameSet:
        depths = {}
        for name, queue in self._came.items():
            at = nearest([stamp for stamp, _ in queue], frame_set.stamp_ns, self._spread_ns)
            if name in frame_set.pictures and at is not None:
                picture = queue[at][1]
                if self._fits(name, picture, frame_set.pictures[name]):
                    depths[name] = picture
        return replace(frame_set, depths={**frame_set.depths, **depths}) if depths else frame_set

    def _fits(self, name: str, depth: DepthPicture, picture: Picture) -> bool:
        """Whether depth has the size of its picture; says so where it has not."""
        try:
            came, expected = depth.size(), picture.size()
        except InputError as error:
            self._warnings.add('bad_depth', name, str(error))
            return False
        if came != expected:
            self._warnings.add('bad_depth', name, (
                f'{self._topics[name]}: depth of {came[0]}x{came[1]} px; expected '
                f'{expected[0]}x{expected[1]}, registered to the pictures of the color camera. '
                f'Have the driver align depth to color.'))
        return came == expected
