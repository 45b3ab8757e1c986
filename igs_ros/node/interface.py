# SPDX-License-Identifier: Apache-2.0
"""docs/interface.md: every topic, service and parameter of the node, in one page.

It is written by `python -m igs_ros.node.interface > docs/interface.md`. The parameters are those
of params.py; topics and services stand here, and a test holds them to be those of a running node.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from igs_ros.core.config import WHILE_RUNNING
from igs_ros.node import params

_INPUT_QOS = 'depth: `queue_size`, reliability: `input_reliability`'


@dataclass(frozen=True)
class Topic:
    """A topic; `{camera}` and `{view}` stand for names, `~` for the node."""

    name: str
    kind: str  # package/msg/Type
    text: str
    depth: int = 1
    transient: bool = False  # transient local: late subscribers get the newest message
    note: str = ''  # parameters that its QoS depends on

    @property
    def qos(self) -> str:
        """With the default parameters."""
        durability = 'transient local' if self.transient else 'volatile'
        note = f' ({self.note})' if self.note else ''
        return f'reliable, {durability}, depth {self.depth}{note}'


@dataclass(frozen=True)
class Service:
    """A service."""

    name: str
    kind: str  # package/srv/Type
    text: str


IN = (
    Topic('{camera}/image_raw/compressed', 'sensor_msgs/msg/CompressedImage',
          '`transport: compressed`: JPEG or PNG, 8 or 16 bits; pattern: `image_topic`', 4,
          note=_INPUT_QOS),
    Topic('{camera}/image_raw', 'sensor_msgs/msg/Image',
          '`transport: raw`: RGB, gray, Bayer, YUV, any row step and byte order '
          '([cameras.md](cameras.md)); pattern: `image_topic`', 4, note=_INPUT_QOS),
    Topic('{camera}/camera_info', 'sensor_msgs/msg/CameraInfo',
          '`plumb_bob`, `rational_polynomial`, `equidistant` or no distortion; region of '
          'interest, binning, rectified pictures ([cameras.md](cameras.md)); pattern: '
          '`camera_info_topic`', 4, note=_INPUT_QOS),
    Topic('{camera}/depth', 'sensor_msgs/msg/Image',
          'depth registered to the pictures, for the first scene; subscribed only while one is '
          'wanted and `depth_topic`, the pattern, is set', 4, note=_INPUT_QOS),
    Topic('{camera}/depth/compressedDepth', 'sensor_msgs/msg/CompressedImage',
          'the same, where `depth_topic` ends so', 4, note=_INPUT_QOS),
    Topic('/tf', 'tf2_msgs/msg/TFMessage',
          'poses of the cameras, where they come from TF ([tf.md](tf.md)), and of views that '
          'follow a frame; else not subscribed', 100),
    Topic('/tf_static', 'tf2_msgs/msg/TFMessage', 'the same', 100, True),
    Topic('~/{view}/pose', 'geometry_msgs/msg/PoseStamped',
          'moves the view: pose of its optical frame (x right, y down, z forward) in '
          '`world_frame`; not where it follows a TF frame'),
)
OUT = (
    Topic('~/{view}/image', 'sensor_msgs/msg/Image',
          '`rgb8`; `budget.view_hz` times a second, and with every new scene, or at the rate of '
          'the view'),
    Topic('~/{view}/image/compressed', 'sensor_msgs/msg/CompressedImage',
          'JPEG of `jpeg_quality`; with the image'),
    Topic('~/{view}/depth', 'sensor_msgs/msg/Image',
          '`32FC1`, meters along the optical axis, NaN = nothing there, or not known where only '
          'that is wanted (`known_only`); with the image'),
    Topic('~/{view}/confidence', 'sensor_msgs/msg/Image',
          '`mono8`: share of the pixel that a second camera confirms, 0 to 255 '
          '([confidence.md](confidence.md)); with the image'),
    Topic('~/{view}/camera_info', 'sensor_msgs/msg/CameraInfo',
          'of the view; no distortion; with the image'),
    Topic('~/points', 'sensor_msgs/msg/PointCloud2',
          '`x y z rgb vx vy vz`: Gaussians of at least `points_min_opacity`; velocities NaN where '
          'unknown; none that no second camera confirms (`planning.known_only`); one point per '
          'voxel with `planning.points_voxel_m`; `points_rate_hz` times a second at most'),
    Topic('~/moving_points', 'sensor_msgs/msg/PointCloud2',
          'what is faster than `planning.min_speed`: '
          '`x y z rgb vx vy vz vxx vxy vxz vyy vyz vzz speed` ([planners.md](planners.md)); '
          '`planning.rate_hz` times a second at most'),
    Topic('~/occupancy', 'nav_msgs/msg/OccupancyGrid',
          'a slice by height: 100 occupied, 0 free, -1 unknown; at the same rate',
          transient=True),
    Topic('~/voxels', 'sensor_msgs/msg/PointCloud2',
          '`x y z size` of occupied voxels; at the same rate'),
    Topic('~/gaussians', 'igs_ros/msg/GaussianCloud', 'the newest key scene; with every key',
          transient=True),
    Topic('~/gaussians/updates', 'igs_ros/msg/GaussianUpdate',
          'the newest state as the difference to its key; with every new scene'),
    Topic('/tf_static', 'tf2_msgs/msg/TFMessage',
          '`world_frame` → `{camera}_optical_frame` of every camera of the rig file, where the '
          'poses come from it; once', transient=True),
    Topic('/tf', 'tf2_msgs/msg/TFMessage',
          '`world_frame` → `view_frame`, of every view, once for each of its stamps', 100),
    Topic('~/cameras', 'visualization_msgs/msg/MarkerArray',
          'the frustums of the cameras in use, in their optical frames; once they are '
          'calibrated', transient=True),
    Topic('~/status', 'igs_ros/msg/SceneStatus',
          'state, age, stage times, budget, memory, queues, drops by cause; `status_rate_hz` '
          'times a second, and with every new scene', transient=True),
    Topic('/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray',
          'cameras, frame sets, scene, each with a level and numbers, once a second '
          '([diagnostics.md](diagnostics.md))'),
    Topic('~/splats', 'gsplat_msgs/msg/SplatArray',
          'the whole scene for the RViz display of RVizSplat, once a second at most; only where '
          '`gsplat_msgs` is installed', transient=True),
)
SERVICES = (
    Service('~/pause', 'std_srvs/srv/Trigger',
            'takes no frame sets until it is resumed; scene and views stay'),
    Service('~/resume', 'std_srvs/srv/Trigger', 'takes frame sets again'),
    Service('~/reset', 'std_srvs/srv/Trigger', 'forgets the scene and makes a new first one'),
    Service('~/refine_now', 'std_srvs/srv/Trigger', 'the next frame set makes a key'),
    Service('~/save_scene', 'std_srvs/srv/Trigger',
            'writes the scene to `scene_file` in `scene_folder`, as a 3DGS PLY'),
    Service('~/load_scene', 'std_srvs/srv/Trigger',
            'that file is the scene from the next frame set on'),
    *(Service(f'~/{name}', f'lifecycle_msgs/srv/{kind}',
              'of a lifecycle node ([lifecycle.md](lifecycle.md))') for name, kind in (
        ('change_state', 'ChangeState'), ('get_state', 'GetState'),
        ('get_available_states', 'GetAvailableStates'),
        ('get_available_transitions', 'GetAvailableTransitions'),
        ('get_transition_graph', 'GetAvailableTransitions'))),
)


def page() -> str:
    """docs/interface.md."""
    lines = [
        '<!-- SPDX-License-Identifier: Apache-2.0 -->',
        '<!-- Written by `python -m igs_ros.node.interface > docs/interface.md`. -->',
        '# Interface of the node', '',
        'The node is called `igs`, so `~/points` is `/igs/points`, and `/NAMESPACE/igs/points` in '
        'a namespace. [topics.md](topics.md) says what',
        'the messages mean and when they come. A test holds this page to be what a running node '
        'has (`test/node/test_interface.py`).', '',
        '`{camera}` runs over `cameras`, `{view}` over `views`, which is one called `view` unless '
        'it is set ([views.md](views.md)). A stereo pair has',
        '`~/{view}/left/...` and `~/{view}/right/...` in place of `~/{view}/...`, the right one '
        'without depth and confidence.', '',
        'QoS: history is keep last; what depends on parameters is given for their defaults. '
        'Besides these, the node has what every node of rclpy',
        'has (`/rosout`, `/parameter_events`, services of parameters, `/clock` with '
        '`use_sim_time`), and `~/transition_event` of a lifecycle node.', '',
        '## Topics in', '', *_topics(IN), '', '## Topics out', '',
        'Nothing is made for a topic without subscribers.', '', *_topics(OUT), '',
        '## Services', '',
        *_table('name type', ((f'`{one.name}`', f'`{_short(one.kind)}`', one.text)
                              for one in SERVICES)), '',
        '## Parameters', '',
        'All are read at the start, from `--ros-args -p NAME:=VALUE` or `--params-file`. Those '
        '*while running* may be set later, too ([lifecycle.md](lifecycle.md));',
        'the others are read-only.', '', *_parameters(params.parameters()), '',
        'Each view of `views` has these below its name ([views.md](views.md)):', '',
        *_parameters(params.view_parameters('{view}'))]
    return '\n'.join(lines) + '\n'


def _topics(topics: Iterable[Topic]) -> list[str]:
    return _table('name type QoS', ((f'`{one.name}`', f'`{_short(one.kind)}`', one.qos, one.text)
                                    for one in topics))


def _parameters(those: Iterable[params.Parameter]) -> list[str]:
    return _table('name type default allowed', (
        (f'`{one.name}`', _type(one), f'`{_value(one.default)}`',
         '; '.join([*([str(one.allowed)] if one.allowed else []),
                    *([f'*{WHILE_RUNNING}*'] if one.changeable else [])]),
         one.description.replace('|', '\\|'))
        for one in those))


def _table(heads: str, rows: Iterable[tuple[str, ...]]) -> list[str]:
    """A table in Markdown whose last column has no head."""
    names = [*heads.split(), '']
    return [f'| {" | ".join(names)} |', '|---' * len(names) + '|',
            *(f'| {" | ".join(row)} |' for row in rows)]


def _short(kind: str) -> str:
    package, _, name = kind.split('/')
    return f'{package}/{name}'


def _type(parameter: params.Parameter) -> str:
    kinds = {bool: 'bool', int: 'integer', float: 'double', str: 'string', tuple: 'string array'}
    return kinds[type(parameter.default)]


def _value(default: object) -> str:
    if isinstance(default, tuple):
        return f'[{", ".join(map(repr, default))}]'
    return str(default).lower() if isinstance(default, bool) else repr(default)


if __name__ == '__main__':
    print(page(), end='')
