# SPDX-License-Identifier: Apache-2.0
"""Depth pictures of topics (REP-118) and of compressed_depth_image_transport, to meters; no ROS.

Headers are checked when a picture comes, which is cheap; pixels are converted when they are asked
for.
"""
from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from igs_ros.core.errors import InputError, shown
from igs_ros.core.frames import DepthPicture
from igs_ros.io.encodings import Layout, check_layout
from igs_ros.io.pictures import PNG, EncodedDepth, decode_stored, picture_size

BYTES = {'16UC1': 2, '32FC1': 4}  # of a sample: millimeters, meters
COMPRESSED_DEPTH = '/compressedDepth'  # ends topics of compressed_depth_image_transport
_MILLIMETER = 0.001
_HEADER = struct.Struct('<iff')  # ConfigHeader: format (not used), A and B of the quantization
_GRAY_16 = b'\x10\0'  # bits per sample and color type in a PNG file's header, from byte 24 on


@dataclass(frozen=True, eq=False)
class RawDepth:
    """Depth of an Image, converted when it is needed; made by `raw_depth`."""

    layout: Layout

    def size(self) -> tuple[int, int]:
        """Width and height in px."""
        return self.layout.width, self.layout.height

    def decode(self) -> np.ndarray:
        """float32 [H, W] m, NaN = not known."""
        layout = self.layout
        size = BYTES[layout.encoding]
        values = layout.rows(size, 1, layout.height)
        depth = values.astype(np.float32) * np.float32(_MILLIMETER) if size == 2 \
            else values.view(np.float32)
        return _known(depth)


@dataclass(frozen=True, eq=False)
class QuantizedDepth:
    """32FC1 of compressedDepth: a 16-bit PNG file of inverse depths; made by `transport_depth`."""

    data: bytes
    topic: str
    a: float  # m
    b: float

    def size(self) -> tuple[int, int]:
        """Width and height in px by the header.

        Raises:
            InputError: a header that cannot be read, or a picture that is too large.
        """
        return picture_size(self.data, self.topic)

    def decode(self) -> np.ndarray:
        """The depth, float32 [H, W] m, NaN = not known.

        Raises:
            InputError: damaged bytes.
        """
        values = decode_stored(self.data, self.topic).astype(np.float32)
        with np.errstate(divide='ignore'):
            depth = np.float32(self.a) / (values - np.float32(self.b))
        return _known(np.where(values > 0, depth, np.float32(0)))


def _known(depth: np.ndarray) -> np.ndarray:
    """`depth` with NaN in place of what is no distance: 0, below, too near and too far (inf)."""
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))


def nearest(stamps: Sequence[int] | np.ndarray, stamp_ns: int, spread_ns: int) -> int | None:
    """Which depth picture belongs to an instant; None where none is near enough.

    Args:
        stamps: of the depth pictures, ns, in any order.
        stamp_ns: the instant.
        spread_ns: greatest difference.
    """
    if not len(stamps):
        return None
    apart = np.abs(np.asarray(stamps, np.int64) - stamp_ns)
    at = int(apart.argmin())
    return at if apart[at] <= spread_ns else None


def raw_depth(layout: Layout, topic: str) -> DepthPicture:
    """The depth picture of an Image; only its header is looked at.

    Args:
        layout: header and bytes.
        topic: for messages.

    Raises:
        InputError: another encoding, or a header that does not fit its bytes.
    """
    size = BYTES.get(layout.encoding)
    if size is None:
        raise InputError(f'{topic}: depth with encoding {shown(layout.encoding)}; expected 16UC1 '
                         f'(millimeters) or 32FC1 (meters). Take the topic of the depth pictures '
                         f'that are registered to the color camera.')
    check_layout(layout, layout.width * size, layout.height, topic)
    return RawDepth(layout)


def transport_depth(made_of: str, data: bytes, topic: str) -> DepthPicture:
    """The depth picture of a CompressedImage of compressedDepth, not yet decoded.

    Args:
        made_of: its `format`, such as '16UC1; compressedDepth png'.
        data: 12 bytes of header, then a PNG file.
        topic: for messages.

    Raises:
        InputError: another format, codec or kind of PNG; damage is found when it is decoded.
    """
    encoding, _, transport = (part.strip() for part in made_of.partition(';'))
    if encoding not in BYTES or transport not in ('', 'compressedDepth', 'compressedDepth png'):
        raise InputError(f"{topic}: compressed depth of format {shown(made_of)}; expected "
                         f"'16UC1; compressedDepth png' or '32FC1; compressedDepth png'. Set "
                         f"the publisher's parameter compressedDepth.format to png.")
    file = data[_HEADER.size:]
    if not file.startswith(PNG) or file[24:26] != _GRAY_16:
        raise InputError(f'{topic}: compressed depth of {len(data)} bytes; expected '
                         f'{_HEADER.size} bytes of header and a PNG file of one channel with 16 '
                         f'bits. Check the publisher.')
    if encoding == '16UC1':
        return EncodedDepth(file, topic, _MILLIMETER)
    _, a, b = _HEADER.unpack_from(data)
    if not (np.isfinite([a, b]).all() and a > 0):
        raise InputError(f'{topic}: compressed depth quantized by A {a} and B {b}; expected '
                         f'finite values, A above 0. Check the publisher.')
    return QuantizedDepth(file, topic, a, b)
