# SPDX-License-Identifier: Apache-2.0
"""Transforms and markers for others: where the cameras and the view are."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from scipy.spatial.transform import Rotation
from visualization_msgs.msg import Marker, MarkerArray

from igs_ros.core.camera import Camera
from igs_ros.core.snapshot import View
from igs_ros.node.convert import header
from igs_ros.node.outputs import newest
from igs_ros.node.params import NodeConfig
from igs_ros.node.tf_in import tf_message, tf_qos

FRAME_PATTERN = '{camera}_optical_frame'
"""Names of the optical frames of cameras that come from a rig file."""
_FRUSTUM_M = 0.2  # how far frustums are drawn
_LINE_M = 0.004
_COLOR = (0.2, 0.7, 1.0, 1.0)  # RGBA


def optical_frame(camera: str, pattern: str = FRAME_PATTERN) -> str:
    """The frame that a camera of a rig file has in TF."""
    return pattern.replace('{camera}', camera)


def transform_message(parent: str, child: str, stamp_ns: int, parent_from_child: np.ndarray,
                      ) -> TransformStamped:
    """A TransformStamped.

    Args:
        parent: frame.
        child: frame.
        stamp_ns: when it holds.
        parent_from_child: [4, 4] rigid, m.

    Returns:
        The message.
    """
    message = TransformStamped(header=header(stamp_ns, parent), child_frame_id=child)
    at, turn = message.transform.translation, message.transform.rotation
    at.x, at.y, at.z = parent_from_child[:3, 3].tolist()
    turn.x, turn.y, turn.z, turn.w = \
        Rotation.from_matrix(parent_from_child[:3, :3]).as_quat().tolist()
    return message


def rig_message(kind: type, cameras: Iterable[Camera], world: str, stamp_ns: int,
                pattern: str = FRAME_PATTERN) -> Any:  # of `kind`
    """The static transforms of cameras.

    Args:
        kind: TFMessage.
        cameras: where they stand.
        world: frame of their poses.
        stamp_ns: of the message.
        pattern: of the names of their optical frames.

    Returns:
        One TFMessage: world -> optical frame of every camera.
    """
    return kind(transforms=[
        transform_message(world, optical_frame(camera.name, pattern), stamp_ns,
                          camera.world_from_camera) for camera in cameras])


def frustum_markers(cameras: Mapping[str, Camera], frames: Mapping[str, str]) -> MarkerArray:
    """The frustums of cameras, in their optical frames: RViz draws them where TF has those.

    Args:
        cameras: by name, with their intrinsics.
        frames: optical frames by name of the camera.

    Returns:
        One marker per camera, 8 lines each.
    """
    markers = []
    for number, (name, camera) in enumerate(cameras.items()):
        marker = Marker(ns='cameras', id=number, type=Marker.LINE_LIST, action=Marker.ADD,
                        frame_locked=True, text=name)
        marker.header.frame_id = frames[name]
        marker.scale.x = _LINE_M
        marker.color.r, marker.color.g, marker.color.b, marker.color.a = _COLOR
        marker.pose.orientation.w = 1.0
        sides = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (camera.width, camera.height)
        rays = (sides - camera.K[:2, 2]) / np.diag(camera.K)[:2]
        corners = [Point(x=x * _FRUSTUM_M, y=y * _FRUSTUM_M, z=_FRUSTUM_M)
                   for x, y in rays.tolist()]
        marker.points = [end for corner, after in zip(corners, [*corners[1:], corners[0]])
                         for end in (Point(), corner, corner, after)]
        markers.append(marker)
    return MarkerArray(markers=markers)


class TransformOutput:
    """/tf_static, /tf and ~/cameras.

    Args:
        node: that publishes.
        settings: those of the node.
        rig: the cameras of the rig file that the poses come from, by name; empty where they come
            from TF: what others broadcast is never broadcast again.
    """

    def __init__(self, node: Node, settings: NodeConfig, rig: Mapping[str, Camera]):
        self._settings = settings
        self._markers = node.create_publisher(MarkerArray, '~/cameras',
                                              newest(DurabilityPolicy.TRANSIENT_LOCAL))
        self._rig = dict(rig)
        self._kind = tf_message()
        self._told_ns: dict[str, int] = {}  # stamps by frame
        if self._kind is None:
            node.get_logger().warning(
                'no transforms are published: the Python package tf2_msgs is not installed. '
                'Install ros-$ROS_DISTRO-tf2-msgs, or this package again: its wheel brings it.')
            return
        self._static = node.create_publisher(self._kind, '/tf_static', tf_qos(True, depth=1))
        self._timed = node.create_publisher(self._kind, '/tf', tf_qos(False))
        if rig:
            self._static.publish(rig_message(self._kind, rig.values(), settings.world_frame,
                                             node.get_clock().now().nanoseconds))

    def cameras(self, cameras: Mapping[str, Camera], frames: Mapping[str, str]) -> None:
        """Show the cameras in use, by name.

        frames: their optical frames where they come from TF, else empty.
        """
        own = {name: optical_frame(name) for name in cameras}
        self._markers.publish(frustum_markers(cameras, {**own, **frames}))

    def view(self, view: View, frame: str) -> None:
        """Tell where a view was at its stamp; once for each stamp, as tf2 takes no other."""
        if self._kind is None or view.stamp_ns == self._told_ns.get(frame):
            return
        self._told_ns[frame] = view.stamp_ns
        self._timed.publish(self._kind(transforms=[transform_message(
            self._settings.world_frame, frame, view.stamp_ns, view.camera.world_from_camera)]))
