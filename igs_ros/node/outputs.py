# SPDX-License-Identifier: Apache-2.0
"""Publishers: views, points, the scene and the status.

Rendering and packing happen in two threads of their own, and only for topics with subscribers.
"""
from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.logs import ThrottledWarnings
from igs_ros.core.snapshot import Snapshot, View
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


class _Pictures:
    """The messages of one view, each made when somebody wants it."""

    def __init__(self, view: View, frame_id: str, quality: int):
        self._view = view
        self._quality = quality
        self._head = convert.header(view.stamp_ns, frame_id)

    @cached_property
    def _pixels(self):
        return convert.view_pixels(self._view)

    @cached_property
    def image(self) -> Image:
        return convert.image_message(self._pixels, self._head)

    @cached_property
    def compressed(self) -> CompressedImage:
        return convert.jpeg_message(convert.jpeg_bytes(self._pixels, self._quality), self._head)

    @cached_property
    def depth(self) -> Image:
        return convert.depth_message(self._view.depth, self._head)

    @cached_property
    def info(self) -> CameraInfo:
        return convert.info_message(self._view.camera, self._head)


class ViewOutput:
    """~/view/*: what the view camera sees of the newest scene, at a rate of its own.

    rate_hz: of the views; camera: the view at first, without distortion; ~/view/pose moves it;
    on_view: told of each new view before it is published, must not block.
    """

    def __init__(self, node: Node, settings: NodeConfig, rate_hz: float, camera: Camera,
                 warnings: ThrottledWarnings,
                 on_view: Callable[[View], object] = lambda view: None):
        self._settings = settings
        self._rate_hz = rate_hz
        self._camera = camera
        self._steered = False
        self._warnings = warnings
        self._on_view = on_view
        self._pipeline: LivePipeline | None = None
        self._publishers = {
            'image': node.create_publisher(Image, '~/view/image', newest()),
            'compressed': node.create_publisher(CompressedImage, '~/view/image/compressed',
                                                newest()),
            'depth': node.create_publisher(Image, '~/view/depth', newest()),
            'info': node.create_publisher(CameraInfo, '~/view/camera_info', newest())}
        self._pose_topic = node.resolve_topic_name('~/view/pose')
        node.create_subscription(PoseStamped, '~/view/pose', self._on_pose, 1)
        self._shown: tuple[Snapshot, Camera, _Pictures] | None = None
        log = node.get_logger()
        self.thread = PeriodicThread('view', self._run_once, lambda error: log.error(
            with_traceback('view not rendered', error)))

    def begin(self, pipeline: LivePipeline) -> None:
        """Render from `pipeline`."""
        self._pipeline = pipeline

    def calibrate(self, camera: Camera, placed: bool = False) -> None:
        """Take the intrinsics of `camera` (no distortion); the pose of the view stays.

        placed: take its pose, too, unless somebody has moved the view.
        """
        move = placed and not self._steered
        self._camera = camera if move else camera.placed(self._camera.camera_from_world)

    def _on_pose(self, message: PoseStamped) -> None:
        try:
            pose = convert.camera_from_world_of(message, self._settings.world_frame,
                                                self._pose_topic)
        except InputError as error:
            self._warnings.add('bad_pose', 'view', str(error))
            return
        self._steered = True
        self._camera = self._camera.placed(pose)

    def _run_once(self) -> float:
        wanted = [name for name, publisher in self._publishers.items()
                  if publisher.get_subscription_count()]
        pipeline = self._pipeline
        snapshot = pipeline.snapshot() if pipeline and wanted else None
        if pipeline and snapshot is not None:
            pictures = self._pictures(pipeline, snapshot, self._camera)
            for name in wanted:
                self._publishers[name].publish(getattr(pictures, name))
        return 1 / self._rate_hz

    def _pictures(self, pipeline: LivePipeline, snapshot: Snapshot, camera: Camera) -> _Pictures:
        """The messages of `snapshot` as `camera` sees it; rendered anew only after a change."""
        if self._shown is None or self._shown[0] is not snapshot or self._shown[1] is not camera:
            view = pipeline.view(camera, snapshot)
            if view is None:
                raise RuntimeError('the scene is gone')
            self._on_view(view)
            self._shown = snapshot, camera, _Pictures(view, self._settings.view_frame,
                                                      self._settings.jpeg_quality)
        return self._shown[2]


class StateOutput:
    """~/gaussians, ~/gaussians/updates, ~/points and ~/status.

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
            self._settings.points_min_opacity))

    def publish_overdue_status(self) -> None:
        """From another thread: publish the status where the loop, dead or busy, does not."""
        if time.monotonic() - self._status_s > _OVERDUE / self._settings.status_rate_hz:
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
