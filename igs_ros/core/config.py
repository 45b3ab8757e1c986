# SPDX-License-Identifier: Apache-2.0
"""Every setting of the core, with its default, unit and reason.

These dataclasses are the truth: the command line is generated from them (tyro), and a test holds
config/igs.yaml and the ROS parameter declarations equal to them.
"""
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from typing import get_type_hints

from igs_ros.core.errors import InputError, shown

MOST_INT = 2 ** 31 - 1  # of whole numbers whose bound is infinite


@dataclass(frozen=True)
class BootstrapConfig:
    """The first scene."""

    method: str = 'auto'
    """auto, depth, points, images, or the path of a 3DGS PLY. auto takes the first of them that
    the recording has."""
    optimize_ply: bool = False
    """Optimize a scene from a PLY as well; else it is taken as it is."""
    iterations: int = 1200
    """Optimization steps; with the same input and seed, the same steps give the same bytes."""
    seconds: float = 0.0
    """Wall-clock cap of the optimization in s, 0 = none; results say which limit stopped it."""
    coarse_fraction: float = 0.2
    """Share of the iterations at half image size, where they cost a third."""
    initial_opacity: float = 0.5
    """Opacity of new Gaussians, 0..1; measured better than the usual 0.1 on dense seeds."""
    exposure: bool = True
    """Learn a gain and an offset per camera and channel, for cameras that differ in exposure."""


@dataclass(frozen=True)
class MotionConfig:
    """Motion from key frame to newest frame set."""

    anchors: int = 1500
    """Points at which motion is solved in 3-D."""
    neighbors: int = 8
    """Anchors that each Gaussian, and each anchor, is tied to."""
    flow_views: int = 4
    """Cameras in which optical flow is computed, spread over the rig; 0 = all."""
    moving_px: float = 0.7
    """Least flow in px for a pixel to count as moving."""
    chained: bool = True
    """Compose the flow from frame set to frame set; false = flow from the key at once, which
    loses what is fast sooner (to compare)."""
    adjust_iterations: int = 20
    """Steps that adjust each moved scene to its pictures, where motion left it wrong; 0 = none.
    About 10 CPU ms each at 480x360, and 0.2 to 0.3 CPU s for the choice of what is wrong."""
    adjust_views: int = 6
    """Cameras that it is adjusted to, spread over the rig; 0 = all."""
    cache_mb: float = 256.0
    """Bound of the cached flows, MB."""
    weights: str = ''
    """Folder with weights of agm: gmflow/ and igs/, or a ckpt/ that holds them (docs/weights.md).
    """
    double_division: bool = True
    """Divide pictures by 255 twice before agm, as its published weights expect."""
    bbox: str = 'auto'
    """Region that agm may move: auto = what changes in the pictures, all, 'xmin ymin zmin xmax
    ymax zmax' in m, or bbox.json[:SCENE]."""
    precision: str = 'float32'
    """What agm computes in: float32, bfloat16 or float16; `igs bench motion` has the error."""
    compile: bool = False
    """Compile agm with torch.compile when it starts; takes minutes, pays on CUDA."""


@dataclass(frozen=True)
class RefineConfig:
    """Key-frame refinement: the published schedule (igs_reference 3.1) on what changed."""

    iterations: int = 100
    """Optimization steps per key frame (published: 50 = IGS-s, 100 = IGS-l)."""
    births: bool = True
    """New Gaussians from stereo where the rendering is wrong (not published)."""
    selective: bool = True
    """Optimize only what changed, all else stays bit for bit (published: off)."""
    polish_iterations: int = 0
    """Steps at low rates on the whole scene after each key, which flicker a little; in lockstep
    only: live, they run when there is time to spare."""
    lr_means: float = 1.6e-3
    """Learning rate of positions, constant, m."""
    lr_quats: float = 1e-2
    """Learning rate of quaternions."""
    lr_scales: float = 1e-2
    """Learning rate of log scales (published: 5e-3)."""
    lr_opacities: float = 5e-2
    """Learning rate of logit opacities."""
    lr_sh_dc: float = 1e-2
    """Learning rate of the constant SH coefficients, the colors (published: 2.5e-3)."""
    lr_sh: float = 2.5e-3
    """Learning rate of the other SH coefficients."""
    dssim: float = 0.2
    """Weight of 1 - SSIM in the loss; L1 gets the rest."""
    densify_every: int = 20
    """Densify and prune every so many iterations."""
    densify_threshold: float = 1.5e-4
    """Least mean screen-space gradient (normalized device units) of a Gaussian that is split."""
    prune_opacity: float = 5e-3
    """Gaussians below this opacity are removed."""


@dataclass(frozen=True)
class BudgetConfig:
    """Deadlines of live runs (docs/engine.md); `igs run` in lockstep knows none."""

    update_hz: float = 0.0
    """Scene updates per second to hold, by less work per update where need be; 0 = no budget: all
    that the settings say, however long it takes."""
    view_hz: float = 10.0
    """Views per second, also without new frame sets; with a budget, coarser ones rather than late.
    """
    refine_s: float = 2.0
    """With a budget: longest refinement of a key, s; 0 = as long as it takes."""


