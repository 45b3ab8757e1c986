# SPDX-License-Identifier: Apache-2.0
"""Publishers and pose topics of the views.

Views are drawn in a thread of their own (live/virtual_cameras.py), and only for topics with
subscribers.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from igs_ros.core.camera import Camera
from igs_ros.core.config import Config
from igs_ros.core.errors import InputError
from igs_ros.core.logs import ThrottledWarnings
from igs_ros.core.snapshot import View
from igs_ros.core.timing import Drops
from igs_ros.core.transforms import TransformSource
from igs_ros.live.virtual_cameras import ViewLoop, ViewSource, VirtualCamera
from igs_ros.node import convert
from igs_ros.node.logs import with_traceback
from igs_ros.node.outputs import newest
from igs_ros.node.params import NodeConfig
from igs_ros.node.view_cameras import camera_of, frame_of
from igs_ros.node.view_config import ViewConfig


class _Pictures:
    """The messages of one view, each made when somebody wants it."""

    def __init__(self, view: View, frame_id: str, quality: int, baseline: float,
                 known_only: bool):
        self.view = view
        self._known_only = known_only
        self._quality = quality
        self._baseline = baseline
        self._head = convert.header(view.stamp_ns, frame_id)

    @cached_property
    def _pixels(self):
        return self.view.pixels()

    @cached_property
    def image(self) -> Image:
        return convert.image_message(self._pixels, self._head)

    @cached_property
    def compressed(self) -> CompressedImage:
        file = convert.jpeg_array(self._pixels, self._quality)
        return convert.jpeg_message(file.data, self._head)

    @cached_property
    def depth(self) -> Image:
        known = self.view.known_depth if self._known_only else self.view.depth
        # what is drawn before its confidence was asked for is not known
        return convert.depth_message(np.full_like(self.view.depth, np.nan) if known is None
                                     else known, self._head)

    @cached_property
    def confidence(self) -> Image:
        sure = self.view.confidence
        return convert.gray_message(np.zeros_like(self.view.alpha) if sure is None else sure,
                                    self._head)

    @cached_property
    def info(self) -> CameraInfo:
        return convert.info_message(self.view.camera, self._head, self._baseline)


class _Topics:
    """The topics of one eye, named as image_transport has it: camera_info beside each image.

    Args:
        node: publishes.
        prefix: of the topics.
        frame_id: of their headers.
        quality: of the JPEG pictures.
        baseline: of the right eye of a pair, m from the left one; else 0.
        known_only: whether depths without support are left out.
    """

    def __init__(self, node: Node, prefix: str, frame_id: str, quality: int,
                 baseline: float = 0.0, known_only: bool = False):
        topics = {'image': (Image, 'image'), 'compressed': (CompressedImage, 'image/compressed'),
                  'depth': (Image, 'depth'), 'confidence': (Image, 'confidence'),
                  'info': (CameraInfo, 'camera_info')}
        if baseline:  # camera_info is of the left frame, in which depth from here would be wrong
            del topics['depth'], topics['confidence']
        self._publishers = {name: node.create_publisher(kind, f'{prefix}/{topic}', newest())
                            for name, (kind, topic) in topics.items()}
        self._frame_id, self._quality, self._baseline = frame_id, quality, baseline
        self._known_only = known_only
        self._shown: _Pictures | None = None

    def change(self, quality: int, known_only: bool) -> None:
        """Other settings from the next view on."""
        self._quality, self._known_only, self._shown = quality, known_only, None

    def wants_confidence(self) -> bool:
        """Whether somebody wants what only it tells."""
        wanted = self.wanted()
        return 'confidence' in wanted or (self._known_only and 'depth' in wanted)

    def wanted(self) -> list[str]:
        """Which of them have subscribers."""
        return [name for name, publisher in self._publishers.items()
                if publisher.get_subscription_count()]

    def send(self, view: View) -> None:
        """Publish what is wanted; the messages of a view are made once."""
        if self._shown is None or self._shown.view is not view:
            self._shown = _Pictures(view, self._frame_id, self._quality, self._baseline,
                                    self._known_only)
        for name in self.wanted():
            self._publishers[name].publish(getattr(self._shown, name))


@dataclass
class _Outlet:
    """The topics of one virtual camera, an `Outlet`; on_view: told of the first eye's views."""

    eyes: tuple[_Topics, ...]
    on_view: Callable[[View], object]
    shown: View | None = None

    def wanted(self) -> bool:
        """Whether anybody has subscribed to any of them."""
        return any(eye.wanted() for eye in self.eyes)

    def wants_confidence(self) -> bool:
        """Whether a picture is to have one."""
        return any(eye.wants_confidence() for eye in self.eyes)

    def send(self, views: tuple[View, ...]) -> None:
        """Publish the views of all eyes."""
        if views[0] is not self.shown:
            self.shown = views[0]
            self.on_view(views[0])
        for eye, view in zip(self.eyes, views, strict=True):
            eye.send(view)


