# SPDX-License-Identifier: Apache-2.0
"""The rig.json layout: one calibration file, one video or image folder per camera.

The fields are described in docs/recordings.md.
"""
from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from igs_ros.core import lenses
from igs_ros.core.camera import Camera, require_name, rigid
from igs_ros.core.errors import InputError, shown
from igs_ros.core.files import read_json
from igs_ros.core.logs import log_once
from igs_ros.io.codec.ply import read_points
from igs_ros.io.recordings.clocks import Clock, Timing, read_stamps, seconds
from igs_ros.io.recordings.recording import Recording
from igs_ros.io.recordings.sources import (
    DepthSource,
    ImageSource,
    PictureSource,
    depth_folder,
    image_folder,
    video_file,
)

log = logging.getLogger(__name__)

MARKER = 'rig.json'
POINTS = 'points3d.ply'
POSES = 'poses.json'
MAX_SCENE = 200
_CAMERA_KEYS = frozenset((
    'name', 'video', 'images', 'width', 'height', 'K', 'dist', 'distortion_model', 'model',
    'world_to_camera', 'depth', 'fps', 'offset_s', 'stamps', 'held_out', 'comment'))
_KEYS = frozenset((
    'scene', 'pixel_center', 'fps', 'held_out', 'cameras', 'depth_scale', 'frame_step',
    'max_spread_s', 'units',
    'comment', 'convention', 'frames', 'color', 'image_pattern', 'source'))  # for people
_METERS = ('m', 'meter', 'meters', 'metre', 'metres')
MIN_RATE, MAX_RATE = 1e-3, 1e5  # Hz


def read(folder: Path) -> Recording:
    """The recording described by `folder`/rig.json.

    Raises:
        InputError: the file or what it points to is missing or cannot be used.
    """
    rig = _load(folder / MARKER)
    cameras = cameras_of(rig, folder / MARKER)
    sources = {name: _source(folder, entry)
               for name, entry in zip(cameras, rig['cameras'], strict=True)}
    points = folder / POINTS
    held_out = rig.get('held_out', [])
    if not isinstance(held_out, list):
        raise InputError(f'{folder / MARKER}: held_out is {shown(held_out)}; expected a list '
                         f'of camera names.')
    scene = rig.get('scene', '')
    if not isinstance(scene, str) or not scene.isprintable() or len(scene) > MAX_SCENE:
        raise InputError(f'{folder / MARKER}: scene is {shown(scene)}; expected a name of at most '
                         f'{MAX_SCENE} characters.')
    return Recording(
        name=scene or folder.resolve().name,
        path=folder,
        cameras=cameras,
        sources=sources,
        rate_hz=_rate(rig, folder / MARKER, sources),
        held_out=tuple(map(str, held_out)),
        load_points=(lambda: read_points(points)) if points.is_file() else None,
        depths=_depths(rig, folder),
        poses=_poses(folder / POSES, sources),
        timing=_timing(rig, folder),
    )


def read_rig(path: str | Path) -> dict[str, Camera]:
    """The calibrated cameras of a rig.json, by name; pictures are not looked for.

    Raises:
        InputError: naming the file and the camera that cannot be used.
    """
    return cameras_of(_load(Path(path)), path)


def cameras_of(rig: dict, origin: str | Path) -> dict[str, Camera]:
    """The cameras of a parsed rig.json, by name.

    Args:
        rig: what the file holds.
        origin: the file, for the message.

    Raises:
        InputError: a calibration is missing or cannot be used, or two cameras have one name.
    """
    if not isinstance(rig.get('cameras'), list) or not rig['cameras']:
        raise InputError(f"{origin}: no list 'cameras'; expected one entry per camera as "
                         f'docs/recordings.md describes.')
    center = _number(rig.get('pixel_center', 0.5), f'{origin}: pixel_center')
    if center not in (0.0, 0.5):
        raise InputError(f'{origin}: pixel_center {center}; expected 0.5 (the image spans '
                         f'[0,width]x[0,height]) or 0 (OpenCV).')
    cameras = {}
    for number, entry in enumerate(rig['cameras']):
        name = entry.get('name') if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name or name in cameras:
            raise InputError(f'{origin}: camera number {number} has the name {shown(name)}; '
                             f'expected a name of its own for every camera.')
        try:
            require_name(name)  # here already: messages below name the camera
        except InputError as error:
            raise InputError(f'{origin}: {error}') from error
        cameras[name] = _camera(entry, f"{origin}: camera '{name}'", center)
    return cameras


def _load(path: Path) -> dict:
    rig = read_json(path, 'a rig file as docs/recordings.md describes')
    if not isinstance(rig, dict):
        raise InputError(f"{path}: no object with a list 'cameras'; expected a rig file as "
                         f'docs/recordings.md describes.')
    _say_unknown(rig, path)
    return rig


