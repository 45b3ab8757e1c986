# SPDX-License-Identifier: Apache-2.0
"""A recording in our own layout (docs/recordings.md), from one that was read elsewhere."""
from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from igs_ros.core import lenses
from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError, OutputError
from igs_ros.core.files import checked_folder, read_json, replaced, writing
from igs_ros.core.frames import Picture
from igs_ros.io.codec.ply import write_points
from igs_ros.io.encodings import TransportImage
from igs_ros.io.pictures import JPEG
from igs_ros.io.recordings.bag import BagSource
from igs_ros.io.recordings.clocks import Clock, Timing
from igs_ros.io.recordings.recording import Recording
from igs_ros.io.recordings.rig import MARKER, POINTS, POSES
from igs_ros.io.recordings.sources import DepthSource, ImageSource, VideoSource, image_folder

MADE = 'igs import'
_STAMPS = 'stamps'
log = logging.getLogger(__name__)


def require_own(out: Path) -> None:
    """Prove that `out` can be written to and has no rig.json but one that was imported.

    Raises:
        OutputError: it cannot, or it has.
    """
    checked_folder(out)
    path = out / MARKER
    if not path.exists():
        return
    try:
        rig = read_json(path, 'a rig file')
    except InputError:
        rig = {}
    if not str(rig.get('source', '') if isinstance(rig, dict) else '').startswith(MADE):
        raise OutputError(f'{path}: is there already, and was not imported; expected another '
                          f'folder to write to. Name one with --out.')


def write(recording: Recording, out: Path, how: str, copied: bool,
          each: Callable[[], None] = lambda: None) -> None:
    """Write `recording` as rig.json and what belongs to it.

    Args:
        recording: whose pictures lie in files, or in a bag, from which they are taken.
        out: folder, made if it is not there.
        how: it was read, for people.
        copied: whether pictures and videos are copied, too.
        each: called after each picture that was taken from a bag.

    Raises:
        OutputError: what the system says against it.
    """
    require_own(out)
    timing = recording.timing or Timing()
    entries, poses, scale = [], {}, None
    for name, camera in recording.cameras.items():
        entry = _entry(camera)
        source, clock = recording.sources[name], timing.clocks.get(name, Clock())
        if isinstance(source, BagSource):
            kept, stamps = _unpacked(source, out / name, partial(_is_posed, recording, name), each)
            entry['images'] = name
            entry['stamps'] = _stamps(out, name, stamps)
            if recording.poses is not None and name in recording.poses(kept[0]):
                poses[name] = [recording.poses(index)[name].tolist() for index in kept]
        else:
            entry.update(_pictures(source, out, name, copied))
        if clock.stamps_ns is not None:
            entry['stamps'] = _stamps(out, name, clock.stamps_ns)
        if clock.offset_s:
            entry['offset_s'] = clock.offset_s
        depth = recording.depths.get(name)
        if isinstance(depth, DepthSource):
            entry['depth'] = _listed(depth.files, out, f'{name}_depth', copied)
            scale = depth.meters_per_unit
        elif depth is not None:
            log.warning('%s: depth of %s is not imported: only files are. igs run reads it from '
                        'the bag.', recording.path, name)
        entries.append(entry)
    rig = {'scene': recording.name[:200] if recording.name.isprintable() else '',
           'source': f'{MADE} {how}', 'units': 'm', 'pixel_center': 0.5,
           'fps': recording.rate_hz, 'held_out': list(recording.held_out), 'cameras': entries}
    if scale is not None:
        rig['depth_scale'] = scale
    if timing.frame_step != 1:
        rig['frame_step'] = timing.frame_step
    if timing.max_spread_s is not None:
        rig['max_spread_s'] = timing.max_spread_s
    points = recording.points()
    if points is not None:
        write_points(points, out / POINTS)
    else:
        (out / POINTS).unlink(missing_ok=True)
    if poses:
        _json(out / POSES, {'world_to_camera': poses})
    else:
        (out / POSES).unlink(missing_ok=True)
    _json(out / MARKER, rig)


def _json(path: Path, content: object) -> None:
    with replaced(path) as draft:
        draft.write_text(json.dumps(content, indent=1))


