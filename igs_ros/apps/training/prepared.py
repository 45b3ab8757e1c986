# SPDX-License-Identifier: Apache-2.0
"""A prepared recording on disk: what `igs prepare` writes and training reads.

DIR/index.json says what it was made of; DIR/pictures/CAMERA/000010.png are the working pictures
(undistorted, resized) of frame 10; DIR/keys/000010.ply is its key scene.
"""
from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError, shown
from igs_ros.core.files import read_json, replaced
from igs_ros.core.scene import GaussianScene
from igs_ros.io.codec.ply import load_ply
from igs_ros.io.pictures import EncodedPicture
from igs_ros.io.recordings.rig import cameras_of

INDEX = 'index.json'
_FORMAT = 1
_PNG = b'\x89PNG\r\n\x1a\n'
MAX_FRAMES = 10 ** 9
_WHAT = 'what `igs prepare` writes'


@dataclass(frozen=True, eq=False)
class Prepared:
    """A prepared recording."""

    folder: Path
    scene: str
    cameras: Mapping[str, Camera]  # working cameras, without distortion
    held_out: tuple[str, ...]  # cameras that no key was made from
    keys: tuple[int, ...]  # frames with a key scene, ascending
    exposures: Mapping[int, Mapping[str, np.ndarray]]  # of each key, as `Sample` has them

    def key(self, frame: int) -> GaussianScene:
        """The key scene of a frame in `keys`.

        Raises:
            InputError: the file cannot be read.
        """
        return load_ply(key_path(self.folder, frame))

    def picture(self, camera: str, frame: int) -> np.ndarray:
        """[H, W, 3] uint8 sRGB.

        Raises:
            InputError: the file cannot be read, or does not fit the camera.
        """
        path = picture_path(self.folder, camera, frame)
        try:
            picture = EncodedPicture(path.read_bytes(), str(path)).decode()
        except OSError as error:
            raise InputError(f'{path}: cannot be read ({error.strerror}); expected a picture. '
                             f'Run `igs prepare` again.') from error
        size = (self.cameras[camera].height, self.cameras[camera].width)
        if picture.shape[:2] != size:
            raise InputError(f'{path}: a picture of {picture.shape[1]}x{picture.shape[0]} px; '
                             f'expected {size[1]}x{size[0]}. Remove {self.folder} and prepare it '
                             f'again.')
        return picture

    def frames(self, camera: str) -> frozenset[int]:
        """The frames of which there is a picture."""
        folder = picture_path(self.folder, camera, 0).parent
        return frozenset(int(path.stem) for path in folder.glob('*.png')
                         if path.stem.isdecimal() and len(path.stem) < 10)


def key_path(folder: Path, frame: int) -> Path:
    """Where the key scene of a frame lies."""
    return folder / 'keys' / f'{frame:06d}.ply'


def picture_path(folder: Path, camera: str, frame: int) -> Path:
    """Where a working picture lies.

    Args:
        folder: of the prepared recording.
        camera: its name.
        frame: of the recording, 0 and up.
    """
    return folder / 'pictures' / camera / f'{frame:06d}.png'


def is_whole(path: Path) -> bool:
    """Whether a PNG file has all its chunks, with the checksums that they carry, up to the last.

    Nothing is decoded: 1 ms for 1 MB. https://www.w3.org/TR/png-3/#5Chunk-layout
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    at, kind = len(_PNG), b''
    if not data.startswith(_PNG):
        return False
    while kind != b'IEND':
        length, kind = struct.unpack_from('>I4s', data, at) if at + 12 <= len(data) else (0, b'')
        end = at + 8 + length
        if not kind or end + 4 > len(data) \
                or zlib.crc32(data[at + 4:end]) != int.from_bytes(data[end:end + 4], 'big'):
            return False
        at = end + 4
    return True


def read_prepared(folder: Path) -> Prepared:
    """The prepared recording in `folder`.

    Raises:
        InputError: there is none, no key of it is done, or parts are missing or broken.
    """
    index, path = read_index(folder), folder / INDEX
    if index is None:
        raise InputError(f'{folder}: no {INDEX}; expected {_WHAT}. Run `igs prepare RECORDING '
                         f'--out {folder}` first.')
    cameras = cameras_of(index, path)
    held_out, keys = index['held_out'], [entry['frame'] for entry in index['keys']]
    unknown = [name for name in held_out if name not in cameras]
    missing = [frame for frame in keys if not key_path(folder, frame).is_file()]
    if unknown or missing or not keys:
        what = f'held out but no camera: {shown(unknown)}' if unknown else (
            f'key scenes of frames {shown(missing)} are gone' if missing
            else 'no key scene is done yet')
        raise InputError(f'{path}: {what}; expected {_WHAT}. Run `igs prepare` again.')
    exposures = {entry['frame']: _exposures(entry, path) for entry in index['keys']}
    return Prepared(folder, index['scene'], cameras, tuple(held_out), tuple(sorted(keys)),
                    exposures)


def _exposures(entry: dict, path: Path) -> dict[str, np.ndarray]:
    """[2, 3] gain and offset by camera."""
    try:
        found = {name: np.array([known['gain'], known['offset']], np.float32)
                 for name, known in entry.get('exposures', {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        found = None
    if found is None or not all(value.shape == (2, 3) and np.isfinite(value).all()
                                for value in found.values()):
        raise InputError(f"{path}: exposures of frame {entry['frame']}: expected gain and offset "
                         f'of three channels for each camera. Run `igs prepare` again.')
    return found


def read_index(folder: Path) -> dict | None:
    """The index of `folder`, None where there is none.

    Raises:
        InputError: it is none of `igs prepare`.
    """
    path = folder / INDEX
    if not path.is_file():
        return None
    index = read_json(path, _WHAT)
    good = (isinstance(index, dict) and index.get('format') == _FORMAT
            and isinstance(index.get('scene'), str)
            and isinstance(index.get('cameras'), list)
            and isinstance(index.get('held_out'), list)
            and all(isinstance(name, str) for name in index['held_out'])
            and isinstance(index.get('keys'), list)
            and all(isinstance(entry, dict) and type(entry.get('frame')) is int
                    and 0 <= entry['frame'] < MAX_FRAMES for entry in index['keys']))
    if not good:
        raise InputError(f'{path}: expected {_WHAT} (format {_FORMAT}). Remove the folder and '
                         f'prepare it again.')
    return index


def write_index(folder: Path, index: Mapping) -> None:
    """Write `index` in place of the one before."""
    with replaced(folder / INDEX) as path:
        path.write_text(json.dumps({'format': _FORMAT, **index}, indent=1) + '\n')


def camera_entries(cameras: Mapping[str, Camera]) -> list[dict]:
    """The list `cameras` of the index: as in a rig.json, pixel centers at +0.5."""
    return [{'name': camera.name, 'width': camera.width, 'height': camera.height,
             'K': camera.K.tolist(), 'world_to_camera': camera.camera_from_world.tolist()}
            for camera in cameras.values()]
