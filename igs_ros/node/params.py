# SPDX-License-Identifier: Apache-2.0
"""Parameters of the node: declared from the dataclasses that hold them, nothing twice.

`NodeConfig` holds what only the node needs; all fields of `core.config.Config` are parameters as
well, nested ones with a dot (`bootstrap.iterations`). config/igs.yaml is written by
`python -m igs_ros.node.params`, and a test holds it equal.
"""
from __future__ import annotations

import ast
import difflib
import inspect
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

from igs_ros.core.config import (
    WHILE_RUNNING,
    Bound,
    Choice,
    Config,
    allowed,
    changeable,
    refuse_removed,
)
from igs_ros.core.errors import InputError, shown
from igs_ros.live.planning import PlanningConfig
from igs_ros.node.view_config import DEFAULT_VIEW, ViewConfig, check_names
from igs_ros.stages.motion.choose import MotionName

if TYPE_CHECKING:  # without ROS, too, this module tells the parameters
    from _typeshed import DataclassInstance
    from rclpy.node import Node

# groups of rclpy, and of diagnostic_updater, which declares its own later
_OTHERS = ('qos_overrides', 'diagnostic_updater')
_Config = TypeVar('_Config', bound='DataclassInstance')
Views = Mapping[str, ViewConfig]  # by name


@dataclass(frozen=True)
class DiagnosticsConfig:
    """From where on /diagnostics warns (docs/diagnostics.md)."""

    max_age_s: Annotated[float, Bound(0), WHILE_RUNNING] = 2.0
    """Warn when the last picture of a camera, the last frame set or the scene is older, s."""
    min_rate_hz: Annotated[float, Bound(0), WHILE_RUNNING] = 0.0
    """Warn when a camera sends fewer pictures per second; 0 = 0.8 of the median of all cameras."""
    max_lost_share: Annotated[float, Bound(0, 1), WHILE_RUNNING] = 0.1
    """Warn when a larger share of the pictures of a camera is of no use, or of the frame sets is
    partial, over the newest ten reports."""


