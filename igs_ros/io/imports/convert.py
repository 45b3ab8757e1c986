# SPDX-License-Identifier: Apache-2.0
"""A calibration of another tool, and the pictures that belong to it, as a recording."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.points import Points
from igs_ros.io.imports.formats import FORMATS, detected, hint, is_recording, place_of, why_none
from igs_ros.io.imports.found import FoundCamera, FoundRig
from igs_ros.io.imports.options import Request
from igs_ros.io.imports.pictures import located, size_of, source_of
from igs_ros.io.recordings import bag
from igs_ros.io.recordings.clocks import Clock, Timing, by_camera, read_stamps, seconds
from igs_ros.io.recordings.recording import Recording
from igs_ros.io.recordings.rig import MAX_RATE, MIN_RATE
from igs_ros.io.recordings.sources import DepthSource, PictureSource

RATE_HZ = 30.0  # where nobody tells
_SMALL_M, _LARGE_M = 0.02, 50.0  # of a rig: what is beyond has other units, most likely


@dataclass(frozen=True, eq=False)
class Imported:
    """A recording that is not written yet, and what was taken to make it, a line each."""

    format: str
    recording: Recording
    said: Sequence[str]


def imported(source: Path, name: str | None, request: Request) -> Imported:
    """The recording that `source` describes.

    Args:
        source: calibration file, or folder with one.
        name: of the format; None: found out.
        request: what is to be taken instead.

    Raises:
        InputError: naming what is missing or cannot be used.
    """
    if not source.exists():
        raise InputError(f'{source}: no such file or folder; expected a calibration. Check the '
                         f'path.')
    taken = name or detected(source)
    if taken is None and is_recording(source):
        raise InputError(f'{source}: a recording already; expected the calibration of another '
                         f'tool. Open it: igs run {source}')
    if taken is None and (reason := why_none(source)):
        raise InputError(reason)
    if taken is None:
        expected = '; '.join(f'{known}: {one.expected}' for known, one in FORMATS.items())
        raise InputError(f'{source}: no calibration that is known ({expected}). Name the format: '
                         f'igs import FORMAT {source}')
    place = place_of(taken, source)
    reader = FORMATS[taken].read
    try:
        if reader is None:
            return Imported(taken, *_from_bag(place, request))
        rig = reader(place, request, FORMATS[taken].convention)
    except InputError as error:
        other = hint(source, taken)
        raise InputError(f'{error}{other}') from error if other else error
    if source.is_dir() and source not in rig.pictures_at:
        rig = replace(rig, pictures_at=(source, *rig.pictures_at))
    return Imported(taken, *_from_rig(rig, request))


def _from_rig(rig: FoundRig, request: Request) -> tuple[Recording, list[str]]:
    options = request.options
    said = [*rig.convention.words(), *rig.said]
    cameras, sources = {}, {}
    files = located(rig, options)
    for found in rig.cameras:
        name = found.name
        sources[name] = source_of(files[name])
        size = size_of(sources[name])
        cameras[name] = found.camera(rig.convention, size, str(rig.origin))
        if found.size not in (None, size):
            said.append(f'{name}: calibrated at {found.size[0]}x{found.size[1]} px, scaled to its '
                        f'pictures of {size[0]}x{size[1]}')
    unsized = [found.name for found in rig.cameras if found.size is None]
    if unsized:
        said.append(f'{", ".join(unsized)}: no size there, that of the pictures is taken')
    stamps = rig.stamps_in(_folder(files)) if rig.stamps_in and not request.bag.stamps else {}
    lengths = {name: source.length for name, source in sources.items()}
    if stamps and {name: len(stamps.get(name, ())) for name in lengths} != lengths:
        said.append('stamps: those beside the videos are not as many as pictures, and not taken')
        stamps = {}
    elif stamps:
        said.append('stamps: those beside the videos are taken')
    clocks = {found.name: _clock(found, stamps.get(found.name), request, list(cameras))
              for found in rig.cameras}
    unit_m = rig.convention.meters
    depths = {found.name: DepthSource(found.depths[0].parent, found.depths,
                                      rig.meters_per_depth_unit * unit_m)
              for found in rig.cameras if found.depths}
    points = rig.points and Points(rig.points.xyz * np.float32(unit_m), rig.points.rgb)
    spread, step = request.bag.max_spread_s, request.bag.frame_step
    said += _placed(cameras)
    return Recording(
        rig.origin.resolve().stem, rig.origin, cameras, sources,
        _rate(rig, sources, request, said), _held_out(rig.held_out, request, cameras),
        load_points=None if points is None else lambda: points, depths=depths,
        timing=Timing(clocks, step, spread)), said


def _from_bag(place: Path, request: Request) -> tuple[Recording, list[str]]:
    recording = bag.read(place, replace(request.bag, frame_step=1))
    spread = request.bag.max_spread_ns / 1e9
    said = ['poses: those of TF, or of the rig file; intrinsics: of CameraInfo (m, optical axes '
            'x right, y down, z forward; pixels as in OpenCV, half a pixel is added)',
            'cameras: ' + ', '.join(f'{name} of {source.topic}' for name, source in
                                    recording.sources.items()
                                    if isinstance(source, bag.BagSource)),
            *_placed(recording.cameras)]
    offsets = by_camera(request.bag.offset, '--offset', recording.cameras)
    clocks = {name: Clock(offset_s=seconds(text, f'--offset {name}'))
              for name, text in offsets.items()}
    return replace(recording, held_out=_held_out((), request, recording.cameras),
                   timing=Timing(clocks, request.bag.frame_step, spread)), said


def _clock(found: FoundCamera, stamps: Sequence[int] | None, request: Request, names: list[str]
           ) -> Clock:
    """What is known of the times of a camera; options win over files."""
    offsets = by_camera(request.bag.offset, '--offset', names)
    files = by_camera(request.bag.stamps, '--stamps', names)
    offset = seconds(offsets[found.name], f'--offset {found.name}') if found.name in offsets \
        else found.offset_s
    return Clock(read_stamps(Path(files[found.name])) if found.name in files else stamps, None,
                 offset)


def _folder(files: Mapping[str, Sequence[Path]]) -> Path:
    """Where the first camera's pictures are."""
    return next(iter(files.values()))[0].parent


