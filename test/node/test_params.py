# SPDX-License-Identifier: Apache-2.0
"""Parameters, their file and their declarations say the same."""
import math
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from igs_ros.core.config import Bound, Config
from igs_ros.core.errors import InputError
from igs_ros.node import params

FILE = Path(__file__).resolve().parents[2] / 'config' / 'igs.yaml'


def flat(values, prefix=''):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f'{prefix}{name}.')
        else:
            yield prefix + name, value


def test_the_file_is_what_the_dataclasses_say():
    assert FILE.read_text() == params.yaml_text(), \
        'run: python -m igs_ros.node.params > config/igs.yaml'


def test_the_file_holds_every_default():
    in_file = dict(flat(yaml.safe_load(FILE.read_text())['/**']['ros__parameters']))
    expected = dict(flat({**asdict(params.NodeConfig()), **asdict(Config())}))
    expected['cameras'] = expected['views'] = ['']  # how a ROS parameter file says an empty list
    assert in_file == expected
    assert [type(in_file[name]) for name in expected] == [type(v) for v in expected.values()]


def test_every_parameter_has_a_comment_of_one_line():
    lines = FILE.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r'\s+\w+: .', line):
            assert re.match(r'\s+# \w', lines[number - 1]), line


def test_every_number_has_a_range_and_every_default_is_allowed():
    for p in params.parameters():
        is_number = isinstance(p.default, int | float) and not isinstance(p.default, bool)
        assert is_number == isinstance(p.allowed, Bound), p.name
    assert params.configs_from({}) == (params.NodeConfig(), Config())


def test_values_reach_their_fields():
    node, core = params.configs_from({'cameras': ['a', 'b', ''], 'points_rate_hz': 5,
                                      'refine.iterations': 7, 'bootstrap.method': 'images'})
    assert node.cameras == ('a', 'b') and node.points_rate_hz == 5.0
    assert core.refine.iterations == 7 and core.bootstrap.method == 'images'
    assert core.refine.births == Config().refine.births


@pytest.mark.parametrize('name, value, words', [
    ('transport', 'theora', "transport is 'theora'; expected compressed or raw"),
    ('synchronizer', 'best', 'igs, approximate or exact'),
    ('points_rate_hz', 0.0, 'points_rate_hz is 0.0; expected at least 0.01'),
    ('max_spread_s', math.nan, 'max_spread_s is nan'),
    ('jpeg_quality', 101, 'expected 1 to 100'),
    ('width', 'wide', "width is 'wide'; expected a value like 0"),
    ('threads', 2.0, 'threads is 2.0; expected a value like 2'),
    ('bootstrap.iterations', -1, 'bootstrap.iterations is -1'),
])
def test_values_that_cannot_work_are_refused(name, value, words):
    with pytest.raises(InputError, match=f'parameter {words}|{words}'):
        params.configs_from({name: value})


@pytest.fixture
def node_with(ros):
    made = []

    def build(*arguments):
        made.append(ros.create_node('params_test', cli_args=['--ros-args', *arguments]))
        return made[-1]
    yield build
    for node in made:
        node.destroy_node()


def test_declared_as_in_the_dataclasses(node_with):
    node = node_with()
    assert params.declare(node) == (params.NodeConfig(), Config())
    for parameter in params.parameters():
        descriptor = node.describe_parameter(parameter.name)
        assert descriptor.description == parameter.description
        assert descriptor.read_only is not parameter.changeable


def test_descriptors_hold_ranges_and_choices(node_with):
    node = node_with()
    params.declare(node)

    def span(name, kind):
        one, = getattr(node.describe_parameter(name), kind)
        return one.from_value, one.to_value
    assert span('sh_degree', 'integer_range') == (0, 3)
    assert span('key_interval', 'integer_range') == (0, 2 ** 31 - 1)
    assert span('points_min_opacity', 'floating_point_range') == (0.0, 1.0)
    assert span('hold_s', 'floating_point_range') == (0.0, math.inf)
    for name, names in (('motion', 'auto, agm, agm_small, geometric or static'),
                        ('transport', 'compressed or raw'), ('sh_degree', '0 to 3'),
                        ('world_frame', '')):
        assert node.describe_parameter(name).additional_constraints == names
    assert not node.describe_parameter('bootstrap.exposure').integer_range


@pytest.mark.parametrize('override, words', [
    ('sh_degree:=4', 'sh_degree is 4; expected 0 to 3'),
    ('points_min_opacity:=1.5', 'points_min_opacity is 1.5; expected 0 to 1'),
    ('points_min_opacity:=2', 'points_min_opacity is 2.0; expected 0 to 1'),
    ('hold_s:=.nan', 'hold_s is nan; expected at least 0, finite'),
    ('hold_s:=.inf', 'hold_s is inf; expected at least 0, finite'),
    ('motion:=best', "motion is 'best'; expected auto, agm")])
