# SPDX-License-Identifier: Apache-2.0
"""Every setting of the core, with its default, unit and reason.

These dataclasses are the truth, and so is what stands in their annotations: `Bound` of a number,
`Literal` of a text that is one of a few, `WHILE_RUNNING`. The command line, the checks and the ROS
parameters with their ranges are made from them, and a test holds config/igs.yaml equal to them.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from igs_ros.core.errors import InputError, shown

MAX_INT = 2 ** 31 - 1  # of whole numbers whose bound is infinite
WHILE_RUNNING = 'while running'
"""Marks what may change while a reconstruction runs: `Annotated[int, Bound(0), WHILE_RUNNING]`."""

_Settings = TypeVar('_Settings')  # a dataclass of settings


@dataclass(frozen=True)
class Bound:
    """Least and largest value of a number, both allowed: `Annotated[int, Bound(1)]`."""

    minimum: float
    maximum: float = math.inf

    def allows(self, value: float) -> bool:
        """Whether `value` is within, and finite (a NaN is not)."""
        return self.minimum <= value <= self.maximum and value < math.inf

    @property
    def brief(self) -> str:
        """For help and comments: without the end that whole numbers have by their type."""
        return f'at least {self.minimum}' if self.maximum >= MAX_INT else str(self)

    def __str__(self) -> str:
        if self.maximum == math.inf:
            return f'at least {self.minimum}, finite'
        return f'{self.minimum} to {self.maximum}'


@dataclass(frozen=True)
class Choice:
    """The values of a text that is one of a few: `Literal['cpu', 'cuda']`."""

    values: tuple[str, ...]

    def allows(self, value: str) -> bool:
        """Whether `value` is one of them."""
        return value in self.values

    def __str__(self) -> str:
        *first, last = self.values
        return f'{", ".join(first)} or {last}' if first else last


@dataclass(frozen=True)
class BootstrapConfig:
    """The first scene."""

    method: str = 'auto'
    """auto, depth, points, images, or the path of a 3DGS PLY. auto takes the first of them that
    the recording has."""
    optimize_ply: bool = False
    """Optimize a scene from a PLY as well; else it is taken as it is."""
    iterations: Annotated[int, Bound(0)] = 1200
    """Optimization steps; with the same input and seed, the same steps give the same bytes."""
    seconds: Annotated[float, Bound(0)] = 0.0
    """Wall-clock cap of the first scene in s, finding depth included, 0 = none; results say which
    limit stopped it."""
    exposure: bool = True
    """Learn a gain and an offset per camera and channel, for cameras that differ in exposure."""


@dataclass(frozen=True)
class MotionConfig:
    """Motion from key frame to newest frame set."""

    anchors: Annotated[int, Bound(1)] = 1500
    """Points at which motion is solved in 3-D."""
    flow_views: Annotated[int, Bound(0)] = 4
    """Cameras in which optical flow is computed, spread over the rig; 0 = all."""
    chained: bool = True
    """Compose the flow from frame set to frame set; false = flow from the key at once, which
    loses what is fast sooner (to compare)."""
    adjust_iterations: Annotated[int, Bound(0)] = 20
    """Steps that adjust each moved scene to its pictures, where motion left it wrong; 0 = none.
    About 10 CPU ms each at 480x360, and 0.2 to 0.3 CPU s for the choice of what is wrong."""
    adjust_views: Annotated[int, Bound(0)] = 6
    """Cameras that it is adjusted to, spread over the rig; 0 = all."""
    cache_mb: Annotated[float, Bound(0)] = 256.0
    """Bound of the cached flows, MB."""
    weights: str = ''
    """Folder with weights of agm: gmflow/ and igs/, or a ckpt/ that holds them (docs/weights.md).
    """
    bbox: str = 'auto'
    """Region that agm may move: auto = what changes in the pictures, all, 'xmin ymin zmin xmax
    ymax zmax' in m, or bbox.json[:SCENE]."""
    precision: Literal['float32', 'bfloat16', 'float16'] = 'float32'
    """What agm computes in; `igs bench motion` has the error."""
    compile: bool = False
    """Compile agm with torch.compile when it starts; takes minutes, pays on CUDA."""


