# SPDX-License-Identifier: Apache-2.0
"""The scene and its state as ROS messages: points, keys, updates, status."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from igs_ros.core.scene import SH_C0, GaussianScene
from igs_ros.core.status import State, Status
from igs_ros.io.codec.state import KeyArrays, UpdateArrays, key_from_message, update_from_message
from igs_ros.live.camera_watch import CameraReport, CameraState
from igs_ros.msg import CameraStatus, GaussianCloud, GaussianUpdate, SceneStatus
from igs_ros.node.convert import fill, nanoseconds, time_message

__all__ = ['key_from_message', 'update_from_message']  # the way back, without ROS inside

POINT_FIELDS = ('x', 'y', 'z', 'rgb', 'vx', 'vy', 'vz')  # float32 each
_STATES = {State.WAITING: SceneStatus.WAITING, State.BOOTSTRAP: SceneStatus.BOOTSTRAP,
           State.STREAMING: SceneStatus.STREAMING, State.STALLED: SceneStatus.STALLED,
           State.FAILED: SceneStatus.FAILED, State.HOLDING: SceneStatus.HOLDING}
_CAMERA_STATES = {
    CameraState.OK: CameraStatus.OK, CameraState.NEVER_SEEN: CameraStatus.NEVER_SEEN,
    CameraState.SILENT: CameraStatus.SILENT, CameraState.REFUSED: CameraStatus.REFUSED,
    CameraState.UNDECODABLE: CameraStatus.UNDECODABLE,
    CameraState.OUT_OF_TIME: CameraStatus.OUT_OF_TIME,
    CameraState.IMPLAUSIBLE: CameraStatus.IMPLAUSIBLE}


def points_message(scene: GaussianScene, head: Header, min_opacity: float,
                   known_only: bool = False) -> PointCloud2:
    """The centers of Gaussians, with color and velocity.

    float32 x y z in m; rgb, a float32 with the bits 0x00RRGGBB (as RViz and PCL read it) of the
    direction-independent color; vx vy vz in m/s, NaN where unknown.

    Args:
        scene: the Gaussians, in the world frame.
        head: stamp of what is shown, world frame.
        min_opacity: 0..1; Gaussians of less are left out.
        known_only: whether Gaussians without support are left out.
    """
    chosen = scene.opacities >= min_opacity
    if known_only:
        chosen = chosen & scene.known
    rgb = (scene.sh[chosen, 0] * SH_C0 + 0.5).clamp(0, 1).cpu().numpy()
    levels = np.rint(rgb * 255).astype(np.uint32)
    points = np.empty((len(levels), len(POINT_FIELDS)), np.float32)
    points[:, :3] = scene.means[chosen].cpu().numpy()
    points.view(np.uint32)[:, 3] = levels[:, 0] << 16 | levels[:, 1] << 8 | levels[:, 2]
    points[:, 4:] = np.nan if scene.velocities is None else scene.velocities[chosen].cpu().numpy()
    return cloud_message(points, POINT_FIELDS, head, scene.velocities is not None)


def cloud_message(points: np.ndarray, names: tuple[str, ...], head: Header, is_dense: bool = True
                  ) -> PointCloud2:
    """A cloud of points.

    Args:
        points: [P, F] float32.
        names: of the F fields.
        head: stamp of what is shown, world frame.
        is_dense: no value is NaN.
    """
    message = PointCloud2(header=head, height=1, width=len(points), is_dense=is_dense)
    message.fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
                      for i, name in enumerate(names)]
    message.point_step = points.itemsize * len(names)
    message.row_step = message.point_step * len(points)
    fill(message.data, points)
    return message


def key_message(key: KeyArrays, head: Header) -> GaussianCloud:
    """A whole scene; head: stamp of the frame set that it shows, world frame."""
    return _filled(GaussianCloud(header=head), key)


def update_message(update: UpdateArrays, head: Header) -> GaussianUpdate:
    """A difference to a key; head: stamp of the frame set that it shows, world frame."""
    return _filled(GaussianUpdate(header=head), update)


def _filled(message, arrays: KeyArrays | UpdateArrays):
    for name, value in arrays.fields().items():
        if isinstance(value, np.ndarray):
            fill(getattr(message, name), value)
        else:
            setattr(message, name, value)
    return message


def status_message(status: Status, drops: Mapping[str, int], cameras: Mapping[str, CameraReport],
                   head: Header) -> SceneStatus:
    """The state of the pipeline.

    Args:
        status: as the pipeline reports it.
        drops: counts by cause of everything in front of the pipeline.
        cameras: what is known of each camera, by name.
        head: time of the report (0 = not known), world frame.
    """
    message = SceneStatus(header=head, state=_STATES[status.state], message=status.message)
    message.cameras = [_camera_message(report) for report in cameras.values()]
    shown = status.sequence > 0
    if shown:
        message.scene_stamp = time_message(status.stamp_ns)
    now_ns = nanoseconds(head.stamp)
    message.scene_age_s = (now_ns - status.stamp_ns) * 1e-9 if shown and now_ns else np.nan
    for name in ('scene_id', 'key_sequence', 'sequence', 'gaussians', 'cameras_expected',
                 'cameras_in_last_set', 'frame_sets_offered', 'frame_sets_processed',
                 'keys_refined', 'refinements_discarded', 'polished', 'chain_breaks', 'spread_s',
                 'rss_mb', 'gpu_mb'):
        setattr(message, name, getattr(status, name))
    for clock, level in status.levels.items():
        setattr(message, f'{clock}_level', level)
    message.budget_reduced = status.reduced
    message.queue_names = list(status.queues)
    message.queue_lengths.extend(status.queues.values())
    message.stage_names = list(status.stages)
    for name in ('last_s', 'mean_s', 'p50_s', 'p95_s', 'p99_s'):
        getattr(message, f'stage_{name}').extend(
            getattr(stage, name) for stage in status.stages.values())
    lost = {cause: count for cause, count in {**status.drops, **drops}.items() if count}
    message.drop_causes = list(lost)
    message.drop_counts.extend(lost.values())
    return message


def _camera_message(report: CameraReport) -> CameraStatus:
    message = CameraStatus(state=_CAMERA_STATES[report.state])
    for name in ('name', 'topic', 'message', 'age_s', 'rate_hz', 'offset_s', 'received', 'used',
                 'refused', 'unmatched', 'implausible', 'last_error', 'last_error_age_s'):
        setattr(message, name, getattr(report, name))
    return message


def shown_stamp_ns(message: SceneStatus) -> int | None:
    """The stamp of the frame set that the scene shows, in ns; None without a scene."""
    return nanoseconds(message.scene_stamp) or None
