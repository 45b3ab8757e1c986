# SPDX-License-Identifier: Apache-2.0
"""The set-up: what can fail fails early and in one line, in order, one at a time. No downloads."""
import fcntl
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / 'tools'
sys.path.insert(0, str(TOOLS))
import build_tools  # noqa: E402
import preflight  # noqa: E402

SITE = f'lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages'
# Were a check to let something through, nothing would be fetched.
OFFLINE = {'PIP_NO_INDEX': '1', 'UV_OFFLINE': '1'}
needs_compiler = pytest.mark.skipif(not (shutil.which('g++') and shutil.which('make')),
                                    reason='needs g++ and make')


def script(path, text):
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n{text}')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def environment(**changes):
    """This one without ROS, offline, with changes."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(('ROS_', 'AMENT_', 'MAKE', 'PIP_', 'UV_'))}
    return {**kept, **OFFLINE, **changes}


def set_up(venv, python=sys.executable, what='all', **changes):
    """Run tools/setup.sh."""
    return subprocess.run([TOOLS / 'setup.sh', venv, python, what], capture_output=True,
                          text=True, env=environment(**changes), stdin=subprocess.DEVNULL)


@pytest.fixture
def path_without(tmp_path):
    """Make a PATH folder that has what setup.sh itself uses and nothing else."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    for name in ('sh', 'dirname', 'mkdir'):
        (folder / name).symlink_to(shutil.which(name))
    return str(folder)


@pytest.fixture
def no_ros(monkeypatch):
    for name in ('ROS_DISTRO', 'AMENT_PREFIX_PATH', 'PYTHONPATH'):
        monkeypatch.delenv(name, raising=False)


def one_line(done, *words):
    assert done.returncode == 1
    assert done.stdout == ''
    assert done.stderr.count('\n') == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_missing_things_are_named_at_once(tmp_path, path_without):
    venv = tmp_path / 'venv'
    one_line(set_up(venv, PATH=path_without), 'g++', 'sudo apt install')
    one_line(set_up(venv, 'python9.9'), 'python9.9', 'sudo apt install')
    assert not venv.exists()


def test_a_ros_that_is_not_there(tmp_path):
    venv = tmp_path / 'venv'
    one_line(set_up(venv, ROS_DISTRO='humble'), 'ROS_DISTRO=humble', 'unset', '/opt/ros/humble')
    assert not venv.exists()


def test_a_place_that_cannot_be_written():
    one_line(set_up('/proc/igs/venv'), "/proc/igs/venv can't be written", 'VENV=')


def test_another_python_than_the_environment_has(tmp_path):
    script(tmp_path / 'venv/bin/python', 'echo 3.1.4\n')
    one_line(set_up(tmp_path / 'venv'), 'another Python', 'make clean')
    gone = tmp_path / 'gone/bin/python'
    gone.parent.mkdir(parents=True)
    gone.symlink_to(tmp_path / 'nothing')
    one_line(set_up(tmp_path / 'gone'), 'is gone', 'make clean')


@pytest.fixture
def pip(tmp_path):
    """Run the set-up in an environment whose pip and uv only note what they are asked for."""
    log = tmp_path / 'log'
    fake = f"""case "$*" in
*"-m pip"*|*"-m uv"*|*warm_up*) echo "$*" >> "{log}" ;;
*"import torch"*) exit 1 ;;
*) exec "{sys.executable}" "$@" ;;
esac
case "$*" in
*"index versions"*) echo "Available versions: $CPU_BUILD" ;;
*" wheel "*) [ -z "$BROKEN" ] || exit 1
  mkdir -p "{tmp_path}/venv/wheel"; touch "{tmp_path}/venv/wheel/igs_ros.whl" ;;
*" uv "*) exit 1 ;;
esac
"""
    script(tmp_path / 'venv/bin/python', fake)
    script(tmp_path / 'bin/nvidia-smi', 'exit 1\n')
    path = f'{tmp_path / "bin"}{os.pathsep}{os.environ["PATH"]}'
    switches = {'PATH': path, 'BROKEN': '', 'CPU_BUILD': ''}

    def run(**changes):
        done = set_up(tmp_path / 'venv', '', **{**switches, **changes})
        calls = log.read_text().replace(str(tmp_path), '').splitlines()
        return done, [call.split('--disable-pip-version-check ')[-1] for call in calls]
    return run


