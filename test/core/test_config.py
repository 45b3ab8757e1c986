# SPDX-License-Identifier: Apache-2.0
"""Settings: every number has bounds, and what is outside is named."""
from dataclasses import replace

import pytest

from igs_ros.core.config import (
    BootstrapConfig,
    Bound,
    Choice,
    Config,
    MotionConfig,
    RefineConfig,
    allowed,
    checked,
    numbers,
)
from igs_ros.core.errors import InputError


def test_every_number_has_bounds_and_a_default_within():
    rules = allowed(Config)
    assert {name for name, _ in numbers(Config())} == {
        name for name, rule in rules.items() if isinstance(rule, Bound)}
    assert rules['device'] == Choice(('auto', 'cpu', 'cuda'))
    assert checked(Config()) == Config()


@pytest.mark.parametrize('config, name', [
    (Config(seed=-1), 'seed'), (Config(sh_degree=4), 'sh_degree'),
    (Config(motion_model=MotionConfig(neighbors=0)), 'motion_model.neighbors'),
    (Config(motion_model=MotionConfig(cache_mb=-1)), 'motion_model.cache_mb'),
    (Config(refine=RefineConfig(densify_every=0)), 'refine.densify_every'),
    (Config(refine=RefineConfig(dssim=float('nan'))), 'refine.dssim'),
    (Config(device='gpu'), 'device'),
    (Config(motion_model=MotionConfig(precision='float8')), 'motion_model.precision'),
    (Config(bootstrap=BootstrapConfig(initial_opacity=5)), 'bootstrap.initial_opacity'),
])
def test_what_is_outside_is_named(config, name):
    with pytest.raises(InputError, match=f'parameter {name} is'):
        checked(config, 'parameter')


def test_bounds_themselves_are_fine():
    assert checked(replace(Config(), sh_degree=3, key_interval=0, width=0))
