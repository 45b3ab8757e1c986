# SPDX-License-Identifier: Apache-2.0
"""The rooms of docs/architecture.md: imports go downwards, in no circle, and ROS only in node/."""
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tools'))
import architecture  # noqa: E402
from architecture import PACKAGE, ROOMS, circles, imports, imports_of, modules, room  # noqa: E402

ROOT = PACKAGE.parent
FILES = modules(PACKAGE)
ROS = ('rclpy', 'rosidl', 'igs_ros.msg', 'message_filters', 'tf2_ros', 'launch', 'launch_ros')


def is_ros(module):
    first = module.split('.')[0]
    return first.endswith(('_msgs', '_srvs', '_interfaces')) or any(
        module == name or module.startswith(name + '.') for name in ROS)


def test_the_scan_sees_every_kind_of_import():
    source = """
import rclpy.node
from igs_ros import pipeline
from . import refine
from ..node import inputs
def later():
    import sensor_msgs.msg
"""
    found = imports(source, 'igs_ros.render')
    assert {'rclpy.node', 'igs_ros.pipeline', 'igs_ros.render.refine', 'igs_ros.node.inputs',
            'sensor_msgs.msg'} <= found
    assert is_ros('rclpy.node') and is_ros('sensor_msgs.msg') and is_ros('igs_ros.msg')
    assert not is_ros('igs_ros.scene') and not is_ros('numpy')


def test_what_only_a_type_checker_reads_is_told_apart():
    source = """
import typing
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from igs_ros.live import a
    if True:
        import igs_ros.live.b
if typing.TYPE_CHECKING:
    import igs_ros.live.c
else:
    import igs_ros.core.d
if not TYPE_CHECKING:
    import igs_ros.core.e
"""
    run = imports(source, 'igs_ros', for_types=False)
    assert {name for name in run if name.startswith('igs_ros')} == {
        'igs_ros.core.d', 'igs_ros.core.e'}
    assert imports(source, 'igs_ros') - run == {
        'igs_ros.live', 'igs_ros.live.a', 'igs_ros.live.b', 'igs_ros.live.c'}


def test_a_circle_is_found_however_it_is_closed(tmp_path):
    package = tmp_path / 'igs_ros'
    for name, source in {
            '__init__': '', 'core/__init__': '', 'core/a': 'from igs_ros.core.b import x',
            'core/b': 'def later():\n    from igs_ros.core import c',
            'core/c': 'import igs_ros.core.a', 'core/alone': 'from igs_ros.core.a import x',
            'live/__init__': 'from igs_ros.live.d import y', 'live/d': 'import igs_ros.live.e',
            'live/e': ''}.items():
        path = package / f'{name}.py'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    assert circles(modules(package)) == [
        ['igs_ros.core.a', 'igs_ros.core.b', 'igs_ros.core.c'],
        # whoever imports a file of a package runs its __init__ first
        ['igs_ros.live', 'igs_ros.live.d', 'igs_ros.live.e']]


def test_at_most_ten_rooms_each_with_one_sentence():
    def holds(path):  # folders that a checkout left behind hold caches alone
        return path.is_file() or any(file.is_file() and file.parent.name != '__pycache__'
                                     for file in path.rglob('*'))
    entries = sorted(path.name for path in PACKAGE.iterdir()
                     if path.name != '__pycache__' and holds(path))
    assert entries == sorted(['__init__.py', *(
        'pipeline.py' if name == 'pipeline' else name for name in ROOMS)])
    assert len(entries) <= 10
    for name in set(ROOMS) - {'pipeline'}:
        sentence = architecture.sentence(name)
        assert sentence.endswith('.') and 20 < len(sentence) < 110, name


@pytest.mark.parametrize('name', FILES)
def test_imports_go_downwards(name):
    own = room(name)
    # only the facade may name for its types what it does not run: every room runs it first
    found = imports_of(FILES[name], name, for_types=name != 'igs_ros')
    if own != 'node':
        assert not list(filter(is_ros, found)), 'ROS is imported outside igs_ros/node/'
    above = {other for other in found if room(other) in ROOMS and (
        own not in ROOMS or ROOMS.index(room(other)) > ROOMS.index(own))}
    assert not above, f'{name} imports {sorted(above)}; downwards is {" <- ".join(ROOMS)}'


def test_no_circle():
    assert circles(FILES) == []


def test_the_picture_shows_the_rooms_as_they_are():
    assert architecture.PICTURE.read_text() == architecture.drawing(FILES), 'run make architecture'


def test_the_picture_has_a_dot_for_every_room_that_imports_another(tmp_path):
    package = tmp_path / 'igs_ros'
    for name, source in {'core/a': '', 'live/b': 'from igs_ros.core.a import x',
                         'node/c': 'import igs_ros.live.b'}.items():
        (package / name).parent.mkdir(parents=True)
        (package / f'{name}.py').write_text(source)
    files = modules(package)
    assert architecture.between_rooms(files) == {('live', 'core'): 1, ('node', 'live'): 1}
    assert architecture.drawing(files).count('<circle') == 2


BLOCKED = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(('rclpy', 'rosidl', 'igs_ros.msg')) or '_msgs' in name:
            raise ImportError(f'{name} is blocked')

sys.meta_path.insert(0, Blocker())
for name in sys.argv[1:]:
    importlib.import_module(name)
try:
    importlib.import_module('igs_ros.node.reconstruct')
except ImportError as error:
    print('blocked' if 'is blocked' in str(error) else error)
"""


def test_the_core_imports_without_ros():
    names = [name for name in FILES if room(name) != 'node']
    done = subprocess.run([sys.executable, '-c', BLOCKED, *names], cwd=ROOT, text=True,
                          capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == 'blocked', 'the block did not work'
