# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG files made by hand: with any size in their headers."""
import struct
import zlib

import cv2
import numpy as np


def ramp(width=160, height=120) -> np.ndarray:
    """[H, W, 3] uint8: red grows with x, green with y, noise in blue."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    noise = np.random.default_rng(0).integers(0, 60, x.shape)
    return np.stack([x % 256, y % 256, noise], -1).astype(np.uint8)


def jpeg(pixels: np.ndarray, *flags) -> bytes:
    return cv2.imencode('.jpg', pixels[..., ::-1], list(flags))[1].tobytes()


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode('.png', pixels[..., ::-1])[1].tobytes()


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xff, marker]) + struct.pack('>H', len(content) + 2) + content


def resized_jpeg(data: bytes, width: int, height: int) -> bytes:
    """`data` with another size in its frame header: what is called a bomb when that is large."""
    at = next(i for m in (b'\xff\xc0', b'\xff\xc2') if (i := data.find(m)) > 0)
    return data[:at + 5] + struct.pack('>HH', height, width) + data[at + 9:]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + kind + content + struct.pack(
        '>I', zlib.crc32(kind + content))


def png_of(width: int, height: int, *chunks: bytes, bits=8, color=2) -> bytes:
    """A PNG file of black pixels, `chunks` between header and pixels."""
    channels = {0: 1, 2: 3}[color]
    rows = min(height, 200) * (1 + width * channels * bits // 8)
    return b''.join([
        b'\x89PNG\r\n\x1a\n',
        chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, color, 0, 0, 0)),
        *chunks, chunk(b'IDAT', zlib.compress(bytes(min(rows, 10_000_000)))),
        chunk(b'IEND', b'')])
