# SPDX-License-Identifier: Apache-2.0
"""The examples that listen to a node, on the real one, fed by the player."""
import re
import time
from pathlib import Path

import numpy as np
import pytest

import igs_ros

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

EXAMPLES = Path(__file__).resolve().parents[2] / 'examples'
TINY = ['-p', 'width:=96', '-p', 'bootstrap.iterations:=20', '-p', 'max_gaussians:=2000',
        '-p', 'refine.iterations:=5', '-p', 'key_interval:=3', '-p', 'motion:=geometric',
        '-p', 'motion_model.anchors:=300', '-p', 'motion_model.adjust_iterations:=0',
        '-p', 'points_rate_hz:=20.0', '-p', 'planning.rate_hz:=20.0',
        '-p', 'planning.min_height:=0.87', '-p', 'planning.max_height:=1.6']


@pytest.mark.slow
def test_a_subscriber_and_a_planner_follow_the_node(processes, workbench, tmp_path):
    ply = tmp_path / 'scene.ply'
    subscriber = processes(str(EXAMPLES / '03_subscribe.py'), '--states', 3, '--out', ply)
    planner = processes(str(EXAMPLES / '04_planner.py'), '--robot', 0, -1, 0.9, '--clouds', 2)
    guard = processes(str(EXAMPLES / '06_safety_zone.py'), '--robot', -0.29, 0.55, 0.87,
                      '--zone', 0.6, '--body', 0.3, '--max-age', 5, '--stops', 1)
    node = processes('igs_ros.node.reconstruct', '--ros-args', *TINY,
                     '-p', f'rig_file:={workbench / "rig.json"}',
                     '-p', 'cameras:=[cam00, cam01, cam03]',
                     '-p', f'points_file:={workbench / "points3d.ply"}')
    player = processes('igs_ros.node.play', workbench, '--rate', '2', '--loop',
                       '--wait-for-streaming')
    logs = [process.log for process in (subscriber, planner, guard, node, player)]
    for process in (subscriber, planner, guard):
        assert process.wait() == 0, '\n'.join(log.read_text() for log in logs)
    assert player.stop() == 0 and node.stop() == 0

    states = [int(line.split()[1].rstrip(':')) for line in subscriber.lines('^state')]
    assert len(states) == 3 and states == sorted(set(states))
    kept = int(re.search(r'scene\.ply: (\d+) Gaussians', subscriber.log.read_text())[1])
    assert len(igs_ros.load_ply(ply)) == kept > 100

    seen = [re.search(r'(\d+) points, (\d+) move; nearest ([\d.]+) m away at \((.*)\) in map, '
                      r'([\d.]+) m/s, coming at (-?[\d.]+) m/s', line)
            for line in planner.lines('move;')]
    assert len(seen) == 2
    for found in seen:
        points, moving, distance, place, speed, closing = found.groups()
        x, y, z = map(float, place.split(', '))
        assert 0 < int(moving) < int(points)  # the table stands still
        assert float(distance) == pytest.approx((x ** 2 + (y + 1) ** 2 + (z - 0.9) ** 2) ** 0.5,
                                                abs=0.02)
        assert float(speed) >= 0.1 and abs(float(closing)) <= float(speed) + 0.01

    # the bench is clear to begin with; what slides over it comes into the zone
    said = [line.split(':')[0] for line in guard.lines('^(STOP|GO)')]
    assert said[:2] == ['STOP', 'GO'] or said == ['STOP']
    assert re.search(r'STOP: (something moves|\d+ cells).* s after the exposure',
                     guard.log.read_text())
    latency = float(re.search(r'1 stops, ([\d.]+) s', guard.log.read_text())[1])
    assert 0 < latency < 120


def moving_point(place, velocity, stamp_ns):
    from igs_ros.node import convert, convert_planner
    from igs_ros.vision.moving import PlannerPoints
    points = PlannerPoints(np.array([place], float), np.zeros((1, 3)),
                           np.array([velocity], float), 0.01 * np.eye(3)[None])
    return convert_planner.planner_points_message(points, convert.header(stamp_ns, 'map'))


def grid(occupied, stamp_ns):
    """2 x 2 m around the origin, free but for some cells (column, row) of 0.1 m."""
    from igs_ros.node import convert, convert_planner
    from igs_ros.vision.occupancy import Box
    columns = np.zeros((20, 20), np.int8)
    for cell in occupied:
        columns[cell] = 100
    box = Box(np.array([-1.0, -1, 0]), (20, 20, 1), 0.1, np.eye(3))
    return convert_planner.grid_message(columns, box, convert.header(stamp_ns, 'map'))


def test_the_zone_stops_for_what_comes_for_what_stands_and_for_silence(processes, listener):
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from std_msgs.msg import Bool
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    guard = processes(str(EXAMPLES / '06_safety_zone.py'), '--zone', 0.8, '--body', 0.2,
                      '--reaction', 0.5, '--max-age', 5)
    decisions = listener.collect(Bool, '/safety/stop', latched)
    arm, usual = (10, 11), (12, 12)  # cells: the arm itself, and what stands there from the start

    def decided(stop, place, velocity, cells=()):
        """Whether it says so once it has seen these."""
        def again():
            now = time.time_ns()
            listener.publish('/igs/moving_points', moving_point(place, velocity, now))
            listener.publish('/igs/occupancy', grid([usual, *cells], now), latched)
            listener.spin(0.1)
            return bool(decisions) and decisions[-1].data == stop
        return listener.until(again)

    assert listener.until(lambda: decisions) and decisions[0].data  # nothing is known yet
    assert decided(False, (2, 0, 0), (0, 0, 0))
    assert decided(True, (0.7, 0, 0), (0.1, 0, 0))  # within
    assert decided(False, (0.1, 0, 0), (3, 0, 0))  # the arm itself
    assert decided(True, (1.5, 0, 0), (-2, 0, 0))  # far, but comes fast
    assert decided(False, (1.5, 0, 0), (2, 0, 0))  # as fast, but goes
    assert decided(True, (2, 0, 0), (0, 0, 0), [(5, 10)])  # stands there
    assert decided(False, (2, 0, 0), (0, 0, 0), [arm, (1, 1)])  # the arm; outside
    assert listener.until(lambda: decisions[-1].data)  # silence
    assert guard.stop() == 0
    text = guard.log.read_text()
    assert re.search(r'moves 1\.50 m away, coming at 2\.00 \+- 0\.20 m/s; 0\.\d\d s after', text)
    assert '1 cells are occupied that were free' in text
    assert 'nothing new on /igs/moving_points, /igs/occupancy' in text
