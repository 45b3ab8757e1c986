# SPDX-License-Identifier: Apache-2.0
"""Options that several subcommands share."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from igs_ros.core.config import Bound, Config, allowed, checked, setting, with_settings
from igs_ros.core.presets import assigned, preset
from igs_ros.stages.motion.choose import MotionName


def _of(name: str, **options):
    """The argument for setting `name`: left out, it is what the preset says."""
    rule = allowed(Config).get(name)
    bound = f', {rule.brief}' if isinstance(rule, Bound) else ''
    return tyro.conf.arg(help_behavior_hint=f'(default: {setting(Config(), name)!r}{bound})',
                         **options)


@dataclass(frozen=True)
class SceneOptions:
    """Settings of the reconstruction that are worth a flag; --set reaches all of them."""

    preset: str = ''
    """Settings to start from: live, igs-s, igs-l (config/presets), or a parameter file of the
    node (YAML). Flags win over it."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar='NAME=VALUE')] = ()
    """Any settings of config/igs.yaml, such as refine.iterations=50; these win over all."""
    width: Annotated[int | None, _of('width')] = None
    """Width of the working pictures in px, 0 = as recorded; upright ones beside wide ones get no
    more pixels than those."""
    motion: Annotated[MotionName | None, _of('motion')] = None
    """Motion between key frames; agm needs weights, auto takes the best there is."""
    weights: Annotated[str | None, _of('motion_model.weights', metavar='DIR')] = None
    """Folder with weights of agm; `igs check --weights DIR` looks at it (docs/weights.md)."""
    bbox: Annotated[str | None, _of('motion_model.bbox', metavar='BOX')] = None
    """Region that agm may move: auto (what changes in the pictures), all, 'xmin ymin zmin xmax
    ymax zmax' (m), a bbox.json, or bbox.json:SCENE."""
    key_interval: Annotated[int | None, _of('key_interval')] = None
    """A key frame every so many frames; 0 = a frozen first scene."""
    refine_iterations: Annotated[int | None, _of('refine.iterations')] = None
    """Optimization steps per key frame."""
    max_gaussians: Annotated[int | None, _of('max_gaussians')] = None
    """Bound of the scene at all times."""
    sh_degree: Annotated[int | None, _of('sh_degree')] = None
    """Degree of the spherical harmonics."""
    bootstrap: Annotated[str | None, _of('bootstrap.method',
                                         metavar='auto|depth|points|images|PATH')] = None
    """Where the first scene comes from; PATH is a 3DGS PLY."""
    optimize_ply: bool = False
    """Optimize a scene from a PLY as well; else it is taken as it is."""
    bootstrap_iterations: Annotated[int | None, _of('bootstrap.iterations')] = None
    """Optimization steps of the first scene."""
    bootstrap_seconds: Annotated[float | None, _of('bootstrap.seconds')] = None
    """Wall-clock cap of the first scene in s, 0 = none."""
    device: Annotated[Literal['auto', 'cpu', 'cuda'] | None, _of('device')] = None
    """Where to compute."""
    threads: Annotated[int | None, _of('threads')] = None
    """Threads of the CPU rasterizer; results do not depend on it."""
    seed: Annotated[int | None, _of('seed')] = None
    """Seed of everything random."""

    def config(self) -> Config:
        """The full configuration.

        Raises:
            InputError: a value cannot work, or a setting is unknown.
        """
        given = {SETTINGS.get(name, name): value for name, value in vars(self).items()
                 if name not in ('preset', 'set', 'optimize_ply') and value is not None}
        if self.optimize_ply:
            given['bootstrap.optimize_ply'] = True
        chosen = with_settings(preset(self.preset), given, 'option')
        return checked(with_settings(chosen, assigned(self.set), '--set'))


SETTINGS = {'weights': 'motion_model.weights', 'bbox': 'motion_model.bbox',
            'refine_iterations': 'refine.iterations', 'bootstrap': 'bootstrap.method',
            'bootstrap_iterations': 'bootstrap.iterations',
            'bootstrap_seconds': 'bootstrap.seconds'}
"""Settings of the flags that are called otherwise."""
