# SPDX-License-Identifier: Apache-2.0
"""Flags that several commands share: defaults, where they end up, what is refused."""
import re
from dataclasses import fields, replace

import pytest
import tyro

from igs_ros.apps.cli.options import SETTINGS, SceneOptions
from igs_ros.core.config import Config, setting, with_settings
from igs_ros.core.errors import InputError
from igs_ros.io.recordings.recording import frame_range


def test_no_flags_are_the_defaults_of_the_configuration():
    assert tyro.cli(SceneOptions, args=[]).config() == Config()


def test_flags_reach_the_configuration():
    flags = ('--width 320 --motion static --key-interval 3 --refine-iterations 7 '
             '--max-gaussians 123 --sh-degree 2 --bootstrap images --bootstrap-iterations 9 '
             '--bootstrap-seconds 1.5 --device cpu --threads 3 --seed 4').split()
    made, start = tyro.cli(SceneOptions, args=flags).config(), Config()
    assert made == replace(
        start, width=320, motion='static', key_interval=3, max_gaussians=123, sh_degree=2,
        device='cpu', threads=3, seed=4, refine=replace(start.refine, iterations=7),
        bootstrap=replace(start.bootstrap, method='images', iterations=9, seconds=1.5))


CHANGED = {bool: lambda value: not value, int: lambda value: value + 1,
           float: lambda value: value + 1, str: lambda value: value + 'x'}
FLAGS = [field.name for field in fields(SceneOptions) if field.name not in ('preset', 'set')]


@pytest.mark.parametrize('name', FLAGS)
def test_every_flag_changes_its_setting_alone(name):
    named = 'bootstrap.optimize_ply' if name == 'optimize_ply' else SETTINGS.get(name, name)
    value = setting(Config(), named)
    changed = {'sh_degree': 2, 'device': 'cpu'}.get(name, CHANGED[type(value)](value))
    made = SceneOptions(**{name: changed}).config()
    assert made == with_settings(Config(), {named: changed}) != Config()


@pytest.mark.parametrize('name', FLAGS)
def test_help_names_the_default(name, capsys):
    with pytest.raises(SystemExit):
        tyro.cli(SceneOptions, args=['--help'])
    text = capsys.readouterr().out
    if name != 'optimize_ply':
        assert repr(setting(Config(), SETTINGS.get(name, name))) in text


def test_help_names_choices_and_bounds(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(SceneOptions, args=['--help'])
    text = ' '.join(capsys.readouterr().out.replace('│', ' ').split())
    assert '{None,auto,agm,agm_small,geometric,static}' in text
    for said in ('(default: 1, 0 to 3)', '(default: 30000, at least 1)'):
        assert said in text


def test_a_preset_is_what_its_file_says_and_flags_win_over_it():
    made = SceneOptions(preset='igs-l', max_gaussians=123).config()
    assert (made.refine.iterations, made.sh_degree, made.max_gaussians) == (100, 3, 123)
    assert not made.refine.births


def test_set_wins_over_flags_and_reaches_every_setting():
    made = SceneOptions(seed=1, set=('seed=4', 'hold_s=0.5', 'bootstrap.method=images',
                                     'refine.births=false')).config()
    assert (made.seed, made.hold_s, made.bootstrap.method) == (4, 0.5, 'images')
    assert not made.refine.births


@pytest.mark.parametrize('text, message', [
    ('seed', "--set 'seed': expected NAME=VALUE"), ('seed: 1', 'expected NAME=VALUE'),
    ('sead=1', "setting 'sead' is unknown"), ('refine=1', "setting 'refine' is unknown"),
    ('refine.lr_sh=1', '--set: no settings any more: refine.lr_sh (refine.learning_rates '),
    ('seed=1.5', '--set: seed is 1.5; expected a value like 0'),
    ('seed=[', 'expected NAME=VALUE'), ('refine.births=3', 'expected a value like True')])
def test_settings_that_are_refused(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        SceneOptions(set=(text,)).config()


@pytest.mark.parametrize('flag, value, name', [
    ('--width', -1, 'width'), ('--key-interval', -1, 'key_interval'),
    ('--refine-iterations', -1, 'refine.iterations'), ('--max-gaussians', 0, 'max_gaussians'),
    ('--bootstrap-iterations', -1, 'bootstrap.iterations'), ('--threads', 0, 'threads'),
    ('--sh-degree', 4, 'sh_degree'), ('--sh-degree', -1, 'sh_degree')])
def test_values_that_cannot_work_are_refused_by_name(flag, value, name):
    options = tyro.cli(SceneOptions, args=[flag, str(value)])
    with pytest.raises(InputError, match=f'{name} .*{value}; expected'):
        options.config()


@pytest.mark.parametrize('text, expected', [('0:11', (0, 11)), ('5:', (5, None)),
                                            (':4', (0, 4)), (':', (0, None))])
def test_frame_ranges(text, expected):
    assert frame_range(text) == expected


@pytest.mark.parametrize('text', ['', '5', 'a:b', '1:2:3', '3:3', '4:2', '-1:3', '1.5:2'])
def test_frame_ranges_that_are_refused(text):
    with pytest.raises(InputError, match='--frames'):
        frame_range(text)
