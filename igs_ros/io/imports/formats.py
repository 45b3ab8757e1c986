# SPDX-License-Identifier: Apache-2.0
"""The formats of `igs import`: one entry of `FORMATS` each.

Another format is a module with a `read`, and its entry here.
"""
from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from igs_ros.core.errors import InputError
from igs_ros.core.files import read_json
from igs_ros.io.imports import colmap_model, kalibr_chain, opencv_storage, toml_rigs, transforms
from igs_ros.io.imports.found import Convention, FoundRig
from igs_ros.io.imports.options import Request
from igs_ros.io.recordings import kalibr
from igs_ros.io.recordings.bag_file import bag_at
from igs_ros.io.recordings.rig import MARKER

BAG = 'bag'
_NO_SCALE = 'structure from motion has no scale of its own'
_GL = Convention('opengl', 'camera-to-world', 'm', 0.5, _NO_SCALE)


@dataclass(frozen=True)
class Format:
    """How one kind of calibration is found, recognized and read."""

    title: str
    expected: str  # in SOURCE
    convention: Convention
    find: Callable[[Path], Path | None]  # what of SOURCE would be read, whatever it holds
    looks: Callable[[Path], bool]  # whether that is of this format; may raise `InputError`
    read: Callable[[Path, Request, Convention], FoundRig] | None  # None: it is a recording already


def _transforms(source: Path) -> Path | None:
    return next(iter(transforms.files_at(source)), None)


def _is_transforms(path: Path, nerfstudio: bool) -> bool:
    top = read_json(path, 'a transforms.json')
    if not isinstance(top, dict) or not isinstance(top.get('frames'), list):
        return False
    keys = set(top).union(*(frame for frame in top['frames'][:1] if isinstance(frame, dict)))
    own = {'camera_model', 'applied_transform', 'ply_file_path', 'depth_file_path',
           *transforms._SPLITS}
    return bool(keys & own) == nerfstudio


def _toml(source: Path) -> Path | None:
    if source.is_file():
        return source if source.suffix == '.toml' else None
    found = [path for pattern in ('*.toml', 'calib*/*.toml') for path in sorted(
        source.glob(pattern)) if path.name not in ('config.toml', 'Config.toml')]
    usual = [path for path in found if 'calib' in path.name.lower()]
    return next(iter(usual + found), None)


def _caliscope(source: Path) -> Path | None:
    return source / toml_rigs.CALISCOPE if (source / toml_rigs.CALISCOPE).is_file() \
        else _toml(source)


def _is_tables(path: Path, pose2sim: bool) -> bool:
    content = toml_rigs.parsed(path)
    return bool(toml_rigs.tables(content)) and toml_rigs.looks_like_pose2sim(content) == pose2sim


def _camchain(source: Path) -> Path | None:
    if source.is_file():
        return source if source.suffix in kalibr.SUFFIXES else None
    return next((path for path in sorted(source.iterdir()) if path.suffix in kalibr.SUFFIXES
                 and 'camchain' in path.name), None)


def _storage(source: Path) -> Path | None:
    if source.is_file():
        return source if source.suffix in opencv_storage.SUFFIXES else None
    files = opencv_storage.files_in(source)
    for path in files:
        with suppress(InputError):
            if _is_storage(path):
                return path
    return source if opencv_storage.single_files(source) else next(iter(files), None)


def _is_storage(path: Path) -> bool:
    if path.is_dir():
        return bool(opencv_storage.single_files(path))
    content = opencv_storage.parsed(path)
    return any(fits(content) for fits, _ in opencv_storage.LAYOUTS)


FORMATS = {
    'nerfstudio': Format(
        'nerfstudio', 'transforms.json, or transforms_train.json and its like', _GL, _transforms,
        lambda path: _is_transforms(path, True), transforms.read),
    'instant-ngp': Format(
        'instant-ngp, or another NeRF', 'transforms.json, or transforms_train.json and its like',
        _GL, _transforms, lambda path: _is_transforms(path, False), transforms.read),
    'colmap': Format(
        'COLMAP', 'cameras and images (.bin or .txt), there or in sparse/0',
        Convention(pixel_center=0.5, note=_NO_SCALE), colmap_model.model_at, lambda path: True,
        colmap_model.read),
    'kalibr': Format(
        'Kalibr', 'camchain-*.yaml', Convention(), _camchain,
        lambda path: bool(kalibr.read_cameras(path)), kalibr_chain.read),
    'caliscope': Format(
        'Caliscope', 'camera_array.toml', Convention(), _caliscope,
        lambda path: 'cameras' in toml_rigs.parsed(path), toml_rigs.read_caliscope),
    'anipose': Format(
        'Anipose', 'calibration.toml',
        Convention(units='mm', note="Anipose has the units of the board's squares, mm in its "
                                    'manual'), _toml,
        lambda path: _is_tables(path, False), toml_rigs.read_tables),
    'pose2sim': Format(
        'Pose2Sim', 'Calib*.toml', Convention(), _toml,
        lambda path: _is_tables(path, True), toml_rigs.read_tables),
    'opencv': Format(
        'OpenCV (cv::FileStorage)', 'YAML, XML or JSON: intrinsics.yml and extrinsics.yml of a '
        'stereo pair, one file of several cameras, or a folder with one for each',
        Convention(note="OpenCV has the units of the board's squares"), _storage, _is_storage,
        opencv_storage.read),
    BAG: Format(
        'a ROS 2 bag', '.mcap, .db3, or the folder of a bag, with CameraInfo and TF, or with '
        '--rig-file', Convention(), bag_at, lambda path: True, None),
}
"""By the name on the command line."""


def place_of(name: str, source: Path) -> Path:
    """What the reader of a format takes of `source`.

    Raises:
        InputError: there is no such format, or nothing of it.
    """
    if name not in FORMATS:
        raise InputError(f'igs import: no format {name!r}; expected {", ".join(FORMATS)}.')
    try:
        found = FORMATS[name].find(source)
    except OSError as error:
        raise InputError(f'{source}: cannot be read ({error.strerror}); expected a calibration. '
                         f'Check the path.') from error
    if found is None:
        raise InputError(f'{source}: nothing of {FORMATS[name].title}; expected '
                         f'{FORMATS[name].expected}.{hint(source, name)}')
    return found


def detected(source: Path) -> str | None:
    """The format of `source`, by what is in it; None where it is of none."""
    for name in (BAG, *(name for name in FORMATS if name != BAG)):
        try:
            place = FORMATS[name].find(source)
            if place is not None and FORMATS[name].looks(place):
                return name
        except (InputError, OSError):
            continue
    return None


def why_none(source: Path) -> str:
    """What is wrong with a file in `source` that could be of a format; '' where none could."""
    for one in FORMATS.values():
        try:
            place = one.find(source)
            if place is not None:
                one.looks(place)
        except InputError as error:
            return str(error)
        except OSError:
            continue
    return ''


def is_recording(source: Path) -> bool:
    """Whether there is nothing to import: it is a recording of ours."""
    return source.name == MARKER or (source / MARKER).is_file()


def hint(source: Path, taken: str) -> str:
    """What `source` looks like, where that is another format than the one taken."""
    name = detected(source)
    if name is None or name == taken:
        return ''
    return f' It looks like {FORMATS[name].title}: igs import {name} {source}'
