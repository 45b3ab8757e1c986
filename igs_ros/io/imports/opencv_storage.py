# SPDX-License-Identifier: Apache-2.0
"""Calibrations that were written with cv::FileStorage: YAML, XML or JSON.

OpenCV fixes how a matrix is written, not what it is called. Read are the layouts of its own
programs and the most common others; `LAYOUTS` has them. Rotations map world to camera.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
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
from igs_ros.io.recordings.rig import MARKER, POSES

SUFFIXES = ('.yml', '.yaml', '.xml', '.json')
MAX_TEXT = 2_000_000  # bytes
_MAX_DEPTH = 50  # of lists and maps
_EXPECTED = 'a calibration that OpenCV wrote (cv::FileStorage)'
_TWO = ('intri', 'extri')  # intrinsics.yml and extrinsics.yml belong together
_K = ('camera_matrix', 'cameraMatrix', 'K', 'M', 'mtx', 'intrinsic_matrix')
_D = ('distortion_coefficients', 'distCoeffs', 'dist_coeffs', 'dist', 'D', 'distortion')
_R = ('rvec', 'R', 'rotation', 'Rot', 'rotation_matrix')
_T = ('tvec', 'T', 'translation', 't')
_POSE = ('camera_pose', 'world_to_camera', 'extrinsic_matrix', 'extrinsics', 'Rt', 'RT')
# what OpenCV's programs write besides, for people or for other programs
_NO_MATTER = ('calibration_time', 'nframes', 'nr_of_frames', 'board_width', 'board_height',
              'square_size', 'marker_size', 'aspectRatio', 'fix_aspect_ratio', 'flags',
              'avg_reprojection_error', 'per_view_reprojection_errors', 'image_points',
              'extrinsic_parameters', 'grid_points', 'camera_name', 'rms', 'meanReprojectError',
              'R1', 'R2', 'P1', 'P2', 'Q', 'E', 'F', 'validRoi1', 'validRoi2',
              'errors_per_frame', 'output_pairs', 'pattern_points', 'detection_mask', 'rvecs0',
              'tvecs0', 'image_names', 'rectification_matrix', 'projection_matrix')
_SIZE = ('image_width', 'image_height', 'image_size', 'imageSize', 'width', 'height')


def parsed(path: Path) -> dict[str, Any]:
    """What is in a file of cv::FileStorage: numbers, texts, lists, maps, and matrices as arrays.

    Raises:
        InputError: it cannot be read.
    """
    text = read_text(path, _EXPECTED, MAX_TEXT)
    storage = cv2.FileStorage()
    try:
        if max(text.count(' ' * 4 * _MAX_DEPTH), text.count('\0'), _depth(text) - _MAX_DEPTH) > 0:
            raise ValueError('nested too deeply, or no text')
        if not storage.open(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY):
            raise ValueError('neither YAML, XML nor JSON')
        found = _value(storage.root())
    except (cv2.error, ValueError, MemoryError, SystemError, RecursionError) as error:
        raise InputError(f'{path}: cannot be read ({error_line(error)}); expected {_EXPECTED}. '
                         f'Copy it again.') from error
    finally:
        storage.release()
    if not isinstance(found, dict) or not found:
        raise InputError(f'{path}: no names; expected {_EXPECTED}. Copy it again.')
    return found


def _depth(text: str) -> int:
    """How many brackets are open at most."""
    deep = most = 0
    for letter in text:
        if letter in '[{':
            deep += 1
            most = max(most, deep)
        elif letter in ']}':
            deep -= 1
    return most


def _value(node: cv2.FileNode) -> Any:
    if node.isMap():
        keys = node.keys()
        if {'dt', 'data'} <= set(keys):
            rows = node.getNode('rows')
            count = node.getNode('data').size()
            if not rows.empty() and rows.real() * node.getNode('cols').real() > count:
                raise ValueError(f'a matrix of {count} numbers that says it has more')
            return node.mat()
        return {key: _value(node.getNode(key)) for key in keys}
    if node.isSeq():
        return [_value(node.at(number)) for number in range(node.size())]
    if node.isString():
        return node.string()
    return node.real() if node.isInt() or node.isReal() else None


def read(path: Path, request: Request, convention: Convention) -> FoundRig:
    """The rig in a file, in the two that belong together, or in a folder with one for each camera.

    Args:
        path: of a file, or of a folder.
        request: what to ignore.
        convention: of OpenCV.

    Raises:
        InputError: naming the file and what in it is missing or cannot be used.
    """
    if path.is_dir():
        files = single_files(path)
        cameras = [_single(file, request) for file in files]
        return FoundRig(path, cameras, convention.overridden(request.options))
    content = parsed(path)
    for own, its in (_TWO, _TWO[::-1]):
        other = path.with_name(path.name.replace(own, its, 1))
        if own in path.name and other.is_file():
            content = {**content, **parsed(other)}
    layout = next((read_one for fits, read_one in LAYOUTS if fits(content)), None)
    if layout is None:
        raise InputError(f'{path}: {shown(sorted(content))}; expected {_EXPECTED} of several '
                         f'cameras: Ks, rvecs, Ts (multi-view calibration); M1, D1, M2, D2, R, T '
                         f'(stereo); camera_matrix_0, camera_pose_0, ... (multi-camera); names, '
                         f'K_1, R_1, T_1, ...; or a folder with one file for each camera.')
    cameras = list(layout(content, str(path), request))
    return FoundRig(path, cameras, convention.overridden(request.options))


def single_files(folder: Path) -> list[Path]:
    """Files of `folder` that may be one camera each."""
    return [file for file in files_in(folder)
            if any(f'{name}"' in (head := _head(file)) or f'{name}:' in head
                   or f'<{name}' in head for name in _K)]


def files_in(folder: Path) -> list[Path]:
    """YAML, XML and JSON files, but not those of our own recordings."""
    return sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file()
                  and file.name not in (MARKER, POSES))


def _head(file: Path) -> str:
    try:
        with open(file, 'rb') as opened:
            return opened.read(20_000).decode('utf-8', 'replace')
    except OSError:
        return ''


def _first(content: Mapping, names: tuple[str, ...], after: str, who: str) -> Any:
    """The value of the first of `names`, each with `after` behind it, that is there."""
    for name in names:
        if f'{name}{after}' in content:
            return content[f'{name}{after}']
    raise InputError(f'{who} has no {names[0]}{after}; expected {_EXPECTED}. Copy it again.')


def _one(name: str, K: object, distortion: object, pose: np.ndarray, size: object, who: str,
         fisheye: bool = False) -> FoundCamera:
    given = vector([] if distortion is None else distortion, tuple(range(15)),
                   f'{who}: distortion')
    lens, bend = lenses.from_opencv(given, fisheye, who)
    return FoundCamera(name, vector(K, 9, f'{who}: camera matrix').reshape(3, 3), pose,
                       None if size is None else whole_size(size, f'{who}: size'), lens, bend)


def _pose(content: Mapping, after: str, who: str) -> np.ndarray:
    return from_rotation(vector(_first(content, _R, after, who), (3, 9), f'{who}: rotation'),
                         vector(_first(content, _T, after, who), 3, f'{who}: translation'))


def _size(content: Mapping) -> object:
    for width, height in (('image_width', 'image_height'), ('width', 'height')):
        if width in content and height in content:
            return [content[width], content[height]]
    return content.get('image_size', content.get('imageSize'))


def _single(path: Path, request: Request) -> FoundCamera:
    """The camera of a file of its own, called like the file."""
    content, who = parsed(path), f"{path}: camera '{path.stem}'"
    check_keys(content, (*_K, *_D, *_R, *_T, *_POSE, *_SIZE, *_NO_MATTER, 'distortion_model',
                         'fisheye_model'), who, request.options.ignore)
    matrix = next((content[name] for name in _POSE if name in content), None)
    if matrix is not None:
        found = vector(matrix, (12, 16), f'{who}: pose')
        pose = np.vstack([found[:12].reshape(3, 4), (0, 0, 0, 1)])
    elif not set(content) & {*_R, *_T}:
        raise InputError(f'{who} has intrinsics, but no pose; expected rvec and tvec, R and T, or '
                         f'world_to_camera. Calibrate the cameras together.')
    else:
        pose = _pose(content, '', who)
    model = content.get('distortion_model', '')
    lens = lenses.named(model) if isinstance(model, str) else None
    if lens is None:
        raise InputError(f'{who}: distortion_model {shown(model)}; expected '
                         f'{", ".join(lenses.LENSES)}. Calibrate with one of them.')
    return _one(path.stem, _first(content, _K, '', who),
                next((content[name] for name in _D if name in content), None), pose,
                _size(content), who, lens == 'equidistant' or content.get('fisheye_model') == 1)


def _multiview(content: Mapping, origin: str, request: Request) -> Iterator[FoundCamera]:
    """What samples/python/multiview_calibration.py of OpenCV saves."""
    known = ('Ks', 'rvecs', 'Ts', 'distortions', 'cam_ids', 'image_sizes', 'is_fisheye')
    check_keys(content, (*known, *_NO_MATTER), origin, request.options.ignore)
    arrays = {}
    for key in known[:4]:
        value = content.get(key)
        if not isinstance(value, np.ndarray | list) or not len(value):
            raise InputError(f'{origin}: {key} is {shown(value)}; expected an array with a row '
                             f'for each camera. Save the calibration again.')
        arrays[key] = value
    count = len(arrays['Ks'])
    ids = content.get('cam_ids')
    names = str(ids).split(',') if isinstance(ids, str) else [f'cam{n}' for n in range(count)]
    lists = {key: list(np.ravel(value)) if key == 'is_fisheye' else list(value)
             for key in (*known[:4], 'is_fisheye', 'image_sizes')
             if isinstance(value := content.get(key), np.ndarray | list)}
    if any(len(value) != count for value in (names, *lists.values())):
        raise InputError(f'{origin}: {count} camera matrices, but '
                         f'{ {key: len(value) for key, value in lists.items()} } of the others '
                         f'and {len(names)} cam_ids; expected as many.')
    for number, name in enumerate(names):
        who = camera_of(origin, name)
        fisheye = bool(vector(lists.get('is_fisheye', [0] * count)[number], 1, f'{who}: fisheye'))
        given = np.ravel(arrays['distortions'][number])
        pose = from_rotation(vector(arrays['rvecs'][number], (3, 9), f'{who}: rvecs'),
                             vector(arrays['Ts'][number], 3, f'{who}: Ts'))
        yield _one(name, arrays['Ks'][number], given[:4] if fisheye else given, pose,
                   lists['image_sizes'][number] if 'image_sizes' in lists else None, who, fisheye)


def _stereo(content: Mapping, origin: str, request: Request) -> Iterator[FoundCamera]:
    """What samples/cpp/stereo_calib.cpp of OpenCV writes; the world is the first camera."""
    numbered = [f'{name}{number}' for name in (*_K, *_D) for number in (1, 2)]
    check_keys(content, (*numbered, *_R, *_T, *_SIZE, *_NO_MATTER), origin,
               request.options.ignore)
    for number, name in enumerate(('left', 'right'), 1):
        who = f"{origin}: camera '{name}'"
        distortion = next((content[f'{key}{number}'] for key in _D
                           if f'{key}{number}' in content), None)
        yield _one(name, _first(content, _K, str(number), who), distortion,
                   np.eye(4) if number == 1 else _pose(content, '', who), _size(content), who)


def _multicamera(content: Mapping, origin: str, request: Request) -> Iterator[FoundCamera]:
    """What the multi-camera calibration of OpenCV's ccalib module writes."""
    count = int(vector(content['nCameras'], 1, f'{origin}: nCameras')[0])
    known = [f'{key}_{number}' for number in range(min(count, 1000)) for key in (
        'camera_matrix', 'camera_distortion', 'camera_pose', 'xi')]
    others = [key for key in content if str(key).startswith('pose_timestamp_')]
    check_keys(content, ('nCameras', *known, *others, *_NO_MATTER), origin,
               request.options.ignore)
    for number in range(count):
        who = f"{origin}: camera 'cam{number}'"
        if f'xi_{number}' in content:
            raise InputError(f'{who}: an omnidirectional lens (xi_{number}); expected pinhole. '
                             f'Calibrate with one of {", ".join(lenses.LENSES)}.')
        pose = vector(_first(content, ('camera_pose',), f'_{number}', who), 16, f'{who}: pose')
        yield _one(f'cam{number}', _first(content, ('camera_matrix',), f'_{number}', who),
                   content.get(f'camera_distortion_{number}'), pose.reshape(4, 4), None, who)