def _rate(rig: FoundRig, sources: dict[str, PictureSource], request: Request, said: list[str]
          ) -> float:
    rate = request.options.fps or rig.rate_hz
    videos = [source.rate_hz for source in sources.values() if source.rate_hz]
    if rate is None and not videos and max(one.length for one in sources.values()) > 1:
        said.append(f'rate: not told, {RATE_HZ:g} Hz are taken; else --fps')
    rate = rate or next(iter(videos), None) or RATE_HZ
    if not MIN_RATE <= rate <= MAX_RATE:
        raise InputError(f'--fps {rate:g}: expected {MIN_RATE:g} to {MAX_RATE:g} frames per '
                         f'second.')
    return rate


def _held_out(found: Sequence[str], request: Request, cameras: Mapping[str, Camera]
              ) -> tuple[str, ...]:
    asked = request.options.held_out
    unknown = [name for name in asked if name not in cameras]
    if unknown:
        raise InputError(f'--held-out {" ".join(unknown)}: no such camera; expected one of '
                         f'{", ".join(cameras)}.')
    return tuple(asked or [name for name in cameras if name in found])


def _placed(cameras: Mapping[str, Camera]) -> list[str]:
    """How far apart the cameras stand: wrong units show here."""
    if len(cameras) < 2:
        return ['one camera: without a second one, or depth pictures, there is no depth']
    centers = np.array([camera.center for camera in cameras.values()])
    apart = np.linalg.norm(centers[:, None] - centers[None], axis=2)
    widest = float(apart.max())
    nearest = np.where(np.eye(len(centers), dtype=bool), np.inf, apart).min(1)
    line = f'cameras: {len(centers)}; neighbors stand {nearest.min():.3g} to ' \
           f'{nearest.max():.3g} m apart, the farthest {widest:.3g} m'
    names = list(cameras)
    same = [f'{names[a]} and {names[b]}' for a, b in zip(*np.nonzero(apart < 1e-6 * widest),
                                                         strict=True) if a < b]
    if not widest:
        line = f'cameras: {len(centers)}, all at one place: no depth without depth pictures'
    elif same:
        line += f'. At one place stand {", ".join(same[:6])}: is the calibration whole?'
    if not _SMALL_M <= widest <= _LARGE_M:
        line += '. That is no room: are the units right (--units)?'
    return [line]
