# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG files in memory: size by the header, pixels, and what is damaged.

Other formats are refused by their first bytes: no decoder but these two sees what a topic carries.
Layouts: JPEG, ITU-T T.81 annex B; PNG, W3C "Portable Network Graphics (Third Edition)" chapter 5.
"""
from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg

from igs_ros.core.camera import MAX_SIDE_PX
from igs_ros.core.errors import DamagedPicture, InputError

JPEG, PNG = b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n'  # first bytes
# A calibration belongs to the pixels as the sensor wrote them: EXIF must not turn them.
AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_SEGMENT = re.compile(rb'\xff{1,64}([\xc0-\xcf\xda-\xfe])(..)', re.DOTALL)  # marker, length
_FRAME_HEADERS = frozenset(range(0xc0, 0xd0)) - {0xc4, 0xc8, 0xcc}  # SOF0 to SOF15
_MAX_SEGMENTS = 500  # before the frame header; a color profile may take 255
_MAX_SCANS = 200  # progressive pictures have about 10; each costs a pass over all pixels
_MAX_CHUNKS = 20_000  # of 8 kB: 160 MB
# What the pixels need. Compressed texts and profiles may unpack to 8 MB each, 1000 times.
_CHUNKS = (b'IHDR', b'PLTE', b'tRNS', b'IDAT', b'IEND')


def _damaged(origin: str, kind: str, size: int, found: str) -> DamagedPicture:
    return DamagedPicture(f'{origin}: a damaged {kind} of {size} bytes ({found}); expected all '
                          f'bytes as the camera sent them. Check the cable, the network and the '
                          f'disk.')


def picture_size(data: bytes, origin: str) -> tuple[int, int]:
    """Width and height in px by the header of a JPEG or PNG file; nothing is decoded.

    Args:
        data: the file.
        origin: its path or topic, for the message.

    Raises:
        InputError: other bytes, or sides above `MAX_SIDE_PX`.
        DamagedPicture: a header that cannot be read.
    """
    if data.startswith(JPEG):
        width, height = _jpeg_size(data, origin)
    elif data.startswith(PNG):
        width, height = _png_size(data, origin)
    else:
        raise InputError(f'{origin}: {len(data)} bytes that are no readable JPEG or PNG picture: '
                         f'they begin with {data[:8]!r}. Check the camera driver or the file.')
    if width > MAX_SIDE_PX or height > MAX_SIDE_PX:
        raise InputError(f'{origin}: a picture of {width}x{height} px; expected at most '
                         f'{MAX_SIDE_PX} px a side. Check the camera driver or the file.')
    return width, height


def _jpeg_size(data: bytes, origin: str) -> tuple[int, int]:
    at = 2
    for _ in range(_MAX_SEGMENTS):
        segment = _SEGMENT.match(data, at)
        if segment is None or segment[1][0] in (0xd9, 0xda):  # end, or pixels without a header
            break
        if segment[1][0] in _FRAME_HEADERS:
            head = data[segment.end():segment.end() + 5]
            if len(head) < 5:
                break
            _, height, width = struct.unpack('>BHH', head)
            if not width or not height:
                break
            return width, height
        at = segment.start(2) + int.from_bytes(segment[2], 'big')
    raise _damaged(origin, 'JPEG', len(data), 'no frame header that can be read')


def _png_size(data: bytes, origin: str) -> tuple[int, int]:
    if data[8:16] != b'\0\0\0\rIHDR' or len(data) < 33:
        raise _damaged(origin, 'PNG', len(data), 'no header that can be read')
    width, height = struct.unpack_from('>II', data, 16)
    if not width or not height:
        raise _damaged(origin, 'PNG', len(data), f'{width}x{height} px')
    return width, height


def decode_color(data: bytes, origin: str) -> np.ndarray:
    """uint8 RGB [H, W, 3] of a JPEG or PNG file, not turned by EXIF.

    JPEG files are decoded by simplejpeg, whose pixels are those of OpenCV (both libjpeg-turbo),
    and which takes libjpeg's warnings for errors; OpenCV fills damaged parts with gray or garbage.

    Args:
        data: the file.
        origin: its path or topic, for the message.

    Raises:
        InputError: as `picture_size` does, and a JPEG of too many scans.
        DamagedPicture: a header that cannot be read, or pixels that are not all there.
    """
    picture_size(data, origin)
    if data.startswith(PNG):
        return cv2.cvtColor(_png_pixels(data, origin, AS_STORED), cv2.COLOR_BGR2RGB)
    scans = data.count(b'\xff\xda')
    if scans > _MAX_SCANS:
        raise InputError(f'{origin}: a JPEG of {scans} scans; expected at most {_MAX_SCANS}. '
                         f'Check the camera driver or the file.')
    try:
        return simplejpeg.decode_jpeg(data, 'RGB')
    except ValueError as error:
        raise _damaged(origin, 'JPEG', len(data), str(error)) from error


def decode_stored(data: bytes, origin: str) -> np.ndarray:
    """The samples of a PNG file, [H, W] or [H, W, C] in OpenCV's order.

    Args:
        data: the file.
        origin: its path or topic, for the message.

    Raises:
        InputError: other bytes, also those of a JPEG, or sides above `MAX_SIDE_PX`.
        DamagedPicture: a header that cannot be read, or pixels that are not all there.
    """
    if not data.startswith(PNG):
        raise InputError(f'{origin}: {len(data)} bytes that are no PNG picture: they begin with '
                         f'{data[:8]!r}. Export it as PNG.')
    picture_size(data, origin)
    return _png_pixels(data, origin, cv2.IMREAD_UNCHANGED)


def _png_pixels(data: bytes, origin: str, flags: int) -> np.ndarray:
    whole = np.frombuffer(_whole_png(data, origin), np.uint8)
    try:
        pixels = cv2.imdecode(whole, flags)
    except cv2.error as error:
        raise _damaged(origin, 'PNG', len(data), error.err) from error
    if pixels is None:
        raise _damaged(origin, 'PNG', len(data), 'its pixels cannot be decoded')
    return pixels


def _whole_png(data: bytes, origin: str) -> bytes:
    """A PNG file's chunks that make the pixels, if the check sums of all chunks are right."""
    view, at = memoryview(data), len(PNG)
    kept: list[bytes | memoryview] = [PNG]
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(data):
            raise _damaged(origin, 'PNG', len(data), 'its end is missing')
        length, kind = struct.unpack_from('>I4s', data, at)
        end = at + 12 + length
        if zlib.crc32(view[at + 4:end - 4]) != int.from_bytes(view[end - 4:end], 'big'):
            raise _damaged(origin, 'PNG', len(data), f'chunk {kind!r} at byte {at}')
        if kind in _CHUNKS:
            kept.append(view[at:end])
        if kind == b'IEND':
            return b''.join(kept)
        at = end
    raise InputError(f'{origin}: a PNG of more than {_MAX_CHUNKS} chunks. Check the camera driver '
                     f'or the file.')


