# SPDX-License-Identifier: Apache-2.0
"""What `igs bench quality` compares: named settings, some at equal CPU time."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from igs_ros.core.config import Config, settings, with_settings
from igs_ros.core.errors import InputError
from igs_ros.core.presets import preset

_WHOLE = {'refine.births': False, 'refine.selective': False}
_EVERY = {'key_interval': 1, 'refine.iterations': 50}


@dataclass(frozen=True)
class Arm:
    """One way to run a recording. `changes`: settings by name, laid over the plan's."""

    name: str
    meaning: str
    changes: Mapping[str, object] = field(default_factory=dict)
    like: str = ''
    """Arm whose CPU time per frame this one is given, through its iterations; '' = its own."""

    def config(self, base: Config) -> Config:
        """`base` with the changes."""
        return with_settings(base, self.changes, f'arm {self.name}')


def _published(name: str) -> dict[str, object]:
    """The schedule and rates of a preset, without its limits: all arms share the first scene."""
    default = dict(settings(Config()))
    return {key: value for key, value in settings(preset(name))
            if key.startswith('refine.') or (key == 'key_interval' and value != default[key])}


def arms() -> dict[str, Arm]:
    """All arms by name."""
    return {arm.name: arm for arm in (
        Arm('frozen', 'the first scene, never changed', {'motion': 'static', 'key_interval': 0}),
        Arm('key5', 'the defaults'),
        Arm('every', 'every frame refined, 50 iterations', _EVERY),
        Arm('per-frame', 'whole scene optimized at every frame, no motion, no births, as '
                         '3DGStream-like systems do; given the CPU time of `every`',
            {**_EVERY, **_WHOLE, 'motion': 'static'}, like='every'),
        Arm('per-frame-key5', 'the same at the CPU time of `key5`',
            {**_EVERY, **_WHOLE, 'motion': 'static', 'refine.iterations': 20}, like='key5'),
        Arm('igs-s', 'published schedule, 50 iterations', _published('igs-s')),
        Arm('igs-l', 'published schedule, 100 iterations', _published('igs-l')),
        Arm('no-births', '`key5` without births, at equal CPU time', {'refine.births': False},
            like='key5'),
        Arm('no-selection', '`key5` on all Gaussians, at equal CPU time',
            {'refine.selective': False}, like='key5'),
        Arm('no-chain', '`key5` with flow from key to frame instead of from frame to frame',
            {'motion_model.chained': False}),
        Arm('no-motion', '`key5` with copies between keys', {'motion': 'static'}),
        Arm('whole', '`key5` on all Gaussians, same iterations', {'refine.selective': False}),
        Arm('every-whole', '`every` on all Gaussians, same iterations',
            {**_EVERY, 'refine.selective': False}),
        Arm('every-no-births', '`every` without births, at equal CPU time',
            {**_EVERY, 'refine.births': False}, like='every'),
        Arm('static', 'motion model static', {'motion': 'static'}),
        Arm('geometric', 'motion model geometric', {'motion': 'geometric'}),
        Arm('agm_small', 'motion model agm_small', {'motion': 'agm_small'}),
        Arm('agm', 'motion model agm, with the published weights', {'motion': 'agm'}),
    )}


def chosen(names: Sequence[str]) -> list[Arm]:
    """The arms `names`, each after the one whose CPU time it needs.

    Raises:
        InputError: there is no arm of a name.
    """
    known = arms()
    for name in names:
        if name not in known:
            raise InputError(f"arm '{name}' is unknown; expected {', '.join(known)}.")
    needed = [known[name].like for name in names if known[name].like]
    wanted = dict.fromkeys([*needed, *names])
    return sorted((known[name] for name in wanted), key=lambda arm: bool(arm.like))


def with_iterations(config: Config, iterations: int) -> Config:
    """`config` with other refinement iterations."""
    return replace(config, refine=replace(config.refine, iterations=iterations))
