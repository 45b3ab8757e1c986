# SPDX-License-Identifier: Apache-2.0
"""Raw pictures: every encoding against pixels made by hand, any header against an InputError."""
import logging

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igs_ros.core.errors import InputError
from igs_ros.io.encodings import ENCODINGS, Layout, TransportImage, raw_image
from igs_ros.io.pictures import EncodedPicture

RED, GREEN, BLUE, GRAY = (200, 30, 40), (20, 190, 60), (50, 10, 210), (120, 120, 120)


def flat(color, height=6, width=8):
    """A picture of one color, which every encoding can hold."""
    return np.full((height, width, 3), color, np.uint8)


def yuv(color):
    """Y, U, V by BT.601, limited range, from the standard's own matrix."""
    r, g, b = (value / 255 for value in color)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return (round(16 + 219 * y), round(128 + 224 * (b - y) / 1.772),
            round(128 + 224 * (r - y) / 1.402))


def samples_of(name, pixels):
    """[rows, samples] of a picture in an encoding, as a driver would write it; 8-bit values."""
    height, width, _ = pixels.shape
    kind = name.rstrip('0123456789') if name not in ('nv12', 'nv21', 'yuv422') else name
    opaque = np.full((height, width, 1), 7, np.uint8)
    if kind in ('rgb', 'bgr', 'rgba', 'bgra'):
        ordered = pixels if kind.startswith('rgb') else pixels[..., ::-1]
        return np.concatenate([ordered, opaque], 2) if kind.endswith('a') else ordered
    if kind == 'mono':
        return pixels[..., 0]
    if kind.startswith('bayer_'):
        mosaic = np.zeros((height, width), np.uint8)
        for place, letter in enumerate(kind[-4:]):
            row, column = divmod(place, 2)
            mosaic[row::2, column::2] = pixels[row::2, column::2, 'rgb'.index(letter)]
        return mosaic
    y, u, v = yuv(pixels[0, 0])
    if kind in ('nv12', 'nv21'):
        pair = (u, v) if kind == 'nv12' else (v, u)
        return np.concatenate([np.full((height, width), y, np.uint8),
                               np.tile(np.array(pair, np.uint8), (height // 2, width // 2))])
    group = (u, y, v, y) if kind in ('yuv422', 'uyvy') else (y, u, y, v)
    return np.tile(np.array(group, np.uint8), (height, width // 2))


def sent(name, samples, shape, padding=0, big=False, shift=8):
    """The layout of an Image of `shape` (height, width) with these samples."""
    rows = samples.reshape(samples.shape[0], -1)
    if ENCODINGS[name].size == 2:
        rows = (rows.astype(np.uint16) << shift).astype('>u2' if big else '<u2').view(np.uint8)
    data = b''.join(row.tobytes() + b'\xa5' * padding for row in rows)
    return Layout(name, shape[1], shape[0], rows.shape[1] + padding, big, data)


@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('name', ENCODINGS)
def test_every_encoding_shows_the_color_that_it_was_made_of(name, big):
    for color in (GRAY,) if name.startswith('mono') else (RED, GREEN, BLUE, GRAY):
        for padding in (0, 1, 6):
            pixels = flat(color)
            layout = sent(name, samples_of(name, pixels), (6, 8), padding, big)
            shown = raw_image(layout, '/t').decode()
            assert shown.dtype == np.uint8 and shown.flags.c_contiguous
            # 4:2:x are quantized; all others are exact
            bound = 3 if name.startswith(('yu', 'uy', 'nv')) else 0
            assert shown.shape == (6, 8, 3)
            assert np.abs(shown.astype(int) - pixels).max() <= bound, (name, color, padding)


@pytest.mark.parametrize('name', [n for n in ENCODINGS if n.startswith(('rgb', 'bgr', 'mono'))])
@given(height=st.integers(1, 9), width=st.integers(1, 9), padding=st.integers(0, 9),
       big=st.booleans(), seed=st.integers(0, 9))
def test_every_pixel_is_at_its_place(name, height, width, padding, big, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    if name.startswith('mono'):
        pixels = np.repeat(pixels[..., :1], 3, 2)
    layout = sent(name, samples_of(name, pixels), (height, width), padding, big)
    assert np.array_equal(raw_image(layout, '/t').decode(), pixels)


@pytest.mark.parametrize('name', [n for n in ENCODINGS if n.startswith('bayer')])
def test_a_mosaic_keeps_what_each_pixel_measured(name):
    """Between them it interpolates; a shifted pattern would move or swap colors."""
    pixels = np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)
    shown = raw_image(sent(name, samples_of(name, pixels), (10, 12)), '/t').decode()
    for place, letter in enumerate(name[6:10]):
        row, column = divmod(place, 2)
        channel = 'rgb'.index(letter)
        inside = np.s_[2 + row:-2:2, 2 + column:-2:2, channel]  # borders repeat their neighbors
        assert np.array_equal(shown[inside], pixels[inside])


@pytest.mark.parametrize('name', ['yuv422', 'yuv422_yuy2', 'nv12', 'nv21'])
def test_brightness_is_at_its_pixel_in_yuv(name):
    y = np.random.default_rng(1).integers(16, 236, (6, 8), np.uint8)
    samples = samples_of(name, flat(GRAY)).copy()
    if name.startswith('nv'):
        samples[:6], samples[6:] = y, 128
    else:
        samples[:, 1 if name == 'yuv422' else 0::2] = y
        samples[:, 0 if name == 'yuv422' else 1::2] = 128
    shown = raw_image(sent(name, samples, (6, 8)), '/t').decode()
    expected = np.clip((y.astype(float) - 16) * 255 / 219, 0, 255)
    assert np.abs(shown - expected[..., None]).max() <= 1.5


# --- 16 bits ---------------------------------------------------------------------------------


@pytest.mark.parametrize('bits', [10, 12, 16])
def test_the_upper_eight_bits_in_use_are_taken(bits):
    values = np.array([[0, 1 << (bits - 8), (1 << bits) - 1, 1 << (bits - 1)]], '<u2')
    layout = Layout('mono16', 4, 1, 8, False, values.tobytes())
    assert raw_image(layout, '/t', bits).decode()[0, :, 0].tolist() == [0, 1, 255, 128]


def test_bits_that_do_not_fit_are_said_once(caplog):
    dim = Layout('mono16', 2, 1, 4, False, np.array([9, 4095], '<u2').tobytes())
    bright = Layout('mono16', 2, 1, 4, False, np.array([9, 4096], '<u2').tobytes())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert raw_image(dim, '/dim').decode().max() == 15
            raw_image(bright, '/bright').decode()
            raw_image(dim, '/dim', 12).decode()
            assert raw_image(bright, '/bright', 12).decode().max() == 255
    dark, white = (record.getMessage() for record in caplog.records)
    assert dark.startswith('/dim: ') and 'image_bits' in dark
    assert white.startswith('/bright: ') and 'image_bits is 12' in white


# --- files of image_transport ------------------------------------------------------------------


def transported(pixels, encoding, bits=16, suffix='.png'):
    data = cv2.imencode(suffix, pixels)[1].tobytes()
    return TransportImage(EncodedPicture(data, '/t'), encoding, bits)


def test_png_files_of_16_bits():
    gray = np.array([[0, 256, 4095, 65535]], np.uint16)
    assert transported(gray, 'mono16').decode()[0, :, 1].tolist() == [0, 1, 15, 255]
    assert transported(gray, 'mono16', 12).decode()[0, :, 1].tolist() == [0, 16, 255, 255]
    color = np.random.default_rng(0).integers(0, 65536, (5, 4, 3), np.uint16)
    for pixels in (color, np.dstack([color, color[..., 0]])):  # alpha is no color
        picture = transported(pixels, 'bgr16')
        assert picture.size() == (4, 5)
        assert np.array_equal(picture.decode(), color[..., ::-1] >> 8)
        # as a recording's PNG file of the same pixels
        assert np.array_equal(picture.decode(), EncodedPicture(picture.file.data, '/t').decode())


@pytest.mark.parametrize('size', [8, 16])
def test_png_files_of_a_mosaic_are_colored_and_jpeg_files_are_as_they_are(size):
    name = f'bayer_gbrg{size}'
    mosaic = samples_of(name, flat(RED)).astype(np.uint16 if size == 16 else np.uint8)
    mosaic <<= size - 8
    shown = transported(mosaic, name).decode()
    assert np.array_equal(shown, flat(RED))
    gray = transported(np.full((8, 8), 90, np.uint8), name, suffix='.jpg').decode()
    assert np.array_equal(gray, flat((90, 90, 90), 8, 8))  # 'bayer_gbrg8; jpeg compressed mono8'


# --- anything that may come --------------------------------------------------------------------


@given(name=st.sampled_from([*sorted(ENCODINGS), '', 'yuv411', '32FC1', 'RGB8']),
       width=st.integers(0, 9), height=st.integers(0, 9), step=st.integers(0, 80),
       size=st.integers(0, 400), big=st.booleans(), bits=st.integers(8, 16))
def test_any_header_makes_a_picture_or_an_input_error(name, width, height, step, size, big, bits):
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    try:
        picture = raw_image(Layout(name, width, height, step, big, data), '/t', bits)
    except InputError as error:
        assert str(error).startswith('/t: ') and '\n' not in str(error)
        return
    assert picture.size() == (width, height)
    assert picture.decode().shape == (height, width, 3)
