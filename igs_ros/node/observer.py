# SPDX-License-Identifier: Apache-2.0
"""Watches the topics of a running node: which view came when, and what the node says of itself."""
from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from igs_ros.msg import SceneStatus
from igs_ros.node.convert import nanoseconds
from igs_ros.node.convert_scene import shown_stamp_ns


@dataclass(eq=False)
class Seen:
    """The first view with one stamp."""

    rgb: np.ndarray | None = None  # [H, W, 3] uint8
    depth: np.ndarray | None = None  # [H, W] float32 m, NaN = nothing
    latency_s: float | None = None  # arrival here - stamp


@dataclass
class Processed:
    """What the status said when the scene first showed one stamp."""

    kind: str  # 'key' when it is the first of a new refined key, else 'candidate'
    motion_s: float
    refine_s: float  # of the refinement behind a key, 0 for candidates
    gaussians: int
    render_s: float = 0.0  # of the last view before the next frame set was processed


class Observer(Node):
    """Collects the views and statuses of the node `/igs`."""

    def __init__(self, **node_options: Any):  # of rclpy's Node
        super().__init__('igs_observer', **node_options)
        self.views: dict[int, Seen] = {}  # by stamp
        self.processed: dict[int, Processed] = {}  # by stamp
        self.status: SceneStatus | None = None
        self._key_sequence = 0
        self._newest: Processed | None = None
        every = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        latched = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE,
                             durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(Image, '/igs/view/image', self._on_image, every)
        self.create_subscription(Image, '/igs/view/depth', self._on_depth, every)
        self.create_subscription(SceneStatus, '/igs/status', self._on_status, latched)

    def _on_image(self, message: Image) -> None:
        stamp_ns = nanoseconds(message.header.stamp)
        seen = self.views.setdefault(stamp_ns, Seen())
        if seen.rgb is None:
            seen.latency_s = (time.time_ns() - stamp_ns) * 1e-9
            pixels = np.frombuffer(message.data, np.uint8)
            seen.rgb = pixels.reshape(message.height, message.width, 3)

    def _on_depth(self, message: Image) -> None:
        seen = self.views.setdefault(nanoseconds(message.header.stamp), Seen())
        if seen.depth is None:
            meters = np.frombuffer(message.data, np.float32)
            seen.depth = meters.reshape(message.height, message.width)

    def _on_status(self, message: SceneStatus) -> None:
        if len(message.stage_names) != len(message.stage_last_s):
            self.get_logger().warning(
                f'/igs/status: {len(message.stage_names)} stage_names and '
                f'{len(message.stage_last_s)} stage_last_s; expected as many. Left out.',
                once=True)
            return
        self.status = message
        times = dict(zip(message.stage_names, message.stage_last_s, strict=True))
        if self._newest is not None:
            self._newest.render_s = times.get('view', 0.0)
        stamp_ns = shown_stamp_ns(message)
        if stamp_ns is None or stamp_ns in self.processed:
            return
        # the first key is the first scene itself, not a refined one
        new_key = self._key_sequence not in (0, message.key_sequence)
        self._key_sequence = message.key_sequence
        self._newest = self.processed[stamp_ns] = Processed(
            'key' if new_key else 'candidate', times.get('update/motion', 0.0),
            times.get('refine', 0.0) if new_key else 0.0, message.gaussians)

    def about(self, stamp_ns: int) -> Processed | None:
        """What is known of the frame set of that stamp.

        Where two scenes came between two statuses, the next one's; None if none came after.
        """
        later = [stamp for stamp in self.processed if stamp >= stamp_ns]
        return self.processed[min(later)] if later else None