def test_overrides_out_of_range_are_one_clear_line(node_with, override, words):
    with pytest.raises(InputError, match=words) as error:
        params.declare(node_with('-p', override))
    assert '\n' not in str(error.value)


def test_the_file_itself_can_be_loaded(node_with):
    node = node_with('--params-file', str(FILE))
    assert params.declare(node) == (params.NodeConfig(), Config())


def test_the_example_of_a_view_in_the_file_can_be_loaded(node_with, tmp_path):
    """Without its comment signs, and with the view named, it says what the defaults are."""
    text = FILE.read_text().replace("    views: ['']", "    views: ['left']")
    plain, example = text[:text.index('    # left:')], text[text.index('    # left:'):]
    uncommented = tmp_path / 'views.yaml'
    uncommented.write_text(plain + example.replace('    # ', '    '))
    node = node_with('--params-file', str(uncommented))
    settings, config = params.declare(node)
    assert settings == params.NodeConfig(views=('left',)) and config == Config()
    assert params.declared_views(node, settings) == {'left': params.ViewConfig()}
    for name, value in asdict(params.ViewConfig()).items():
        assert node.has_parameter(f'left.{name}')
        assert node.get_parameter(f'left.{name}').value == value
        assert re.search(rf'^    #   {name}: ', FILE.read_text(), re.M)


def test_parameters_of_views_are_read_and_others_of_them_named(node_with, monkeypatch):
    node = node_with('-p', 'views:=[left, top]', '-p', 'left.fov_deg:=90', '-p', 'top.k:=1 2 3 4',
                     '-p', 'top.with:=3', '-p', 'bottom.width:=3', '-p', 'left.baseline:=0.06')
    said = []
    monkeypatch.setattr(type(node.get_logger()), 'warning', lambda _, text: said.append(text))
    settings, _ = params.declare(node)
    assert params.declared_views(node, settings) == {
        'left': params.ViewConfig(fov_deg=90.0, baseline=0.06),
        'top': params.ViewConfig(k='1 2 3 4')}
    assert len(said) == 2 and "'bottom.width' is none" in said[0]
    assert "'top.with' is none" in said[1] and 'did you mean top.width' in said[1]
    descriptor = node.describe_parameter('left.fov_deg')
    assert descriptor.floating_point_range[0].to_value == 170.0 and not descriptor.read_only


@pytest.mark.parametrize('overrides, words', [
    (['views:=[a b]'], "views names 'a b'"), (['views:=[left, left]'], 'left twice'),
    (['views:=[left]', 'left.width:=-3'], 'left.width is -3; expected 0 to 16384'),
    (['views:=[left]', 'left.rate_hz:=fast'], 'parameter left.rate_hz')])
def test_views_that_cannot_be_declared_are_one_line(node_with, overrides, words):
    with pytest.raises(InputError, match=words) as error:
        params.declare(node_with(*(part for one in overrides for part in ('-p', one))))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('overlay', sorted((FILE.parent / 'rigs').glob('*.yaml')),
                         ids=lambda path: path.name)
def test_overlays_set_parameters_that_exist(node_with, overlay):
    known = {p.name for p in params.parameters()}
    given = dict(flat(yaml.safe_load(overlay.read_text())['/**']['ros__parameters']))
    assert set(given) <= known
    node_config, _ = params.declare(node_with('--params-file', str(FILE),
                                              '--params-file', str(overlay)))
    assert {name: getattr(node_config, name) for name in given} == given


def test_overrides_from_the_command_line(node_with):
    node = node_with('-p', 'cameras:=[cam00, cam03]', '-p', 'points_rate_hz:=4',
                     '-p', 'refine.iterations:=9', '-p', 'view_camera:=cam02')
    node_config, core = params.declare(node)
    assert node_config.cameras == ('cam00', 'cam03') and node_config.points_rate_hz == 4.0
    assert core.refine.iterations == 9 and node_config.view_camera == 'cam02'


@pytest.mark.parametrize('override', ['width:=wide', 'cameras:=3', 'points_rate_hz:=fast'])
def test_overrides_of_a_wrong_type_are_refused(node_with, override):
    with pytest.raises(InputError, match=f'parameter {override.split(":=")[0]}'):
        params.declare(node_with('-p', override))


def test_removed_parameters_are_refused_in_one_line(node_with):
    with pytest.raises(InputError, match='parameters: no settings any more: .*jump_s') as error:
        params.declare(node_with('-p', 'jump_s:=0.3', '-p', 'refine.dssim:=0.2'))
    assert 'refine.dssim' in str(error.value) and '\n' not in str(error.value)


def test_there_are_fewer_than_80():
    assert len(params.parameters()) < 80