@dataclass(frozen=True)
class RefineConfig:
    """Key-frame refinement: the published schedule (igs_reference 3.1) on what changed."""

    iterations: Annotated[int, Bound(0), WHILE_RUNNING] = 100
    """Optimization steps per key frame (published: 50 = IGS-s, 100 = IGS-l)."""
    births: bool = True
    """New Gaussians from stereo where the rendering is wrong (not published)."""
    selective: bool = True
    """Optimize only what changed, all else stays bit for bit (published: off)."""
    polish_iterations: Annotated[int, Bound(0)] = 0
    """Steps at low rates on the whole scene after each key, which flicker a little; in lockstep
    only: live, they run when there is time to spare."""
    learning_rates: Literal['tuned', 'published'] = 'tuned'
    """published = those of IGS; tuned = scales learn twice and colors four times as fast."""


@dataclass(frozen=True)
class BudgetConfig:
    """Deadlines of live runs (docs/engine.md); `igs run` in lockstep knows none."""

    update_hz: Annotated[float, Bound(0, 1000), WHILE_RUNNING] = 0.0
    """Scene updates per second to hold, by less work per update where need be; 0 = no budget: all
    that the settings say, however long it takes."""
    view_hz: Annotated[float, Bound(0.01, 1000), WHILE_RUNNING] = 10.0
    """Views per second, also without new frame sets; with a budget, coarser ones rather than late.
    """
    refine_s: Annotated[float, Bound(0), WHILE_RUNNING] = 2.0
    """With a budget: longest refinement of a key, s; 0 = as long as it takes."""


