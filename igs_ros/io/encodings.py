# SPDX-License-Identifier: Apache-2.0
"""Raw pictures by ROS encoding (sensor_msgs/image_encodings): any row step, both endians, to RGB.

Headers are checked when a picture comes, which is cheap; pixels are converted when they are asked
for. `ENCODINGS` has one entry each. No ROS in here: bags bring the same pictures.

Samples of 16 bits become 8 by their upper eight bits in use: `value >> (bits - 8)`, at most 255,
as libpng and OpenCV make them of PNG files.
"""
from __future__ import annotations

import logging
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from igs_ros.core.camera import MAX_SIDE_PX
from igs_ros.core.errors import InputError, shown
from igs_ros.core.logs import log_once
from igs_ros.io.pictures import PNG, EncodedPicture, decode_stored

log = logging.getLogger(__name__)

MIN_BITS, MAX_BITS = 8, 16  # in use of 16-bit samples
_CODECS = ('jpeg', 'jpg', 'png')
_PNG_DEPTH = 24  # byte of a PNG file that says bits per sample


@dataclass(frozen=True)
class Encoding:
    """How the samples of a picture become RGB."""

    samples: int  # per pixel in a row
    to_rgb: Callable[[np.ndarray], np.ndarray]  # of [rows, width * samples] uint8
    size: int = 1  # bytes of a sample
    even: tuple[int, int] = (1, 1)  # width and height are multiples of these
    half_rows: int = 2  # rows of data per two rows of the picture


def _packed(channels: int, code: int | None, samples: np.ndarray) -> np.ndarray:
    pixels = samples.reshape(samples.shape[0], -1, channels)
    return pixels if code is None else cv2.cvtColor(pixels, code)