@needs_compiler
def test_the_wheel_comes_before_torch_and_only_once(pip, tmp_path):
    torch = (ROOT / 'constraints/cpu.txt').read_text().split()[-1]
    done, calls = pip(CPU_BUILD=f'{torch[7:]}+cpu, 1.0')
    assert done.returncode == 0, done.stderr
    order = [' -r ', ' wheel ', '--force-reinstall', 'index versions', f'install {torch}', '[dev]',
             'warm_up']
    calls = [f' {call} ' for call in calls]
    assert [next((kind for kind in order if kind in call), call) for call in calls] == order
    assert 'CUDA' not in done.stderr
    assert (tmp_path / 'venv/.installed').exists()


@needs_compiler
def test_a_failed_build_ends_the_set_up_before_torch(pip, tmp_path):
    done, calls = pip(BROKEN='1')
    assert done.returncode == 1
    assert not [call for call in calls if 'torch' in call or '[dev]' in call]
    assert not (tmp_path / 'venv/.installed').exists()


@needs_compiler
def test_what_a_killed_set_up_left_half_installed_is_installed_again(pip, tmp_path):
    site = tmp_path / 'venv' / SITE
    for name in ('half-1.0', 'whole-1.0'):
        (site / f'{name}.dist-info').mkdir(parents=True)
        (site / f'{name}.dist-info/RECORD').touch()
    (site / 'whole-1.0.dist-info/INSTALLER').touch()
    pip()
    assert [path.name for path in site.iterdir()] == ['whole-1.0.dist-info']


@needs_compiler
def test_the_large_torch_is_announced(pip):
    done, calls = pip()
    assert done.returncode == 0, done.stderr
    assert 'GB to download' in done.stderr and 'Ctrl-C' in done.stderr
    assert '--torch-backend=cpu' in calls[-3], 'uv is asked before'
    assert '-c constraints/cpu.txt' in calls[-2]


@needs_compiler
def test_of_two_calls_the_second_waits_and_finds_all_done(tmp_path):
    venv = tmp_path / 'venv'
    venv.mkdir()
    holder = os.open(venv, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    command = [TOOLS / 'setup.sh', venv, sys.executable, 'all']
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                          env=environment()) as second:
        line = second.stderr.readline()
        assert 'another set-up' in line and 'waiting' in line, line
        (venv / '.installed').touch()
        os.close(holder)
        rest = second.stderr.read()
    assert second.returncode == 0, rest
    assert rest == ''
    assert [path.name for path in venv.iterdir()] == ['.installed']


def test_the_bare_path_hides_what_it_should(tmp_path):
    for name in ('cmake', 'ninja', 'git', 'ros2'):
        script(tmp_path / 'bin' / name, 'echo found\n')
    shutil.copytree(TOOLS, tmp_path / 'tools')
    path = f'{tmp_path / "bin"}{os.pathsep}{os.environ["PATH"]}'
    ask = ('for t in cmake ninja git ros2 colcon pip uv; do command -v $t; done; '
           'command -v sed >/dev/null || echo no sed; python3 -c "print(6 * 7)"; '
           'env | grep -E "ROS_|RMW_|PREFIX_PATH|PYTHONPATH"')
    done = subprocess.run(
        [tmp_path / 'tools/bare.sh', 'sh', '-c', ask], capture_output=True, text=True,
        env={**os.environ, 'PATH': path, 'ROS_DISTRO': 'humble', 'PYTHONPATH': '/a',
             'RMW_IMPLEMENTATION': 'rmw_x', 'AMENT_PREFIX_PATH': '/b', 'CMAKE_PREFIX_PATH': '/c'})
    assert done.stderr == ''
    assert done.stdout.split() == ['42']


