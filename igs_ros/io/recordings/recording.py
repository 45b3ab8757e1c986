# SPDX-License-Identifier: Apache-2.0
"""A recording: calibrated cameras and, lazily, what they saw. Every reader makes one of these."""
from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError, shown
from igs_ros.core.frames import Picture, RawFrameSet
from igs_ros.core.points import Points
from igs_ros.io.recordings.clocks import Timing
from igs_ros.io.recordings.sources import DepthPictures, PictureSource, VideoSource
from igs_ros.vision.preparer import check_size

log = logging.getLogger(__name__)
_ENDED: Any = object()  # unlike None, which is a frame without a picture


@dataclass(frozen=True, eq=False)
class Recording:
    """A rig, and the pictures of its cameras.

    Readers end with `checked`, so that a recording in hand can be read from its first frame.
    """

    name: str
    path: Path
    cameras: Mapping[str, Camera]  # as calibrated: raw picture size, with distortion
    sources: Mapping[str, PictureSource]  # same keys
    rate_hz: float
    held_out: tuple[str, ...] = ()  # cameras kept from training by whoever recorded it
    load_points: Callable[[], Points] | None = None
    depths: Mapping[str, DepthPictures] = field(default_factory=dict)  # of some of the cameras
    stamps_ns: Sequence[int] | None = None  # of the frames; None: they follow from the rate
    poses: Callable[[int], Mapping[str, np.ndarray]] | None = None
    # camera_from_world [4, 4] of those that move, by frame and camera; None: all stand still
    timing: Timing | None = None  # what it says of it, for `timing.arranged`
    _reported: set[str] = field(default_factory=set)  # cameras whose early end was logged

    @property
    def frames_total(self) -> int:
        """Frames of the longest camera."""
        return max(source.length for source in self.sources.values())

    def stamp_ns(self, index: int) -> int:
        """The time of frame `index`, ns: as recorded, or since the first one."""
        if self.stamps_ns is not None:
            return self.stamps_ns[index]
        return round(index * 1e9 / self.rate_hz)

    def points(self) -> Points | None:
        """Colored points of the first frame, where the recording has them.

        Raises:
            InputError: their file cannot be read.
        """
        return self.load_points() if self.load_points else None

    def frame_sets(self, first: int = 0, last: int | None = None,
                   cameras: Iterable[str] | None = None, step: int = 1) -> Generator[RawFrameSet]:
        """Frame sets first, first + step, ... before `last` (None = to the end), in time order.

        A camera whose pictures end early is `missing` from there on, and one warning says so;
        the iteration ends where all have ended.

        Args:
            first: frame to begin with.
            last: half-open; None = to the end.
            cameras: whose pictures are read; None = those of all.
            step: from frame to frame.

        Raises:
            InputError: at the call, for an empty range or a camera that is not in the recording.
        """
        names = tuple(self.cameras if cameras is None else cameras)
        self._require(names)
        total = self.frames_total
        end = total if last is None else last
        if not 0 <= first < min(end, total) or step < 1:
            raise InputError(f'{self.path}: frames {first}:{end} step {step} asked for; expected '
                             f'a range inside 0:{total} and a step of at least 1.')
        if end > total:
            log.warning('%s: frames %d:%d asked for, it has %d; stopping there', self.path,
                        first, end, total)
        return self._frame_sets(names, range(first, min(end, total), step))

    def _frame_sets(self, names: tuple[str, ...], indices: range) -> Generator[RawFrameSet]:
        streams = {name: self.sources[name].pictures(indices.start, indices.stop, indices.step)
                   for name in names}
        try:
            for index in indices:
                images = {}
                for name in tuple(streams):
                    picture = next(streams[name], _ENDED)
                    if picture is _ENDED:
                        del streams[name]
                        self._report_end(name, index)
                    elif picture is not None:
                        images[name] = picture
                if not streams:
                    return
                missing = tuple(name for name in names if name not in images)
                depths = {name: self.depths[name].picture(index) for name in images
                          if name in self.depths}
                poses = self.poses(index) if self.poses else {}
                yield RawFrameSet(self.stamp_ns(index), images, missing,
                                  depths={k: v for k, v in depths.items() if v is not None},
                                  poses={k: v for k, v in poses.items() if k in images})
        finally:
            for stream in streams.values():
                stream.close()  # closes the videos when the caller stops early

    def _report_end(self, name: str, index: int) -> None:
        if name in self._reported:
            return
        self._reported.add(name)
        log.warning("%s: camera '%s' has no frame %d of %d, the file is truncated or shorter than "
                    'the others; going on without this camera from there',
                    self.sources[name].path, name, index, self.frames_total)

    def _require(self, names: tuple[str, ...]) -> None:
        unknown = [name for name in names if name not in self.cameras]
        if unknown or not names:
            raise InputError(f"{self.path}: no camera {', '.join(map(repr, unknown)) or 'given'}; "
                             f"this recording has {', '.join(self.cameras)}.")


