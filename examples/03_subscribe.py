# SPDX-License-Identifier: Apache-2.0
"""Follow the scene of a running node (docs/topics.md), and write it as a PLY at the end.

    python examples/03_subscribe.py --states 20 --out scene.ply

Beside it: ros2 launch igs_ros demo.launch.py
"""
from pathlib import Path

import rclpy
import tyro
from rclpy.executors import ExternalShutdownException

import igs_ros


def main(states: int = 20, topic: str = '/igs/gaussians', out: Path = Path('scene.ply')) -> None:
    """Follow the scene of the node `igs`.

    Args:
        states: how many to take.
        topic: of the scene.
        out: where the last one goes.
    """
    rclpy.init()
    node = rclpy.create_node('scene_subscriber')
    taken = []

    def take(state) -> None:
        taken.append(state.sequence)
        print(f'state {state.sequence}: {len(state.gaussians)} Gaussians of '
              f'{state.stamp_ns * 1e-9:.3f} s', flush=True)

    subscriber = igs_ros.SceneSubscriber(node, take, topic=topic)
    try:
        while len(taken) < states:
            rclpy.spin_once(node, timeout_sec=0.2)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    print(subscriber.missed())
    newest = subscriber.scene()
    if newest is not None:
        igs_ros.save_ply(newest.gaussians, out)
        print(f'{out}: {len(newest.gaussians)} Gaussians')
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    tyro.cli(main)
