# SPDX-License-Identifier: Apache-2.0
"""A safety zone around a robot arm: it says stop when something moves into it or stands in it.

    python examples/06_safety_zone.py --robot 0 0.4 0.8 --zone 1.0 --body 0.4

Beside it: ros2 launch igs_ros demo.launch.py. The decision is published on /safety/stop (Bool,
latched): true also while nothing fresh is known. This shows how the topics are read; it is no
certified safety function, and stands beside one.
"""
import time

import numpy as np
import rclpy
import tyro
from nav_msgs.msg import OccupancyGrid
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Bool, Header

FIELDS = ['x', 'y', 'z', 'rgb', 'vx', 'vy', 'vz', 'vxx', 'vxy', 'vxz', 'vyy', 'vyz', 'vzz',
          'speed']
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class SafetyZone(Node):
    """Decides with every message, and ten times a second whether there was one."""

    def __init__(self, robot: tuple[float, float, float], zone: float, body: float,
                 reaction_s: float, max_age_s: float) -> None:
        super().__init__('safety_zone')
        self._robot, self._zone, self._body = np.array(robot), zone, body
        self._reaction_s, self._max_age_s = reaction_s, max_age_s
        self._usual: np.ndarray | None = None  # cells that were not free at the beginning
        self._stamps = {'moving_points': 0.0, 'occupancy': 0.0}  # s, of what was seen last
        self._reasons = {'moving_points': '', 'occupancy': ''}
        self._said = ''
        self.latencies: list[float] = []  # s, from exposure to stop
        self._stop = self.create_publisher(Bool, '/safety/stop', LATCHED)
        self.create_subscription(PointCloud2, '/igs/moving_points', self._on_moving, 1)
        self.create_subscription(OccupancyGrid, '/igs/occupancy', self._on_grid, LATCHED)
        self.create_timer(0.1, self._decide)

    def _on_moving(self, message: PointCloud2) -> None:
        if [field.name for field in message.fields] != FIELDS:
            self.get_logger().warning(f'points that are not {FIELDS}; ignored')
            return
        points = np.frombuffer(message.data, np.float32).reshape(-1, len(FIELDS))
        away = points[:, :3] - self._robot
        distances = np.linalg.norm(away, axis=1)
        points, away, distances = (values[distances > self._body]  # the arm may move itself
                                   for values in (points, away, distances))
        toward = -away / np.maximum(distances, 1e-6)[:, None]
        covariances = points[:, [7, 8, 9, 8, 10, 11, 9, 11, 12]].reshape(-1, 3, 3)
        speeds = (toward * points[:, 4:7]).sum(1)
        doubt = np.sqrt(np.einsum('pi,pij,pj->p', toward, covariances, toward))
        # where it may be once the arm has stopped: as fast as two standard deviations allow
        ahead_s = max(0.0, time.time() - seconds(message.header)) + self._reaction_s
        coming = distances - np.maximum(0, speeds + 2 * doubt) * ahead_s
        nearest = coming.argmin() if len(coming) else 0
        self._take('moving_points', message.header, '' if not (coming < self._zone).any() else (
            f'something moves {distances[nearest]:.2f} m away, coming at {speeds[nearest]:.2f} '
            f'+- {2 * doubt[nearest]:.2f} m/s'))

    def _on_grid(self, message: OccupancyGrid) -> None:
        info = message.info
        cells = np.array(message.data, np.int8).reshape(info.height, info.width)
        if self._usual is None or self._usual.shape != cells.shape:
            self._usual = cells != 0  # what stands there now may stay: learned while all is clear
        y, x = np.nonzero((cells == 100) & ~self._usual)
        # z of the world is up: with another planning.up, turn by info.origin.orientation first
        places = np.stack([x, y], 1) * info.resolution + info.resolution / 2 + (
            info.origin.position.x, info.origin.position.y)
        distances = np.linalg.norm(places - self._robot[:2], axis=1)
        inside = distances[(distances > self._body) & (distances < self._zone)]
        self._take('occupancy', message.header, '' if not len(inside) else (
            f'{len(inside)} cells are occupied that were free, the nearest {inside.min():.2f} m '
            f'away'))

    def _take(self, topic: str, header: Header, reason: str) -> None:
        self._stamps[topic], self._reasons[topic] = seconds(header), reason
        self._decide(topic)

    def _decide(self, cause: str = '') -> None:
        now_s = time.time()
        old = [f'/igs/{topic}' for topic, stamp_s in self._stamps.items()
               if now_s - stamp_s > self._max_age_s]
        found = next(filter(None, self._reasons.values()), '')
        reason = found or (f'nothing new on {", ".join(old)}' if old else '')
        self._stop.publish(Bool(data=bool(reason)))
        if bool(reason) == bool(self._said):
            return
        self._said = reason
        if cause and self._reasons[cause]:
            self.latencies.append(now_s - self._stamps[cause])
            reason += f'; {self.latencies[-1]:.2f} s after the exposure'
        print(f'STOP: {reason}' if reason else 'GO: the zone is clear', flush=True)


def seconds(header: Header) -> float:
    """The stamp, s: the time of exposure."""
    return header.stamp.sec + header.stamp.nanosec * 1e-9


def main(robot: tuple[float, float, float] = (0.0, 0.0, 0.0), zone: float = 1.0,
         body: float = 0.3, reaction: float = 0.2, max_age: float = 1.0, stops: int = 0) -> None:
    """Guard a robot arm.

    Args:
        robot: middle of its base in the world frame, m.
        zone: nothing may come closer than this, m.
        body: what is closer is the arm itself, m.
        reaction: how long the arm takes to stand still, s.
        max_age: stop where the newest scene is older, s.
        stops: of something in the zone, after which to end; 0 = go on until interrupted.
    """
    rclpy.init()
    guard = SafetyZone(robot, zone, body, reaction, max_age)
    try:
        while not stops or len(guard.latencies) < stops:
            rclpy.spin_once(guard, timeout_sec=0.2)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    if guard.latencies:
        print(f'{len(guard.latencies)} stops, {np.median(guard.latencies):.2f} s (median) and '
              f'{max(guard.latencies):.2f} s (longest) after the exposure that shows the reason')
    guard.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    tyro.cli(main)
