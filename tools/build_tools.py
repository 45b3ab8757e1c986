# SPDX-License-Identifier: Apache-2.0
"""What setup.py builds with: the ROS 2 prefixes, cmake and ninja, and a log of what they say."""
import atexit
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from preflight import ament_prefixes, stop

LINES = 25  # of a failed command's output that are shown


def ros_prefixes(is_sourced):
    """The sourced ROS 2, else the environment that holds the ROS wheels."""
    if is_sourced:
        return ament_prefixes()
    spec = find_spec('rosidl_adapter')
    if spec is None:
        stop('no ROS 2 is sourced and its generator wheels are not installed: '
             'use `make venv`, or pip without --no-build-isolation')
    # <prefix>/lib/pythonX.Y/site-packages/rosidl_adapter/__init__.py
    return [str(Path(spec.origin).parents[4])]


def find_tools(is_sourced):
    """Paths of cmake and ninja: those of the wheels, which no PATH need name, else the system's.

    ninja is None where there is none: CMake takes make then.
    """
    # What CMakeLists.txt asks for; the hook tools/ros_wheels.cmake needs a newer one.
    oldest = (3, 20) if is_sourced else (3, 24)
    folders = []
    for module, name in ('cmake', 'CMAKE_BIN_DIR'), ('ninja', 'BIN_DIR'):
        try:
            folders.append(getattr(import_module(module), name))
        except (ImportError, AttributeError):
            pass  # the system's
    path = os.pathsep.join([*filter(None, folders), os.environ.get('PATH', os.defpath)])
    cmake, ninja = (shutil.which(tool, path=path) for tool in ('cmake', 'ninja'))
    remedy = 'pip install cmake ninja, or use pip without --no-build-isolation'
    if cmake is None:
        stop(f'cmake is missing: {remedy}')
    said = subprocess.run([cmake, '--version'], capture_output=True, text=True).stdout
    version = re.search(r'version (\d+)\.(\d+)', said)
    if version is None or tuple(map(int, version.groups())) < oldest:
        stop(f'{cmake} is too old or does not run, {".".join(map(str, oldest))} or newer is '
             f'needed: {remedy}')
    return cmake, ninja


def run_logged(command, env, log):
    """Run a command; if it fails, end with the last lines of its output and where all of it is."""
    with log.open('a', errors='replace') as file:
        file.write(f'$ {shlex.join(command)}\n')
        file.flush()
        failed = subprocess.run(command, env=env, stdout=file, stderr=subprocess.STDOUT).returncode
    if failed:
        atexit.unregister(shutil.rmtree)  # in a scratch folder (setup.py): the log stays
        print('\n'.join(log.read_text(errors='replace').splitlines()[-LINES:]), file=sys.stderr)
        stop(f'{" ".join(command[:2])} ended with {failed}; all it said is in {log}')