@dataclass(frozen=True, eq=False)
class EncodedPicture:
    """A JPEG or PNG file in memory; `origin` (file or topic) is named when it is broken."""

    data: bytes
    origin: str

    def size(self) -> tuple[int, int]:
        """Width and height in px by the header.

        Raises:
            InputError: as `picture_size` does.
        """
        return picture_size(self.data, self.origin)

    def decode(self) -> np.ndarray:
        """uint8 RGB [H, W, 3].

        Raises:
            InputError: as `decode_color` does.
        """
        return decode_color(self.data, self.origin)


@dataclass(frozen=True, eq=False)
class EncodedDepth:
    """A 16-bit PNG file in memory, 0 = not known; `origin` is named when it is broken."""

    data: bytes
    origin: str
    meters_per_unit: float

    def size(self) -> tuple[int, int]:
        """Width and height in px by the header.

        Raises:
            InputError: as `picture_size` does.
        """
        return picture_size(self.data, self.origin)

    def decode(self) -> np.ndarray:
        """float32 [H, W] m, NaN = not known.

        Raises:
            InputError: the bytes are no whole 16-bit gray PNG.
        """
        units = decode_stored(self.data, self.origin)
        if units.dtype != np.uint16 or units.ndim != 2:
            raise InputError(f'{self.origin}: {units.dtype} of shape {units.shape}; expected a '
                             f'depth picture, a PNG of one channel with 16 bits. Export the depth '
                             f'as such.')
        depth = units.astype(np.float32) * np.float32(self.meters_per_unit)
        return np.where(units > 0, depth, np.float32(np.nan))
