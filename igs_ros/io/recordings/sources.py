# SPDX-License-Identifier: Apache-2.0
"""Where the pictures of one camera come from: a video, or image files in order; its depth."""
from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.reformatter import Interpolation

from igs_ros.core.errors import InputError, error_line
from igs_ros.core.frames import DepthPicture, Picture, RawPicture
from igs_ros.io.pictures import EncodedDepth, EncodedPicture

MAX_BYTES = 500_000_000  # of a picture file
BLOCK = 128  # px
# Text in a video that is no UTF-8 must not matter. PyAV 19 sees to it itself.
_ANY_METADATA: dict[str, Any] = \
    {'metadata_errors': 'replace'} if int(av.__version__.split('.')[0]) < 19 else {}
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png')


class PictureSource(Protocol):
    """The pictures of one camera."""

    @property
    def path(self) -> Path:
        """Named in messages."""
        ...

    @property
    def length(self) -> int:
        """Pictures that it promises; a truncated one holds fewer."""
        ...

    @property
    def rate_hz(self) -> float | None:
        """Frames per second, where the source itself knows it."""
        ...

    def pictures(self, first: int, last: int, step: int) -> Generator[Picture | None]:
        """Some of the pictures, in order; ends early where the source does.

        None stands for a frame of which the camera has no picture.

        Args:
            first: number of the first one, 0-based.
            last: where to end, itself left out.
            step: from one to the next.
        """
        ...


class DepthPictures(Protocol):
    """The depth pictures of one camera."""

    def picture(self, index: int) -> DepthPicture | None:
        """That of frame `index`; None where there is none.

        Raises:
            InputError: it cannot be read.
        """
        ...


@dataclass(frozen=True, eq=False)
class ImageSource:
    """Image files, one per frame."""

    path: Path  # the folder
    files: Sequence[Path]
    rate_hz: float | None = None

    @property
    def length(self) -> int:
        """Number of files."""
        return len(self.files)

    def pictures(self, first: int, last: int, step: int) -> Generator[Picture]:
        """The files, read but not decoded.

        Args:
            first: number of the first one, 0-based.
            last: where to end, itself left out.
            step: from one to the next.

        Raises:
            InputError: a file cannot be read.
        """
        for file in self.files[first:last:step]:
            yield EncodedPicture(_bytes(file), str(file))


@dataclass(frozen=True, eq=False)
class DepthSource:
    """Depth pictures of one camera, 16-bit PNG files, one per frame from the first on."""

    path: Path  # the folder
    files: Sequence[Path]
    meters_per_unit: float

    def picture(self, index: int) -> EncodedDepth | None:
        """That of frame `index`, read but not decoded; None where the files have ended.

        Raises:
            InputError: the file cannot be read.
        """
        if index >= len(self.files):
            return None
        return EncodedDepth(_bytes(self.files[index]), str(self.files[index]),
                            self.meters_per_unit)


@dataclass(frozen=True, eq=False)
class VideoSource:
    """A video file. Frames before `first` are decoded and dropped: exact for any codec."""

    path: Path
    length: int
    rate_hz: float | None
    frame_size: tuple[int, int]  # width and height, px; much larger frames are not decoded

    def size(self) -> tuple[int, int]:
        """Width and height of the frames in px, as the file says."""
        return self.frame_size

    def stamps_ns(self) -> list[int]:
        """When its frames are to be shown, ns since the first; by the rate where it cannot tell.

        Raises:
            InputError: it cannot be opened, or tells neither times nor a rate.
        """
        with _opened(self.path) as container:
            try:
                found = _presented(container, self.length)
            except FFmpegError:
                found = []
        if found:
            return found
        if not self.rate_hz:
            raise InputError(f'{self.path}: a video without times and without a frame rate; '
                             f'expected one of them. Export it again with a frame rate.')
        return [round(index * 1e9 / self.rate_hz) for index in range(self.length)]

    def pictures(self, first: int, last: int, step: int) -> Generator[Picture]:
        """Decoded frames, uint8 RGB; ends where the file cannot be decoded any further.

        Args:
            first: number of the first one, 0-based; those before it are decoded and dropped.
            last: where to end, itself left out.
            step: from one to the next.

        Raises:
            InputError: the file cannot be opened.
        """
        with _opened(self.path) as container:
            stream = container.streams.video[0]
            # a frame may say that it is gigantic; decoders round sizes up to whole blocks
            width, height = (side + BLOCK for side in self.frame_size)
            stream.codec_context.options = {'max_pixels': str(width * height)}
            frames = container.decode(stream)
            for index in range(last):
                try:
                    frame = next(frames, None)
                except (FFmpegError, ValueError):
                    return
                if frame is None:
                    return
                if index >= first and (index - first) % step == 0:
                    # bicubic chroma, as OpenCV and ffmpeg do; a file without a color tag
                    # counts as BT.601 limited range there and here
                    yield RawPicture(frame.to_ndarray(format='rgb24',
                                                      interpolation=Interpolation.BICUBIC))


