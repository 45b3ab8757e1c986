# SPDX-License-Identifier: Apache-2.0
"""TOML calibrations of Anipose, Pose2Sim and Caliscope: a table per camera, all by OpenCV's rules.

They differ in where the tables are, what they are called, and in their units. Rotations are
Rodrigues vectors, or matrices in older files of Caliscope; both map world to camera.
"""
from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from igs_ros.core import lenses
from igs_ros.core.errors import InputError, error_line, shown
from igs_ros.core.files import read_text
from igs_ros.io.imports.found import (
    Convention,
    FoundCamera,
    FoundRig,
    camera_of,
    check_keys,
    from_rotation,
    vector,
    whole_size,
)
from igs_ros.io.imports.options import Request

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]  # Python 3.10 alone needs it

MAX_TOML = 1_000_000  # bytes; a camera has 500
CALISCOPE = 'camera_array.toml'
STAMPS = ('timestamps.csv', 'frame_timestamps.csv', 'frame_time_history.csv')  # of Caliscope
_EXPECTED = 'a TOML calibration: a table per camera with size, matrix, distortions, rotation, ' \
    'translation'
_OTHERS = ('metadata', 'capture_volume', 'charuco', 'checkerboard')  # tables that are no camera
_KEYS = ('name', 'size', 'matrix', 'distortions', 'rotation', 'translation', 'fisheye',
         'cam_id', 'port', 'rotation_count', 'error', 'exposure', 'grid_count', 'ignore',
         'verified_resolutions', 'extrinsics_error', 'extrinsic_calibration_source')


def parsed(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        InputError: it cannot be read, or is no TOML.
    """
    text = read_text(path, _EXPECTED, MAX_TOML)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of too many digits
        raise InputError(f'{path}: no TOML ({error_line(error)}); expected {_EXPECTED}. Copy it '
                         f'again.') from error


def tables(content: Mapping[str, Any]) -> dict[str, Mapping]:
    """The tables of cameras of Anipose and Pose2Sim, by name of the table."""
    return {name: table for name, table in content.items()
            if isinstance(table, Mapping) and name not in _OTHERS and 'matrix' in table}


def looks_like_pose2sim(content: Mapping[str, Any]) -> bool:
    """Whether it was Pose2Sim that wrote these tables, or Caliscope for others; both use meters.

    Pose2Sim calls tables like the cameras, and always says fisheye; Anipose calls them cam_0,
    cam_1, ... whatever the names of its cameras are, and says so only of fisheye lenses.
    """
    found = tables(content)
    return all(table.get('name') == name and 'fisheye' in table for name, table in found.items())


def read_tables(path: Path, request: Request, convention: Convention) -> FoundRig:
    """The rig in a file of Anipose or Pose2Sim.

    Args:
        path: of the file.
        request: what to ignore.
        convention: of the tool.

    Raises:
        InputError: naming the file and the camera that cannot be used.
    """
    content = parsed(path)
    found = tables(content)
    if not found:
        raise InputError(f'{path}: no tables of cameras; expected {_EXPECTED}. Take the file that '
                         f'the calibration wrote.')
    cameras = [_camera(str(table.get('name', name)), table, path, request)
               for name, table in found.items()]
    return FoundRig(path, cameras, convention.overridden(request.options),
                    pictures_at=_around(path))


def read_caliscope(path: Path, request: Request, convention: Convention) -> FoundRig:
    """The rig in a camera_array.toml of Caliscope.

    Cameras that it ignores, or has not placed yet, are left out.

    Args:
        path: of the file.
        request: what to ignore.
        convention: of the tool.

    Raises:
        InputError: naming the file and the camera that cannot be used.
    """
    entries = parsed(path).get('cameras')
    if not isinstance(entries, Mapping) or not entries:
        raise InputError(f'{path}: no tables [cameras.0], [cameras.1], ...; expected the '
                         f'{CALISCOPE} of a Caliscope project.')
    cameras, said = [], []
    for number, table in entries.items():
        name = f'cam_{number}'
        camera_of(path, name)
        if not isinstance(table, Mapping):
            raise InputError(f"{path}: camera '{name}' is {shown(table)}; expected a table.")
        if table.get('ignore') is True or not {'rotation', 'translation'} <= set(table):
            said.append(f'{name}: left out, it '
                        f'{"is ignored there" if table.get("ignore") is True else "has no pose"}')
            continue
        cameras.append(_camera(name, table, path, request, (f'port_{number}',)))
    return FoundRig(path, cameras, convention.overridden(request.options), said,
                    pictures_at=_around(path), stamps_in=caliscope_stamps)


def _camera(name: str, table: Mapping, path: Path, request: Request,
            other_names: tuple[str, ...] = ()) -> FoundCamera:
    who = camera_of(path, name)
    check_keys(table, _KEYS, who, request.options.ignore)
    for key in ('size', 'matrix', 'distortions', 'rotation', 'translation'):
        if key not in table:
            raise InputError(f"{who} has no '{key}'; expected {_EXPECTED}. Calibrate it together "
                             f'with the others.')
    fisheye = table.get('fisheye', False)
    if not isinstance(fisheye, bool):
        raise InputError(f'{who}: fisheye is {shown(fisheye)}; expected true or false.')
    given = vector(table['distortions'], tuple(range(15)), f'{who}: distortions')
    lens, distortion = lenses.from_opencv(given, fisheye, who)
    return FoundCamera(
        name, vector(table['matrix'], 9, f'{who}: matrix').reshape(3, 3),
        from_rotation(vector(table['rotation'], (3, 9), f'{who}: rotation'),
                      vector(table['translation'], 3, f'{who}: translation')),
        whole_size(table['size'], f'{who}: size'), lens, distortion, other_names=other_names)


def _around(path: Path) -> tuple[Path, ...]:
    """Projects keep calibrations in a folder of their own, beside that of the videos."""
    here = path.parent
    return (here, here.resolve().parent) if here.resolve().name.startswith('calib') else (here,)


def caliscope_stamps(folder: Path) -> dict[str, list[int]]:
    """Stamps of the pictures by camera, ns, of the file that Caliscope records beside its videos.

    Raises:
        InputError: it cannot be read.
    """
    path = next((folder / name for name in STAMPS if (folder / name).is_file()), None)
    if path is None:
        return {}
    stamps: dict[str, list[int]] = {}
    for camera, text in _rows(path):
        try:
            value = float(text)
            stamps.setdefault(f'cam_{int(float(camera))}', []).append(round(value * 1e9))
        except (ValueError, OverflowError):
            raise InputError(f'{path}: camera {shown(camera)}, time {shown(text)}; expected '
                             f'numbers. Copy it again, or give --stamps.') from None
    return {name: own for name, own in stamps.items() if bool(np.all(np.diff(own) > 0))}


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    try:
        lines = csv.DictReader(read_text(path, 'the times of Caliscope').splitlines())
        for row in lines:
            camera, time = row.get('cam_id') or row.get('port'), row.get('frame_time')
            if camera and time:
                yield camera, time
    except csv.Error as error:
        raise InputError(f'{path}: no CSV ({error_line(error)}); expected the times of '
                         f'Caliscope.') from error
