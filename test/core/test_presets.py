# SPDX-License-Identifier: Apache-2.0
"""Presets: what ships can be read, and bad files are refused by name."""
import pytest

from igs_ros.core.config import Config, checked, with_settings
from igs_ros.core.errors import InputError
from igs_ros.core.files import shipped
from igs_ros.core.presets import assigned, names, preset


def test_no_preset_is_the_defaults():
    assert preset('') == Config()


def test_all_that_ship_can_be_used():
    assert set(names()) == {'igs-s', 'igs-l', 'live'}
    for name in names():
        assert checked(preset(name)) != Config()


def test_the_published_schedules_differ_in_iterations_alone():
    short, long = preset('igs-s'), preset('igs-l')
    assert (short.refine.iterations, long.refine.iterations) == (50, 100)
    assert short.key_interval == long.key_interval == 5
    assert not (short.refine.births or short.refine.selective)
    assert short.refine.learning_rates == long.refine.learning_rates == 'published'


def test_the_parameter_file_of_the_node_is_a_preset_of_the_defaults():
    assert preset(str(shipped('config/igs.yaml'))) == Config()


def test_parameters_of_a_node_named_igs_win(tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text('/**:\n  ros__parameters: {seed: 1, width: 8}\n'
                    'igs:\n  ros__parameters:\n    seed: 2\n    refine: {iterations: 7}\n')
    made = preset(str(file))
    assert (made.seed, made.width, made.refine.iterations) == (2, 8, 7)


@pytest.mark.parametrize('text', ['', '3', 'a: [', 'other:\n  ros__parameters: {seed: 1}',
                                  '/**: {seed: 1}', '\xff'])
def test_other_files_are_refused(tmp_path, text):
    file = tmp_path / 'bad.yaml'
    file.write_bytes(text.encode('latin-1'))
    with pytest.raises(InputError, match='bad.yaml.*expected a ROS parameter file'):
        preset(str(file))


def test_unknown_names_and_wrong_types_are_refused(tmp_path):
    with pytest.raises(InputError, match="preset 'fast'.*igs-l, igs-s"):
        preset('fast')
    file = tmp_path / 'typo.yaml'
    file.write_text('/**:\n  ros__parameters: {seed: much}\n')
    with pytest.raises(InputError, match="typo.yaml: seed is 'much'; expected a value like 0"):
        preset(str(file))
    file.write_text('/**:\n  ros__parameters: {points_rate_hz: 3.0, refine: {iteration: 3}}\n')
    with pytest.raises(InputError, match="setting 'refine.iteration' is unknown"):
        preset(str(file))
    file.write_text('/**:\n  ros__parameters: {refine: {dssim: 0.2}}\n')
    with pytest.raises(InputError, match='typo.yaml: no settings any more: refine.dssim '):
        preset(str(file))


@pytest.mark.parametrize('text', [
    'a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]', '[' * 5000, 'seed: ' + '9' * 5000,
    'seed: !!timestamp x', 'seed: !!int ""', 'seed: 2001-99-99', 'a: b\n' * 30_000,
    '!!python/object/apply:os.system [true]'], ids=range(8))
def test_yaml_of_strangers_is_refused(tmp_path, text):
    file = tmp_path / 'bad.yaml'
    file.write_text(text)
    with pytest.raises(InputError, match='bad.yaml.*expected a ROS parameter file') as error:
        preset(str(file))
    assert str(error.value).isprintable() and len(str(error.value)) < 600
    if len(text) < 10_000:
        with pytest.raises(InputError, match='--set .*expected NAME=VALUE'):
            assigned([f"seed={text.removeprefix('seed: ')}"])


@pytest.mark.parametrize('value', ['.inf', '-.inf', '.nan', '9' * 4000])
def test_numbers_that_are_none_are_named(value):
    for name in ('bootstrap.seconds', 'hold_s'):
        with pytest.raises(InputError, match=f'setting {name} is '):
            checked(with_settings(Config(), assigned([f'{name}={value}'])))


def test_whole_numbers_have_an_end():
    with pytest.raises(InputError, match='setting width is .* expected 0 to 2147483647'):
        checked(with_settings(Config(), assigned([f"width={'9' * 40}"])))
