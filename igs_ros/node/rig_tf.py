# SPDX-License-Identifier: Apache-2.0
"""The executable `rig_tf`: broadcasts the cameras of a rig file as static transforms.

`ros2 launch igs_ros rig.launch.py rig_file:=...` starts it.
"""
from __future__ import annotations

import sys
from typing import Any

from igs_ros.node.environment import exit_without_ros

if __name__ == '__main__':
    exit_without_ros('rig_tf')  # the import below may end the process

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from igs_ros.core.errors import InputError
from igs_ros.core.signals import ShutdownFlag
from igs_ros.io.recordings.open import read_cameras
from igs_ros.node.tf_in import tf_message, tf_qos
from igs_ros.node.tf_out import FRAME_PATTERN, rig_message

PARAMETERS = {
    'rig_file': ('', 'A rig.json, a camchain of Kalibr (YAML), or the folder of a recording (ours '
                     'or COLMAP).'),
    'world_frame': ('map', 'Frame of the poses in the rig file.'),
    'frame': (FRAME_PATTERN, 'Optical frame of a camera; {camera} is its name.'),
}
"""Default and description by name."""


class RigBroadcaster(Node):
    """Sends the transforms once, latched.

    Raises:
        InputError: parameters that cannot work, or tf2_msgs is not installed.
    """

    def __init__(self, **node_options: Any):  # of rclpy's Node
        super().__init__('rig_tf', **node_options)
        path, world, pattern = (
            str(self.declare_parameter(name, default, ParameterDescriptor(
                description=text, read_only=True)).value)
            for name, (default, text) in PARAMETERS.items())
        if not path:
            raise InputError('parameter rig_file is empty; expected a rig.json, a camchain of '
                             'Kalibr, or the folder of a recording. Set it with --ros-args -p '
                             'rig_file:=PATH.')
        if '{camera}' not in pattern:
            raise InputError(f"parameter frame is '{pattern}'; expected {{camera}} in it, in "
                             f"place of the camera's name, such as {FRAME_PATTERN}.")
        kind = tf_message()
        if kind is None:
            raise InputError('the Python package tf2_msgs is not installed; expected it beside '
                             'rclpy. Install ros-$ROS_DISTRO-tf2-msgs, or this package again: its '
                             'wheel brings it.')
        cameras = read_cameras(path)
        self._publisher = self.create_publisher(kind, '/tf_static', tf_qos(True, depth=1))
        message = rig_message(kind, cameras.values(), world, self.get_clock().now().nanoseconds,
                              pattern)
        self._publisher.publish(message)
        frames = ', '.join(one.child_frame_id for one in message.transforms)
        self.get_logger().info(f"{path}: '{world}' to {frames} on /tf_static")


def main(arguments: list[str] | None = None) -> int:
    """Broadcast until SIGINT or SIGTERM; 1 when the parameters cannot work."""
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    stop = ShutdownFlag()
    try:
        node = RigBroadcaster()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stop:
            executor.spin_once(timeout_sec=0.2)
        return 0
    except InputError as error:
        get_logger('rig_tf').fatal(str(error))
        return 1
    finally:
        rclpy.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())