@dataclass(frozen=True)
class NodeConfig:
    """What only the node needs."""

    rig_file: str = ''
    """The cameras: extrinsics, and intrinsics where no CameraInfo comes. A rig.json, a camchain of
    Kalibr (YAML), or the folder of a recording; '' = poses from TF."""
    cameras: tuple[str, ...] = ()
    """Cameras that feed the scene; [''] = all of the rig file."""
    extrinsics: Literal['auto', 'rig_file', 'tf'] = 'auto'
    """Poses of the cameras from the rig file, or from TF by the frames in their headers; auto =
    from the rig file where there is one."""
    image_topic: str = '{camera}/image_raw'
    """Image topic of a camera, in the node's namespace; with compressed transport, /compressed is
    appended."""
    camera_info_topic: str = '{camera}/camera_info'
    """CameraInfo topic of a camera; its intrinsics win over those of the rig file."""
    transport: Literal['compressed', 'raw'] = 'compressed'
    """compressed (CompressedImage, JPEG or PNG) or raw (Image; encodings: docs/cameras.md)."""
    image_bits: Annotated[int, Bound(8, 16)] = 16
    """Bits in use of 16-bit pictures: 12 where a camera sends 0 to 4095 as mono16."""
    depth_topic: str = ''
    """Depth of a camera, registered to its pictures, for the first scene; compressed where it ends
    with /compressedDepth; '' = none."""
    input_reliability: Literal['reliable', 'best_effort'] = 'reliable'
    """Drivers that publish best effort need best_effort."""
    synchronizer: Literal['igs', 'approximate', 'exact'] = 'igs'
    """igs (partial sets), or message_filters' approximate or exact where that is installed."""
    max_spread_s: Annotated[float, Bound(0)] = 0.03
    """Greatest difference of the stamps in a frame set, s; about one frame period."""
    max_wait_s: Annotated[float, Bound(0)] = 0.1
    """How long the first picture of a frame set waits for the others, s; cameras that are away are
    not waited for. Before that, one of a camera that moves waits as long for its transform."""
    min_cameras: Annotated[int, Bound(0)] = 0
    """Frame sets of fewer cameras are dropped; 0 = half of the cameras."""
    queue_size: Annotated[int, Bound(1)] = 4
    """Pictures of each camera that may wait for the others."""
    calibration_wait_s: Annotated[float, Bound(0)] = 3.0
    """How long after the first picture the rig file's intrinsics stand in for CameraInfo, s."""
    stall_after_s: Annotated[float, Bound(0.1)] = 5.0
    """Say so when a camera, the frame sets or updates of the scene stay away for so long, s."""
    world_frame: str = 'map'
    """Frame of the rig file's extrinsics and of all outputs but the view, which is in view_frame.
    """
    views: tuple[str, ...] = ()
    """Virtual cameras by name; [''] = one called view. Each has parameters, see the end of this
    file (docs/views.md)."""
    view_camera: Annotated[str, WHILE_RUNNING] = ''
    """Rig camera whose intrinsics and pose views have at first; '' = the first of cameras."""
    view_pose: Annotated[str, WHILE_RUNNING] = ''
    """Pose of views in the world: 'x y z qx qy qz qw' (m, optical axes); '' = view_camera's."""
    view_frame: str = 'igs_{view}_optical_frame'
    """frame_id of the topics of a view; {view} is its name."""
    view_width: Annotated[int, Bound(0), WHILE_RUNNING] = 0
    """Width of views in px; 0 = as the working images."""
    view_known_only: Annotated[bool, WHILE_RUNNING] = False
    """Depth of all views is NaN where no second camera confirms it (docs/confidence.md)."""
    jpeg_quality: Annotated[int, Bound(1, 100), WHILE_RUNNING] = 90
    """Quality of views' image/compressed."""
    points_rate_hz: Annotated[float, Bound(0.01), WHILE_RUNNING] = 2.0
    """Point clouds per second at most."""
    points_min_opacity: Annotated[float, Bound(0, 1), WHILE_RUNNING] = 0.3
    """Gaussians below this opacity are no points; haze would become obstacles."""
    status_rate_hz: Annotated[float, Bound(0.01), WHILE_RUNNING] = 1.0
    """Status messages per second; one more comes with every new scene."""
    autostart: bool = True
    """Configure and activate at once; false = wait for somebody who does (docs/lifecycle.md)."""
    points_file: str = ''
    """PLY with colored points of the first frame for the first scene; '' = images alone."""
    scene_folder: str = ''
    """Folder that ~/save_scene writes to and ~/load_scene reads from; '' = neither."""
    scene_file: Annotated[str, WHILE_RUNNING] = 'scene.ply'
    """3DGS PLY below scene_folder, for both."""
    planning: PlanningConfig = PlanningConfig()
    diagnostics: DiagnosticsConfig = DiagnosticsConfig()


@dataclass(frozen=True)
class Parameter:
    """One ROS parameter."""

    name: str
    default: str | int | float | tuple[str, ...]
    description: str  # one line
    allowed: Bound | Choice | None  # None: what its type allows
    changeable: bool  # while the node runs

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a text that is one of a few; else empty."""
        return self.allowed.values if isinstance(self.allowed, Choice) else ()


def parameters() -> list[Parameter]:
    """All parameters, the node's first, those in groups last."""
    # core knows no motion model by name
    rules = {**allowed(NodeConfig), **allowed(Config), 'motion': Choice(get_args(MotionName))}
    found = [*_parameters_of(NodeConfig(), rules), *_parameters_of(Config(), rules)]
    return sorted(found, key=lambda one: '.' in one.name)  # groups last, as YAML wants them


def view_parameters(view: str) -> list[Parameter]:
    """The parameters of the view of that name."""
    rules = {f'{view}.{name}': rule for name, rule in allowed(ViewConfig).items()}
    return list(_parameters_of(ViewConfig(), rules, f'{view}.'))


def _parameters_of(config: DataclassInstance, rules: Mapping[str, Bound | Choice], prefix: str = ''
                   ) -> Iterator[Parameter]:
    docs = field_docs(type(config))
    plain = [f.name for f in fields(config) if not is_dataclass(getattr(config, f.name))]
    nested = [f.name for f in fields(config) if is_dataclass(getattr(config, f.name))]
    for name in plain:
        yield Parameter(prefix + name, getattr(config, name), docs[name],
                        rules.get(prefix + name), name in changeable(type(config)))
    for name in nested:
        yield from _parameters_of(getattr(config, name), rules, f'{prefix}{name}.')


