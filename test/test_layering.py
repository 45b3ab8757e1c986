# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: types <- stages <- pipeline <- {cli, node}, and ROS only in node/."""
import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'igs_ros'
FILES = sorted(PACKAGE.rglob('*.py'))

TYPES = {'errors', 'camera', 'files', 'frames', 'picture_files', 'scene', 'view', 'config',
         'timing', 'budget'}
PIPELINE = {'pipeline', 'live', 'offline', 'sessions', 'bench', 'training'}
BORDER = {'cli', 'node'}  # everything else is a stage
ROS = ('rclpy', 'rosidl', 'igs_ros.msg', 'message_filters', 'tf2_ros', 'launch', 'launch_ros')


def layer(part):
    """0 types, 1 stages, 2 pipeline, 3 border; of a module's first name below igs_ros."""
    return 0 if part in TYPES else 2 if part in PIPELINE else 3 if part in BORDER else 1


def is_ros(module):
    first = module.split('.')[0]
    return first.endswith(('_msgs', '_srvs', '_interfaces')) or any(
        module == name or module.startswith(name + '.') for name in ROS)


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def own_part(path):
    """'camera' of igs_ros/camera.py, 'raster' of igs_ros/raster/cpu.py, '' of igs_ros/__init__."""
    parts = module_name(path).split('.')
    return parts[1] if len(parts) > 1 else ''


def imports(source, package, top_only=False):
    """Full names of the imported modules (for `from a import b` both a and a.b)."""
    found = set()

    def visit(node):
        if top_only and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split('.')[:len(package.split('.')) - node.level + 1]
            named = [node.module] if node.module else []
            origin = '.'.join(base + named if node.level else named)
            found.add(origin)
            found.update(f'{origin}.{alias.name}' for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)
    visit(ast.parse(source))
    return found


def imports_of(path, top_only=False):
    name = module_name(path)
    package = name if path.name == '__init__.py' else name.rpartition('.')[0]
    return imports(path.read_text(), package, top_only)


def own_imports(path, top_only=False):
    """First names below igs_ros that a file imports."""
    return {name.split('.')[1] for name in imports_of(path, top_only)
            if name.startswith('igs_ros.')}


def test_the_scan_sees_every_kind_of_import():
    source = """
import rclpy.node
from igs_ros import pipeline
from . import refine
from ..node import inputs
def later():
    import sensor_msgs.msg
"""
    found = imports(source, 'igs_ros.raster')
    assert {'rclpy.node', 'igs_ros.pipeline', 'igs_ros.raster.refine', 'igs_ros.node.inputs',
            'sensor_msgs.msg'} <= found
    assert 'sensor_msgs.msg' not in imports(source, 'igs_ros.raster', top_only=True)
    assert is_ros('rclpy.node') and is_ros('sensor_msgs.msg') and is_ros('igs_ros.msg')
    assert not is_ros('igs_ros.scene') and not is_ros('numpy')


@pytest.mark.parametrize('path', FILES, ids=module_name)
def test_imports_follow_the_layers(path):
    own = own_part(path)
    if not own:
        assert not own_imports(path), 'igs_ros/__init__.py imports nothing of the package'
        return
    if own != 'node':
        found = sorted(filter(is_ros, imports_of(path)))
        assert not found, f'ROS is imported outside igs_ros/node/: {found}'
    # node/ shares the cli's options; the cli turns to node/ when it runs one, not at its import.
    above = {part for part in own_imports(path, top_only=own == 'cli')
             if layer(part) > layer(own) or (own == 'cli' and part == 'node')}
    assert not above, (f'{own} imports {sorted(above)}; the rule is '
                       f'types <- stages <- pipeline <- cli, node (CONTRIBUTING.md)')


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
    names = [module_name(path) for path in FILES
             if own_part(path) != 'node' and path.name != '__main__.py']
    done = subprocess.run([sys.executable, '-c', BLOCKED, *names], cwd=ROOT, text=True,
                          capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == 'blocked', 'the block did not work'
