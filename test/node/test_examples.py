# SPDX-License-Identifier: Apache-2.0
"""The examples that listen to a node, on the real one, fed by the player."""
import re
from pathlib import Path

import pytest

import igs_ros

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

EXAMPLES = Path(__file__).resolve().parents[2] / 'examples'
TINY = ['-p', 'width:=96', '-p', 'bootstrap.iterations:=20', '-p', 'max_gaussians:=2000',
        '-p', 'refine.iterations:=5', '-p', 'key_interval:=3', '-p', 'motion:=geometric',
        '-p', 'motion_model.anchors:=300', '-p', 'motion_model.adjust_iterations:=0',
        '-p', 'points_rate_hz:=20.0']


@pytest.mark.slow
def test_a_subscriber_and_a_planner_follow_the_node(processes, workbench, tmp_path):
    ply = tmp_path / 'scene.ply'
    subscriber = processes(str(EXAMPLES / '03_subscribe.py'), '--states', 3, '--out', ply)
    planner = processes(str(EXAMPLES / '04_planner.py'), '--robot', 0, -1, 0.9, '--clouds', 2)
    node = processes('igs_ros.node.reconstruct', '--ros-args', *TINY,
                     '-p', f'rig_file:={workbench / "rig.json"}',
                     '-p', 'cameras:=[cam00, cam01, cam03]',
                     '-p', f'points_file:={workbench / "points3d.ply"}')
    player = processes('igs_ros.node.play', workbench, '--rate', '2', '--loop',
                       '--wait-for-streaming')
    logs = [process.log for process in (subscriber, planner, node, player)]
    for process in (subscriber, planner):
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