def field_docs(cls: type) -> dict[str, str]:
    """The string below each field of a dataclass, as one line."""
    found = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    body = found.body if isinstance(found, ast.ClassDef) else []
    docs = {}
    for field, after in zip(body, body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) \
                and isinstance(after, ast.Expr):
            docs[field.target.id] = ' '.join(ast.literal_eval(after.value).split())
    return docs


def configs_from(values: Mapping[str, object]) -> tuple[NodeConfig, Config]:
    """The settings with `values` (by parameter name) in place of the defaults.

    Raises:
        InputError: a wrong type or a value that cannot work; names the parameter.
    """
    checked = _all_checked(parameters(), values)
    return _replaced(NodeConfig(), checked), _replaced(Config(), checked)


def view_configs_from(values: Mapping[str, object], settings: NodeConfig
                      ) -> dict[str, ViewConfig]:
    """The settings of all views, by name.

    Args:
        values: by name of the parameter, in place of the defaults.
        settings: those of the node.

    Raises:
        InputError: naming the parameter for a name, a type or a value that cannot work.
    """
    groups = {name.split('.')[0] for name in _names() if '.' in name}
    check_names(settings.views, {*groups, *_OTHERS})
    if '{view}' not in settings.view_frame and len(settings.views) > 1:
        raise InputError(f'parameter view_frame is {shown(settings.view_frame)}; expected '
                         f'{{view}} in it, as there are {len(settings.views)} views.')
    return {view: _replaced(ViewConfig(), _all_checked(view_parameters(view), values), f'{view}.')
            for view in settings.views} or {DEFAULT_VIEW: ViewConfig()}


def _names() -> list[str]:
    return [parameter.name for parameter in parameters()]


def _all_checked(those: Iterable[Parameter], values: Mapping[str, object]) -> dict[str, object]:
    return {one.name: _checked(one, values.get(one.name, one.default)) for one in those}


def _replaced(config: _Config, values: Mapping[str, object], prefix: str = '') -> _Config:
    changes = {}
    for field in fields(config):
        old = getattr(config, field.name)
        changes[field.name] = _replaced(old, values, f'{prefix}{field.name}.') \
            if is_dataclass(old) and not isinstance(old, type) else values[prefix + field.name]
    return replace(config, **changes)


def _checked(parameter: Parameter, value: object) -> object:
    checked = _of_type(parameter, value)
    if parameter.allowed and not parameter.allowed.allows(checked):
        raise InputError(f'parameter {parameter.name} is {shown(checked)}; expected '
                         f'{parameter.allowed}.')
    return checked


def _of_type(parameter: Parameter, value: Any) -> Any:
    """`value` as what the default is."""
    default = parameter.default
    if isinstance(default, tuple):
        return tuple(item for item in value if item)  # [''] is how YAML says an empty list
    if isinstance(default, float) and type(value) is int:
        return float(value)  # `points_rate_hz: 2` is meant well
    if type(value) is not type(default):
        raise InputError(f'parameter {parameter.name} is {shown(value)}; expected a value like '
                         f'{default!r}.')
    return value


def declare(node: Node) -> tuple[NodeConfig, Config]:
    """Declare all parameters on `node` and read them; for views: `declared_views`.

    Raises:
        InputError: one has a type or a value that cannot work.
    """
    settings, config = configs_from(_declared(node, parameters()))
    view_configs_from({}, settings)  # checks their names: parameters begin with them
    of_views = [one for view in settings.views for one in view_parameters(view)]
    view_configs_from(_declared(node, of_views), settings)
    others = [name for name in node._parameter_overrides if not node.has_parameter(name)]
    refuse_removed(others, 'parameters')
    for text in unknown(others, [one.name for one in of_views]):
        node.get_logger().warning(text)
    return settings, config


def declared_views(node: Node, settings: NodeConfig) -> dict[str, ViewConfig]:
    """The settings of the views of `node`, which `declare` gave `settings`, by name."""
    names = [one.name for view in settings.views for one in view_parameters(view)]
    return view_configs_from({name: node.get_parameter(name).value for name in names}, settings)