def _camera(entry: dict, who: str, pixel_center: float) -> Camera:
    for key in ('width', 'height', 'K', 'world_to_camera'):
        if key not in entry:
            raise InputError(f"{who} has no '{key}'; expected name, width, height, K and "
                             f'world_to_camera. Calibrate this camera, or take it out of the '
                             f'file.')
    unknown = sorted(set(entry) - _CAMERA_KEYS)
    if unknown:
        raise InputError(f'{who}: unknown {shown(unknown)}; expected none but '
                         f'{", ".join(sorted(_CAMERA_KEYS))}. Rename it, or put it into comment.')
    K = _array(entry['K'], (3, 3), f'{who}: K')
    pose = _array(entry['world_to_camera'], (4, 4), f'{who}: world_to_camera')
    if 'model' in entry and entry['model'] != entry.get('distortion_model', entry['model']):
        raise InputError(f'{who}: model {shown(entry["model"])}, but distortion_model '
                         f'{shown(entry["distortion_model"])}; expected one of them.')
    model = entry.get('distortion_model', entry.get('model', lenses.DEFAULT))
    dist = entry.get('dist', [])
    lens = lenses.named(model) if isinstance(model, str) else None
    if lens is None:
        raise InputError(f'{who}: distortion_model {shown(model)}; expected '
                         f'{", ".join(lenses.LENSES)} or none. Calibrate with one of them.')
    names = lenses.LENSES[lens].coefficients
    if not isinstance(dist, list) or len(dist) > len(names):
        raise InputError(f'{who}: dist {shown(dist)}; expected up to {len(names)} {lens} values '
                         f'{" ".join(names)}. Calibrate with that model.')
    distortion = lenses.padded(lens, _array(dist, (len(dist),), f'{who}: dist'))
    if model in lenses.NONE and distortion.any():
        raise InputError(f'{who}: distortion_model {shown(model)} with dist {shown(dist)}; '
                         f'expected zeros, or the model that they belong to.')
    width, height = (_pixels(entry[key], f'{who}: {key}') for key in ('width', 'height'))
    build = Camera if pixel_center else Camera.from_opencv_K
    try:
        return build(entry['name'], width, height, K, pose, distortion, lens)
    except InputError as error:
        raise InputError(f'{who.split(": camera")[0]}: {error}') from error


def _source(folder: Path, entry: dict) -> PictureSource:
    """Where the camera's pictures are: 'video', 'images', else NAME/ or NAME.mp4."""
    name = entry['name']
    if 'video' in entry:
        return video_file(_present(folder, entry, 'video'))
    if isinstance(entry.get('images'), list):
        return ImageSource(folder, _files(folder, entry, 'images'))
    if 'images' in entry:
        return image_folder(_present(folder, entry, 'images'))
    if (folder / name).is_dir():
        return image_folder(folder / name)
    return video_file(_present(folder, {'name': name, 'video': f'{name}.mp4'}, 'video'))


def _depths(rig: dict, folder: Path) -> dict[str, DepthSource]:
    """The depth pictures of the cameras that declare some."""
    scale = _number(rig.get('depth_scale', 0.001), f'{folder / MARKER}: depth_scale')
    if not 0 < scale <= 1000:
        raise InputError(f'{folder / MARKER}: depth_scale {scale}; expected meters per unit of '
                         f'the depth pictures, above 0 and at most 1000, such as 0.001 for '
                         f'millimeters.')
    return {entry['name']: DepthSource(folder, _files(folder, entry, 'depth'), scale)
            if isinstance(entry['depth'], list)
            else depth_folder(_present(folder, entry, 'depth'), scale)
            for entry in rig['cameras'] if 'depth' in entry}


def _timing(rig: dict, folder: Path) -> Timing:
    """What the file says of the times of the pictures."""
    clocks = {}
    for entry in rig['cameras']:
        who = f"{folder / MARKER}: camera '{entry['name']}'"
        rate = _number(entry['fps'], f'{who}: fps') if 'fps' in entry else None
        if rate is not None and not MIN_RATE <= rate <= MAX_RATE:
            raise InputError(f'{who}: fps {rate:g}; expected {MIN_RATE:g} to {MAX_RATE:g}.')
        offset = seconds(str(_number(entry.get('offset_s', 0), f'{who}: offset_s')),
                         f'{who}: offset_s')
        stamps = read_stamps(_present(folder, entry, 'stamps')) if 'stamps' in entry else None
        clocks[entry['name']] = Clock(stamps, rate, offset)
    step = _pixels(rig.get('frame_step', 1), f'{folder / MARKER}: frame_step', 'frames')
    if step < 1:
        raise InputError(f'{folder / MARKER}: frame_step {step}; expected 1 or more.')
    spread = rig.get('max_spread_s')
    return Timing(clocks, step, None if spread is None
                  else _number(spread, f'{folder / MARKER}: max_spread_s'))


