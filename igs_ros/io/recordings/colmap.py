# SPDX-License-Identifier: Apache-2.0
"""COLMAP binary models: `sparse/0/{cameras,images,points3D}.bin` and `images`.

A model is one static frame set with a camera per image. Where `images` holds one folder per
camera (image names like cam00/000.png), the folders are cameras and their files are frames; the
pose of a camera is that of its registered image. COLMAP, too, has pixel centers at +0.5.
"""
from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from igs_ros.core import lenses
from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError, shown
from igs_ros.core.points import Points, checked_points
from igs_ros.io.recordings.recording import Recording
from igs_ros.io.recordings.sources import ImageSource, image_folder

log = logging.getLogger(__name__)

MODEL = 'sparse/0'
MARKER = f'{MODEL}/cameras.bin'
MAX_PATH = 1000  # characters of an image's name
RATE_HZ = 30.0  # COLMAP knows no time

# id: name, number of parameters; order as in COLMAP's src/colmap/sensor/models.h
SAME_PLACE = 1e-3  # poses of one camera that differ by less, in meters or radians, are one


@dataclass(frozen=True, eq=False)
class RegisteredImage:
    """One image of the model."""

    name: str
    camera_from_world: np.ndarray  # [4, 4] float64
    camera_id: int


def read(folder: Path) -> Recording:
    """The recording in `folder`.

    Raises:
        InputError: the model cannot be read, or does not fit the pictures.
    """
    pictures, cameras, sources = folder / 'images', {}, {}
    for camera, image, own in _cameras(folder):
        cameras[camera.name] = camera
        sources[camera.name] = image_folder(_present(pictures / own)) if own \
            else ImageSource(pictures, [_present(pictures / image.name)])
    if any(source.length > 1 for source in sources.values()):
        log.warning('%s: COLMAP models hold no frame rate; taking %g Hz', folder, RATE_HZ)
    points = folder / MODEL / 'points3D.bin'
    return Recording(folder.resolve().name, folder, cameras, sources, RATE_HZ,
                     load_points=(lambda: read_points(points)) if points.is_file() else None)


def read_cameras(folder: Path) -> dict[str, Camera]:
    """The cameras of the model in `folder`, by name; pictures are not looked for.

    Raises:
        InputError: what cannot be used, with the file and what to do.
    """
    return {camera.name: camera for camera, _, _ in _cameras(folder)}


def _cameras(folder: Path) -> Iterator[tuple[Camera, RegisteredImage, str]]:
    """Camera, registered image, and the folder of its own in images/, if it has one."""
    intrinsics = read_intrinsics(folder / MARKER)
    images = read_images(folder / MODEL / 'images.bin')
    for image in images:
        if image.camera_id not in intrinsics:
            raise InputError(f'{folder / MODEL}: image {shown(image.name)} names camera '
                             f'{image.camera_id}, which cameras.bin lacks; export both together.')
    seen = set()
    for name, image, own in named(folder / 'images', images):
        if name in seen:
            raise InputError(f"{folder / 'images'}: two cameras would be called '{name}'; "
                             f'expected names that differ without their suffix. Rename one.')
        seen.add(name)
        width, height, K, lens, distortion = intrinsics[image.camera_id]
        try:
            yield Camera(name, width, height, K, image.camera_from_world, distortion,
                         lens), image, own
        except InputError as error:
            raise InputError(f'{folder / MODEL}: {error}') from error


def read_points(path: Path) -> Points:
    """The points of a points3D.bin, in the world of the model.

    Raises:
        InputError: it is truncated, or positions are not finite.
    """
    data = _Bytes(path)
    count = data.take('Q')[0]
    xyz, rgb = [], []
    for _ in range(count):
        values = data.take('Q3d3Bd')
        xyz.append(values[1:4])
        rgb.append(values[4:7])
        data.skip(8 * data.take('Q')[0])  # the track: image and feature number, int32 each
    points = Points(np.array(xyz, np.float32).reshape(-1, 3),
                    np.array(rgb, np.uint8).reshape(-1, 3))
    return checked_points(points, str(path))


