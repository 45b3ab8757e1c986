# SPDX-License-Identifier: Apache-2.0
"""Frames of a recording as JPEG files, encoded a little ahead of whoever takes them."""
from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from igs_ros.core.frames import Picture, RawFrameSet
from igs_ros.io.encodings import TransportImage
from igs_ros.io.pictures import EncodedPicture
from igs_ros.io.recordings.recording import Recording, frame_range
from igs_ros.node import convert

AHEAD = 8  # frames: some 0.3 s at camera rate, whatever the length of the recording
_QUALITY = 95  # of the JPEG files


class EncodedFrame(NamedTuple):
    """One frame of a recording."""

    number: int  # in the recording, 0-based
    pictures: Mapping[str, bytes]  # JPEG files by camera
    poses: Mapping[str, np.ndarray]  # camera_from_world [4, 4] by camera that moves


class EncodedFrames:
    """Some frames of some cameras.

    Args:
        recording: that they are from.
        cameras: names.
        frames: 'A:B', as `frame_range` has it.

    Raises:
        InputError: these cannot be read.
    """

    def __init__(self, recording: Recording, cameras: tuple[str, ...], frames: str):
        self._recording = recording
        self._cameras = cameras
        self._first, self._last = frame_range(frames)
        self._frame_sets(self._last).close()  # says now what cannot be read
        total = recording.frames_total
        self.total = min(self._last or total, total) - self._first

    def first(self) -> EncodedFrame:
        """The first frame, as `once` has it."""
        frame_set, = self._frame_sets(self._first + 1)
        return _encoded(self._first, frame_set)

    def once(self) -> Generator[EncodedFrame]:
        """Every frame, at most `AHEAD` of them encoded ahead.

        They are encoded in a thread, which ends with the iteration or when that is closed.
        """
        frame_sets = self._frame_sets(self._last)
        numbered = enumerate(frame_sets, self._first)

        def encode_next() -> EncodedFrame | None:
            index, frame_set = next(numbered, (0, None))
            return None if frame_set is None else _encoded(index, frame_set)
        with ThreadPoolExecutor(1, 'encode') as thread:
            try:
                ahead = deque(thread.submit(encode_next) for _ in range(AHEAD))
                while (frame := ahead.popleft().result()) is not None:
                    ahead.append(thread.submit(encode_next))
                    yield frame
            finally:
                thread.shutdown(cancel_futures=True)
                frame_sets.close()

    def _frame_sets(self, last: int | None) -> Generator[RawFrameSet]:
        return self._recording.frame_sets(self._first, last, self._cameras)


def _encoded(index: int, frame_set: RawFrameSet) -> EncodedFrame:
    return EncodedFrame(index, {name: _jpeg(picture)
                                for name, picture in frame_set.pictures.items()}, frame_set.poses)


def _jpeg(picture: Picture) -> bytes:
    if isinstance(picture, TransportImage):
        picture = picture.file if picture.file.data[:2] == b'\xff\xd8' else picture
    if isinstance(picture, EncodedPicture) and picture.data[:2] == b'\xff\xd8':
        return picture.data  # as the camera compressed it
    return convert.jpeg_bytes(picture.decode(), _QUALITY, full_color=True)
