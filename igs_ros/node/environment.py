# SPDX-License-Identifier: Apache-2.0
"""Whether ROS works in this environment, and what to unset where it does not.

Looked for by trying, in processes of their own: with a foreign rclpy, or an RMW that is not
installed, the import of rclpy ends the process.
"""
from __future__ import annotations

import itertools
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from igs_ros.core.errors import InputError
from igs_ros.core.files import private_folder
from igs_ros.core.probe import Probed, probe

log = logging.getLogger(__name__)
PARTS = ('rclpy', 'sensor_msgs.msg', 'igs_ros.msg')
_MODULES = ('rclpy', 'rpyutils', 'sensor_msgs', 'std_msgs', 'rosidl_parser')
_BOOTSTRAP = '_ROS_WHEELS_BOOTSTRAP_COMPLETE'  # the ROS wheels set it with LD_LIBRARY_PATH


def require_ros(own_rmw: bool = False) -> None:
    """Raise `InputError` where ROS cannot be used, with the variables to unset if that helps.

    own_rmw: for processes that talk to no others. Where RMW_IMPLEMENTATION is all that is in the
    way, it is dropped for this process and those that it starts, which is said.
    """
    log_somewhere()
    found = trouble(probe(PARTS))
    if found is None:
        return
    if own_rmw and found.names == ('RMW_IMPLEMENTATION',):
        log.warning('RMW_IMPLEMENTATION=%s is not installed here: the default one is used',
                    os.environ.pop('RMW_IMPLEMENTATION'))
        return
    raise InputError(f'ROS cannot be used here: {found.text}')


def exit_without_ros(program: str) -> None:
    """End the process with one line on stderr and code 2 where ROS cannot be used."""
    try:
        require_ros()
    except InputError as error:
        print(f'{program}: {error}', file=sys.stderr)
        sys.exit(2)


@dataclass(frozen=True)
class Trouble:
    """What does not work, and what to do."""

    part: str  # one of `PARTS`
    text: str  # one line
    names: tuple[str, ...]  # variables to change, with which it works


def trouble(looks: Mapping[str, Probed]) -> Trouble | None:
    """What is wrong with `PARTS` as looked at, None if nothing."""
    part, look = _first_problem(looks)
    if not look.error:
        return None
    changes = _remedy()
    names = tuple(change.name for change in changes)
    if names == ('RMW_IMPLEMENTATION',):
        text = (f"RMW_IMPLEMENTATION={os.environ['RMW_IMPLEMENTATION']} is not installed in "
                f'{sys.prefix}: unset RMW_IMPLEMENTATION, or install it')
    elif names:
        text = f"{part}: {look.error}: {' and '.join(change.text for change in changes)}"
    elif look.installed:
        text = f'{part}: {look.error}: install the package again (make, pip install . or colcon)'
    elif part == 'igs_ros.msg':
        text = 'igs_ros.msg is not built: pip install . or colcon build'
    else:
        stale = os.environ.get('ROS_DISTRO')
        text = (f'{part} {look.error}: source a ROS 2, or '
                f"{f'unset ROS_DISTRO={stale} and ' if stale else ''}install its wheels (make, or "
                f'pip install .)')
    return Trouble(part, text, names)


def _first_problem(looks: Mapping[str, Probed]) -> tuple[str, Probed]:
    """The first part that does not work, or the last of all."""
    return next(((part, look) for part, look in looks.items() if look.error),
                list(looks.items())[-1])


class _Change:
    """One variable, without what may be in the way."""

    def __init__(self, name: str, kept: str = ''):
        self.name, self._kept = name, kept
        gone = [part for part in os.environ.get(name, '').split(os.pathsep)
                if part and part not in kept.split(os.pathsep)]
        self.text = f'take {os.pathsep.join(gone)} out of {name}' if kept else f'unset {name}'
        if name == 'LD_LIBRARY_PATH':
            self.text += f' {_BOOTSTRAP}'

    def apply(self, environment: dict[str, str]) -> None:
        environment.pop(self.name, None)
        if self._kept:
            environment[self.name] = self._kept
        if self.name == 'LD_LIBRARY_PATH':
            environment.pop(_BOOTSTRAP, None)  # or the wheels would not find their own libraries


def _remedy() -> tuple[_Change, ...]:
    """The fewest changes with which ROS works, found by trying; none where none help."""
    changes = list(_changes())
    for count in range(1, len(changes) + 1):
        for chosen in itertools.combinations(changes, count):
            environment = dict(os.environ)
            for change in chosen:
                change.apply(environment)
            if not _first_problem(probe(PARTS, environment))[1].error:
                return chosen
    return ()


def _changes() -> Iterator[_Change]:
    if os.environ.get('RMW_IMPLEMENTATION'):
        yield _Change('RMW_IMPLEMENTATION')
    foreign = foreign_entries()
    if foreign:
        yield _Change('PYTHONPATH', os.pathsep.join(
            part for part in os.environ['PYTHONPATH'].split(os.pathsep) if part not in foreign))
    if os.environ.get('LD_LIBRARY_PATH') or os.environ.get(_BOOTSTRAP):
        yield _Change('LD_LIBRARY_PATH')
    if os.environ.get('AMENT_PREFIX_PATH'):
        yield _Change('AMENT_PREFIX_PATH')


def foreign_entries() -> list[str]:
    """Entries of PYTHONPATH that bring a part of ROS."""
    return [part for part in os.environ.get('PYTHONPATH', '').split(os.pathsep)
            if part and any((Path(part) / name).is_dir() for name in _MODULES)]


def stale_distro() -> str:
    """What is wrong with ROS_DISTRO, '' if nothing: it names a ROS 2 that is not in use."""
    name = os.environ.get('ROS_DISTRO', '')
    if not name or not own_wheels():
        return ''
    return (f'ROS_DISTRO={name}, but the rclpy in use is that of the wheels in {sys.prefix}: '
            f'unset ROS_DISTRO before building')


def foreign_rclpy(place: str) -> str:
    """Whether the rclpy in the file `place` hides that of this environment, '' if not."""
    if not place or place.startswith(sys.prefix) or not _has_own():
        return ''
    return (f'rclpy of {place} hides that of {sys.prefix}: take its folder out of PYTHONPATH if '
            f'the node fails')


def own_wheels() -> bool:
    """Whether this environment holds an rclpy of its own, and PYTHONPATH brings no other."""
    return _has_own() and not foreign_entries()


def _has_own() -> bool:
    sites = (Path(path) for path in sys.path if path.startswith(sys.prefix))
    return any((site / 'rclpy').is_dir() for site in sites)


@cache
def log_somewhere() -> None:
    """Let ROS log into a private temporary folder where its own cannot be written, and say so."""
    if os.environ.get('ROS_LOG_DIR') or os.environ.get('ROS_HOME'):
        return
    usual = Path(os.environ.get('HOME') or '~').expanduser() / '.ros' / 'log'
    try:
        usual.mkdir(parents=True, exist_ok=True)
        if os.access(usual, os.W_OK):
            return
    except OSError:
        pass
    folder = private_folder('igs_ros-log')
    if folder is not None:
        os.environ['ROS_LOG_DIR'] = str(folder)
        log.warning('ROS logs to %s: %s cannot be written; ROS_LOG_DIR names another place',
                    folder, usual)