def _declared(node: Node, those: Iterable[Parameter]) -> dict[str, object]:
    """Declare parameters; their values, by name."""
    from rclpy.exceptions import InvalidParameterValueException, ParameterException

    values = {}
    for parameter in those:
        default = parameter.default
        declared = list(default) or [''] if isinstance(default, tuple) else default
        try:
            values[parameter.name] = node.declare_parameter(parameter.name, declared,
                                                            _descriptor(parameter)).value
        except ParameterException as error:
            if isinstance(error, InvalidParameterValueException):  # says it better than rclpy
                _checked(parameter, node._parameter_overrides[parameter.name].value)
            raise InputError(f'parameter {parameter.name}: {error}; expected a value like '
                             f'{declared!r}.') from error
    return values


def _descriptor(parameter: Parameter):
    """The `ParameterDescriptor` of `parameter`, with the range of a number."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    rule, is_float = parameter.allowed, isinstance(parameter.default, float)
    made = ParameterDescriptor(description=parameter.description,
                               read_only=not parameter.changeable,
                               # a whole number for a float is accepted, and `_checked` says
                               # better than rclpy what has the wrong type
                               dynamic_typing=is_float or parameter.changeable,
                               additional_constraints=str(rule) if rule else '')
    if isinstance(rule, Bound) and is_float:
        made.floating_point_range = [FloatingPointRange(from_value=float(rule.minimum),
                                                        to_value=float(rule.maximum))]
    elif isinstance(rule, Bound):
        made.integer_range = [IntegerRange(from_value=rule.minimum, to_value=rule.maximum, step=1)]
    return made


def unknown(names: Iterable[str], of_views: Iterable[str] = ()) -> Iterator[str]:
    """What to say of parameters that were given, but are none of this node's.

    of_views: names of the parameters that views have.
    """
    known = [*_names(), *of_views]
    for name in sorted(names):
        if name.startswith(tuple(f'{group}.' for group in _OTHERS)):
            continue
        last = {one.split('.')[-1]: one for one in known}
        near = difflib.get_close_matches(name, known, 1) \
            or [last[one] for one in difflib.get_close_matches(name, last, 1)]
        meant = f'; did you mean {near[0]}?' if near else '.'
        yield (f"parameter '{name}' is none of this node's and is ignored{meant} "
               f'config/igs.yaml lists them all.')


def yaml_text() -> str:
    """config/igs.yaml: every parameter with its default and its description."""
    lines = ['# SPDX-License-Identifier: Apache-2.0',
             '# Every parameter of the node `igs` with its default; those that say so may be set',
             '# while running. Written by `python -m igs_ros.node.params`; the texts stand in',
             '# config.py and node/params.py.',
             '/**:', '  ros__parameters:']
    group = ''
    for parameter in parameters():
        *groups, name = parameter.name.split('.')
        if '.'.join(groups) != group:
            group = '.'.join(groups)
            lines.append(f'    {group}:')
        indent = ' ' * (6 if groups else 4)
        lines += [f'{indent}# {parameter.description}{_yaml_rule(parameter)}',
                  f'{indent}{name}: {_yaml_value(parameter.default)}']
    lines += ["    # Each view of `views` may have these parameters below its name, here "
              "`views: ['left']`:", '    # left:']
    for parameter in view_parameters('left'):
        _, name = parameter.name.split('.')
        lines += [f'    #   # {parameter.description}{_yaml_rule(parameter)}',
                  f'    #   {name}: {_yaml_value(parameter.default)}']
    return '\n'.join(lines) + '\n'


def _yaml_rule(parameter: Parameter) -> str:
    rule = parameter.allowed
    notes = [] if rule is None else [rule.brief if isinstance(rule, Bound) else str(rule)]
    notes += [WHILE_RUNNING] if parameter.changeable else []
    return f' [{"; ".join(notes)}]' if notes else ''


def _yaml_value(value) -> str:
    if isinstance(value, tuple):
        return '[' + ', '.join(f"'{item}'" for item in value or ('',)) + ']'
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, float):
        text = repr(value)
        return text if '.' in text else text.replace('e', '.0e')  # YAML wants the point
    return str(value)


if __name__ == '__main__':
    print(yaml_text(), end='')
