# SPDX-License-Identifier: Apache-2.0
"""The environments of people who use ROS: it works, or one line says what to unset."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from igs_ros.core.probe import probe
from igs_ros.node.environment import PARTS

ROOT = Path(__file__).resolve().parents[2]
VARIABLES = ('RMW_IMPLEMENTATION', 'ROS_DISTRO', 'AMENT_PREFIX_PATH', 'ROS_LOG_DIR', 'ROS_HOME')


@pytest.fixture(scope='module', autouse=True)
def wheels():
    """These tests are about environments with the ROS wheels."""
    look = probe(PARTS)['rclpy']
    if look.error or not look.place.startswith(sys.prefix):
        pytest.skip(f'no rclpy of the wheels here: {look.error or look.place}')


def igs(*arguments, module='igs_ros.apps.cli.main', pythonpath=(), **environment):
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    entries = [*map(str, pythonpath), str(ROOT)]
    return subprocess.run(
        [sys.executable, '-m', module, *map(str, arguments)], text=True, capture_output=True,
        timeout=300, env=kept | {'PYTHONPATH': os.pathsep.join(entries)} | environment)


def rclpy_of_another(folder: Path, code: str) -> Path:
    """A folder for PYTHONPATH whose rclpy is `code`."""
    (folder / 'rclpy').mkdir(parents=True)
    (folder / 'rclpy' / '__init__.py').write_text(code)
    return folder


BROKEN = 'import rpyutils_that_is_not_there'
FOREIGN = 'from rclpy.impl.implementation_singleton import rclpy_implementation'  # not compiled
COMMANDS = {  # what needs ROS, and who speaks
    'igs': ('play', ROOT / 'recordings' / 'workbench'), 'reconstruct': (), 'play': ('nowhere',)}


def started(program, **options):
    module = 'igs_ros.apps.cli.main' if program == 'igs' else f'igs_ros.node.{program}'
    return igs(*COMMANDS[program], module=module, **options)


@pytest.mark.parametrize('program', COMMANDS)
def test_an_rmw_that_is_not_installed_is_one_line(program):
    ended = started(program, RMW_IMPLEMENTATION='rmw_cyclonedds_cpp')
    assert ended.returncode == 2 and ended.stdout == ''
    assert ended.stderr == (
        f'{program}: ROS cannot be used here: RMW_IMPLEMENTATION=rmw_cyclonedds_cpp is not '
        f'installed in {sys.prefix}: unset RMW_IMPLEMENTATION, or install it\n')


@pytest.mark.parametrize('program, code', [('igs', BROKEN), ('reconstruct', FOREIGN)])
def test_an_rclpy_that_does_not_load_is_one_line(program, code, tmp_path):
    folder = rclpy_of_another(tmp_path / 'humble', code)
    ended = started(program, pythonpath=[folder])
    assert ended.returncode == 2 and ended.stderr.count('\n') == 1
    assert ended.stderr.startswith(f'{program}: ROS cannot be used here: rclpy: ')
    assert ended.stderr.endswith(f': take {folder} out of PYTHONPATH\n')


def test_all_that_is_in_the_way_is_named_and_nothing_else(tmp_path):
    folder = rclpy_of_another(tmp_path / 'humble', BROKEN)
    ended = igs('demo', pythonpath=[folder], RMW_IMPLEMENTATION='rmw_connextdds',
                ROS_DISTRO='humble', AMENT_PREFIX_PATH='/opt/ros/humble')
    assert ended.returncode == 2 and ended.stderr.count('\n') == 1
    assert ended.stderr.endswith(
        f': unset RMW_IMPLEMENTATION and take {folder} out of PYTHONPATH\n')


def test_libraries_of_another_environment_are_named(tmp_path):
    # a process that a Python of other ROS wheels has started
    ended = started('reconstruct', LD_LIBRARY_PATH=str(tmp_path),
                    _ROS_WHEELS_BOOTSTRAP_COMPLETE='1')
    assert ended.returncode == 2 and ended.stderr.count('\n') == 1
    assert ended.stderr.endswith(': unset LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE\n')


def test_check_says_the_same(tmp_path):
    folder = rclpy_of_another(tmp_path / 'humble', FOREIGN)
    ended = igs('check', pythonpath=[folder], COLUMNS='200')
    assert ended.returncode == 1
    assert f'take {folder} out of PYTHONPATH' in ended.stdout.splitlines()[-1]
    ended = igs('check', RMW_IMPLEMENTATION='rmw_cyclonedds_cpp', COLUMNS='200')
    assert ended.returncode == 1
    assert 'unset RMW_IMPLEMENTATION, or install it' in ended.stdout.splitlines()[-1]


def test_check_names_what_is_only_strange(tmp_path):
    own = Path(probe(['rclpy'])['rclpy'].place).parent
    folder = tmp_path / 'link'
    folder.mkdir()
    (folder / 'rclpy').symlink_to(own)  # works, but it is not that of this environment
    ended = igs('check', pythonpath=[folder], ROS_DISTRO='humble', COLUMNS='200')
    assert ended.returncode == 0, ended.stdout
    assert f'rclpy of {folder}/rclpy/__init__.py hides that of {sys.prefix}' in ended.stdout
    ended = igs('check', ROS_DISTRO='humble', COLUMNS='200')
    assert ended.returncode == 0 and 'ROS_DISTRO=humble, but the rclpy in use' in ended.stdout
    assert 'unset ROS_DISTRO' in ended.stdout


def test_logs_go_elsewhere_where_the_home_cannot_be_written(tmp_path):
    tmp_path.chmod(0o700)
    ended = started('reconstruct', HOME='/dev/null', TMPDIR=str(tmp_path))
    assert 'RCLError' not in ended.stderr and ended.returncode == 1
    assert f'ROS logs to {tmp_path}/igs_ros-log-{os.geteuid()}: /dev/null/.ros/log' in ended.stderr
    assert 'parameter' in ended.stderr and 'rig_file:=PATH' in ended.stderr  # it got this far
