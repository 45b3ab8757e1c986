# SPDX-License-Identifier: Apache-2.0
"""The reconstruction node alone: `ros2 launch igs_ros stream.launch.py rig_file:=...`.

Arguments left empty keep what the parameter file says; `ros2 launch ... --show-args` lists them.
"""
from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from igs_ros.node.params import parameters
from igs_ros.node.rviz import rviz_file
from launch import LaunchDescription

# name, type, description; the names are those of the parameters, but for PARAMETERS
OVERRIDES = [
    ('rig_file', str, 'rig.json with the poses (and intrinsics) of the cameras; empty, and none '
                      'in the parameter file: their poses come from TF'),
    ('cameras', list, 'cameras that feed the scene, such as cam00,cam01,cam03; empty: all of the '
                      'rig file'),
    ('extrinsics', str, 'where the poses of the cameras come from; auto: the rig file, where '
                        'there is one'),
    ('image_topic', str, 'image topic of a camera, such as {camera}/image_raw'),
    ('camera_info_topic', str, 'CameraInfo topic of a camera, such as {camera}/camera_info'),
    ('depth_topic', str, 'depth topic of a camera, registered to its pictures'),
    ('transport', str, 'CompressedImage on IMAGE_TOPIC/compressed, or Image on IMAGE_TOPIC'),
    ('input_reliability', str, 'best_effort for drivers that publish so'),
    ('points_file', str, 'PLY with colored points of the first frame'),
    ('world_frame', str, 'frame of the poses in the rig file and of points and Gaussians'),
    ('view_camera', str, 'rig camera that ~/view/image shows at first'),
    ('view_hz', float, 'views per second'),
    ('motion', str, 'motion model between key frames; auto: the best there is, agm needs weights'),
    ('weights', str, 'folder with weights of agm (docs/weights.md)'),
    ('width', int, 'width of the working pictures in px; 0: as the cameras send them'),
    ('device', str, 'where to compute'),
    ('threads', int, 'threads of the CPU rasterizer'),
]
PARAMETERS = {'view_hz': 'budget.view_hz', 'weights': 'motion_model.weights'}


def node(context):
    overrides = {}
    for name, kind, _ in OVERRIDES:
        text = LaunchConfiguration(name).perform(context)
        if text:
            overrides[PARAMETERS.get(name, name)] = text.split(',') if kind is list else kind(text)
    if context.launch_configurations['use_sim_time'] == 'true':
        overrides['use_sim_time'] = True
    overlay = [path for path in [LaunchConfiguration('overlay').perform(context)] if path]
    named = LaunchConfiguration('enclave').perform(context)
    enclave = ['--enclave', named] if named else []
    chosen = LaunchConfiguration('preset').perform(context)
    preset = [PathJoinSubstitution([FindPackageShare('igs_ros'), 'config', 'presets',
                                    f'{chosen}.yaml'])] if chosen else []
    actions = [Node(
        package='igs_ros', executable='reconstruct', name='igs',
        namespace=LaunchConfiguration('namespace'), output='screen', emulate_tty=True,
        sigterm_timeout='20',  # it calls off the work in hand, which may take more than 5 s
        parameters=[LaunchConfiguration('params'), *preset, *overlay, overrides],
        additional_env=discovery(context.launch_configurations['discovery_range']),
        arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level'), *enclave])]
    if context.launch_configurations['rviz'] == 'true':
        actions.append(rviz(context, overrides))
    return actions


def rviz(context, overrides):
    share = Path(FindPackageShare('igs_ros').perform(context))
    file = rviz_file(share / 'config' / 'rviz' / 'igs.rviz',
                     LaunchConfiguration('namespace').perform(context),
                     overrides.get('world_frame', ''))
    return Node(package='rviz2', executable='rviz2', output='log', arguments=['-d', file],
                parameters=[{'use_sim_time': 'use_sim_time' in overrides}])


def discovery(wanted):
    """The variable that limits who may find the node; '' leaves it as the shell has it."""
    return {'ROS_AUTOMATIC_DISCOVERY_RANGE': wanted} if wanted else {}


def generate_launch_description():
    params = PathJoinSubstitution([FindPackageShare('igs_ros'), 'config', 'igs.yaml'])
    arguments = [
        DeclareLaunchArgument('params', default_value=params,
                              description='parameter file; igs.yaml lists every parameter'),
        DeclareLaunchArgument('preset', default_value='', choices=['', 'live', 'igs-s', 'igs-l'],
                              description='settings of config/presets, laid over params'),
        DeclareLaunchArgument('overlay', default_value='',
                              description='one more parameter file, such as one of config/rigs'),
        DeclareLaunchArgument('namespace', default_value='',
                              description='namespace of the node, and of its topics'),
        DeclareLaunchArgument('use_sim_time', default_value='false', choices=['true', 'false'],
                              description='take the time from /clock, as with ros2 bag play '
                                          '--clock'),
        DeclareLaunchArgument('discovery_range', default_value='',
                              choices=['', 'LOCALHOST', 'SUBNET', 'OFF'],
                              description='who may find the node: LOCALHOST = this machine alone; '
                                          'empty: as ROS_AUTOMATIC_DISCOVERY_RANGE says '
                                          '(docs/security.md)'),
        DeclareLaunchArgument('enclave', default_value='',
                              description='SROS2 enclave of the node, such as /igs; empty: as the '
                                          'environment says'),
        DeclareLaunchArgument('rviz', default_value='false', choices=['true', 'false'],
                              description='open RViz with the topics of the node; its fixed '
                                          'frame is the argument world_frame, or map'),
        DeclareLaunchArgument('log_level', default_value='info',
                              choices=['debug', 'info', 'warn', 'error'],
                              description='least severity of log lines'),
    ]
    choices = {parameter.name: parameter.choices for parameter in parameters()}
    for name, _, description in OVERRIDES:
        allowed = choices[PARAMETERS.get(name, name)]
        options = {'choices': ['', *allowed]} if allowed else {}
        arguments.append(DeclareLaunchArgument(
            name, default_value='', description=f'{description} (empty: as in params)', **options))
    return LaunchDescription([*arguments, OpaqueFunction(function=node)])
