# SPDX-License-Identifier: Apache-2.0
"""Camera chains of Kalibr (`camchain-*.yaml`): intrinsics, and each camera in the one before.

The world is the optical frame of cam0: Kalibr knows no floor. Pixel centers are at integers.
"""
from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from igs_ros.core import lenses
from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError, shown
from igs_ros.core.files import read_text
from igs_ros.core.untrusted import parsed_yaml

SUFFIXES = ('.yaml', '.yml')
MAX_YAML = 100_000  # bytes; a camera has 500
_MAX_LISTS = 10_000  # a camera has 8; nested, they take long to read
_EXPECTED = 'a camchain of Kalibr: cam0, cam1, ... with T_cn_cnm1'
_NAME = re.compile(r'cam(\d{1,4})')
_LENSES = {'radtan': 'plumb_bob', 'equidistant': 'equidistant', 'none': lenses.DEFAULT}


def read_cameras(path: Path) -> dict[str, Camera]:
    """The cameras of a camchain, by name (cam0, cam1, ...).

    Raises:
        InputError: no such file, or values that cannot be used; file and camera are named.
    """
    try:
        content = parsed(path)
    except InputError as error:
        text = str(error)
        raise InputError(text if str(path) in text else f'{path}: {text}; expected {_EXPECTED}. '
                         f'Copy it again.') from error
    entries = content if isinstance(content, Mapping) else {}
    numbers = sorted(int(found[1]) for name in entries
                     if isinstance(name, str) and (found := _NAME.fullmatch(name)))
    if not numbers or numbers != list(range(len(numbers))):
        raise InputError(f'{path}: cameras {shown(numbers)}; expected {_EXPECTED}. Take the '
                         f'camchain that kalibr_calibrate_cameras writes.')
    cameras, pose = {}, np.eye(4)
    for number in numbers:
        name = f'cam{number}'
        who, entry = f"{path}: camera '{name}'", entries.get(name)
        if not isinstance(entry, Mapping):
            raise InputError(f'{who} is {shown(entry)}; expected {_EXPECTED}. Copy it again.')
        if number:
            with np.errstate(invalid='ignore', over='ignore'):  # NaN, which `Camera` refuses
                pose = _numbers(entry, 'T_cn_cnm1', (4, 4), who) @ pose
        cameras[name] = _camera(name, entry, pose, who)
    return cameras


def parsed(path: Path) -> Any:  # whatever the file holds
    """The content of a camchain, not looked at yet.

    Raises:
        InputError: it cannot be read, or is no YAML that a camchain could be.
    """
    text = read_text(path, _EXPECTED, MAX_YAML)
    if text.count('[') + text.count('{') > _MAX_LISTS:
        raise InputError(f'more than {_MAX_LISTS} lists')
    return parsed_yaml(text)


def _camera(name: str, entry: Mapping, camera_from_world: np.ndarray, who: str) -> Camera:
    if entry.get('camera_model') != 'pinhole':
        raise InputError(f'{who}: camera_model {shown(entry.get("camera_model"))}; expected '
                         f'pinhole. Calibrate with pinhole-radtan or pinhole-equi.')
    model = entry.get('distortion_model')
    if not isinstance(model, str) or model not in _LENSES:
        raise InputError(f'{who}: distortion_model {shown(model)}; expected '
                         f'{", ".join(_LENSES)}. Calibrate with one of them.')
    given = entry.get('distortion_coeffs', [])
    bend = _numbers({'distortion_coeffs': given}, 'distortion_coeffs',
                    (len(given) if isinstance(given, list) else 4,), who)
    lens, distortion = lenses.from_ros(_LENSES[model], bend.tolist(), who)
    fx, fy, cx, cy = _numbers(entry, 'intrinsics', (4,), who)
    width, height = _numbers(entry, 'resolution', (2,), who)
    if not (np.isfinite((width, height)).all() and width == int(width) and height == int(height)):
        raise InputError(f'{who}: resolution {shown(entry["resolution"])}; expected whole numbers '
                         f'of pixels. Copy the file again.')
    try:
        return Camera.from_opencv_K(name, int(width), int(height),
                                    [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], camera_from_world,
                                    distortion, lens)
    except InputError as error:
        raise InputError(f'{who.split(": camera")[0]}: {error}') from error


def _numbers(entry: Mapping, key: str, shape: tuple[int, ...], who: str) -> np.ndarray:
    try:
        found = np.array(entry.get(key), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.zeros(0)
    if key not in entry or found.shape != shape:
        raise InputError(f'{who}: {key} is {shown(entry.get(key))}; expected numbers of shape '
                         f'{"x".join(map(str, shape))}. Calibrate the cameras together, or copy '
                         f'the file again.')
    return found
