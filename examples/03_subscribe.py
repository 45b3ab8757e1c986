# SPDX-License-Identifier: Apache-2.0
"""Follow the scene of a running node (docs/topics.md), and write it as a PLY at the end.

    python examples/03_subscribe.py --states 20 --out scene.ply

Beside it: ros2 launch igs_ros demo.launch.py
"""
from pathlib import Path

import rclpy
import tyro
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

import igs_ros
from igs_ros.io.codec.receiver import SceneReceiver
from igs_ros.io.codec.state import key_from_message, scene_from, update_from_message
from igs_ros.msg import GaussianCloud, GaussianUpdate

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Subscriber(Node):
    """Keeps the newest state; the receiver knows what to do with what is lost, late or repeated.
    """

    def __init__(self) -> None:
        super().__init__('scene_subscriber')
        self.receiver = SceneReceiver()
        self.states = 0
        # whoever comes late still gets the newest key; an update is its difference to that key
        self.create_subscription(GaussianCloud, '/igs/gaussians', self._on_key, LATCHED)
        self.create_subscription(GaussianUpdate, '/igs/gaussians/updates', self._on_update, 1)

    def _on_key(self, message: GaussianCloud) -> None:
        try:
            self._say('key', self.receiver.take_key(key_from_message(message), stamp_ns(message)))
        except igs_ros.InputError as error:
            self.get_logger().warning(str(error))

    def _on_update(self, message: GaussianUpdate) -> None:
        try:
            update = update_from_message(message)
            self._say(f'update of {len(update.moved_rows)} rows',
                      self.receiver.take_update(update, stamp_ns(message)))
        except igs_ros.InputError as error:
            self.get_logger().warning(str(error))

    def _say(self, what: str, is_new: bool) -> None:
        shown = self.receiver.shown
        if is_new and shown is not None:
            self.states += 1
            print(f'state {shown.sequence}: {what}, {shown.count} Gaussians of '
                  f'{self.receiver.stamp_ns * 1e-9:.3f} s', flush=True)


def stamp_ns(message: GaussianCloud | GaussianUpdate) -> int:
    """When what it shows was taken."""
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def main(states: int = 20, out: Path = Path('scene.ply')) -> None:
    """Follow the scene of the node `igs`.

    Args:
        states: how many to take.
        out: where the last one goes.
    """
    rclpy.init()
    subscriber = Subscriber()
    try:
        while subscriber.states < states:
            rclpy.spin_once(subscriber, timeout_sec=0.2)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    if subscriber.receiver.shown is not None:
        igs_ros.save_ply(scene_from(subscriber.receiver.shown), out)
        print(f'{out}: {subscriber.receiver.shown.count} Gaussians')
    subscriber.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    tyro.cli(main)
