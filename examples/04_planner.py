# SPDX-License-Identifier: Apache-2.0
"""What a planner reads: the moving point nearest to the robot, its speed, and whether it comes.

    python examples/04_planner.py --robot 0 -1 0.9

Beside it: ros2 launch igs_ros demo.launch.py. A real planner asks tf2 where the robot is.
"""
import time

import numpy as np
import rclpy
import tyro
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

FIELDS = ['x', 'y', 'z', 'rgb', 'vx', 'vy', 'vz']  # float32 each, m and m/s (docs/topics.md)


class Planner(Node):
    """Looks at every cloud of points of the node `igs`."""

    def __init__(self, robot: tuple[float, float, float], least_speed: float) -> None:
        super().__init__('planner')
        self._robot = np.array(robot)
        self._least_speed = least_speed
        self.found = 0  # clouds with a moving point
        self.create_subscription(PointCloud2, '/igs/points', self._on_points, 1)

    def _on_points(self, message: PointCloud2) -> None:
        names = [field.name for field in message.fields]
        if names != FIELDS:
            self.get_logger().warning(f'points with fields {names}; expected {FIELDS}')
            return
        points = np.frombuffer(message.data, np.float32).reshape(-1, len(FIELDS))
        places, velocities = points[:, :3], points[:, 4:]
        speeds = np.linalg.norm(velocities, axis=1)  # NaN where not known, which is never greater
        moving = np.flatnonzero(speeds > self._least_speed)
        # the stamp is the time of exposure: what moves has moved on since
        age_s = time.time() - message.header.stamp.sec - message.header.stamp.nanosec * 1e-9
        if not len(moving):
            print(f'{len(points)} points, none moves; {age_s:.2f} s old', flush=True)
            return
        away = places[moving] - self._robot
        distances = np.linalg.norm(away, axis=1)
        nearest = distances.argmin()
        closing = -velocities[moving][nearest] @ away[nearest] / max(distances[nearest], 1e-6)
        x, y, z = places[moving][nearest]
        self.found += 1
        print(f'{len(points)} points, {len(moving)} move; nearest {distances[nearest]:.2f} m away '
              f'at ({x:.2f}, {y:.2f}, {z:.2f}) in {message.header.frame_id}, '
              f'{speeds[moving][nearest]:.2f} m/s, coming at {closing:.2f} m/s; {age_s:.2f} s old',
              flush=True)


def main(robot: tuple[float, float, float] = (0.0, 0.0, 0.0), least_speed: float = 0.1,
         clouds: int = 0) -> None:
    """Say what moves nearest to the robot.

    Args:
        robot: its place in the world frame, m.
        least_speed: of what counts as moving, m/s.
        clouds: with moving points, after which to end; 0 = go on until interrupted.
    """
    rclpy.init()
    planner = Planner(robot, least_speed)
    try:
        while not clouds or planner.found < clouds:
            rclpy.spin_once(planner, timeout_sec=0.2)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    planner.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    tyro.cli(main)
