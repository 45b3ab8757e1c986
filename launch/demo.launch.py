# SPDX-License-Identifier: Apache-2.0
"""Player and node together: `ros2 launch igs_ros demo.launch.py`, then look at /igs/view/image.

Ends when the recording has been played; with loop:=true it goes on.
"""
import os
from pathlib import Path
from typing import get_args

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from igs_ros.stages.motion.choose import MotionName
from launch import LaunchDescription

# Fast DDS gets more shared memory for pictures (docs/topics.md). One name only: with both set it
# reads the file twice and refuses it.
PROFILES = 'FASTRTPS_DEFAULT_PROFILES_FILE' if os.environ.get('ROS_DISTRO') == 'jazzy' \
    else 'FASTDDS_DEFAULT_PROFILES_FILE'
RANGE = 'ROS_AUTOMATIC_DISCOVERY_RANGE'
# arguments of stream.launch.py
PASSED = ('rig_file', 'cameras', 'view_camera', 'motion', 'weights', 'width', 'preset', 'params',
          'overlay', 'namespace', 'rviz', 'log_level')


def player_and_node(context):
    share = Path(get_package_share_directory('igs_ros'))
    value = context.launch_configurations
    recording = Path(value['recording'] or share / 'recordings' / 'workbench')
    points = recording / 'points3d.ply'
    cameras = value['cameras'].split(',')
    options = ['--loop'] if value['loop'] == 'true' else []
    player = Node(
        package='igs_ros', executable='play', name='igs_player', output='screen',
        namespace=value['namespace'], emulate_tty=True,
        arguments=[str(recording), '--cameras', *cameras, '--rate', value['rate'],
                   '--status-topic', 'igs/status', '--wait-for-streaming', *options,
                   '--ros-args', '--log-level', value['log_level']])
    passed = {name: value[name] for name in PASSED if value[name]}
    return [
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(share / 'launch' / 'stream.launch.py')),
            launch_arguments={'points_file': str(points) if points.exists() else '',
                              'rig_file': str(recording / 'rig.json'), **passed}.items()),
        player,
        RegisterEventHandler(OnProcessExit(target_action=player, on_exit=[
            EmitEvent(event=Shutdown(reason='the recording has been played'))])),
    ]


def generate_launch_description():
    share = Path(get_package_share_directory('igs_ros'))
    return LaunchDescription([
        SetEnvironmentVariable(
            PROFILES, os.environ.get(PROFILES, str(share / 'config' / 'fastdds_shm_64mb.xml'))),
        # a demo meets no robot of the same network, as `make demo`
        SetEnvironmentVariable(RANGE, os.environ.get(RANGE, 'LOCALHOST')),
        DeclareLaunchArgument('recording', default_value='',
                              description='folder of a recording with a rig.json; empty: the '
                                          'workbench that ships with the package'),
        DeclareLaunchArgument('rig_file', default_value='',
                              description='poses of the cameras; empty: the rig.json of the '
                                          'recording'),
        DeclareLaunchArgument('cameras', default_value='cam00,cam01,cam03',
                              description='cameras to play and to reconstruct from'),
        DeclareLaunchArgument('view_camera', default_value='cam02',
                              description='rig camera that ~/view/image shows at first'),
        DeclareLaunchArgument('rate', default_value='auto',
                              description='frames per second, or auto: as fast as they are shown'),
        DeclareLaunchArgument('loop', default_value='false', choices=['true', 'false'],
                              description='start again after the last frame'),
        DeclareLaunchArgument('motion', default_value='',
                              choices=['', *get_args(MotionName)],
                              description='motion model between key frames (empty: as in params '
                                          'or preset)'),
        DeclareLaunchArgument('weights', default_value='',
                              description='folder with weights of agm (docs/weights.md)'),
        DeclareLaunchArgument('width', default_value='',
                              description='width of the working pictures in px; 0: as recorded '
                                          '(empty: as in params or preset)'),
        DeclareLaunchArgument('preset', default_value='', choices=['', 'live', 'igs-s', 'igs-l'],
                              description='settings of config/presets'),
        DeclareLaunchArgument('params', default_value=str(share / 'config' / 'igs.yaml'),
                              description='parameter file; igs.yaml lists every parameter'),
        DeclareLaunchArgument('overlay', default_value='',
                              description='one more parameter file, laid over params and preset'),
        DeclareLaunchArgument('namespace', default_value='',
                              description='namespace of the node, and of its topics'),
        DeclareLaunchArgument('rviz', default_value='false', choices=['true', 'false'],
                              description='open RViz with the topics of the node'),
        DeclareLaunchArgument('log_level', default_value='info',
                              choices=['debug', 'info', 'warn', 'error'],
                              description='least severity of log lines'),
        OpaqueFunction(function=player_and_node),
    ])
