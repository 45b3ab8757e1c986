# SPDX-License-Identifier: Apache-2.0
"""Every setting of the core, with its default, unit and reason.

These dataclasses are the truth: the command line is generated from them (tyro), and a test holds
config/igs.yaml and the ROS parameter declarations equal to them.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, field, is_dataclass
from typing import get_type_hints

from igs_ros.errors import InputError


@dataclass(frozen=True)
class BootstrapConfig:
    """The first scene."""

    method: str = 'auto'
    """auto, points, images, or the path of a 3DGS PLY. auto takes points where the recording has
    them, else images."""
    optimise_ply: bool = False
    """Optimise a scene from a PLY as well; else it is taken as it is."""
    iterations: int = 2500
    """Optimisation steps; with the same input and seed, the same steps give the same bytes."""
    seconds: float = 0.0
    """Wall-clock cap of the optimisation in s, 0 = none; results say which limit stopped it."""
    coarse_fraction: float = 0.2
    """Share of the iterations at half image size, where they cost a third."""
    initial_opacity: float = 0.3
    """Opacity of new Gaussians, 0..1; measured better than the usual 0.1 on dense seeds."""


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
    cache_mb: float = 256.0
    """Bound of the cached flows, MB."""
    weights: str = ''
    """Folder with the published weights of agm: gmflow/ and igs/, or a ckpt/ that holds them."""
    double_division: bool = True
    """Divide pictures by 255 twice before agm, as its published weights expect."""
    bbox: str = ''
    """Region that agm may move: 'xmin ymin zmin xmax ymax zmax' in m, bbox.json[:SCENE]; '' = all.
    """


@dataclass(frozen=True)
class RefineConfig:
    """Key-frame refinement: the published schedule (igs_reference 3.1)."""

    iterations: int = 100
    """Optimisation steps per key frame (published: 50 = IGS-s, 100 = IGS-l)."""
    lr_means: float = 1.6e-3
    """Learning rate of positions, constant, m."""
    lr_quats: float = 1e-2
    """Learning rate of quaternions."""
    lr_scales: float = 5e-3
    """Learning rate of log scales."""
    lr_opacities: float = 5e-2
    """Learning rate of logit opacities."""
    lr_sh: float = 2.5e-3
    """Learning rate of all SH coefficients."""
    dssim: float = 0.2
    """Weight of 1 - SSIM in the loss; L1 gets the rest."""
    densify_every: int = 20
    """Densify and prune every so many iterations."""
    densify_threshold: float = 1.5e-4
    """Least mean screen-space gradient (normalised device units) of a Gaussian that is split."""
    prune_opacity: float = 5e-3
    """Gaussians below this opacity are removed."""


@dataclass(frozen=True)
class Config:
    """Settings of one reconstruction."""

    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)
    motion_model: MotionConfig = field(default_factory=MotionConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)
    motion: str = 'geometric'
    """Motion model: static, geometric, or agm (needs weights)."""
    key_interval: int = 5
    """A key frame every so many processed frame sets; 0 = never, a frozen first scene."""
    max_gaussians: int = 30000
    """Bound of the scene at all times."""
    sh_degree: int = 1
    """Degree of the spherical harmonics, 0..3."""
    width: int = 0
    """Width of the working images in px, 0 = as recorded."""
    device: str = 'auto'
    """auto, cpu or cuda."""
    threads: int = 2
    """Threads of the CPU rasteriser; results do not depend on it."""
    seed: int = 0
    """Seed of everything random."""


BOUNDS = {
    'bootstrap.iterations': (0, math.inf), 'bootstrap.seconds': (0, math.inf),
    'bootstrap.coarse_fraction': (0, 1), 'bootstrap.initial_opacity': (0.01, 0.99),
    'motion_model.anchors': (1, math.inf), 'motion_model.neighbors': (1, 64),
    'motion_model.flow_views': (0, math.inf), 'motion_model.moving_px': (0, math.inf),
    'motion_model.cache_mb': (0, math.inf),
    'refine.iterations': (0, math.inf), 'refine.lr_means': (0, math.inf),
    'refine.lr_quats': (0, math.inf), 'refine.lr_scales': (0, math.inf),
    'refine.lr_opacities': (0, math.inf), 'refine.lr_sh': (0, math.inf),
    'refine.dssim': (0, 1), 'refine.densify_every': (1, math.inf),
    'refine.densify_threshold': (0, math.inf), 'refine.prune_opacity': (0, 1),
    'key_interval': (0, math.inf), 'max_gaussians': (1, math.inf), 'sh_degree': (0, 3),
    'width': (0, math.inf), 'threads': (1, 1024), 'seed': (0, 2 ** 31 - 1)}
"""Least and largest value of every number above (a test finds one that is left out)."""


def checked(config: Config, label: str = 'setting') -> Config:
    """`config` if every number is within `BOUNDS`; raises `InputError` naming the first that is
    not. label: what a setting is called where it came from.
    """
    for name, value in numbers(config):
        least, most = BOUNDS[name]
        if not least <= value <= most:  # NaN, too
            wanted = f'at least {least}' if most == math.inf else f'{least} to {most}'
            raise InputError(f'{label} {name} is {value}; expected {wanted}.')
    return config


def numbers(config, prefix: str = ''):
    """Names (nested ones with a dot) and values of all numbers in a dataclass."""
    for name in get_type_hints(type(config)):
        value = getattr(config, name)
        if is_dataclass(value):
            yield from numbers(value, f'{prefix}{name}.')
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + name, value
