# SPDX-License-Identifier: Apache-2.0
"""Sizes by the header, and pixels of files that are whole."""
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from picture_bytes import chunk, jpeg, png, png_of, ramp, resized_jpeg, segment

from igs_ros.core.errors import DamagedPicture, InputError
from igs_ros.io.pictures import decode_color, decode_stored, picture_size

JPEG = jpeg(ramp())
PNG = png(ramp())


def with_segments(*segments):
    return JPEG[:2] + b''.join(segments) + JPEG[2:]


EXIF = segment(0xe1, b'Exif\0\0' + jpeg(ramp(32, 24)))  # a thumbnail has a frame header, too
WHOLE = {
    'baseline': JPEG,
    'progressive': jpeg(ramp(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    'restart markers': jpeg(ramp(), cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    'thumbnail': with_segments(EXIF),
    'many segments': with_segments(*(segment(0xe2, bytes(100)) for _ in range(255))),
    'comment': with_segments(segment(0xfe, b'\xff\xc0\0\x11\x08\0\1\0\1')),
    'fill bytes': JPEG[:2] + b'\xff' * 9 + JPEG[2:],
    'padded': JPEG + bytes(1000),
    'png': PNG,
    'png with text': PNG[:33] + chunk(b'tEXt', b'Comment\0hello') + PNG[33:],
}


@pytest.mark.parametrize('kind', WHOLE)
def test_sizes_and_pixels_are_those_of_opencv(kind):
    data = WHOLE[kind]
    assert picture_size(data, 'here') == (160, 120)
    seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decode_color(data, 'here'), seen[..., ::-1])


@pytest.mark.parametrize('shape', [(1, 1), (7, 13), (17, 8), (121, 163)])
def test_odd_sizes(shape):
    pixels = ramp(*shape)
    assert picture_size(jpeg(pixels), 'here') == shape
    assert decode_color(jpeg(pixels), 'here').shape == pixels.shape
    np.testing.assert_array_equal(decode_color(png(pixels), 'here'), pixels)


BOMBS = {
    'jpeg 60000': resized_jpeg(JPEG, 60000, 60000),
    'jpeg 65500 high': resized_jpeg(JPEG, 160, 65500),
    'png 60000': png_of(60000, 60000),
    'png 4 billion': png_of(2 ** 32 - 1, 2 ** 32 - 1),
}


@pytest.mark.parametrize('kind', BOMBS)
def test_pictures_that_claim_to_be_huge_are_refused_undecoded(kind):
    for read in (picture_size, decode_color):
        with pytest.raises(InputError, match='^here: a picture of .* px; expected at most 16384'):
            read(BOMBS[kind], 'here')


@pytest.mark.parametrize('data', [
    resized_jpeg(JPEG, 10_000, 10_000), png_of(10_000, 10_000), JPEG[:40] + bytes(10 ** 6)])
def test_reading_a_size_takes_no_memory(data):
    tracemalloc.start()
    try:
        picture_size(data, 'here')
    except DamagedPicture:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize('data, found', [
    (b'\xff\xd8\xff', 'JPEG'),
    (b'\xff\xd8\xff\xe0 broken', 'JPEG'),
    (JPEG[:100], 'JPEG'),
    (JPEG[:2] + JPEG[-2:], 'JPEG'),  # no header at all
    (JPEG[:2] + b'\xff\xe1\0\0' + JPEG[2:], 'JPEG'),  # a segment shorter than its length
    (with_segments(EXIF, b'\0'), 'JPEG'),
    (resized_jpeg(JPEG, 0, 120), 'JPEG'),
    (JPEG[:2] + b'\xff\xe0\0\2' * 10 ** 6, 'JPEG'),
    (b'\xff\xd8' + b'\xff' * 10 ** 6, 'JPEG'),
    (PNG[:30], 'PNG'),
    (PNG[:8] + chunk(b'tEXt', b'first') + PNG[8:], 'PNG'),
    (png_of(0, 120), 'PNG'),
])
def test_headers_that_cannot_be_read_are_damage(data, found):
    with pytest.raises(DamagedPicture, match=f'^here: a damaged {found} of .* expected all bytes'):
        picture_size(data, 'here')


def other_formats():
    for suffix in ('.bmp', '.tiff', '.webp', '.gif', '.jp2', '.ppm'):
        if not cv2.haveImageWriter(f'a{suffix}'):  # OpenCV 4.6 writes no GIF
            continue
        done, data = cv2.imencode(suffix, ramp())
        assert done
        yield suffix, data.tobytes()
    yield '.exr', b'v/1\1\2\0\0\0' + bytes(100)
    yield 'nothing', b''
    yield 'start of image', b'\xff\xd8 and no more'


@pytest.mark.parametrize('suffix, data', list(other_formats()))
def test_other_formats_never_reach_a_decoder(suffix, data, monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', None)
    for read in (picture_size, decode_color, decode_stored):
        with pytest.raises(InputError, match='^here: .*no .*PNG'):
            read(data, 'here')


def test_a_jpeg_of_very_many_scans_is_refused():
    progressive = WHOLE['progressive']
    end = len(progressive) - 2
    scan = progressive[progressive.rfind(b'\xff\xda'):end]
    with pytest.raises(InputError, match='here: a JPEG of .* scans; expected at most'):
        decode_color(progressive[:end] + scan * 300 + progressive[end:], 'here')


# --- damage ------------------------------------------------------------------------------------


def damaged_pngs():
    yield 'cut', PNG[:-20]
    yield 'no end', PNG[:-12]
    yield 'text', PNG[:33] + chunk(b'tEXt', b'Comment\0hello')[:-1] + b'!' + PNG[33:]
    yield 'a chunk longer than the file', PNG[:33] + struct.pack('>I', 2 ** 31) + PNG[37:]
    for at in np.random.default_rng(0).integers(16, len(PNG), 50):
        yield f'byte {at}', PNG[:at] + bytes([PNG[at] ^ 0x10]) + PNG[at + 1:]


@pytest.mark.parametrize('kind, data', list(damaged_pngs()))
def test_damaged_pngs_are_found(kind, data):
    with pytest.raises(InputError, match='^here: '):
        decode_color(data, 'here')


def test_texts_and_profiles_of_a_png_are_not_unpacked():
    text = chunk(b'zTXt', b'a\0\0' + zlib.compress(bytes(7_000_000)))
    data = PNG[:33] + text * 100 + PNG[33:]
    np.testing.assert_array_equal(decode_color(data, 'here'), ramp())