def _plane(code: int, samples: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(samples, code)


_COLORS = {'rgb': (3, None), 'bgr': (3, cv2.COLOR_BGR2RGB), 'rgba': (4, cv2.COLOR_RGBA2RGB),
           'bgra': (4, cv2.COLOR_BGRA2RGB), 'mono': (1, cv2.COLOR_GRAY2RGB)}
# OpenCV names a pattern by its second row and column, ROS by its first
_BAYER = {'bayer_rggb': cv2.COLOR_BayerBG2RGB, 'bayer_bggr': cv2.COLOR_BayerRG2RGB,
          'bayer_gbrg': cv2.COLOR_BayerGR2RGB, 'bayer_grbg': cv2.COLOR_BayerGB2RGB}
_UYVY = Encoding(2, partial(_packed, 2, cv2.COLOR_YUV2RGB_UYVY), even=(2, 1))
_YUYV = Encoding(2, partial(_packed, 2, cv2.COLOR_YUV2RGB_YUY2), even=(2, 1))
ENCODINGS = {
    **{f'{name}{8 * size}': Encoding(channels, partial(_packed, channels, code), size)
       for size in (1, 2) for name, (channels, code) in _COLORS.items()},
    **{f'{name}{8 * size}': Encoding(1, partial(_plane, code), size)
       for size in (1, 2) for name, code in _BAYER.items()},
    # both names of each: those of old drivers, and those that image_encodings.hpp has now
    'yuv422': _UYVY, 'uyvy': _UYVY, 'yuv422_yuy2': _YUYV, 'yuyv': _YUYV,
    'nv12': Encoding(1, partial(_plane, cv2.COLOR_YUV2RGB_NV12), even=(2, 2), half_rows=3),
    'nv21': Encoding(1, partial(_plane, cv2.COLOR_YUV2RGB_NV21), even=(2, 2), half_rows=3),
}
"""By the name that ROS has for `Image.encoding`."""
_KNOWN = ', '.join([*(f'{name}8' for name in (*_COLORS, *_BAYER)), 'these with 16 bits',
                    *(name for name in ENCODINGS if not name.endswith(('8', '16')))])


@dataclass(frozen=True, eq=False)
class Layout:
    """What the header of an Image says."""

    encoding: str
    width: int  # px
    height: int  # px
    step: int  # bytes from row to row
    is_bigendian: bool
    data: bytes | bytearray | memoryview | array

    @property
    def described(self) -> str:
        """For messages."""
        return (f'an {self.encoding} image of {self.width}x{self.height} px with step '
                f'{self.step} and {memoryview(self.data).nbytes} bytes')

    def rows(self, size: int, samples: int, rows: int) -> np.ndarray:
        """The samples of some rows, in this machine's order; maybe a view.

        Args:
            size: bytes of a sample.
            samples: of a pixel.
            rows: from the top.

        Returns:
            [rows, width * samples] unsigned integers of `size` bytes.
        """
        row = self.width * samples * size
        found = np.lib.stride_tricks.as_strided(np.frombuffer(self.data, np.uint8), (rows, row),
                                                (self.step, 1))
        if size == 1:
            return found
        order = '>' if self.is_bigendian else '<'
        values = np.ascontiguousarray(found).view(f'{order}u{size}')
        same = (order == '>') == (sys.byteorder == 'big')
        return values if same else values.astype(f'=u{size}')


def check_layout(layout: Layout, row: int, rows: int, topic: str) -> None:
    """Prove that the data holds what the header says.

    Args:
        layout: of the Image.
        row: bytes that a row has at least.
        rows: that are expected.
        topic: that it came from, for the message.

    Raises:
        InputError: data is missing, the step is less than a row, or a side is too long.
    """
    if max(layout.width, layout.height) > MAX_SIDE_PX:
        raise InputError(f'{topic}: {layout.described}; expected at most {MAX_SIDE_PX} px a side. '
                         f'Check the camera driver.')
    expected = layout.step * (rows - 1) + row
    if not row or not rows or layout.step < row or memoryview(layout.data).nbytes < expected:
        raise InputError(f'{topic}: {layout.described}; expected a step of at least {row} and at '
                         f'least {expected} bytes. Check the camera driver.')


@dataclass(frozen=True, eq=False)
class RawImage:
    """A raw picture, converted when it is needed; made by `raw_image`."""

    layout: Layout
    topic: str
    bits: int

    def size(self) -> tuple[int, int]:
        """Width and height in px."""
        return self.layout.width, self.layout.height

    def decode(self) -> np.ndarray:
        """uint8 RGB [H, W, 3]; a copy unless it is rgb8 without row padding."""
        layout = self.layout
        encoding = ENCODINGS[layout.encoding]
        samples = layout.rows(encoding.size, encoding.samples,
                              layout.height * encoding.half_rows // 2)
        return _rgb8(samples, encoding, self.bits, self.topic)


def raw_image(layout: Layout, topic: str, bits: int = MAX_BITS) -> RawImage:
    """The picture of an Image of one of `ENCODINGS`; only its header is looked at.

    Args:
        layout: header and bytes.
        topic: for messages.
        bits: in use of 16-bit samples; 12 means that 4095 is white.

    Raises:
        InputError: another encoding, or a header that does not fit its bytes.
    """
    encoding = ENCODINGS.get(layout.encoding)
    if encoding is None:
        raise InputError(f'{topic}: images with encoding {shown(layout.encoding)}; expected one '
                         f'of {_KNOWN}. Set the driver to one of these, or publish compressed '
                         f'images.')
    x, y = encoding.even
    if layout.width % x or layout.height % y:
        raise InputError(f'{topic}: {layout.described}; expected an even width'
                         f'{" and height" if y > 1 else ""}. Check the camera driver.')
    check_layout(layout, layout.width * encoding.samples * encoding.size,
                 layout.height * encoding.half_rows // 2, topic)
    return RawImage(layout, topic, bits)


def _rgb8(samples: np.ndarray, encoding: Encoding, bits: int, topic: str) -> np.ndarray:
    samples = np.ascontiguousarray(samples)
    return encoding.to_rgb(samples if samples.dtype == np.uint8
                           else _upper_bits(samples, bits, topic))


def _upper_bits(samples: np.ndarray, bits: int, topic: str) -> np.ndarray:
    """uint8 of uint16: the upper eight of the `bits` in use."""
    brightest = int(samples.max())
    if bits == MAX_BITS and 0 < brightest < 1 << 12:
        log_once(log, logging.WARNING,
                 f'{topic}: 16-bit pictures whose brightest value is below 4096 of 65535 are all '
                 f'but black; where the camera has 10 or 12 bits, set the parameter image_bits.')
    if bits < MAX_BITS and brightest >= 1 << bits:
        log_once(log, logging.WARNING,
                 f'{topic}: 16-bit pictures with values of {1 << bits} and above, but the '
                 f'parameter image_bits is {bits}; they are shown white.')
    upper = samples >> (bits - 8)
    return (np.minimum(upper, 255) if brightest >= 1 << bits else upper).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class TransportImage:
    """A picture of image_transport's `compressed`: a JPEG or PNG file, and what it was made of."""

    file: EncodedPicture
    encoding: str  # of the Image before compression, '' where it is not told
    bits: int

    def size(self) -> tuple[int, int]:
        """Width and height in px by the header.

        Raises:
            InputError: as `picture_size` does.
        """
        return self.file.size()

    def decode(self) -> np.ndarray:
        """uint8 RGB [H, W, 3].

        A PNG file of a Bayer picture holds its mosaic; a JPEG file holds what was made of it.

        Raises:
            InputError: the bytes are no whole picture.
        """
        data = self.file.data
        if not data.startswith(PNG) or not (data[_PNG_DEPTH:_PNG_DEPTH + 1] == b'\x10'
                                            or self.encoding.startswith('bayer_')):
            return self.file.decode()
        stored = decode_stored(data, self.file.origin)
        kind = {1: 'mono', 3: 'bgr', 4: 'bgra'}[stored.shape[2] if stored.ndim == 3 else 1]
        mosaic = self.encoding.rstrip('0123456789')
        if kind == 'mono' and mosaic in _BAYER:
            kind = mosaic
        encoding = ENCODINGS[f'{kind}{8 * stored.itemsize}']
        return _rgb8(stored.reshape(stored.shape[0], -1), encoding, self.bits, self.file.origin)


def transport_image(made_of: str, data: bytes, topic: str, bits: int = MAX_BITS
                    ) -> TransportImage:
    """The picture of a CompressedImage, not yet decoded.

    Args:
        made_of: its `format` ('bgr8; jpeg compressed bgr8'): the codec must be JPEG or PNG where
            one is named, and the encoding before compression says what a PNG file holds.
        data: JPEG or PNG file.
        topic: for messages.
        bits: in use of 16-bit samples.

    Raises:
        InputError: another codec; broken bytes are found when the picture is decoded.
    """
    encoding, _, transport = made_of.rpartition(';')
    codec = transport.split()[:1]
    if codec and codec[0].lower() not in _CODECS:
        raise InputError(f'{topic}: compressed images of format {shown(made_of)}; expected jpeg '
                         f'or png. Set the image transport to compressed.')
    return TransportImage(EncodedPicture(data, topic), encoding.strip(), bits)
