# SPDX-License-Identifier: Apache-2.0
"""What planners read, as ROS messages: clouds with covariances, grids, voxels."""
from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion
from nav_msgs.msg import MapMetaData, OccupancyGrid
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from igs_ros.node.convert import fill
from igs_ros.node.convert_scene import POINT_FIELDS, cloud_message
from igs_ros.vision.moving import PlannerPoints
from igs_ros.vision.occupancy import Box

# float32 each
MOVING_FIELDS = (*POINT_FIELDS, 'vxx', 'vxy', 'vxz', 'vyy', 'vyz', 'vzz', 'speed')
VOXEL_FIELDS = ('x', 'y', 'z', 'size')
_ROWS, _COLUMNS = np.triu_indices(3)  # of a covariance, row by row


def planner_points_message(points: PlannerPoints, head: Header) -> PointCloud2:
    """Points as `convert_scene.points_message` has them, with covariances where they are known.

    vxx .. vzz: the upper half of the covariance of vx vy vz, (m/s)^2; speed: m/s, which RViz can
    color by.
    """
    names = POINT_FIELDS if points.covariances is None else MOVING_FIELDS
    packed = np.empty((len(points), len(names)), np.float32)
    packed[:, :3], packed[:, 4:7] = points.positions, points.velocities
    levels = np.rint(points.rgb * 255).astype(np.uint32)
    packed.view(np.uint32)[:, 3] = levels[:, 0] << 16 | levels[:, 1] << 8 | levels[:, 2]
    if points.covariances is not None:
        packed[:, 7:13] = points.covariances[:, _ROWS, _COLUMNS]
        packed[:, 13] = np.linalg.norm(points.velocities, axis=1)
    return cloud_message(packed, names, head, bool(np.isfinite(packed[:, 4:]).all()))


def voxels_message(centers: np.ndarray, size: float, head: Header) -> PointCloud2:
    """Occupied voxels, each with the side of its cube.

    Args:
        centers: [V, 3] m, in the world frame.
        size: side of a voxel, m.
        head: stamp of what is shown, world frame.
    """
    packed = np.full((len(centers), len(VOXEL_FIELDS)), size, np.float32)
    packed[:, :3] = centers
    return cloud_message(packed, VOXEL_FIELDS, head)


def grid_message(columns: np.ndarray, box: Box, head: Header) -> OccupancyGrid:
    """Columns of a box as a grid.

    The origin is the least corner of the box in the world frame; its orientation stands the grid
    upright where z of the world is not up.

    Args:
        columns: [X, Y] int8: -1 unknown, 0 free, 100 occupied.
        box: that the columns stand in.
        head: stamp of what is shown, world frame.
    """
    world_from_grid = box.grid_from_world.T
    x, y, z, w = Rotation.from_matrix(world_from_grid).as_quat()
    corner = world_from_grid @ box.corner
    origin = Pose(position=Point(x=corner[0], y=corner[1], z=corner[2]),
                  orientation=Quaternion(x=x, y=y, z=z, w=w))
    width, height = columns.shape
    message = OccupancyGrid(header=head, info=MapMetaData(
        map_load_time=head.stamp, resolution=box.size, width=width, height=height, origin=origin))
    fill(message.data, np.ascontiguousarray(columns.T))
    return message
