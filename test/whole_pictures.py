# SPDX-License-Identifier: Apache-2.0
"""JPEG files as cameras, drivers and tools write them; and damage to them."""
import io
import random
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from picture_bytes import jpeg, segment
from PIL import Image

SAMPLINGS = tuple(getattr(cv2, f'IMWRITE_JPEG_SAMPLING_FACTOR_{name}')
                  for name in ('411', '420', '422', '440', '444'))
DAMAGES = ('20 bytes of the pixels', '20 bytes anywhere', '1400 bytes zeroed', 'end zeroed',
           'cut', 'last byte missing', '1400 bytes missing')


def photo() -> np.ndarray:
    """[360, 480, 3] uint8 of the recording that ships with the package."""
    file = Path(__file__).parents[1] / 'recordings/workbench/cam00.mp4'
    with av.open(str(file)) as container:
        return next(container.decode(video=0)).to_ndarray(format='rgb24')


def _pillow(pixels, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'JPEG', **options)
    return file.getvalue()


def _without_tables(data: bytes) -> bytes:
    """Without its Huffman tables, as many USB cameras send it: the standard ones are meant."""
    kept, at = data[:2], 2
    while data[at + 1] != 0xda:
        end = at + 2 + int.from_bytes(data[at + 2:at + 4], 'big')
        kept += b'' if data[at + 1] == 0xc4 else data[at:end]
        at = end
    return kept + data[at:]


def _motion_jpeg(pixels, scale: int) -> bytes:
    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    encoder = av.CodecContext.create('mjpeg', 'w')
    encoder.width, encoder.height, encoder.pix_fmt = width, height, 'yuvj420p'
    encoder.time_base = Fraction(1, 30)
    # FFmpeg's threads write restart markers out of order into narrow pictures
    encoder.thread_count = 1
    encoder.options = {'qmin': str(scale), 'qmax': str(scale)}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), 'rgb24')
    packets = encoder.encode(frame.reformat(format='yuvj420p')) + encoder.encode(None)
    return b''.join(map(bytes, packets))


def whole_jpeg(rng: random.Random, pixels: np.ndarray) -> bytes:
    """`pixels`, whole or a cut-out of any size, by an encoder drawn from `rng`."""
    if rng.random() < 0.5:
        height, width = (rng.randint(1, side) for side in pixels.shape[:2])
        top, left = (rng.randint(0, a - b) for a, b in zip(pixels.shape[:2], (height, width)))
        pixels = np.ascontiguousarray(pixels[top:top + height, left:left + width])
    quality = rng.choice((5, 20, 50, 75, 85, 90, 95, 100))
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality,
             cv2.IMWRITE_JPEG_SAMPLING_FACTOR, rng.choice(SAMPLINGS),
             cv2.IMWRITE_JPEG_OPTIMIZE, rng.randint(0, 1),
             cv2.IMWRITE_JPEG_PROGRESSIVE, rng.randint(0, 1),
             cv2.IMWRITE_JPEG_RST_INTERVAL, rng.choice((0, 0, 1, 4, 30))]
    plain = jpeg(pixels, *flags)
    exif = b'Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0' + jpeg(pixels[:60, :80])
    gray = pixels[..., 1]
    kinds = (
        lambda: plain,
        lambda: jpeg(gray[..., None], *flags),
        lambda: _pillow(pixels, quality=quality, subsampling=rng.randint(0, 2)),
        lambda: _pillow(pixels, quality=quality, progressive=True, comment=b'\xff\xd8\xff\xc0'),
        lambda: _pillow(gray, quality=quality, optimize=True),
        lambda: _pillow(pixels, quality=quality, restart_marker_rows=rng.randint(1, 3)),
        lambda: _pillow(pixels, quality=quality, icc_profile=rng.randbytes(100_000)),
        lambda: _pillow(pixels, quality=quality, keep_rgb=True),
        lambda: _without_tables(_pillow(pixels, quality=quality, subsampling=rng.randint(0, 2))),
        lambda: _motion_jpeg(pixels, rng.choice((2, 5, 15, 31))) if min(pixels.shape[:2]) > 15
        else plain,
        lambda: plain + bytes(rng.choice((1, 7, 511, 100_000))),
        lambda: plain + b'\xff' * rng.randint(1, 9),
        lambda: plain[:2] + b'\xff' * rng.randint(1, 9) + plain[2:],
        lambda: plain[:2] + segment(0xe1, exif[:65_000]) + plain[2:],
        lambda: plain[:2] + b''.join(segment(0xe0 + rng.randint(1, 13), rng.randbytes(48))
                                     for _ in range(30)) + plain[2:])
    return rng.choice(kinds)()


def damaged(rng: random.Random, data: bytes, kind: str) -> bytes:
    """A JPEG of one scan with damage of a kind of DAMAGES."""
    spoiled, last = bytearray(data), data.rfind(b'\xff\xd9')
    scan = data.rfind(b'\xff\xda')
    begin = scan + 2 + int.from_bytes(data[scan + 2:scan + 4], 'big')
    at = rng.randrange(begin, last - 1400)
    if kind.startswith('20 bytes'):
        for _ in range(20):
            at = rng.randrange(begin, last) if 'pixels' in kind else rng.randrange(len(data))
            spoiled[at] = rng.randrange(256)
    elif kind == '1400 bytes zeroed':
        spoiled[at:at + 1400] = bytes(1400)
    elif kind == 'end zeroed':
        spoiled[at:] = bytes(len(data) - at)
    elif kind == 'cut':
        del spoiled[at:]
    elif kind == 'last byte missing':
        del spoiled[last + 1:]
    elif kind == '1400 bytes missing':
        del spoiled[at:at + 1400]
    return bytes(spoiled)
