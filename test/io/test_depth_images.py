# SPDX-License-Identifier: Apache-2.0
"""Depth of topics: meters by hand, quantization by the transport's formula, refusals."""
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igs_ros.core.errors import InputError
from igs_ros.io.depth_images import raw_depth, transport_depth
from igs_ros.io.encodings import Layout

NAN = float('nan')


def sent(values, encoding, big=False, padding=0):
    kind = np.dtype({'16UC1': 'u2', '32FC1': 'f4'}[encoding]).newbyteorder('>' if big else '<')
    rows = np.asarray(values, kind)
    data = b''.join(row.tobytes() + b'\x7f' * padding for row in rows)
    height, width = rows.shape
    return Layout(encoding, width, height, width * kind.itemsize + padding, big, data)


@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('padding', [0, 3])
def test_millimeters_and_meters(big, padding):
    millimeters = raw_depth(sent([[0, 1, 1500], [2, 65535, 0]], '16UC1', big, padding), '/d')
    meters = raw_depth(sent([[0, NAN, 1.5], [-1, np.inf, 7]], '32FC1', big, padding), '/d')
    assert millimeters.size() == meters.size() == (3, 2)
    np.testing.assert_allclose(millimeters.decode(), [[NAN, .001, 1.5], [.002, 65.535, NAN]],
                               rtol=1e-6)
    np.testing.assert_array_equal(meters.decode(), [[NAN, NAN, 1.5], [NAN, NAN, 7]])
    assert millimeters.decode().dtype == meters.decode().dtype == np.float32


def png(values):
    return cv2.imencode('.png', np.asarray(values))[1].tobytes()


def test_compressed_millimeters():
    data = struct.pack('<iff', 0, 0, 0) + png(np.array([[0, 1, 1500]], np.uint16))
    for made_of in ('16UC1; compressedDepth png', '16UC1; compressedDepth', '16UC1'):
        depth = transport_depth(made_of, data, '/d')
        assert depth.size() == (3, 1)
        np.testing.assert_allclose(depth.decode(), [[NAN, .001, 1.5]], rtol=1e-6)


def test_quantized_meters_come_back_as_close_as_they_were_quantized():
    """As compressed_depth_image_transport's codec.cpp encodes: v = A / depth + B, 0 = unknown."""
    meters = np.random.default_rng(0).uniform(0.4, 9.5, (20, 30)).astype(np.float32)
    meters[0, :3] = NAN, 12, np.inf
    quantization, depth_max = 100.0, 10.0  # its defaults
    a = quantization * (quantization + 1)
    b = 1 - a / depth_max
    values = np.zeros(meters.shape, np.uint16)
    near = meters < depth_max
    values[near] = a / meters[near] + b  # truncated, as the transport does
    data = struct.pack('<iff', 0, a, b) + png(values)
    found = transport_depth('32FC1; compressedDepth png', data, '/d').decode()
    assert np.array_equal(np.isfinite(found), near) and found.dtype == np.float32
    step = meters[near] ** 2 / (a - meters[near])  # one unit of v, at this depth
    assert (np.abs(found[near] - meters[near]) <= step * 1.01).all()
    assert np.abs(found[near] - meters[near]).max() > 1e-4  # else nothing was quantized


@pytest.mark.parametrize('layout, words', [
    (Layout('mono8', 1, 1, 1, False, b'1'), "depth with encoding 'mono8'; expected 16UC1"),
    (Layout('', 1, 1, 1, False, b'1'), "encoding ''"),
    (Layout('16UC1', 4, 2, 7, False, bytes(16)), 'step 7 and 16 bytes; expected a step of at lea'),
    (Layout('32FC1', 4, 2, 16, False, bytes(31)), 'at least 32 bytes'),
    (Layout('32FC1', 0, 2, 16, False, bytes(32)), '0x2 px'),
    (Layout('16UC1', 60000, 60000, 120000, False, b''), '60000x60000 px')])
def test_images_that_are_no_depth(layout, words):
    with pytest.raises(InputError, match=f'^/d: .*{words}'):
        raw_depth(layout, '/d')


GOOD = struct.pack('<iff', 0, 10100, -1009) + png(np.ones((2, 3), np.uint16))


@pytest.mark.parametrize('made_of, data, words', [
    ('16UC1; compressedDepth rvl', GOOD, 'rvl.; expected .16UC1; compressedDepth png'),
    ('bgr8; jpeg compressed bgr8', GOOD, "format 'bgr8; jpeg"),
    ('', GOOD, "format ''"),
    ('16UC1; compressedDepth png', b'', 'of 0 bytes; expected 12 bytes of header and a PNG'),
    ('16UC1; compressedDepth png', GOOD[12:], 'expected 12 bytes of header'),
    ('16UC1; compressedDepth png', GOOD[:12] + png(np.ones((2, 3), np.uint8)), 'with 16 bits'),
    ('16UC1; compressedDepth png', GOOD[:12] + png(np.ones((2, 3, 3), np.uint16)), 'one channel'),
    ('32FC1; compressedDepth png', struct.pack('<iff', 0, NAN, 1) + GOOD[12:], 'A nan and B 1'),
    ('32FC1; compressedDepth png', struct.pack('<iff', 0, 0, 1) + GOOD[12:], 'A above 0')])
def test_files_that_are_no_depth(made_of, data, words):
    with pytest.raises(InputError, match=f'^/d: .*{words}'):
        transport_depth(made_of, data, '/d')


@given(encoding=st.sampled_from(('16UC1', '32FC1', 'rgb8', '')), width=st.integers(0, 9),
       height=st.integers(0, 9), step=st.integers(0, 40), size=st.integers(0, 400),
       big=st.booleans())
def test_any_header_makes_depth_or_an_input_error(encoding, width, height, step, size, big):
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    try:
        depth = raw_depth(Layout(encoding, width, height, step, big, data), '/d')
    except InputError as error:
        assert str(error).startswith('/d: ') and '\n' not in str(error)
        return
    found = depth.decode()
    assert found.shape == (height, width) and not (found <= 0).any()


@given(made_of=st.sampled_from(('16UC1; compressedDepth png', '32FC1; compressedDepth png',
                                '16UC1; compressedDepth rvl', 'png', '; ;')),
       cut=st.integers(0, len(GOOD)), place=st.integers(0, len(GOOD) - 1), bit=st.integers(0, 7))
def test_any_bytes_make_depth_or_an_input_error(made_of, cut, place, bit):
    data = bytearray(GOOD)
    data[place] ^= 1 << bit
    try:
        depth = transport_depth(made_of, bytes(data[:cut + 1]), '/d')
        found = depth.decode()
    except InputError as error:
        assert str(error).startswith('/d: ') and str(error).isprintable()
        return
    assert found.dtype == np.float32 and not (found <= 0).any() and not np.isinf(found).any()
