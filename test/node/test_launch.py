# SPDX-License-Identifier: Apache-2.0
"""Launch files: every argument documented, named and limited as the parameters are.

`launch` has no wheel: without it the files are read, not run.
"""
import ast
import importlib.util
from pathlib import Path

import pytest
import yaml

from igs_ros.core.config import Choice
from igs_ros.core.presets import names
from igs_ros.node import params

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / 'launch').glob('*.launch.py'))


def calls(path, name):
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
            and getattr(node.func, 'id', '') == name]


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_every_argument_is_documented(path):
    arguments = calls(path, 'DeclareLaunchArgument')
    assert len(arguments) >= 5
    for call in arguments:
        given = {keyword.arg for keyword in call.keywords}
        assert {'default_value', 'description'} <= given, ast.unparse(call)


def assigned(path, name):
    """What a launch file assigns to `name`."""
    return next(node.value for node in ast.parse(path.read_text()).body
                if isinstance(node, ast.Assign) and node.targets[0].id == name)


def overrides():
    """Parameter, type, choices and description of each argument of stream.launch.py."""
    path = ROOT / 'launch' / 'stream.launch.py'
    named = ast.literal_eval(assigned(path, 'PARAMETERS'))
    for row in assigned(path, 'OVERRIDES').elts:
        name, choices, description = (ast.literal_eval(row.elts[i]) for i in (0, 2, 3))
        yield named.get(name, name), row.elts[1].id, choices, description


def test_demo_passes_on_arguments_that_exist():
    """With choices of their own only where they are the same."""
    stream = ROOT / 'launch' / 'stream.launch.py'
    known = {ast.literal_eval(row.elts[0]): ast.literal_eval(row.elts[2])
             for row in assigned(stream, 'OVERRIDES').elts}
    tree = ast.parse((ROOT / 'launch' / 'demo.launch.py').read_text())
    passed, = [node.value.func.value for node in ast.walk(tree) if isinstance(node, ast.keyword)
               and node.arg == 'launch_arguments']
    assert {key.value for key in passed.keys} <= set(known)
    for call in calls(ROOT / 'launch' / 'demo.launch.py', 'DeclareLaunchArgument'):
        name = ast.literal_eval(call.args[0])
        choices = [ast.literal_eval(k.value) for k in call.keywords if k.arg == 'choices']
        if choices and name in known:
            assert choices == [known[name]], name
    assert {'motion', 'weights'} <= {key.value for key in passed.keys}


def test_presets_are_those_that_ship():
    arguments = calls(ROOT / 'launch' / 'stream.launch.py', 'DeclareLaunchArgument')
    choices, = [ast.literal_eval(keyword.value) for call in arguments for keyword in call.keywords
                if ast.unparse(call.args[0]) == "'preset'" and keyword.arg == 'choices']
    assert sorted(choices) == ['', *names()]


def test_launch_arguments_are_parameters():
    known = {p.name: p.default for p in params.parameters()}
    named = {p.name: p.allowed.values for p in params.parameters()
             if isinstance(p.allowed, Choice)}
    for name, kind, choices, description in overrides():
        assert kind == {tuple: 'list'}.get(type(known[name]), type(known[name]).__name__), name
        assert sorted(choices or ()) == sorted(named.get(name, ())), name
        assert len(description) > 10, name


def test_rviz_asks_for_topics_that_exist_as_they_are_published():
    shown = yaml.safe_load((ROOT / 'config' / 'rviz' / 'igs.rviz').read_text())
    displays = shown['Visualization Manager']['Displays']
    topics = {d['Topic']['Value']: d['Topic'] for d in displays if 'Topic' in d}
    assert set(topics) == {'/igs/points', '/igs/view/image', '/igs/view/depth'}
    assert {t['Reliability Policy'] for t in topics.values()} == {'Reliable'}
    assert {t['Durability Policy'] for t in topics.values()} == {'Volatile'}
    frame = shown['Visualization Manager']['Global Options']['Fixed Frame']
    assert frame == params.NodeConfig().world_frame


@pytest.mark.skipif(importlib.util.find_spec('launch_ros') is None,
                    reason='launch_ros is not installed (it has no wheel)')
@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_launch_loads_them(path):
    from launch.launch_description_sources import get_launch_description_from_python_launch_file
    description = get_launch_description_from_python_launch_file(str(path))
    names = [argument.name for argument in description.get_launch_arguments()]
    assert len(names) == len(set(names)) >= 5