def _entry(camera: Camera) -> dict:
    distortion = camera.distortion.tolist()
    least = lenses.LENSES[camera.lens].minimum
    while len(distortion) > least and not distortion[-1]:
        distortion.pop()
    return {'name': camera.name, 'width': camera.width, 'height': camera.height,
            'K': camera.K.tolist(), 'distortion_model': camera.lens, 'dist': distortion,
            'world_to_camera': camera.camera_from_world.tolist()}


def _pictures(source: object, out: Path, name: str, copied: bool) -> dict:
    """The keys that say where the pictures of a camera are."""
    if isinstance(source, VideoSource):
        return {'video': _placed(source.path, out, f'{name}{source.path.suffix}', copied)}
    assert isinstance(source, ImageSource), source
    files = _listed(source.files, out, name, copied)
    folder = source.files[0].parent
    # plainly sorted by their names, they are what a folder stands for
    if {file.parent for file in source.files} == {folder} \
            and list(image_folder(folder).files) == list(source.files):
        return {'images': name if copied else _placed(folder, out, name, False)}
    return {'images': files}


def _listed(files: Sequence[Path], out: Path, name: str, copied: bool) -> list[str]:
    """Where files are, from `out`; copies keep their names."""
    return [_placed(file, out, f'{name}/{file.name}', copied) for file in files]


def _placed(path: Path, out: Path, target: str, copied: bool) -> str:
    """`path` as rig.json names it: from `out`, or the copy in it."""
    if not copied:
        return os.path.relpath(path.resolve(), out.resolve())
    with writing(out / target):
        (out / target).parent.mkdir(parents=True, exist_ok=True)
        if not (out / target).exists() or not path.samefile(out / target):
            shutil.copyfile(path, out / target)
    return target


def _stamps(out: Path, name: str, stamps: Sequence[int]) -> str:
    place = f'{_STAMPS}/{name}.txt'
    with replaced(out / place) as draft:
        draft.write_text('# seconds\n' + ''.join(
            f'{"-" if stamp < 0 else ""}{abs(stamp) // 10 ** 9}.{abs(stamp) % 10 ** 9:09d}\n'
            for stamp in stamps))
    return place


def _unpacked(source: BagSource, folder: Path, posed: Callable[[int], bool],
              each: Callable[[], None]) -> tuple[list[int], list[int]]:
    """Write the pictures of a topic; numbers of the frames that have one, and their stamps."""
    checked_folder(folder)
    for old in folder.iterdir():
        if old.stem.isdigit() and old.suffix in ('.jpg', '.png'):
            old.unlink()
    kept, stamps = [], []
    for index, place, picture in _taken(source):
        if not posed(index):
            continue
        try:
            content, suffix = _file(picture)
        except InputError:  # it is missing in its frame set, as when the bag is read
            continue
        with replaced(folder / f'{len(kept):06d}{suffix}', synced=False) as draft:
            draft.write_bytes(content)
        kept.append(index)
        stamps.append(place)
        each()
    if not kept:
        raise InputError(f'{source.path}: {source.topic}: not a single picture can be decoded; '
                         f'expected JPEG, PNG or raw pictures. Record the topic again.')
    return kept, stamps


def _is_posed(recording: Recording, name: str, index: int) -> bool:
    """Whether it is known where a camera stood; where not, that picture is left out."""
    pose = recording.poses(index).get(name) if recording.poses else None
    return pose is None or bool(np.isfinite(pose).all())


def _taken(source: BagSource) -> Iterator[tuple[int, int, Picture]]:
    """Number, stamp and picture of the frames that have one."""
    pictures = source.pictures(0, source.length, 1)
    for index, (place, picture) in enumerate(zip(source.places, pictures, strict=False)):
        if place is not None and picture is not None:
            yield index, place[1], picture


def _file(picture: Picture) -> tuple[bytes, str]:
    """A picture as a file, without loss: JPEG stays as it is, all else becomes PNG."""
    if isinstance(picture, TransportImage) and picture.file.data.startswith(JPEG):
        picture.decode()
        return picture.file.data, '.jpg'
    pixels = picture.decode()
    done, content = cv2.imencode('.png', np.ascontiguousarray(pixels[..., ::-1]),
                                 (cv2.IMWRITE_PNG_COMPRESSION, 1))
    assert done
    return content.tobytes(), '.png'
