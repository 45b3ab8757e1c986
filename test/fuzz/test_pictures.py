# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG files of strangers: damaged, cut, spliced, with headers that lie."""
import re
import struct
import tracemalloc
from pathlib import Path

import av
import cv2
import numpy as np
from fuzzing import fuzzer
from hostile import spoiled
from hypothesis import strategies as st
from picture_bytes import chunk, jpeg, png, segment

from igs_ros.core.camera import Camera
from igs_ros.core.frames import RawFrameSet
from igs_ros.io.pictures import EncodedDepth, EncodedPicture, picture_size
from igs_ros.vision.preparer import Preparer, WorkingDepth

WIDTH, HEIGHT = 160, 120
CAMERA = Camera('a', WIDTH, HEIGHT, np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]]), np.eye(4))
SIZES = (0, 1, WIDTH, HEIGHT, 161, 10_000, 16_384, 16_385, 30_000, 60_000, 65_535)
SIGNATURES = (b'\xff\xd8\xff', b'\xff\xd8\xff\xe0', b'\x89PNG\r\n\x1a\n', b'BM', b'GIF89a',
              b'II*\0', b'RIFF\0\0\1\0WEBPVP8 ', b'v/1\1', b'#?RADIANCE\n', b'P6\n9 9\n255\n',
              b'\0\0\0\x0cjP  \r\n\x87\n', b'\0\0\0\x1cftypavif', b'\xff\x0a', b'MM\0*')
KINDS = (b'IHDR', b'IDAT', b'IEND', b'PLTE', b'tRNS', b'iCCP', b'zTXt', b'acTL', b'fcTL', b'fdAT',
         b'eXIf', b'abcd', b'\0\0\0\0')
_SEGMENT = re.compile(rb'\xff([\xc0-\xfe])(..)', re.DOTALL)


def _photo() -> np.ndarray:
    """[120, 160, 3] uint8 of the recording that ships with the package."""
    file = Path(__file__).parents[2] / 'recordings/workbench/cam00.mp4'
    with av.open(str(file)) as container:
        pixels = next(container.decode(video=0)).to_ndarray(format='rgb24')
    return cv2.resize(pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


PHOTO = _photo()
BASELINE = jpeg(PHOTO)
JPEGS = (BASELINE, jpeg(PHOTO, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
         jpeg(PHOTO, cv2.IMWRITE_JPEG_RST_INTERVAL, 3), jpeg(np.ascontiguousarray(PHOTO[:8, :8])),
         BASELINE[:2] + segment(0xe1, b'Exif\0\0' + jpeg(PHOTO[:16, :16])) + BASELINE[2:])
PNGS = (png(PHOTO), cv2.imencode('.png', PHOTO, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes())
DEPTHS = (cv2.imencode('.png', np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(
    HEIGHT, WIDTH))[1].tobytes(), *PNGS)


def _segments(data: bytes) -> list[bytes]:
    """The header segments of a JPEG, then its scans and end in one piece."""
    parts, at = [data[:2]], 2
    while (found := _SEGMENT.match(data, at)) and found[1] != b'\xda':
        end = found.start(2) + int.from_bytes(found[2], 'big')
        parts.append(data[at:end])
        at = end
    return [*parts, data[at:]]


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kinds and contents of a PNG's chunks."""
    parts, at = [], 8
    while at < len(data):
        length, kind = struct.unpack_from('>I4s', data, at)
        parts.append((kind, data[at + 8:at + 8 + length]))
        at += 12 + length
    return parts


@st.composite
def operated(draw, parts: list, bend) -> list:
    """Parts with one to three removed, repeated, swapped, or bent by `bend`."""
    parts = list(parts)
    for _ in range(draw(st.integers(1, 3))):
        one, other = (draw(st.integers(0, len(parts) - 1)) for _ in range(2))
        kind = draw(st.sampled_from(('bend', 'bend', 'bend', 'remove', 'repeat', 'swap', 'many')))
        if kind == 'bend':
            parts[one] = draw(bend(parts[one]))
        elif kind == 'remove' and len(parts) > 1:
            del parts[one]
        elif kind == 'repeat':
            parts.insert(other, parts[one])
        elif kind == 'swap':
            parts[one], parts[other] = parts[other], parts[one]
        elif kind == 'many':
            parts[one:one] = [parts[other]] * draw(st.sampled_from((10, 300, 2000)))
    return parts


@st.composite
def bent_segment(draw, part: bytes) -> bytes:
    """A segment with another length, another size of the picture, another marker or content."""
    kind = draw(st.sampled_from(('length', 'size', 'marker', 'content')))
    if kind == 'size' and part[1:2] in (b'\xc0', b'\xc2'):
        size = draw(st.sampled_from(SIZES)), draw(st.sampled_from(SIZES))
        return part[:5] + struct.pack('>HH', *size) + part[9:]
    if kind == 'length':
        return part[:2] + struct.pack('>H', draw(st.integers(0, 65535))) + part[4:]
    if kind == 'marker':
        return part[:1] + bytes([draw(st.integers(0, 255))]) + part[2:]
    return part[:4] + draw(spoiled(part[4:]))


@st.composite
def bent_chunk(draw, part: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """A chunk with another kind or content; its check sum will be right."""
    kind, content = part
    if kind == b'IHDR' and draw(st.booleans()):
        size = draw(st.sampled_from((*SIZES, 2 ** 31 - 1, 2 ** 32 - 1)))
        return kind, struct.pack('>I', size) + content[4:]
    if draw(st.booleans()):
        return kind, draw(spoiled(content))
    return draw(st.sampled_from(KINDS)), content


def png_files(files) -> st.SearchStrategy:
    operated_chunks = st.one_of(*(operated(_chunks(data), bent_chunk) for data in files))
    return operated_chunks.map(
        lambda parts: b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*part) for part in parts))


def pictures() -> st.SearchStrategy:
    """Bytes that should be a picture."""
    return st.one_of(
        *map(spoiled, (*JPEGS, *PNGS)),
        *(operated(_segments(data), bent_segment).map(b''.join) for data in JPEGS),
        png_files(PNGS),
        st.builds(bytes.__add__, st.sampled_from(SIGNATURES), st.binary(max_size=300)))


@fuzzer(cases=400, data=pictures())
def test_pictures(data):
    preparer = Preparer({'a': CAMERA, 'b': CAMERA})
    picture, good = EncodedPicture(data, 'here'), EncodedPicture(BASELINE, 'there')
    prepared = preparer.prepare(RawFrameSet(0, {'a': picture, 'b': good}))
    assert prepared.images['b'].shape == (HEIGHT, WIDTH, 3)
    if 'a' in prepared.images:
        assert prepared.images['a'].shape == (HEIGHT, WIDTH, 3)
        return
    problem, = prepared.problems
    assert problem.camera == 'a' and 'not decoded' not in problem.text, problem.text
    picture.size()  # raises what the problem is, or it is of the size or of the pixels
    if picture.size() == (WIDTH, HEIGHT):
        picture.decode()


@fuzzer(cases=300, data=st.one_of(pictures(), *map(spoiled, DEPTHS), png_files(DEPTHS)))
def test_depth_pictures(data):
    depth = WorkingDepth(EncodedDepth(data, 'here', 0.001), CAMERA, CAMERA.resized(80)).decode()
    assert depth.shape == (60, 80) and depth.dtype == np.float32


@fuzzer(cases=300, data=pictures())
def test_sizes_take_no_memory(data):
    tracemalloc.start()
    try:
        width, height = picture_size(data, 'here')
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 200_000
    assert 1 <= min(width, height) <= max(width, height) <= 16_384
