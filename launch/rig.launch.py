# SPDX-License-Identifier: Apache-2.0
"""A rig file as static transforms: `ros2 launch igs_ros rig.launch.py rig_file:=...`."""
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription


def generate_launch_description():
    parameters = {name: ParameterValue(LaunchConfiguration(name), value_type=str)
                  for name in ('rig_file', 'world_frame', 'frame')}  # as text: no YAML in them
    return LaunchDescription([
        DeclareLaunchArgument('rig_file', default_value='',
                              description='rig.json, camchain of Kalibr (YAML), or the folder of '
                                          'a recording (ours or COLMAP); needed'),
        DeclareLaunchArgument('world_frame', default_value='map',
                              description='frame of the poses in the rig file'),
        DeclareLaunchArgument('frame', default_value='{camera}_optical_frame',
                              description='optical frame of a camera; {camera} is its name'),
        DeclareLaunchArgument('namespace', default_value='', description='namespace of the node'),
        DeclareLaunchArgument('log_level', default_value='info',
                              choices=['debug', 'info', 'warn', 'error'],
                              description='least severity of log lines'),
        Node(package='igs_ros', executable='rig_tf', name='rig_tf',
             namespace=LaunchConfiguration('namespace'), output='screen', emulate_tty=True,
             parameters=[parameters],
             arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level')])])