def _named(content: Mapping, origin: str, request: Request) -> Iterator[FoundCamera]:
    """intri.yml and extri.yml of EasyMocap and others: K_NAME, dist_NAME, R_NAME, T_NAME."""
    names = content['names'] if isinstance(content['names'], list) else []
    keys = ('K', 'dist', 'D', 'R', 'Rot', 'T', 'H', 'W', 'ccm', 'n', 'f')
    check_keys(content, ('names', *(f'{key}_{name}' for name in names for key in keys),
                         *_NO_MATTER), origin, request.options.ignore)
    for name in names:
        who = camera_of(origin, str(name))
        size = [content[f'W_{name}'], content[f'H_{name}']] if f'W_{name}' in content \
            and f'H_{name}' in content else None
        yield _one(str(name), _first(content, ('K',), f'_{name}', who),
                   next((content[f'{key}_{name}'] for key in ('dist', 'D')
                         if f'{key}_{name}' in content), None),
                   from_rotation(
                       vector(_first(content, ('R', 'Rot'), f'_{name}', who), (3, 9),
                              f'{who}: R'),
                       vector(_first(content, ('T',), f'_{name}', who), 3, f'{who}: T')),
                   size, who)


Layout = Callable[[Mapping, str, Request], Iterator[FoundCamera]]
LAYOUTS: tuple[tuple[Callable[[Mapping], bool], Layout], ...] = (
    (lambda content: 'Ks' in content, _multiview),
    (lambda content: 'nCameras' in content, _multicamera),
    (lambda content: 'names' in content, _named),
    (lambda content: any(f'{name}1' in content for name in _K), _stereo))