@dataclass(frozen=True)
class Config:
    """Settings of one reconstruction."""

    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)
    motion_model: MotionConfig = field(default_factory=MotionConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    motion: str = 'auto'
    """Motion model: auto = the best there is, agm (needs weights), agm_small, geometric or static.
    """
    key_interval: int = 5
    """A key frame every so many processed frame sets; 0 = never, a frozen first scene."""
    key_frames: str = ''
    """Numbers of the frame sets that become keys instead, 1 = the first after the first scene,
    such as '5 10 12'; '' = by key_interval."""
    early_key: float = 0.0
    """Share of the pixels (0..1) whose change between two frame sets makes a key frame at once (a
    cut, a light that goes on); 0 = off. Live, the key waits for the one in the making."""
    hold_s: float = 20.0
    """Implausible pictures (dark, covered, another scene, another camera's) are not fitted; what
    lasts is believed after so long (s of the stamps), a change of light after a tenth of it. 0 =
    every picture is believed."""
    max_gaussians: int = 30000
    """Bound of the scene at all times."""
    sh_degree: int = 1
    """Degree of the spherical harmonics, 0..3."""
    width: int = 0
    """Width of the working images in px, 0 = as recorded."""
    device: str = 'auto'
    """auto, cpu or cuda."""
    threads: int = 2
    """Threads of the CPU rasterizer; results do not depend on it."""
    seed: int = 0
    """Seed of everything random."""


BOUNDS = {
    'bootstrap.iterations': (0, math.inf), 'bootstrap.seconds': (0, math.inf),
    'bootstrap.coarse_fraction': (0, 1), 'bootstrap.initial_opacity': (0.01, 0.99),
    'motion_model.anchors': (1, math.inf), 'motion_model.neighbors': (1, 64),
    'motion_model.flow_views': (0, math.inf), 'motion_model.moving_px': (0, math.inf),
    'motion_model.adjust_iterations': (0, math.inf),
    'motion_model.adjust_views': (0, math.inf), 'motion_model.cache_mb': (0, math.inf),
    'refine.iterations': (0, math.inf), 'refine.lr_means': (0, math.inf),
    'refine.lr_quats': (0, math.inf), 'refine.lr_scales': (0, math.inf),
    'refine.lr_opacities': (0, math.inf), 'refine.lr_sh_dc': (0, math.inf),
    'refine.lr_sh': (0, math.inf), 'refine.polish_iterations': (0, math.inf),
    'refine.dssim': (0, 1), 'refine.densify_every': (1, math.inf),
    'refine.densify_threshold': (0, math.inf), 'refine.prune_opacity': (0, 1),
    'budget.update_hz': (0, 1000), 'budget.view_hz': (0.01, 1000),
    'budget.refine_s': (0, math.inf),
    'key_interval': (0, math.inf), 'early_key': (0, 1), 'hold_s': (0, math.inf),
    'max_gaussians': (1, math.inf), 'sh_degree': (0, 3),
    'width': (0, math.inf), 'threads': (1, 1024), 'seed': (0, 2 ** 31 - 1)}
"""Least and largest value of every number above (a test finds one that is left out)."""


def checked(config, label: str = 'setting', bounds: Mapping[str, tuple] = BOUNDS):
    """`config` if every number is within `bounds`; raises `InputError` naming the first that is
    not. label: what a setting is called where it came from.
    """
    for name, value in numbers(config):
        least, most = bounds[name]
        if most == math.inf and isinstance(value, int):
            most = MOST_INT
        if not (least <= value <= most and value < math.inf):  # NaN, too
            wanted = f'at least {least}, finite' if most == math.inf else f'{least} to {most}'
            raise InputError(f'{label} {name} is {shown(value)}; expected {wanted}.')
    return config


def numbers(config):
    """Names (nested ones with a dot) and values of all numbers in a dataclass."""
    for name, value in settings(config):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value


def settings(config, prefix: str = ''):
    """Names (nested ones with a dot) and values of everything in a dataclass."""
    for name in get_type_hints(type(config)):
        value = getattr(config, name)
        if is_dataclass(value):
            yield from settings(value, f'{prefix}{name}.')
        else:
            yield prefix + name, value


def setting(config: Config, name: str):
    """The value called `name` (nested ones with a dot); raises `InputError`."""
    values = dict(settings(config))
    if name not in values:
        raise InputError(f'setting {shown(name)} is unknown; config/igs.yaml lists them all.')
    return values[name]


def with_settings(config: Config, values: Mapping[str, object], origin: str = 'setting') -> Config:
    """`config` with `values` (by name, nested ones with a dot) in place of its own.

    Raises `InputError` for an unknown name and for a value of another type. origin: where the
    values came from.
    """
    for name, value in values.items():
        old = setting(config, name)
        if isinstance(old, float) and type(value) is int:
            value = float(value) if abs(value) <= MOST_INT else math.inf
        if type(value) is not type(old):
            raise InputError(f'{origin}: {name} is {shown(value)}; expected a value like {old!r}.')
        config = _with(config, name.split('.'), value)
    return config


def _with(config, path: list[str], value):
    if len(path) > 1:
        value = _with(getattr(config, path[0]), path[1:], value)
    return replace(config, **{path[0]: value})