@pytest.mark.parametrize('lib', ['lib', 'local/lib'])
def test_a_sourced_ros_is_one_whose_parts_can_be_found(tmp_path, monkeypatch, no_ros, lib):
    assert preflight.sourced() is False
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{tmp_path}/workspace:{tmp_path}/ros')
    assert preflight.sourced() is False, 'users of the wheels set it too'
    assert set(preflight.GENERATORS) < set(preflight.requirements())
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    with pytest.raises(SystemExit, match='no rclpy and no rosidl_adapter .* unset ROS_DISTRO'):
        preflight.sourced()
    site = tmp_path / 'ros' / SITE.replace('lib', lib, 1)
    for name in ('rclpy', 'rosidl_adapter'):
        (site / name).mkdir(parents=True)
        (site / name / '__init__.py').touch()
    assert preflight.sourced() is True
    preflight.check(platform='linux-aarch64')
    assert not set(preflight.GENERATORS) & set(preflight.requirements())
    assert build_tools.ros_prefixes(True) == [f'{tmp_path}/workspace', f'{tmp_path}/ros']


@pytest.mark.parametrize('platform', ['linux-aarch64', 'macosx-14.0-arm64', 'win-amd64'])
def test_platforms_without_wheels_are_told_what_to_do(no_ros, platform):
    with pytest.raises(SystemExit, match=f'this is {platform}: install ROS 2'):
        preflight.check(platform=platform)


def test_pythons(no_ros):
    for version in (3, 10), (3, 14):
        preflight.check('linux-x86_64', version)
    for version in (3, 9), (3, 15):
        with pytest.raises(SystemExit, match='PYTHON='):
            preflight.check('linux-x86_64', version)


def test_cmake_is_the_wheels_or_new_enough(tmp_path, monkeypatch):
    old = script(tmp_path / 'bin/cmake', 'echo cmake version 3.22.1\n')
    package = tmp_path / 'wheels/cmake/__init__.py'
    new = script(tmp_path / 'wheels/bin/cmake', 'echo cmake version 4.1.0\n')
    package.parent.mkdir(parents=True)
    package.write_text(f'CMAKE_BIN_DIR = {str(new.parent)!r}\n')
    monkeypatch.setenv('PATH', str(old.parent))
    monkeypatch.setitem(sys.modules, 'cmake', None)
    monkeypatch.setitem(sys.modules, 'ninja', None)
    with pytest.raises(SystemExit, match=f'{old} is too old .* 3.24 or newer'):
        build_tools.find_tools(False)
    assert build_tools.find_tools(True) == (str(old), None)
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(SystemExit, match='cmake is missing: pip install'):
        build_tools.find_tools(False)
    monkeypatch.setenv('PATH', str(old.parent))
    monkeypatch.delitem(sys.modules, 'cmake')
    monkeypatch.syspath_prepend(tmp_path / 'wheels')
    assert build_tools.find_tools(False) == (str(new), None)


def test_a_failed_command_shows_its_end_and_where_all_of_it_is(tmp_path, capsys):
    log = tmp_path / 'build.log'
    build_tools.run_logged(['sh', '-c', 'echo fine'], None, log)
    with pytest.raises(SystemExit) as end:
        build_tools.run_logged(['sh', '-c', 'seq 1000; echo no such type >&2; exit 7'], None, log)
    assert 'ended with 7' in str(end.value) and str(log) in str(end.value)
    shown = capsys.readouterr().err.splitlines()
    assert shown[-1] == 'no such type'
    assert len(shown) == build_tools.LINES
    assert 'fine' in log.read_text().splitlines()