class ViewOutputs:
    """~/NAME/* of every view: what it sees of the newest scene, at a rate of its own.

    Args:
        node: publishes and subscribes.
        settings: those of the node.
        config: those of the pipeline.
        views: settings of the views, by name.
        rig: the cameras that they start from.
        warnings: takes what is wrong with poses.
        drops: counts poses that were not drawn.
        on_view: told of each new view (of pairs, the left one) and its frame before it is
            published; must not block.
        transforms: of TF; needed where a view has a frame.

    Raises:
        InputError: a parameter of a view cannot work.
    """

    def __init__(self, node: Node, settings: NodeConfig, config: Config,
                 views: Mapping[str, ViewConfig], rig: Mapping[str, Camera],
                 warnings: ThrottledWarnings, drops: Drops, *,
                 on_view: Callable[[View, str], object] = lambda view, frame: None,
                 transforms: TransformSource | None = None):
        self._settings = settings
        self._config = config
        self._views = dict(views)
        self._warnings = warnings
        self._on_view = on_view
        self._transforms = transforms
        self._placed: set[str] = set()  # views that somebody has moved
        self._topics: dict[str, tuple[_Topics, ...]] = {}
        self._cameras = {name: self._virtual_camera(node, name, rig, drops) for name in views}
        self._loop = ViewLoop(tuple(self._cameras.values()), lambda error: warnings.add(
            'view_error', 'view', with_traceback('view not rendered', error)))
        self.thread = self._loop.thread

    @property
    def cameras(self) -> Mapping[str, VirtualCamera]:
        """The views by name, which can be moved and changed while they run."""
        return self._cameras

    def _virtual_camera(self, node: Node, name: str, rig: Mapping[str, Camera], drops: Drops
                        ) -> VirtualCamera:
        view, settings = self._views[name], self._settings
        topics = partial(_Topics, node, frame_id=frame_of(settings, name, bool(view.baseline)),
                         quality=settings.jpeg_quality, known_only=_known_only(settings, view))
        eyes = (topics(f'~/{name}/left'), topics(f'~/{name}/right', baseline=view.baseline)) \
            if view.baseline else (topics(f'~/{name}'),)
        self._topics[name] = eyes
        outlet = _Outlet(eyes, partial(self._told, frame_of(settings, name, bool(view.baseline))))
        if not view.frame:
            topic = f'~/{name}/pose'
            node.create_subscription(PoseStamped, topic, partial(
                self._on_pose, name, node.resolve_topic_name(topic)), 1)
        return VirtualCamera(
            name, camera_of(name, view, settings, self._config, rig),
            view.rate_hz or self._config.budget.view_hz, outlet, every_scene=not view.rate_hz,
            baseline=view.baseline, drops=drops, confidence=outlet.wants_confidence,
            follow=partial(self._pose_in_tf, name, view.frame) if view.frame else None)

    def begin(self, source: ViewSource) -> None:
        """Render from `source`."""
        self._loop.begin(source)

    def calibrate(self, rig: Mapping[str, Camera], placed: bool = False) -> None:
        """Take the intrinsics that follow from cameras; the poses of the views stay.

        Args:
            rig: the cameras in use, and those of the rig file.
            placed: take their poses, too, where nobody has moved the view.
        """
        for name, one in self._cameras.items():
            camera = camera_of(name, self._views[name], self._settings, self._config, rig)
            stays = name in self._placed or not placed
            one.change(camera.placed(one.camera.camera_from_world) if stays else camera)

    def change(self, settings: NodeConfig, config: Config, views: Mapping[str, ViewConfig],
               rig: Mapping[str, Camera]) -> None:
        """Go on with other settings; a view whose own have not changed stays where it is.

        Args:
            settings: those of the node.
            config: those of the pipeline.
            views: settings of the views, by name: the same names.
            rig: the cameras in use, and those of the rig file.

        Raises:
            InputError: a parameter of a view cannot work.
        """
        before = self._settings, self._views
        self._settings, self._config, self._views = settings, config, dict(views)
        for name, one in self._cameras.items():
            view = views[name]
            for topics in self._topics[name]:
                topics.change(settings.jpeg_quality, _known_only(settings, view))
            one.change(rate_hz=view.rate_hz or config.budget.view_hz,
                       every_scene=not view.rate_hz)
            if _stand(settings, view) != _stand(before[0], before[1][name]):
                self._placed.discard(name)
                one.change(camera_of(name, view, settings, config, rig))

    def wake(self) -> None:
        """There is a new scene."""
        self.thread.wake()

    def _told(self, frame: str, view: View) -> None:
        self._on_view(view, frame)

    def _on_pose(self, name: str, topic: str, message: PoseStamped) -> None:
        try:
            pose = convert.camera_from_world_of(message, self._settings.world_frame, topic)
        except InputError as error:
            self._warnings.add('bad_pose', name, str(error))
            return
        self._placed.add(name)
        self._cameras[name].place(pose)

    def _pose_in_tf(self, name: str, frame: str) -> np.ndarray | None:
        assert self._transforms is not None, f'view {name} has a frame'
        try:
            pose = self._transforms.lookup(frame, self._settings.world_frame)
        except InputError as error:
            self._warnings.add('no_view_transform', name, f"view '{name}' (parameter "
                               f'{name}.frame) stays where it is: {error}')
            return None
        self._placed.add(name)
        return pose


def _stand(settings: NodeConfig, view: ViewConfig) -> tuple[object, ...]:
    """All that says where a view stands and what with."""
    return (settings.view_camera, settings.view_pose, settings.view_width,
            replace(view, rate_hz=0.0, known_only=False))


def _known_only(settings: NodeConfig, view: ViewConfig) -> bool:
    return settings.view_known_only or view.known_only
