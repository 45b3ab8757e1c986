# SPDX-License-Identifier: Apache-2.0
"""Publishers of the state: points, the scene and the status.

Packing happens in a thread of its own, and only for topics with subscribers.
"""
from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2

from igs_ros.core.snapshot import Snapshot
from igs_ros.io.codec.state import key_arrays, update_arrays
from igs_ros.live.pipeline import LivePipeline
from igs_ros.live.threads import PeriodicThread
from igs_ros.msg import GaussianCloud, GaussianUpdate, SceneStatus
from igs_ros.node import convert, convert_scene
from igs_ros.node.logs import with_traceback
from igs_ros.node.params import NodeConfig

_LOOK_S = 0.2  # how often to look for new subscribers
_OVERDUE = 3  # periods of the status


def newest(durability: DurabilityPolicy = DurabilityPolicy.VOLATILE) -> QoSProfile:
    """Reliable, depth 1: RViz and rqt ask for reliable, and only the newest counts."""
    return QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, durability=durability,
                      reliability=ReliabilityPolicy.RELIABLE)


class StateOutput:
    """~/gaussians, ~/gaussians/updates, ~/points and ~/status.

    Args:
        node: that publishes.
        settings: those of the node.
        make_status: the SceneStatus of this moment.
    """

    def __init__(self, node: Node, settings: NodeConfig,
                 make_status: Callable[[], SceneStatus]):
        self._settings = settings
        self._make_status = make_status
        self._pipeline: LivePipeline | None = None
        latched = newest(DurabilityPolicy.TRANSIENT_LOCAL)
        self._keys = node.create_publisher(GaussianCloud, '~/gaussians', latched)
        self._updates = node.create_publisher(GaussianUpdate, '~/gaussians/updates', newest())
        decimated = settings.planning.points_voxel_m > 0  # then PlannerOutput has this topic
        self._points = None if decimated else node.create_publisher(PointCloud2, '~/points',
                                                                    newest())
        self._status = node.create_publisher(SceneStatus, '~/status', latched)
        # what was last published: of which state, to how many subscribers
        self._done: dict[Publisher, tuple[tuple[int, int] | None, int]] = dict.fromkeys(
            (self._keys, self._updates, *([self._points] if self._points else [])), (None, 0))
        self._points_s = self._status_s = float('-inf')
        self._status_of = None
        log = node.get_logger()
        self.thread = PeriodicThread('state', self._run_once, lambda error: log.error(
            with_traceback('state not published', error)))

    def change(self, settings: NodeConfig) -> None:
        """Go on with other settings."""
        self._settings = settings
        self.thread.wake()

    def begin(self, pipeline: LivePipeline) -> None:
        """Publish the states of `pipeline`."""
        self._pipeline = pipeline

    def _run_once(self) -> float:
        snapshot = self._pipeline.snapshot() if self._pipeline else None
        self._publish_status()
        if snapshot is not None:
            self._publish_key(snapshot)
            self._publish_update(snapshot)
            self._publish_points(snapshot)
        return min(_LOOK_S, 1 / self._settings.status_rate_hz, 1 / self._settings.points_rate_hz)

    def _due(self, publisher: Publisher, state: tuple[int, int]) -> bool:
        """Whether `state` is new to a subscriber; then it counts as published."""
        subscribers = publisher.get_subscription_count()
        done, known = self._done[publisher]
        due = subscribers > 0 and (state != done or subscribers > known)
        self._done[publisher] = (state if due else done, subscribers)
        return due

    def _publish_key(self, snapshot: Snapshot) -> None:
        if self._keys.get_subscription_count() == 0:
            return  # a later subscriber makes it due
        state = (snapshot.scene_id, snapshot.key_sequence)
        if self._done[self._keys][0] == state:
            return  # latched: late subscribers get it from the middleware
        self._done[self._keys] = (state, 0)
        arrays = key_arrays(snapshot.key, scene_id=snapshot.scene_id,
                            sequence=snapshot.key_sequence)
        self._keys.publish(convert_scene.key_message(
            arrays, convert.header(snapshot.key_stamp_ns, self._settings.world_frame)))

    def _publish_update(self, snapshot: Snapshot) -> None:
        if snapshot.is_new_key and snapshot.stamp_ns == snapshot.key_stamp_ns:
            return  # the key says it all
        if not self._due(self._updates, (snapshot.scene_id, snapshot.sequence)):
            return
        arrays = update_arrays(snapshot.key, snapshot.scene, snapshot.moved_rows,
                               scene_id=snapshot.scene_id, sequence=snapshot.sequence,
                               base_sequence=snapshot.key_sequence)
        self._updates.publish(convert_scene.update_message(
            arrays, convert.header(snapshot.stamp_ns, self._settings.world_frame)))

    def _publish_points(self, snapshot: Snapshot) -> None:
        now = time.monotonic()
        if self._points is None or now - self._points_s < 1 / self._settings.points_rate_hz \
                or not self._due(self._points, (snapshot.scene_id, snapshot.sequence)):
            return
        self._points_s = now
        self._points.publish(convert_scene.points_message(
            snapshot.scene, convert.header(snapshot.stamp_ns, self._settings.world_frame),
            self._settings.points_min_opacity, self._settings.planning.known_only))

    def publish_overdue_status(self) -> None:
        """From another thread: publish the status where the loop, dead or busy, does not."""
        if time.monotonic() - self._status_s > _OVERDUE / self._settings.status_rate_hz:
            self._publish_status()

    def publish_status(self) -> None:
        """Publish it now, whatever was published before."""
        self._status_of = None
        self._publish_status()

    def _publish_status(self) -> None:
        """At its rate, and with every new scene and change of state."""
        message = self._make_status()
        state = (message.state, message.scene_id, message.sequence,
                 *(camera.state for camera in message.cameras))
        now = time.monotonic()
        if state == self._status_of and now - self._status_s < 1 / self._settings.status_rate_hz:
            return
        self._status_of, self._status_s = state, now
        self._status.publish(message)
