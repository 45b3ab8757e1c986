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


def player_and_node(context):
    share = Path(get_package_share_directory('igs_ros'))
    value = context.launch_configurations
    recording = Path(value['recording'] or share / 'recordings' / 'workbench')
    points = recording / 'points3d.ply'
    cameras = value['cameras'].split(',')
    options = ['--loop'] if value['loop'] == 'true' else []
    player = Node(
        package='igs_ros', executable='play', name='igs_player', output='screen',
        emulate_tty=True, arguments=[str(recording), '--cameras', *cameras,
                                     '--rate', value['rate'], '--wait-for-streaming', *options])
    actions = [
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(share / 'launch' / 'stream.launch.py')),
            launch_arguments={'rig_file': str(recording / 'rig.json'),
                              'cameras': value['cameras'], 'view_camera': value['view_camera'],
                              'points_file': str(points) if points.exists() else '',
                              'motion': value['motion'], 'weights': value['weights'],
                              'width': value['width']}.items()),
        player,
        RegisterEventHandler(OnProcessExit(target_action=player, on_exit=[
            EmitEvent(event=Shutdown(reason='the recording has been played'))])),
    ]
    if value['rviz'] == 'true':
        actions.append(Node(package='rviz2', executable='rviz2', output='log',
                            arguments=['-d', str(share / 'config' / 'rviz' / 'igs.rviz')]))
    return actions


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
        DeclareLaunchArgument('cameras', default_value='cam00,cam01,cam03',
                              description='cameras to play and to reconstruct from'),
        DeclareLaunchArgument('view_camera', default_value='cam02',
                              description='rig camera that ~/view/image shows at first'),
        DeclareLaunchArgument('rate', default_value='auto',
                              description='frames per second, or auto: as fast as they are shown'),
        DeclareLaunchArgument('loop', default_value='false', choices=['true', 'false'],
                              description='start again after the last frame'),
        DeclareLaunchArgument('motion', default_value='auto',
                              choices=list(get_args(MotionName)),
                              description='motion model between key frames; auto: the best there '
                                          'is, agm needs weights'),
        DeclareLaunchArgument('weights', default_value='',
                              description='folder with weights of agm (docs/weights.md)'),
        DeclareLaunchArgument('width', default_value='0',
                              description='width of the working pictures in px; 0: as recorded'),
        DeclareLaunchArgument('rviz', default_value='false', choices=['true', 'false'],
                              description='open RViz with the view and the points'),
        OpaqueFunction(function=player_and_node),
    ])
