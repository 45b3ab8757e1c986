# SPDX-License-Identifier: Apache-2.0
"""CameraInfo, Image and CompressedImage of strangers."""
import array

import cv2
import numpy as np
import pytest
from fuzzing import fuzzer
from hostile import FLOATS, NAMES
from hypothesis import strategies as st
from picture_bytes import jpeg, ramp

pytest.importorskip('sensor_msgs', reason='ROS 2 is not installed')
from sensor_msgs.msg import CameraInfo, CompressedImage, Image  # noqa: E402

from igs_ros.core.camera import Camera  # noqa: E402
from igs_ros.core.frames import RawFrameSet
from igs_ros.io.depth_images import raw_depth, transport_depth
from igs_ros.io.encodings import ENCODINGS
from igs_ros.node import convert  # noqa: E402
from igs_ros.vision.preparer import Preparer, check_size

RIG = Camera('a', 160, 120, np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]]), np.eye(4))
JPEG = jpeg(ramp())
DEPTH = cv2.imencode('.png', np.arange(120 * 160, dtype=np.uint16).reshape(120, 160))[1].tobytes()
SIZES = st.sampled_from((0, 1, 119, 120, 160, 161, 16_384, 16_385, 60_000, 2 ** 31 - 1,
                         2 ** 31, 2 ** 32 - 1))
NUMBERS = st.one_of(st.sampled_from(FLOATS), st.floats(), st.sampled_from(
    (0.01, 1.0, 80.0, 120.0, 150.0, 1e4, 1e9)))
TEXTS = st.one_of(st.sampled_from([n for n in NAMES if n.isascii()]), st.sampled_from(
    ('plumb_bob', 'rational_polynomial', 'equidistant', 'rgb8', 'bgr8', 'mono8', '32FC1',
     'bayer_rggb8', 'yuv411', 'jpeg', 'png', 'bayer_gbrg16; png compressed ',
     'rgb8; jpeg compressed bgr8', '; ', 'x\n' * 100_000)))


@st.composite
def infos(draw) -> CameraInfo:
    """A good CameraInfo with one to four of its fields changed."""
    message = convert.info_message(RIG, convert.header(1, 'a'))
    for field in draw(st.lists(st.sampled_from(
            ('size', 'k', 'all k', 'p', 'd', 'many d', 'model', 'binning', 'roi')),
            min_size=1, max_size=4)):
        if field == 'size':
            message.width, message.height = draw(SIZES), draw(SIZES)
        elif field == 'k':
            message.k[draw(st.integers(0, 8))] = draw(NUMBERS)
        elif field == 'all k':
            message.k = np.full(9, draw(NUMBERS))
        elif field == 'p':
            message.p[draw(st.integers(0, 11))] = draw(NUMBERS)
        elif field == 'd':
            message.d = array.array('d', draw(st.lists(NUMBERS, max_size=9)))
        elif field == 'many d':
            message.d = array.array('d', [draw(NUMBERS)]) * 10 ** 6
        elif field == 'model':
            message.distortion_model = draw(TEXTS)
        elif field == 'binning':
            message.binning_x = draw(SIZES)
        elif field == 'roi':
            message.roi.width, message.roi.x_offset = draw(SIZES), draw(SIZES)
            message.roi.height = draw(SIZES)
    return message


@fuzzer(cases=400, message=infos(), rectified=st.booleans())
def test_camera_infos(message, rectified):
    camera = convert.camera_from_info(message, '/a/camera_info', 'a', RIG.camera_from_world,
                                      rectified=rectified)
    doubt = convert.held_against(camera, RIG, '/a/camera_info')
    assert doubt.isprintable() and len(doubt) < 1000
    picture = convert.picture_from_compressed(
        convert.jpeg_message(JPEG, convert.header(1, 'a')), '/a/image')
    prepared = Preparer({'a': camera}, 80).prepare(RawFrameSet(0, {'a': picture}))
    assert prepared.images['a'].shape == (60, 80, 3), prepared.problems


@st.composite
def images(draw) -> Image:
    """An Image whose fields may contradict each other."""
    right = draw(st.booleans())
    width, height = (160, 120) if right else (draw(SIZES), draw(SIZES))
    step = draw(st.one_of(st.sampled_from((width, 2 * width, 3 * width, 3 * width + 7)), SIZES))
    encoding = draw(st.one_of(st.sampled_from(sorted(ENCODINGS)), TEXTS))
    message = Image(width=width, height=height, step=step % 2 ** 32, encoding=encoding,
                    is_bigendian=draw(st.integers(0, 255)))
    size = draw(st.one_of(SIZES, st.sampled_from((step * height, step * height - 1))))
    message.data.frombytes(bytes(max(0, min(size, 10 ** 6))))
    return message


@fuzzer(cases=400, message=images())
def test_images(message):
    picture = convert.picture_from_image(message, '/a/image')
    check_size(picture, RIG)
    assert picture.decode().shape == (120, 160, 3)


@fuzzer(cases=300, message=st.builds(
    CompressedImage, format=TEXTS,
    data=st.one_of(st.binary(max_size=100), st.just(JPEG)).map(lambda b: array.array('B', b))))
def test_compressed_images(message):
    picture = convert.picture_from_compressed(message, '/a/image')
    check_size(picture, RIG)
    assert picture.decode().shape == (120, 160, 3)


@st.composite
def depths(draw) -> Image | CompressedImage:
    """Depth whose fields may contradict each other."""
    if draw(st.booleans()):
        message = draw(images())
        message.encoding = draw(st.sampled_from(('16UC1', '32FC1', 'mono16')))
        return message
    data = draw(st.one_of(st.binary(max_size=100), st.builds(
        lambda head, file, end: head + file[:end], st.binary(min_size=12, max_size=12),
        st.just(DEPTH), st.integers(0, len(DEPTH)))))
    made_of = draw(st.one_of(TEXTS, st.sampled_from(
        ('16UC1; compressedDepth png', '32FC1; compressedDepth png', '16UC1; compressedDepth'))))
    return CompressedImage(data=array.array('B', data), format=made_of)


@fuzzer(cases=300, message=depths())
def test_depths(message):
    depth = transport_depth(message.format, message.data.tobytes(), '/a/depth') \
        if isinstance(message, CompressedImage) \
        else raw_depth(convert.layout_of(message), '/a/depth')
    check_size(depth, RIG)
    found = depth.decode()
    assert found.shape == (120, 160) and not (found <= 0).any() and not np.isinf(found).any()
