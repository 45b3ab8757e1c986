# SPDX-License-Identifier: Apache-2.0
"""Launch files: every argument documented, named and limited as the parameters are.

`launch` has no wheel: without it the files are read, not run.
"""
import ast
import importlib.util
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest

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
    """Parameter, type and description of each argument of stream.launch.py."""
    path = ROOT / 'launch' / 'stream.launch.py'
    named = ast.literal_eval(assigned(path, 'PARAMETERS'))
    for row in assigned(path, 'OVERRIDES').elts:
        name, description = ast.literal_eval(row.elts[0]), ast.literal_eval(row.elts[2])
        yield named.get(name, name), row.elts[1].id, description


class Recorded:
    """Stands for everything in launch: takes all arguments, and keeps those that are declared."""

    def __init__(self, *given, **named):
        self.given, self.named = given, named


@pytest.fixture
def declared(monkeypatch):
    """Choices by argument of a launch file, as its own code makes them; launch has no wheel."""
    def load(file):
        for name in ('launch', 'launch.actions', 'launch.substitutions', 'launch.event_handlers',
                     'launch.events', 'launch.launch_description_sources', 'launch_ros',
                     'launch_ros.actions', 'launch_ros.substitutions', 'ament_index_python',
                     'ament_index_python.packages'):
            module = ModuleType(name)
            module.__getattr__ = lambda attribute: Recorded
            module.__path__ = []
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(sys.modules['ament_index_python.packages'],
                            'get_package_share_directory', lambda package: str(ROOT),
                            raising=False)
        made = runpy.run_path(str(ROOT / 'launch' / file))['generate_launch_description']()
        return {entry.given[0]: entry.named.get('choices') for entry in made.given[0]
                if isinstance(entry, Recorded) and entry.given
                and 'description' in entry.named}
    return load


def test_choices_are_those_of_the_parameters(declared):
    stream, demo = declared('stream.launch.py'), declared('demo.launch.py')
    known = {p.name: p.choices for p in params.parameters()}
    for name in ('motion', 'transport', 'input_reliability', 'device'):
        assert stream[name] == ['', *known[name]]
    assert stream['width'] is None and stream['motion'] == demo['motion']


def test_demo_passes_on_arguments_that_both_have(declared):
    passed = set(ast.literal_eval(assigned(ROOT / 'launch' / 'demo.launch.py', 'PASSED')))
    stream, demo = declared('stream.launch.py'), declared('demo.launch.py')
    assert passed == stream.keys() & demo.keys()
    assert passed >= {'rig_file', 'preset', 'params', 'namespace', 'rviz', 'log_level', 'motion'}
    assert all(stream[name] == demo[name] for name in passed)


def test_presets_are_those_that_ship(declared):
    assert sorted(declared('stream.launch.py')['preset']) == ['', *names()]


def test_launch_arguments_are_parameters():
    known = {p.name: p.default for p in params.parameters()}
    for name, kind, description in overrides():
        assert kind == {tuple: 'list'}.get(type(known[name]), type(known[name]).__name__), name
        assert len(description) > 10, name


@pytest.mark.skipif(importlib.util.find_spec('launch_ros') is None,
                    reason='launch_ros is not installed (it has no wheel)')
@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_launch_loads_them(path):
    from launch.launch_description_sources import get_launch_description_from_python_launch_file
    description = get_launch_description_from_python_launch_file(str(path))
    names = [argument.name for argument in description.get_launch_arguments()]
    assert len(names) == len(set(names)) >= 5
