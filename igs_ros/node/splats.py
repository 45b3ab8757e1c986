# SPDX-License-Identifier: Apache-2.0
"""~/splats: the scene for the RViz display of RVizSplat, where gsplat_msgs is installed."""
from __future__ import annotations

import importlib
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy

from igs_ros.core.snapshot import Snapshot
from igs_ros.io.codec.splat_array import SPLAT_ARRAY_FIELDS, SPLAT_FIELDS, splat_array_bytes
from igs_ros.live.pipeline import LivePipeline
from igs_ros.live.threads import PeriodicThread
from igs_ros.node.logs import with_traceback
from igs_ros.node.outputs import newest
from igs_ros.node.params import NodeConfig

PERIOD_S = 1.0  # 38 MB for 100,000 Gaussians, which the display takes in one by one


class SplatOutput:
    """Publishes the newest scene once a second at most, from a thread of its own, if it is new.

    Args:
        node: publishes.
        settings: the world frame.
        kind: gsplat_msgs' SplatArray.
    """

    def __init__(self, node: Node, settings: NodeConfig, kind: Any):
        self._frame = settings.world_frame
        self._pipeline: LivePipeline | None = None
        self._shown: Snapshot | None = None
        # the display subscribes to nothing less than transient local
        self._publisher = node.create_publisher(kind, '~/splats',
                                                newest(DurabilityPolicy.TRANSIENT_LOCAL))
        log = node.get_logger()
        log.info(f'{self._publisher.topic_name}: gsplat_msgs/SplatArray for RViz, once a second')
        self.thread = PeriodicThread('splats', self._run_once, lambda error: log.error(
            with_traceback('splats not published', error)))

    def begin(self, pipeline: LivePipeline) -> None:
        """Publish the scenes of `pipeline`."""
        self._pipeline = pipeline

    def _run_once(self) -> float:
        snapshot = self._pipeline.snapshot() if self._pipeline else None
        if snapshot is not None and snapshot is not self._shown \
                and self._publisher.get_subscription_count():
            self._shown = snapshot
            self._publisher.publish(splat_array_bytes(snapshot.scene, snapshot.stamp_ns,
                                                      self._frame))
        return PERIOD_S


def splat_output(node: Node, settings: NodeConfig) -> SplatOutput | None:
    """None where gsplat_msgs is not installed, or is another one than is written here."""
    try:
        messages = importlib.import_module('gsplat_msgs.msg')
    except ImportError:
        return None
    found = [kind.get_fields_and_field_types() for kind in (messages.SplatArray, messages.Splat)]
    if found != [SPLAT_ARRAY_FIELDS, SPLAT_FIELDS]:
        node.get_logger().warning(
            f'~/splats is not published: SplatArray and Splat of the gsplat_msgs that is '
            f'installed have the fields {found}, expected {[SPLAT_ARRAY_FIELDS, SPLAT_FIELDS]}. '
            f'Install splat_interfaces 1.0, or report it.')
        return None
    return SplatOutput(node, settings, messages.SplatArray)