def checked(recording: Recording) -> Recording:
    """`recording`, if the first picture of every camera decodes and fits the calibration.

    Raises:
        InputError: naming the file that does not, or cameras held out that are not there.
    """
    unknown = [name for name in recording.held_out if name not in recording.cameras]
    if unknown:
        raise InputError(f"{recording.path}: held_out names {shown(unknown)}; expected cameras "
                         f"of this rig: {', '.join(recording.cameras)}.")
    for name, camera in recording.cameras.items():
        source = recording.sources[name]
        try:
            if isinstance(source, VideoSource):
                check_size(source, camera)  # before a frame is decoded
            picture = _first_picture(source)
            check_size(picture, camera)
        except InputError as error:
            raise InputError(f"{source.path}: camera '{name}': {error}") from error
        picture.decode()
    return recording


def require_still(recording: Recording, who: str) -> None:
    """Raise `InputError` where cameras of `recording` move and `who` could not tell."""
    if recording.poses is not None:
        raise InputError(f'{recording.path}: its cameras move; {who} takes recordings of rigs '
                         f'that stand still. Use igs run.')


def _first_picture(source: PictureSource) -> Picture:
    stream = source.pictures(0, source.length, 1)
    picture = next((found for found in stream if found is not None), None)
    stream.close()
    if picture is None:
        raise InputError(f'{source.path}: not a single picture can be decoded; the file is '
                         f'truncated or corrupt. Copy or export it again.')
    return picture


def test_view(recording: Recording, asked: str | None = None) -> str | None:
    """The first of `test_views`, for what compares with one camera.

    Raises:
        InputError: there is no camera `asked`.
    """
    return next(iter(test_views(recording, asked)), None)


def test_views(recording: Recording, asked: str | Sequence[str] | None = None,
               train: Iterable[str] | None = None) -> tuple[str, ...]:
    """The cameras to score on: those asked for, else all that are held out and do not train.

    Without any, every camera trains and test scores are null; one warning says so.

    Args:
        recording: whose cameras they are.
        asked: names of them; None: not said.
        train: cameras that are to train; None: not said.

    Raises:
        InputError: a camera that was asked for is not there.
    """
    if asked is not None:
        names = (asked,) if isinstance(asked, str) else tuple(dict.fromkeys(asked))
        recording._require(names)
        return names
    held_out = recording.held_out
    free = tuple(name for name in held_out if name not in set(train or ()))
    if not held_out:
        log.warning('%s: no camera is held out and no test view is given: all cameras train, test '
                    'scores are null', recording.path)
    return free or held_out[:1]


def train_views(recording: Recording, test: str | Sequence[str] | None,
                asked: Iterable[str] | None = None) -> tuple[str, ...]:
    """The cameras to reconstruct from, in the order of the recording.

    Args:
        recording: whose cameras they are.
        test: the camera or cameras to score on; None for none.
        asked: those wanted; None for all but the test views. Where one of those is a held-out
            camera, the other held-out ones stay out as well.

    Raises:
        InputError: a camera is not there, none is left, or a test view would train.
    """
    tests = {test} if isinstance(test, str) else set(test or ())
    left_out = tests | (set(recording.held_out) if tests & set(recording.held_out) else set())
    wanted = [c for c in recording.cameras if c not in left_out] if asked is None else list(asked)
    recording._require(tuple(wanted))
    for name in wanted:
        if name in tests:
            raise InputError(f"{recording.path}: camera '{name}' is both test view and train "
                             f'view; expected different ones. Take it out of one of them.')
    return tuple(name for name in recording.cameras if name in set(wanted))


def frame_range(text: str) -> tuple[int, int | None]:
    """First and last of 'A:B': 0-based, half-open, either may be left out (0, None = to the end).

    Raises:
        InputError: the text is no such range, or the range is empty.
    """
    parts = text.split(':')
    try:
        if len(parts) != 2:
            raise ValueError
        first = int(parts[0]) if parts[0] else 0
        last = int(parts[1]) if parts[1] else None
    except ValueError:
        raise InputError(f"--frames '{text}': expected A:B, 0-based and half-open, such as 0:11 "
                         f'or 5: .') from None
    if first < 0 or (last is not None and last <= first):
        raise InputError(f"--frames '{text}': expected 0 <= A < B.")
    return first, last
