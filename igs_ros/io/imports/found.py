# SPDX-License-Identifier: Apache-2.0
"""What a calibration file says, in its own units and axes, and how that becomes our cameras."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from igs_ros.core import lenses
from igs_ros.core.camera import Camera, require_name, rigid
from igs_ros.core.errors import InputError, shown
from igs_ros.core.points import Points
from igs_ros.io.imports.options import ImportOptions

AXES = {'opencv': np.diag([1.0, 1, 1, 1]), 'opengl': np.diag([1.0, -1, -1, 1])}
"""OpenCV's camera axes from those of the name, [4, 4]."""
_AXES_WORDS = {'opencv': "OpenCV's camera axes (x right, y down, z forward)",
               'opengl': "OpenGL's camera axes (x right, y up, z backward)"}
POSES = ('world-to-camera', 'camera-to-world')
UNITS = {'m': 1.0, 'cm': 0.01, 'mm': 0.001, 'in': 0.0254, 'ft': 0.3048}
"""Meters."""
MAX_UNIT = 1e6


@dataclass(frozen=True)
class Convention:
    """How a file writes poses and pixels."""

    axes: str = 'opencv'  # of `AXES`
    poses: str = POSES[0]
    units: str = 'm'  # of `UNITS`, or meters per unit as a number
    pixel_center: float = 0.0  # coordinates of the middle of the first pixel
    note: str = ''  # why these units

    @property
    def meters(self) -> float:
        """Per unit of length.

        Raises:
            InputError: units that are none.
        """
        if self.units in UNITS:
            return UNITS[self.units]
        try:
            meters = float(self.units)
        except ValueError:
            meters = 0.0
        if not 0 < meters <= MAX_UNIT:
            raise InputError(f'--units {shown(self.units)}: expected {", ".join(UNITS)}, or how '
                             f'many meters one unit is.')
        return meters

    def camera_from_world(self, pose: np.ndarray, who: str) -> np.ndarray:
        """A pose of the file as ours: OpenCV's axes, world to camera, meters.

        Args:
            pose: [4, 4] as the file has it.
            who: whose; the message begins with it.

        Raises:
            InputError: it is not rigid.
        """
        found = rigid(pose, who)
        if self.poses == POSES[1]:
            found = np.linalg.inv(found)
        found = AXES[self.axes] @ found
        found[:3, 3] *= self.meters
        return found

    def overridden(self, options: ImportOptions) -> Convention:
        """This one, with what `options` want taken instead.

        Raises:
            InputError: a value that is none of those there are.
        """
        if options.axes not in ('', *AXES) or options.poses not in ('', *POSES) \
                or options.pixel_center not in (None, 0, 0.5):
            raise InputError(f'--axes {options.axes} --poses {options.poses} --pixel-center '
                             f'{options.pixel_center}: expected {" or ".join(AXES)}, '
                             f'{" or ".join(POSES)}, 0 or 0.5.')
        found = replace(
            self, axes=options.axes or self.axes, poses=options.poses or self.poses,
            units=options.units or self.units, note='as asked for' if options.units else self.note,
            pixel_center=self.pixel_center if options.pixel_center is None
            else options.pixel_center)
        assert found.meters
        return found

    def words(self) -> list[str]:
        """What was taken, a line each, with the option that says otherwise."""
        meters = '' if self.units == 'm' else f' = {self.meters:g} m'
        middle = ('the first pixel has its middle at (0, 0), as in OpenCV; half a pixel is added'
                  if self.pixel_center == 0 else
                  'the first pixel has its middle at (0.5, 0.5), as here')
        return [f'poses: {self.poses}, {_AXES_WORDS[self.axes]}; else --poses, --axes',
                f'units: {self.units}{meters}{f" ({self.note})" if self.note else ""}; else '
                f'--units',
                f'pixels: {middle}; else --pixel-center']