def _presented(container: InputContainer, count: int) -> list[int]:
    """When the pictures of a video are to be shown, ns since the first; [] where it says not."""
    stream = container.streams.video[0]
    found = {packet.pts for packet in container.demux(stream) if packet.size > 0}
    if len(found) != count or None in found or stream.time_base is None:
        return []
    times = sorted(pts for pts in found if pts is not None)
    return [round((pts - times[0]) * stream.time_base * 1_000_000_000) for pts in times]


def depth_folder(path: Path, meters_per_unit: float) -> DepthSource:
    """The PNG files of a folder, sorted by name.

    Args:
        path: of the folder.
        meters_per_unit: of the 16-bit samples.

    Raises:
        InputError: there are none.
    """
    there = path.iterdir() if path.is_dir() else ()
    files = sorted(file for file in there
                   if file.suffix.lower() == '.png' and file.is_file())
    if not files:
        raise InputError(f'{path}: no folder of PNG files; expected depth pictures, 16 bits per '
                         f'pixel. Check the recording.')
    return DepthSource(path, files, meters_per_unit)


def image_folder(path: Path, rate_hz: float | None = None) -> ImageSource:
    """The JPEG and PNG files of a folder, sorted by name.

    Args:
        path: of the folder.
        rate_hz: of the pictures, where it is known.

    Raises:
        InputError: there are none, or it is no folder.
    """
    if not path.is_dir():
        raise InputError(f'{path}: a file; expected a folder of images. Check the recording.')
    files = sorted(f for f in path.iterdir()
                   if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file())
    if not files:
        raise InputError(f'{path}: a folder without images; expected '
                         f'{", ".join("*" + s for s in IMAGE_SUFFIXES)}. Check the recording.')
    return ImageSource(path, files, rate_hz)


def video_file(path: Path) -> VideoSource:
    """A video file, opened to learn its size, length and rate.

    Raises:
        InputError: it cannot be opened or holds no picture stream.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        length, size = stream.frames, (stream.width, stream.height)
        rate = float(stream.average_rate) if stream.average_rate else None
        try:
            if not length:  # containers without an index: count the packets
                length = sum(packet.size > 0 for packet in container.demux(stream))
        except FFmpegError as error:
            raise InputError(f'{path}: no readable video ({error_line(error)}); it may be '
                             f'truncated. Copy or export it again.') from error
    return VideoSource(path, length, rate, size)


def _bytes(file: Path) -> bytes:
    try:
        with open(file, 'rb') as opened:
            content = opened.read(MAX_BYTES + 1)
        if len(content) <= MAX_BYTES:
            return content
    except OSError as error:
        raise InputError(f'{file}: cannot be read ({error.strerror}); expected an image. Copy the '
                         f'recording again.') from error
    raise InputError(f'{file}: longer than {MAX_BYTES / 1e6:g} MB; expected an image. Check the '
                     f'recording.')


def _opened(path: Path) -> InputContainer:
    if not path.is_file():
        raise InputError(f'{path}: no file; expected a video. Check the recording.')
    try:
        # 'file:' because a name like http:... would be taken for an address
        container = av.open(f'file:{path}', **_ANY_METADATA)
    except (FFmpegError, ValueError) as error:
        raise InputError(f'{path}: no readable video ({error_line(error)}); it may be truncated. '
                         f'Copy or export it again.') from error
    if not container.streams.video or container.streams.video[0].codec_context is None:
        container.close()
        raise InputError(f'{path}: a file without a video stream that can be read; expected one. '
                         f"Check that this is the camera's video.")
    return container