@dataclass(frozen=True)
class Config:
    """Settings of one reconstruction."""

    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)
    motion_model: MotionConfig = field(default_factory=MotionConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    motion: str = 'auto'
    """Motion model; auto = the best there is, agm needs weights."""
    key_interval: Annotated[int, Bound(0), WHILE_RUNNING] = 5
    """A key frame every so many processed frame sets; 0 = never, a frozen first scene."""
    key_frames: str = ''
    """Numbers of the frame sets that become keys instead, 1 = the first after the first scene,
    such as '5 10 12'; '' = by key_interval."""
    early_key: Annotated[float, Bound(0, 1), WHILE_RUNNING] = 0.0
    """Share of the pixels whose change between two frame sets makes a key frame at once (a
    cut, a light that goes on); 0 = off. Live, the key waits for the one in the making."""
    hold_s: Annotated[float, Bound(0)] = 20.0
    """Implausible pictures (dark, covered, another scene, another camera's) are not fitted; what
    lasts is believed after so long (s of the stamps), a change of light after a tenth of it. 0 =
    every picture is believed."""
    max_gaussians: Annotated[int, Bound(1), WHILE_RUNNING] = 30000
    """Bound of the scene at all times."""
    sh_degree: Annotated[int, Bound(0, 3)] = 1
    """Degree of the spherical harmonics."""
    width: Annotated[int, Bound(0)] = 0
    """Width of the working images in px, 0 = as recorded; upright ones beside wide ones get no
    more pixels than those."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """Where to compute."""
    threads: Annotated[int, Bound(1, 1024)] = 2
    """Threads of the CPU rasterizer and of decoding large sets; results do not depend on it."""
    seed: Annotated[int, Bound(0, MAX_INT)] = 0
    """Seed of everything random."""

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Config:
        """The defaults but for `values`, by name, nested ones with a dot: 'refine.iterations'.

        Raises:
            InputError: an unknown name, or a value of another type or out of bounds.
        """
        return checked(with_settings(cls(), values))


_RATES = 'refine.learning_rates chooses the tuned or the published ones'
_CONSTANT = 'a constant now'
REMOVED = {
    **dict.fromkeys(('refine.lr_means', 'refine.lr_quats', 'refine.lr_scales',
                     'refine.lr_opacities', 'refine.lr_sh_dc', 'refine.lr_sh'), _RATES),
    **dict.fromkeys(('refine.dssim', 'refine.densify_every', 'refine.densify_threshold',
                     'refine.prune_opacity', 'bootstrap.coarse_fraction',
                     'bootstrap.initial_opacity', 'motion_model.neighbors',
                     'motion_model.moving_px', 'jump_s'), _CONSTANT),
    'motion_model.double_division': 'files that igs train writes say it themselves, and the '
                                    'published weights want it',
}
"""What became of settings, the node's among them, that older parameter files may have."""


def refuse_removed(names: Iterable[str], origin: str) -> None:
    """Prove that none of `names` was a setting once and is no more.

    Args:
        names: of settings, nested ones with a dot.
        origin: where they came from, for the message.

    Raises:
        InputError: about all that are gone, with the reasons.
    """
    reasons: dict[str, list[str]] = {}
    for name in names:
        if name in REMOVED:
            reasons.setdefault(REMOVED[name], []).append(name)
    if reasons:
        said = '; '.join(f'{", ".join(gone)} ({why})' for why, gone in reasons.items())
        raise InputError(f'{origin}: no settings any more: {said}. Leave them out; '
                         f'config/igs.yaml lists all that there are.')


def checked(config: _Settings, label: str = 'setting') -> _Settings:
    """`config` if every value is one that its field allows.

    Args:
        config: a dataclass of settings, maybe of groups of them.
        label: what a setting is called where it came from, for the message.

    Raises:
        InputError: naming the first value that is not allowed.
    """
    rules = allowed(type(config))
    for name, value in settings(config):
        if name in rules and not rules[name].allows(value):
            raise InputError(f'{label} {name} is {shown(value)}; expected {rules[name]}.')
    return config


@cache
def allowed(cls: type, prefix: str = '') -> dict[str, Bound | Choice]:
    """What the fields of a dataclass allow, by name (nested ones with a dot)."""
    rules = {}
    for name, kind, notes in _annotated(cls):
        bound = next((note for note in notes if isinstance(note, Bound)), None)
        if is_dataclass(kind):
            rules.update(allowed(kind, f'{prefix}{name}.'))
        elif bound and kind is int and bound.maximum == math.inf:
            rules[prefix + name] = Bound(bound.minimum, MAX_INT)
        elif bound:
            rules[prefix + name] = bound
        elif get_origin(kind) is Literal:
            rules[prefix + name] = Choice(get_args(kind))
    return rules


@cache
def changeable(cls: type, prefix: str = '') -> frozenset[str]:
    """The fields of a dataclass that may change while it is in use (nested ones with a dot)."""
    names = set()
    for name, kind, notes in _annotated(cls):
        if is_dataclass(kind):
            names |= changeable(kind, f'{prefix}{name}.')
        elif WHILE_RUNNING in notes:
            names.add(prefix + name)
    return frozenset(names)


def _annotated(cls: type) -> Iterator[tuple[str, Any, list[Any]]]:
    """Name, type and notes of every field."""
    for name, hint in get_type_hints(cls, include_extras=True).items():
        kind, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        yield name, kind, notes


def check_change(old: Config, new: Config) -> None:
    """Prove that a running reconstruction can go on with other settings.

    Args:
        old: those that it has.
        new: those that it is to have.

    Raises:
        InputError: a value that is not allowed, or of a setting that cannot change.
    """
    checked(new)
    values = dict(settings(new))
    fixed = [name for name, value in settings(old)
             if value != values[name] and name not in changeable(type(old))]
    if fixed:
        raise InputError(f'setting {", ".join(fixed)} cannot change while a reconstruction runs; '
                         f'expected one of {", ".join(sorted(changeable(type(old))))}. Make a new '
                         f'one with it.')


def numbers(config: object) -> Iterator[tuple[str, int | float]]:
    """Names (nested ones with a dot) and values of all numbers in a dataclass."""
    for name, value in settings(config):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value


def settings(config: object, prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Names (nested ones with a dot) and values of everything in a dataclass."""
    for name in get_type_hints(type(config)):
        value = getattr(config, name)
        if is_dataclass(value):
            yield from settings(value, f'{prefix}{name}.')
        else:
            yield prefix + name, value


def setting(config: Config, name: str) -> Any:  # of the type of that setting
    """The value called `name` (nested ones with a dot).

    Raises:
        InputError: there is no such setting.
    """
    values = dict(settings(config))
    if name not in values:
        raise InputError(f'setting {shown(name)} is unknown; config/igs.yaml lists them all.')
    return values[name]


def with_settings(config: Config, values: Mapping[str, object], origin: str = 'setting') -> Config:
    """`config` with other values in place of its own; bounds are left to `checked`.

    Args:
        config: which stays as it is.
        values: by name, nested ones with a dot; whole numbers will do for floats.
        origin: where the values came from, for the message.

    Raises:
        InputError: an unknown or removed name, or a value of another type.
    """
    refuse_removed(values, origin)
    for name, value in values.items():
        old = setting(config, name)
        if isinstance(old, float) and type(value) is int:
            value = float(value) if abs(value) <= MAX_INT else math.inf
        if type(value) is not type(old):
            raise InputError(f'{origin}: {name} is {shown(value)}; expected a value like {old!r}.')
        config = _with(config, name.split('.'), value)
    return config


def _with(config, path: list[str], value):
    if len(path) > 1:
        value = _with(getattr(config, path[0]), path[1:], value)
    return replace(config, **{path[0]: value})
