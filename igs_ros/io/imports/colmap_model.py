# SPDX-License-Identifier: Apache-2.0
"""COLMAP models, binary or text: cameras, images and points3D, in any of the usual folders."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from igs_ros.core import lenses
from igs_ros.core.errors import InputError, shown
from igs_ros.core.files import read_text
from igs_ros.core.points import Points, checked_points
from igs_ros.io.imports.found import Convention, FoundCamera, FoundRig
from igs_ros.io.imports.options import Request
from igs_ros.io.imports.pictures import PICTURES, natural
from igs_ros.io.recordings import colmap

_PLACES = ('', 'sparse/0', 'sparse', 'colmap/sparse/0', 'dense/sparse', 'model', 'text')
_PICTURES = ('images', 'input', 'pictures')
_MAX_TEXT = 400_000_000  # bytes of images.txt, with all features
_NUMBERS = {name: number for lens in lenses.LENSES.values() for number, name, *_ in lens.colmap}


def model_at(source: Path) -> Path | None:
    """The folder of a model in `source`, or the one that holds the file `source`."""
    if source.is_file():
        source = source.parent if source.name in ('cameras.bin', 'cameras.txt') else source
    for place in _PLACES:
        for suffix in ('.bin', '.txt'):
            if (source / place / f'cameras{suffix}').is_file() \
                    and (source / place / f'images{suffix}').is_file():
                return source / place
    return None


def read(path: Path, request: Request, convention: Convention) -> FoundRig:
    """The rig of a model; cameras and frames as `io/recordings/colmap.py` tells them apart.

    Args:
        path: folder of the model.
        request: where the pictures are.
        convention: of the tool.

    Raises:
        InputError: naming the file and what in it cannot be used.
    """
    text = not (path / 'cameras.bin').is_file()
    if text:
        intrinsics, images = _text_cameras(path / 'cameras.txt'), _text_images(path / 'images.txt')
    else:
        intrinsics = colmap.read_intrinsics(path / 'cameras.bin')
        images = colmap.read_images(path / 'images.bin')
    pictures = _pictures(path, request)
    cameras = []
    for name, image, own in colmap.named(pictures, images):
        if image.camera_id not in intrinsics:
            raise InputError(f'{path}: image {shown(image.name)} names camera {image.camera_id}, '
                             f'which is not there; export both together.')
        width, height, K, lens, distortion = intrinsics[image.camera_id]
        files = sorted((file for file in (pictures / own).iterdir()
                        if file.suffix.lower() in PICTURES), key=natural) \
            if own and (pictures / own).is_dir() else [pictures / image.name]
        missing = next((file for file in files if not file.is_file()), None)
        if missing is not None or not files:
            raise InputError(f'{missing or pictures / own}: no picture, but the model names it; '
                             f'expected the pictures of the model. Name their folder: --pictures '
                             f'DIR')
        cameras.append(FoundCamera(name, K, image.camera_from_world, (width, height), lens,
                                   distortion, tuple(files)))
    points = _text_points(path / 'points3D.txt') if text else _points(path / 'points3D.bin')
    return FoundRig(path, cameras, convention.overridden(request.options), points=points)


def _points(path: Path) -> Points | None:
    return colmap.read_points(path) if path.is_file() else None


def _pictures(model: Path, request: Request) -> Path:
    given = [text for text in request.options.pictures if '=' not in text]
    if given:
        return Path(given[0])
    here = model.resolve()
    for folder in (here, *list(here.parents)[:3]):
        for name in _PICTURES:
            if (folder / name).is_dir():
                return folder / name
    raise InputError(f'{model}: no folder {" or ".join(_PICTURES)} beside the model or above it; '
                     f'expected its pictures. Name their folder: --pictures DIR')


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Where, and the words of lines; comments are left out, empty lines are not."""
    for number, line in enumerate(read_text(path, 'a COLMAP text model', _MAX_TEXT).splitlines(),
                                  1):
        if not line.startswith('#'):
            yield f'{path}: line {number}', line.split()


def _text_cameras(path: Path) -> dict[int, tuple[int, int, np.ndarray, str, np.ndarray]]:
    cameras = {}
    for who, words in _lines(path):
        if not words:
            continue
        model = words[1] if len(words) > 1 else ''
        if model not in _NUMBERS:
            raise InputError(f'{who} has the model {shown(model)}; expected '
                             f'{", ".join(_NUMBERS)}. Run `colmap image_undistorter` and use what '
                             f'it writes.')
        count = lenses.colmap_parameters(_NUMBERS[model], who)
        number, width, height, *values = _numbers([words[0], *words[2:]], 3 + count, who)
        if not all(value.is_integer() for value in (number, width, height)):
            raise InputError(f'{who}: {shown(words[:4])}; expected whole numbers for camera, '
                             f'width and height.')
        cameras[int(number)] = (int(width), int(height),
                                *lenses.from_colmap(_NUMBERS[model], values))
    if not cameras:
        raise InputError(f'{path}: no cameras; expected a COLMAP text model. Export it again.')
    return cameras


def _text_images(path: Path) -> list[colmap.RegisteredImage]:
    """Two lines per image; the second one, its features, may be empty."""
    images, features = [], False
    for who, words in _lines(path):
        if features:
            features = False
            continue
        if not words:
            continue
        if len(words) < 10:
            raise InputError(f'{who}: {len(words)} words; expected IMAGE_ID, a quaternion, a '
                             f'translation, CAMERA_ID and NAME. Export the model again.')
        values = _numbers(words[:9], 9, who)
        if not values[8].is_integer():
            raise InputError(f'{who}: camera {shown(words[8])}; expected a whole number.')
        images.append(colmap.registered(' '.join(words[9:]), values[1:5], values[5:8],
                                        int(values[8]), who))
        features = True
    if not images:
        raise InputError(f'{path}: no registered image; expected at least one. Run the mapper '
                         f'again.')
    return sorted(images, key=lambda image: image.name)


def _text_points(path: Path) -> Points | None:
    if not path.is_file():
        return None
    rows = [_numbers(words[:7], 7, who)[1:] for who, words in _lines(path) if words]
    values = np.array(rows, dtype=np.float64).reshape(-1, 6)
    colors = values[:, 3:]
    if ((colors < 0) | (colors > 255)).any():
        raise InputError(f'{path}: colors outside 0 to 255; expected X Y Z R G B. Export it '
                         f'again.')
    with np.errstate(over='ignore'):  # infinite, which is refused
        xyz = values[:, :3].astype(np.float32)
    return checked_points(Points(xyz, colors.astype(np.uint8)), str(path))


def _numbers(words: list[str], count: int, who: str) -> list[float]:
    try:
        values = [float(word) for word in words]
        if len(values) != count or not np.isfinite(values).all():
            raise ValueError
    except ValueError:
        raise InputError(f'{who}: {shown(words)}; expected {count} finite numbers. Export the '
                         f'model again.') from None
    return values