@dataclass(frozen=True, eq=False)
class FoundCamera:
    """A camera as its file has it."""

    name: str
    K: np.ndarray  # [3, 3], px
    pose: np.ndarray  # [4, 4]
    size: tuple[int, int] | None = None  # width and height in px; None: those of its pictures
    lens: str = lenses.DEFAULT
    distortion: np.ndarray = field(default_factory=lambda: np.zeros(0))  # trailing zeros left out
    pictures: tuple[Path, ...] = ()  # in order; () = they are looked for by name
    depths: tuple[Path, ...] = ()  # one for each of the pictures
    other_names: tuple[str, ...] = ()  # that its pictures may have
    offset_s: float = 0.0

    def camera(self, convention: Convention, pictures: tuple[int, int], origin: str) -> Camera:
        """The calibrated camera of its pictures.

        Where they have another size than the calibration, but its proportions, it is scaled.

        Args:
            convention: of the file.
            pictures: their width and height, px.
            origin: the file, for messages.

        Raises:
            InputError: the calibration cannot be used, or is for another size.
        """
        who = f"{origin}: camera '{self.name}'"
        width, height = self.size or pictures
        distortion = lenses.padded(self.lens, self.distortion)
        K = np.array(self.K, dtype=np.float64)
        K[:2, 2] += 0.5 - convention.pixel_center
        pose = convention.camera_from_world(self.pose, who)
        try:
            camera = Camera(self.name, width, height, K, pose, distortion, self.lens)
        except InputError as error:
            raise InputError(f'{origin}: {error}') from error
        if pictures == (width, height):
            return camera
        scaled = camera.resized(pictures[0])
        if abs(pictures[1] - height * pictures[0] / width) > 1:
            raise InputError(f'{who}: calibrated with pictures of {width}x{height} px, but its '
                             f'pictures have {pictures[0]}x{pictures[1]}; expected the same size, '
                             f'or the same proportions. Use the pictures as the camera took them.')
        return replace(scaled, height=pictures[1])


@dataclass(frozen=True, eq=False)
class FoundRig:
    """All of a file."""

    origin: Path  # named in messages
    cameras: Sequence[FoundCamera]
    convention: Convention
    said: Sequence[str] = ()  # what else was taken or left out, a line each
    held_out: tuple[str, ...] = ()
    points: Points | None = None  # in the units of the file
    meters_per_depth_unit: float = 0.001
    rate_hz: float | None = None
    pictures_at: tuple[Path, ...] = ()  # folders where pictures without a path may lie
    stamps_in: Callable[[Path], Mapping[str, Sequence[int]]] | None = None
    # stamps by camera, ns, in the folder of its videos

    def __post_init__(self):
        names = [camera.name for camera in self.cameras]
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names or twice:
            came = f'cameras {shown(twice)} twice' if twice else 'no cameras'
            raise InputError(f'{self.origin}: {came}; expected cameras with a name each.')
        for name in names:
            camera_of(self.origin, name)


def camera_of(origin: object, name: str) -> str:
    """How messages about a camera begin.

    Raises:
        InputError: a name that no camera can have, so that no message holds it as it is.
    """
    try:
        require_name(name)
    except InputError as error:
        raise InputError(f'{origin}: {error}') from error
    return f"{origin}: camera '{name}'"


def vector(value: object, length: int | tuple[int, ...], who: str) -> np.ndarray:
    """Numbers of a file as float64 [length].

    Args:
        value: whatever the file holds.
        length: how many, or which numbers of them may be.
        who: what it is, for the message.

    Raises:
        InputError: no numbers, another number of them, or such as are not finite.
    """
    lengths = (length,) if isinstance(length, int) else length
    try:
        found = np.array(value, dtype=np.float64).ravel()
    except (TypeError, ValueError, OverflowError):
        found = np.full(max(lengths) + 1, np.nan)
    if len(found) not in lengths or not np.isfinite(found).all():
        raise InputError(f'{who} is {shown(value)}; expected {" or ".join(map(str, lengths))} '
                         f'finite numbers. Calibrate again, or copy the file again.')
    return found


def whole_size(value: object, who: str) -> tuple[int, int]:
    """Width and height in px.

    Raises:
        InputError: no two whole numbers above 0.
    """
    found = vector(value, 2, who)
    if (found < 1).any() or (found > 1e6).any() or (found != np.round(found)).any():
        raise InputError(f'{who} is {shown(value)}; expected width and height in pixels.')
    return int(found[0]), int(found[1])


def from_rotation(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """The pose [4, 4] of a rotation, [3] (Rodrigues) or [9], and a translation [3]."""
    pose = np.eye(4)
    pose[:3, :3] = rotation.reshape(3, 3) if rotation.size == 9 else cv2.Rodrigues(rotation)[0]
    pose[:3, 3] = translation
    return pose


def check_keys(entry: Mapping, known: Sequence[str], who: str, ignored: Sequence[str]) -> None:
    """Refuse keys that are not known: what they mean could change the cameras.

    Args:
        entry: of a file.
        known: keys that are read, or do not matter.
        who: of whom; the message begins with it.
        ignored: what the user wants left out (--ignore).

    Raises:
        InputError: naming those that are neither.
    """
    unknown = sorted(str(key) for key in entry if key not in known and key not in ignored)
    if unknown:
        raise InputError(f'{who}: unknown {shown(unknown)}; expected none but '
                         f'{", ".join(sorted(known))}. Where it does not matter: --ignore '
                         f'{" ".join(map(shown, unknown[:3]))}')
