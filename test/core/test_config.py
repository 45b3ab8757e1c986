# SPDX-License-Identifier: Apache-2.0
"""Settings: every number has bounds, and what is outside is named."""
import math
from dataclasses import replace

import pytest

from igs_ros.core.config import (
    MAX_INT,
    REMOVED,
    BootstrapConfig,
    Bound,
    Choice,
    Config,
    MotionConfig,
    RefineConfig,
    allowed,
    checked,
    numbers,
    setting,
    settings,
    with_settings,
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
    (Config(motion_model=MotionConfig(anchors=0)), 'motion_model.anchors'),
    (Config(motion_model=MotionConfig(cache_mb=-1)), 'motion_model.cache_mb'),
    (Config(refine=RefineConfig(iterations=-1)), 'refine.iterations'),
    (Config(hold_s=float('nan')), 'hold_s'),
    (Config(device='gpu'), 'device'),
    (Config(motion_model=MotionConfig(precision='float8')), 'motion_model.precision'),
    (Config(bootstrap=BootstrapConfig(seconds=float('inf'))), 'bootstrap.seconds'),
])
def test_what_is_outside_is_named(config, name):
    with pytest.raises(InputError, match=f'parameter {name} is'):
        checked(config, 'parameter')


def test_bounds_themselves_are_fine():
    assert checked(replace(Config(), sh_degree=3, key_interval=0, width=0))


# What is not any number from 0 on: 0 stands for none, all, or no effect wherever it is allowed.
UNUSUAL = {
    'motion_model.anchors': (1, math.inf),
    'budget.update_hz': (0, 1000), 'budget.view_hz': (0.01, 1000),
    'early_key': (0, 1), 'max_gaussians': (1, math.inf), 'sh_degree': (0, 3), 'threads': (1, 1024)}


def test_what_is_unusual_is_a_setting():
    assert set(UNUSUAL) <= {name for name, _ in numbers(Config())}


@pytest.mark.parametrize('name', [name for name, _ in numbers(Config())])
def test_bounds_are_allowed_and_what_lies_beyond_is_not(name):
    kind = type(setting(Config(), name))
    least, most = UNUSUAL.get(name, (0, math.inf))
    if kind is int:
        most = min(most, 2 ** 31 - 1)
        inside, outside = [least, most], [least - 1, most + 1]
    elif most == math.inf:
        inside, outside = [float(least), 1e300], [least - 1e-9, math.inf, math.nan]
    else:
        inside, outside = [float(least), float(most)], [least - 1e-9, most + 1e-9, math.nan]
    for value in inside:
        checked(with_settings(Config(), {name: value}))
    for value in outside:
        with pytest.raises(InputError, match=f'{name} is'):
            checked(with_settings(Config(), {name: value}))


def test_values_of_the_right_type_are_taken_and_others_are_refused():
    made = with_settings(Config(), {'hold_s': 1, 'seed': 3, 'bootstrap.exposure': False})
    assert made.hold_s == 1.0 and type(made.hold_s) is float
    assert made.seed == 3 and made.bootstrap.exposure is False
    assert with_settings(Config(), {'hold_s': MAX_INT}).hold_s == MAX_INT
    assert with_settings(Config(), {'hold_s': MAX_INT + 1}).hold_s == math.inf  # then refused
    for name, value in (('seed', 1.0), ('seed', True), ('refine.births', 1), ('device', 3),
                        ('hold_s', '1'), ('hold_s', True)):
        with pytest.raises(InputError, match=f'file: {name} is'):
            with_settings(Config(), {name: value}, 'file')
    with pytest.raises(InputError, match='unknown'):
        with_settings(Config(), {'refine': 1})


def test_numbers_are_all_settings_but_texts_and_switches():
    others = {name for name, _ in settings(Config())} - {name for name, _ in numbers(Config())}
    assert {type(setting(Config(), name)) for name in others} == {bool, str}
    assert [str(Bound(0)), str(Bound(0, 3)), str(Choice(('a', 'b', 'c'))), str(Choice(('a',)))] \
        == ['at least 0, finite', '0 to 3', 'a, b or c', 'a']


def test_settings_by_name():
    made = Config.of({'width': 96, 'refine.iterations': 5, 'hold_s': 3, 'motion': 'static'})
    assert made == Config(width=96, hold_s=3.0, motion='static',
                          refine=RefineConfig(iterations=5))
    assert Config.of({}) == Config()


@pytest.mark.parametrize('values, said', [
    ({'widht': 96}, "'widht' is unknown"), ({'width': '96'}, 'width'),
    ({'refine': 5}, "'refine' is unknown"), ({'early_key': 1.5}, 'early_key is 1.5')])
def test_settings_by_name_that_cannot_be(values, said):
    with pytest.raises(InputError, match=said):
        Config.of(values)


def test_removed_settings_are_one_line_that_says_what_became_of_them():
    old = {'seed': 3, 'refine.lr_means': 1e-3, 'refine.lr_sh': 1e-3, 'refine.dssim': 0.2}
    with pytest.raises(InputError) as error:
        with_settings(Config(), old, 'old.yaml')
    assert str(error.value) == (
        'old.yaml: no settings any more: refine.lr_means, refine.lr_sh (refine.learning_rates '
        'chooses the tuned or the published ones); refine.dssim (a constant now). Leave them out; '
        'config/igs.yaml lists all that there are.')


def test_what_was_removed_is_gone_and_what_is_named_instead_is_there():
    known = {name for name, _ in settings(Config())}
    assert not known & REMOVED.keys()
    assert 'refine.learning_rates' in known