class _Bytes:
    """Little-endian values of a file, one after the other; truncation is an `InputError`."""

    def __init__(self, path: Path):
        self.path = path
        self.at = 0
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise InputError(f'{path}: cannot be read ({error.strerror}); expected a COLMAP '
                             f'binary model. Copy the recording completely.') from error

    def take(self, layout: str) -> tuple:
        start = self.at
        self.skip(struct.calcsize('<' + layout))
        return struct.unpack_from('<' + layout, self.data, start)

    def skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self.data):
            self._truncated()

    def text(self) -> str:
        end = self.data.find(b'\0', self.at)
        if end < 0:
            self._truncated()
        start, self.at = self.at, end + 1
        return self.data[start:end].decode('utf-8', 'replace')

    def _truncated(self):
        raise InputError(f'{self.path}: ends after {len(self.data)} bytes in the middle of an '
                         f'entry; expected a complete COLMAP binary model. Copy it again.')


def read_intrinsics(path: Path) -> dict[int, tuple[int, int, np.ndarray, str, np.ndarray]]:
    """Width, height, K [3, 3], lens and its coefficients by camera id, of a cameras.bin.

    Raises:
        InputError: it is truncated, or has a model that is not known.
    """
    data = _Bytes(path)
    cameras = {}
    for _ in range(data.take('Q')[0]):
        camera_id, model, width, height = data.take('iiQQ')
        count = lenses.colmap_parameters(model, f'{path}: camera {camera_id}')
        cameras[camera_id] = (width, height, *lenses.from_colmap(model, data.take(f'{count}d')))
    return cameras


def read_images(path: Path) -> list[RegisteredImage]:
    """The registered images of an images.bin, in the order of their names.

    Raises:
        InputError: it is truncated, has none, or one with a name that is no path below images/.
    """
    data = _Bytes(path)
    images = []
    for _ in range(data.take('Q')[0]):
        values = data.take('I7di')
        name = data.text()
        data.skip(24 * data.take('Q')[0])  # the features: x, y, number of the 3-D point
        images.append(registered(name, values[1:5], values[5:8], values[8],
                                 f'{path}: image {len(images)}'))
    if not images:
        raise InputError(f'{path}: no registered image; expected at least one. Run the mapper '
                         f'again.')
    return sorted(images, key=lambda image: image.name)


def registered(name: str, quat: Sequence[float], translation: Sequence[float], camera_id: int,
               who: str) -> RegisteredImage:
    """An image as COLMAP writes it.

    Args:
        name: path below images/.
        quat: wxyz, world to camera.
        translation: likewise.
        camera_id: of its intrinsics.
        who: for the message, which begins with it.

    Raises:
        InputError: a name that is no path below images/.
    """
    parts = PurePosixPath(name).parts
    if not parts or '..' in parts or name.startswith('/') or not name.isprintable() \
            or len(name) > MAX_PATH:
        raise InputError(f'{who} has the name {shown(name)}; expected a path below images/. '
                         f'Export the model again.')
    return RegisteredImage(name, _pose(quat, translation), camera_id)


def _pose(quat, translation) -> np.ndarray:
    """camera_from_world [4, 4] of COLMAP's wxyz quaternion and translation."""
    # NaN, which `Camera` refuses
    with np.errstate(invalid='ignore', over='ignore', divide='ignore'):
        w, x, y, z = np.array(quat) / np.linalg.norm(quat)
    pose = np.eye(4)
    pose[:3, :3] = [[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                    [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                    [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]]
    pose[:3, 3] = translation
    return pose


def named(folder: Path, images: list[RegisteredImage],
          ) -> Iterator[tuple[str, RegisteredImage, str]]:
    """Name of every camera, its registered image, and the folder of its own, '' = none.

    Raises:
        InputError: images of a folder of its own have different poses.
    """
    by_folder: dict[str, list[RegisteredImage]] = {}
    for image in images:
        by_folder.setdefault(str(PurePosixPath(image.name).parent), []).append(image)
    if len(by_folder) > 1 and '.' not in by_folder:
        for name, registered in by_folder.items():
            yield name.replace('/', '_'), _standing(folder / name, registered), name
        return
    for image in images:
        yield str(PurePosixPath(image.name).with_suffix('')).replace('/', '_'), image, ''


def _standing(path: Path, registered: list[RegisteredImage]) -> RegisteredImage:
    first = registered[0]
    for other in registered[1:]:
        if np.abs(other.camera_from_world - first.camera_from_world).max() > SAME_PLACE:
            raise InputError(f"{path}: '{first.name}' and '{other.name}' have different poses; "
                             f'expected a camera that stands still (one folder per camera). Put '
                             f'all images into one folder to read them as a static scene.')
    return first


def _present(path: Path) -> Path:
    if not os.path.exists(path):  # Path.exists raises for names that are too long
        raise InputError(f'{path}: missing, but the COLMAP model names it. Copy the recording '
                         f'completely.')
    return path
