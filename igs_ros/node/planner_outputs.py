# SPDX-License-Identifier: Apache-2.0
"""Publishers for planners: what moves, which space is free, voxels, and decimated points.

Made in a thread of their own, only for topics with subscribers, of the newest scene.
"""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from igs_ros.core.config import Config
from igs_ros.live.pipeline import LivePipeline
from igs_ros.live.planning import PlannerScene, Planning, check
from igs_ros.live.threads import PeriodicThread
from igs_ros.node import convert, convert_planner
from igs_ros.node.logs import with_traceback
from igs_ros.node.outputs import newest
from igs_ros.node.params import NodeConfig
from igs_ros.render.choose import make_rasterizer

_LOOK_S = 0.2  # how often to look for new subscribers


@dataclass(eq=False)
class _Topic:
    """A topic, its rate, and of which state it holds what was published last."""

    publisher: Publisher
    make: Callable[[PlannerScene, Header], PointCloud2 | OccupancyGrid]
    rate_hz: float
    done: tuple[int, int] | None = None  # scene_id and sequence
    known: int = 0  # subscribers
    published_s: float = float('-inf')

    def due(self, state: tuple[int, int], now_s: float) -> bool:
        """Whether `state` is new to a subscriber, and the rate allows it."""
        subscribers = self.publisher.get_subscription_count()
        new = subscribers > self.known or state != self.done
        self.known = min(self.known, subscribers)
        return subscribers > 0 and new and now_s - self.published_s >= 1 / self.rate_hz


class PlannerOutput:
    """~/moving_points, ~/occupancy, ~/voxels, and ~/points where they are decimated.

    Args:
        node: that publishes.
        settings: those of the node.
        config: those of the pipeline.

    Raises:
        InputError: parameters that make no grid.
    """

    def __init__(self, node: Node, settings: NodeConfig, config: Config):
        check(settings.planning)
        self._settings = settings
        self._config = config
        self._pipeline: LivePipeline | None = None
        self._planning: Planning | None = None
        planning = settings.planning
        latched = newest(DurabilityPolicy.TRANSIENT_LOCAL)  # as costmap layers ask for maps
        self._topics = [
            _Topic(node.create_publisher(PointCloud2, '~/moving_points', newest()),
                   _moving, planning.rate_hz),
            _Topic(node.create_publisher(OccupancyGrid, '~/occupancy', latched),
                   _occupancy, planning.rate_hz),
            _Topic(node.create_publisher(PointCloud2, '~/voxels', newest()),
                   _voxels, planning.rate_hz)]
        if planning.points_voxel_m > 0:
            self._topics.append(_Topic(node.create_publisher(PointCloud2, '~/points', newest()),
                                       _points, settings.points_rate_hz))
        log = node.get_logger()
        self.thread = PeriodicThread('planner', self._run_once, lambda error: log.error(
            with_traceback('outputs for planners not published', error)))

    def change(self, settings: NodeConfig) -> None:
        """Go on with other settings."""
        self._settings = settings
        for topic in self._topics:
            topic.rate_hz = settings.points_rate_hz if topic.make is _points \
                else settings.planning.rate_hz
        if self._pipeline is not None:
            self.begin(self._pipeline)
        self.thread.wake()

    def begin(self, pipeline: LivePipeline) -> None:
        """Publish what `pipeline` shows."""
        self._planning = Planning(
            self._settings.planning, pipeline.working_cameras,
            make_rasterizer(self._config.device, self._config.threads),
            self._settings.points_min_opacity, self._config.threads)
        self._pipeline = pipeline

    def _run_once(self) -> float:
        shown = self._pipeline.shown() if self._pipeline else None
        if shown is None or self._planning is None:
            return _LOOK_S
        snapshot, now_s = shown.snapshot, time.monotonic()
        state = (snapshot.scene_id, snapshot.sequence)
        due = [topic for topic in self._topics if topic.due(state, now_s)]
        if due:
            scene = self._planning.look(snapshot, shown.frame_set, shown.step_s)
            head = convert.header(snapshot.stamp_ns, self._settings.world_frame)
            # without one picture that could be used, nothing is known of this moment
            for topic in due if scene.sights else ():
                subscribers = topic.publisher.get_subscription_count()
                topic.publisher.publish(topic.make(scene, head))
                topic.done, topic.known, topic.published_s = state, subscribers, now_s
        return min(_LOOK_S, *(1 / topic.rate_hz for topic in self._topics))


def _points(scene: PlannerScene, head: Header) -> PointCloud2:
    size = scene.planning.config.points_voxel_m
    return convert_planner.planner_points_message(scene.points(size), head)


def _moving(scene: PlannerScene, head: Header) -> PointCloud2:
    return convert_planner.planner_points_message(scene.moving(), head)


def _voxels(scene: PlannerScene, head: Header) -> PointCloud2:
    return convert_planner.voxels_message(scene.occupied(), scene.box.size, head)


def _occupancy(scene: PlannerScene, head: Header) -> OccupancyGrid:
    return convert_planner.grid_message(scene.grid(), scene.box, head)