def _say_unknown(rig: dict, origin: str | Path) -> None:
    """Name keys of the whole file that nobody reads; refuse units that are not meters."""
    units = rig.get('units', 'm')
    if units not in _METERS:
        raise InputError(f"{origin}: units {shown(units)}; expected 'm': lengths of a rig.json "
                         f'are meters. Convert the poses.')
    unknown = sorted(set(rig) - _KEYS)
    if unknown:
        log_once(log, logging.WARNING, f'{origin}: unknown {shown(unknown)}; it is not read. '
                                       f'docs/recordings.md lists what is.')


def _poses(path: Path, sources: dict[str, PictureSource]
           ) -> Callable[[int], dict[str, np.ndarray]] | None:
    """The poses of the cameras that move, by frame; None without the file."""
    if not os.path.exists(path):
        return None
    found = read_json(path, 'poses of cameras that move, as docs/recordings.md describes')
    moving = found.get('world_to_camera') if isinstance(found, dict) else None
    if not isinstance(moving, dict):
        raise InputError(f"{path}: no object 'world_to_camera'; expected a list of one 4x4 per "
                         f'frame by camera, as docs/recordings.md describes.')
    poses = {}
    for name, rows in moving.items():
        if name not in sources:
            raise InputError(f'{path}: poses of {shown(name)}; expected cameras of the rig: '
                             f'{", ".join(sources)}.')
        frames = sources[name].length
        if not isinstance(rows, list) or len(rows) < frames:
            came = f'{len(rows)} poses' if isinstance(rows, list) else shown(rows)
            raise InputError(f"{path}: camera '{name}': {came}; expected a list of {frames}, one "
                             f'for each of its frames.')
        poses[name] = [rigid(pose, f"{path}: camera '{name}', frame {number}")
                       for number, pose in enumerate(rows)]
    return lambda frame: {name: rows[frame] for name, rows in poses.items() if frame < len(rows)}


def _present(folder: Path, entry: dict, key: str) -> Path:
    """Where the rig file says that pictures are; it is only ever read from."""
    return _at(folder, entry[key], key, entry['name'])


def _files(folder: Path, entry: dict, key: str) -> list[Path]:
    """A list of picture files, one per frame."""
    if not entry[key]:
        raise InputError(f"{folder / MARKER}: camera '{entry['name']}': {key} is an empty list; "
                         f'expected a file per frame, or a folder.')
    return [_at(folder, place, key, entry['name']) for place in entry[key]]


def _at(folder: Path, place: object, key: str, name: str) -> Path:
    who = f"{folder / MARKER}: camera '{name}'"
    if not isinstance(place, str) or not place or not place.isprintable():
        raise InputError(f'{who}: {key} is {shown(place)}; expected a path relative to the '
                         f'folder of {MARKER}.')
    path = folder / place
    if not os.path.exists(path):  # Path.exists raises for names that are too long
        raise InputError(f"{path}: missing; expected the "
                         f"{'stamps' if key == 'stamps' else 'pictures'} of camera '{name}'. "
                         f'Copy the recording completely, or take the camera out of {MARKER}.')
    return path


def _rate(rig: dict, origin: Path, sources: dict[str, PictureSource]) -> float:
    known = [source.rate_hz for source in sources.values() if source.rate_hz]
    rate = _number(rig.get('fps', known[0] if known else 0), f'{origin}: fps')
    if not MIN_RATE <= rate <= MAX_RATE:
        raise InputError(f"{origin}: fps {shown(rig.get('fps'))}; expected the frames per "
                         f'second of the cameras, {MIN_RATE:g} to {MAX_RATE:g}. Write it into '
                         f'the file.')
    return rate


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f'{what} is {shown(value)}; expected a number.')
    try:
        return float(value)
    except OverflowError:
        raise InputError(f'{what} is a whole number of more than 308 digits; expected a number '
                         f'that can be meant.') from None


def _pixels(value: object, what: str, unit: str = 'pixels') -> int:
    number = _number(value, what)
    if not number.is_integer():
        raise InputError(f'{what} is {shown(value)}; expected a whole number of {unit}.')
    return int(number)


def _array(value: object, shape: tuple[int, ...], what: str) -> np.ndarray:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        array = None
    if array is None or array.shape != shape:
        raise InputError(f'{what} is {shown(value)}; expected numbers of shape '
                         f"{'x'.join(map(str, shape))}.")
    return array
