# SPDX-License-Identifier: Apache-2.0
"""Frames of a recording as JPEG files, encoded a little ahead of whoever takes them."""
from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

from igs_ros.core.frames import Picture, RawFrameSet
from igs_ros.io.encodings import TransportImage
from igs_ros.io.pictures import EncodedPicture
from igs_ros.io.recordings.recording import Recording, frame_range
from igs_ros.node import convert

AHEAD = 8  # frames: some 0.3 s at camera rate, whatever the length of the recording
_QUALITY = 95  # of the JPEG files


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

    def first(self) -> tuple[int, dict[str, bytes]]:
        """The first frame, as `once` has it."""
        frame_set, = self._frame_sets(self._first + 1)
        return self._first, _encoded(frame_set)

    def once(self) -> Generator[tuple[int, dict[str, bytes]]]:
        """Index and JPEG files by camera of every frame, at most `AHEAD` of them encoded ahead.

        They are encoded in a thread, which ends with the iteration or when that is closed.
        """
        frame_sets = self._frame_sets(self._last)
        numbered = enumerate(frame_sets, self._first)

        def encode_next() -> tuple[int, dict[str, bytes]] | None:
            index, frame_set = next(numbered, (0, None))
            return None if frame_set is None else (index, _encoded(frame_set))
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


def _encoded(frame_set: RawFrameSet) -> dict[str, bytes]:
    return {name: _jpeg(picture) for name, picture in frame_set.pictures.items()}


def _jpeg(picture: Picture) -> bytes:
    if isinstance(picture, TransportImage):
        picture = picture.file if picture.file.data[:2] == b'\xff\xd8' else picture
    if isinstance(picture, EncodedPicture) and picture.data[:2] == b'\xff\xd8':
        return picture.data  # as the camera compressed it
    return convert.jpeg_bytes(picture.decode(), _QUALITY, full_color=True)
