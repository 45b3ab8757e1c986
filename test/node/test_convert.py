# SPDX-License-Identifier: Apache-2.0
"""Messages <-> core types against OpenCV, scipy and arithmetic done by hand."""
import array
import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.snapshot import View

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from geometry_msgs.msg import PoseStamped  # noqa: E402
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image  # noqa: E402

from igs_ros.node import convert  # noqa: E402


def sent(message):
    """What a subscriber gets."""
    return deserialize_message(serialize_message(message), type(message))


def random_pixels(height=5, width=7, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def image(pixels, encoding, padding=0, tail=b''):
    """An Image as a driver writes it, `padding` bytes behind every row."""
    rows = {'rgb8': pixels, 'bgr8': pixels[..., ::-1], 'mono8': pixels[..., :1]}[encoding]
    height, width, channels = rows.shape
    data = b''.join(row.tobytes() + bytes(range(1, padding + 1)) for row in rows) + tail
    return Image(height=height, width=width, encoding=encoding, step=width * channels + padding,
                 data=data)


def camera(distortion=(0, 0, 0, 0, 0)):
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec([0.1, -0.3, 0.2]).as_matrix()
    pose[:3, 3] = [0.2, -0.1, 2.0]
    return Camera('cam7', 64, 48, np.array([[50, 0, 33.25], [0, 52, 23.75], [0, 0, 1.0]]), pose,
                  np.array(distortion, float))


def info(**changes):
    message = convert.info_message(camera((-0.2, 0.05, 0.001, -0.002, 0.01)),
                                   convert.header(5, 'cam7'))
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@given(st.integers(0, 2 ** 31 * 10 ** 9 - 1))
def test_times_go_round(stamp_ns):
    assert convert.nanoseconds(sent(convert.header(stamp_ns, 'f')).stamp) == stamp_ns


# --- pictures --------------------------------------------------------------------------------


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'mono8'])
@given(height=st.integers(1, 9), width=st.integers(1, 9), padding=st.integers(0, 9))
def test_images_of_any_row_step(encoding, height, width, padding):
    pixels = random_pixels(height, width)
    message = sent(image(pixels, encoding, padding))
    decoded = convert.picture_from_image(message, '/t').decode()
    assert decoded.dtype == np.uint8 and decoded.flags.c_contiguous
    expected = np.repeat(pixels[..., :1], 3, 2) if encoding == 'mono8' else pixels
    assert np.array_equal(decoded, expected)


def test_the_last_row_needs_no_padding():
    message = image(random_pixels(), 'rgb8', padding=3)
    message.data = message.data[:-3]
    assert np.array_equal(convert.picture_from_image(message, '/t').decode(), random_pixels())


@pytest.mark.parametrize('changes, words', [
    ({'encoding': 'yuv411'}, "encoding 'yuv411'; expected one of rgb8, bgr8, .*nv12, nv21"),
    ({'encoding': 'nv12'}, 'nv12 image of 7x5 px .* expected an even width and height'),
    ({'encoding': 'yuyv'}, 'expected an even width. Check'),
    ({'encoding': 'rgb16'}, 'step 21 and 105 bytes; expected a step of at least 42'),
    ({'encoding': ''}, "encoding ''"),
    ({'step': 20}, 'step 20 and 105 bytes; expected a step of at least 21'),
    ({'height': 6}, 'and 105 bytes; expected .* at least 126 bytes'),
    ({'data': b''}, 'and 0 bytes'),
    ({'width': 0, 'step': 0}, '0x5 px'),
    ({'height': 0}, '7x0 px'),
])
def test_images_that_cannot_be_pictures_name_their_topic(changes, words):
    message = image(random_pixels(), 'rgb8')
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(InputError, match=f'^/cam7/image_raw: .*{words}'):
        convert.picture_from_image(message, '/cam7/image_raw')


@pytest.mark.parametrize('suffix, name', [('.jpg', 'jpeg'), ('.jpg', 'rgb8; jpeg compressed bgr8'),
                                          ('.png', 'png'), ('.png', '')])
def test_compressed_images(suffix, name):
    pixels = cv2.resize(random_pixels(), (64, 48), interpolation=cv2.INTER_CUBIC)
    data = cv2.imencode(suffix, pixels[..., ::-1])[1].tobytes()
    message = sent(CompressedImage(format=name, data=data))
    decoded = convert.picture_from_compressed(message, '/t').decode()
    assert np.abs(decoded.astype(int) - pixels).mean() < (0.01 if suffix == '.png' else 12)


def test_compressed_images_of_other_formats_are_refused():
    for name in ('h264', '16UC1; compressedDepth png; h264', 'rgb8; zstd'):
        with pytest.raises(InputError, match='^/t: compressed images of format'):
            convert.picture_from_compressed(CompressedImage(format=name), '/t')


@pytest.mark.parametrize('data', [b'', b'\xff\xd8\xff no jpeg'])
def test_corrupt_jpegs_are_found_when_decoded(data):
    picture = convert.picture_from_compressed(CompressedImage(format='jpeg', data=data), '/t')
    with pytest.raises(InputError, match='^/t: .*(no readable|a damaged) JPEG'):
        picture.decode()


def test_views_become_messages():
    rgb = np.random.default_rng(0).random((48, 64, 3), np.float32)
    depth = np.full((48, 64), 2.5, np.float32)
    depth[0, 0] = np.nan
    view = View(rgb, depth, np.ones((48, 64), np.float32), camera(), 7)
    pixels = view.pixels()
    assert np.abs(pixels / 255 - rgb).max() <= 0.5 / 255 + 1e-6
    head = convert.header(7_000_000_001, 'view')
    message = sent(convert.image_message(pixels, head))
    assert (message.encoding, message.step, message.is_bigendian) == ('rgb8', 192, 0)
    assert message.header.frame_id == 'view'
    assert convert.nanoseconds(message.header.stamp) == 7_000_000_001
    assert np.array_equal(convert.picture_from_image(message, '/t').decode(), pixels)

    message = sent(convert.depth_message(depth, head))
    assert (message.encoding, message.step) == ('32FC1', 256)
    back = np.frombuffer(message.data, '<f4').reshape(48, 64)
    assert np.array_equal(back, depth, equal_nan=True)

    smooth = cv2.GaussianBlur(pixels, (0, 0), 5)
    message = sent(convert.jpeg_message(convert.jpeg_bytes(smooth, 95), head))
    decoded = convert.picture_from_compressed(message, '/t').decode()
    assert np.abs(decoded.astype(int) - smooth).mean() < 2


def test_color_is_kept_where_it_is_asked_for(monkeypatch):
    """OpenCV before 4.7 (Ubuntu 24.04 has 4.6) cannot; the pictures are the same."""
    rgb = np.zeros((32, 48, 3), np.uint8)
    rgb[:, 1::2] = 255, 0, 0  # half of it is gone where color is halved

    def decoded(*options):
        data = np.frombuffer(convert.jpeg_bytes(rgb, 95, *options), np.uint8)
        return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    full, half = decoded(True), decoded()
    assert np.abs(full - rgb).mean() < 3 < 20 < np.abs(half - rgb).mean()
    for name in ('', '_420', '_444'):
        monkeypatch.delattr(cv2, f'IMWRITE_JPEG_SAMPLING_FACTOR{name}', raising=False)
    assert np.array_equal(decoded(True), full) and np.array_equal(decoded(), half)


# --- cameras and poses -----------------------------------------------------------------------


def test_camera_info_goes_round():
    start = camera((-0.2, 0.05, 0.001, -0.002, 0.01))
    message = sent(convert.info_message(start, convert.header(5, 'cam7')))
    back = convert.camera_from_info(message, '/t', 'cam7', start.camera_from_world)
    assert (back.name, back.width, back.height) == ('cam7', 64, 48)
    assert np.array_equal(back.K, start.K) and np.array_equal(back.distortion, start.distortion)


def test_camera_info_has_integer_pixel_centers():
    """The oracle is OpenCV, which shares them: a point drawn at its pixel, half a pixel less."""
    start = camera((-0.2, 0.05, 0.001, -0.002, 0.01))
    message = convert.info_message(start, convert.header(5, 'cam7'))
    assert message.k[2] == start.K[0, 2] - 0.5 and message.k[5] == start.K[1, 2] - 0.5
    assert message.p[2] == message.k[2] and message.p[6] == message.k[5]
    points = np.random.default_rng(1).uniform(-0.4, 0.4, (20, 3))
    K, pose = np.array(message.k).reshape(3, 3), start.camera_from_world
    theirs, _ = cv2.projectPoints(points, cv2.Rodrigues(pose[:3, :3])[0], pose[:3, 3], K, None)
    ours, _ = start.project(points)
    assert np.allclose(ours, theirs[:, 0] + 0.5, atol=1e-6)


@pytest.mark.parametrize('model, d, expected', [
    ('', [], [0, 0, 0, 0, 0]), ('', [0.0] * 8, [0, 0, 0, 0, 0]), ('plumb_bob', [], [0] * 5),
    ('plumb_bob', [-0.2, 0.1, 0.01, 0.02], [-0.2, 0.1, 0.01, 0.02, 0]),
    ('plumb_bob', [-0.2, 0.1, 0.01, 0.02, 0.3], [-0.2, 0.1, 0.01, 0.02, 0.3])])
def test_distortion_models(model, d, expected):
    message = sent(info(distortion_model=model, d=d))
    got = convert.camera_from_info(message, '/t', 'cam7', np.eye(4)).distortion
    assert np.array_equal(got, expected)


def k_with(index, value):
    k = np.array(info().k)
    k[index] = value
    return k


@pytest.mark.parametrize('changes, words', [
    ({'k': np.zeros(9)}, r'intrinsics K = \[0.0, .*positive focal lengths'),
    ({'k': k_with(0, np.nan)}, r'intrinsics K = \[nan, .*Calibrate this camera'),
    ({'k': k_with(5, np.inf)}, 'inf'),
    ({'k': k_with(4, -50.0)}, '-50.0'),
    ({'k': k_with(1, 3.0)}, 'skew'),
    ({'width': 0}, '0x48'),
    ({'height': 0}, '64x0'),
    ({'distortion_model': 'equidistant'}, "'equidistant' with 5 coefficients; expected plumb_bob"),
    ({'distortion_model': 'rational_polynomial', 'd': [0.1] * 7}, 'with 7 coefficients'),
    ({'distortion_model': 'plumb_bob', 'd': [0.1] * 3}, 'with 3 coefficients'),
    ({'distortion_model': '', 'd': [0.1]}, "model '' with 1 coeff"),
    ({'d': [np.nan] * 5}, 'finite plumb_bob'),
    ({'d': [1e9] * 5}, 'finite plumb_bob'),
    ({'d': [0.1] * 10 ** 6}, 'with 1000000 coefficients'),
    ({'distortion_model': 'x\n' * 10 ** 6}, r"distortion model 'x\\nx\\n.{,100} with 5 coeff"),
    ({'width': 60000, 'height': 60000}, '60000x60000; expected 1 to 16384 px a side'),
    ({'width': 2 ** 32 - 1}, '4294967295x48'),
    ({'k': k_with(0, 0.01)}, r'focal lengths \[0.01, '),
    ({'k': k_with(4, 1e9)}, r'focal lengths .* 1000000000.0\] px'),
    ({'k': k_with(2, 640.0)}, r'principal point \[640.5, .* outside its pictures of 64x48'),
    ({'k': k_with(5, -30.0)}, 'principal point'),
    ({'binning_x': 65}, r'64x48 px, binned 65x1; expected a part inside'),
])
def test_camera_infos_that_cannot_be_used_name_their_topic(changes, words):
    with pytest.raises(InputError, match=f'^/cam7/camera_info: .*{words}'):
        convert.camera_from_info(info(**changes), '/cam7/camera_info', 'cam7', np.eye(4))


def with_focal(factor):
    return replace(camera(), K=camera().K * np.where(np.eye(3) == 1, [[1], [factor], [1]], 1))


def test_camera_info_is_held_against_the_rig_file():
    rig, far = camera(), with_focal(1.2)
    for factor in (0.91, 1.0, 1.09):
        assert convert.held_against(with_focal(factor), rig, '/cam7/camera_info') == ''
    doubt = convert.held_against(far, rig, '/cam7/camera_info')
    for words in ('/cam7/camera_info: focal lengths', str(np.diag(far.K)[:2].round(2).tolist()),
                  str(np.diag(rig.K)[:2].round(2).tolist()), 'more than 10 %'):
        assert words in doubt
    with pytest.raises(InputError, match='^/cam7/camera_info: .*32x24 px, but .*64x48; the rig'):
        convert.held_against(rig.resized(32), rig, '/cam7/camera_info')


@pytest.mark.parametrize('width, height, step', [
    (2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1), (2 ** 32 - 1, 1, 0), (65536, 65536, 3 * 65536),
    (64, 48, 2 ** 32 - 1), (64, 2 ** 32 - 1, 0), (64, 16384, 192)])
def test_images_whose_fields_contradict_each_other_are_refused(width, height, step):
    message = Image(width=width, height=height, step=step, encoding='rgb8',
                    data=array.array('B', bytes(64 * 48 * 3)))
    with pytest.raises(InputError, match=f'^/t: an .*image of {width}x{height} px'):
        convert.picture_from_image(message, '/t')


def test_texts_of_messages_are_shown_short():
    for message, read in ((Image(encoding='x\n' * 10 ** 6), convert.picture_from_image),
                          (CompressedImage(format='x\n' * 10 ** 6),
                           convert.picture_from_compressed)):
        with pytest.raises(InputError) as error:
            read(message, '/t')
        assert str(error.value).isprintable() and len(str(error.value)) < 400


def pose_of(start, frame='map', stretch=1.0):
    message = PoseStamped()
    message.header.frame_id = frame
    at, turn = message.pose.position, message.pose.orientation
    at.x, at.y, at.z = map(float, start.center)
    quaternion = stretch * Rotation.from_matrix(start.world_from_camera[:3, :3]).as_quat()
    turn.x, turn.y, turn.z, turn.w = map(float, quaternion)
    return message


@pytest.mark.parametrize('frame, stretch', [('map', 1.0), ('', 1.0), ('map', -2.5)])
def test_poses_of_optical_frames(frame, stretch):
    start = camera()
    got = convert.camera_from_world_of(sent(pose_of(start, frame, stretch)), 'map', '/t')
    assert np.allclose(got, start.camera_from_world, atol=1e-12)


@pytest.mark.parametrize('message, words', [
    (pose_of(camera(), 'odom'), "frame 'odom'; expected 'map'"),
    (pose_of(camera(), stretch=0.0), 'quaternion of length 1'),
    (pose_of(camera(), stretch=np.nan), 'expected finite values')])
def test_poses_that_cannot_be_used_name_their_topic(message, words):
    with pytest.raises(InputError, match=f'^/view/pose: .*{words}'):
        convert.camera_from_world_of(message, 'map', '/view/pose')


@pytest.mark.parametrize('kind, make', [
    (Image, lambda: convert.image_message(np.zeros((3, 4, 3), np.uint8), convert.header(0, ''))),
    (Image, lambda: convert.depth_message(np.zeros((3, 4), np.float32), convert.header(0, ''))),
    (CompressedImage, lambda: convert.jpeg_message(b'1234', convert.header(0, '')))])
def test_nothing_goes_through_a_slow_setter(kind, make, monkeypatch):
    """A 4 MB picture takes well under 1 ms this way, and over 200 ms through a setter."""
    real, given = kind.data, []

    def note(message, value):
        given.append(len(value))
        real.fset(message, value)
    monkeypatch.setattr(kind, 'data', property(real.fget, note))
    assert len(make().data) > 0
    assert given == [0]  # the empty array of a fresh message


def test_empty_arrays_fill_nothing():
    message = CameraInfo()
    convert.fill(message.d, np.zeros((0, 3)))
    assert len(message.d) == 0


@pytest.mark.parametrize('make', [
    lambda: (convert.image_message, np.zeros((1000, 1000, 3), np.uint8)),
    lambda: (convert.depth_message, np.zeros((1000, 1000), np.float32)),
    lambda: (convert.jpeg_message, np.zeros(3_000_000, np.uint8).data)])
def test_what_is_published_is_copied_once(make):
    """Into the message; the middleware then makes its own."""
    publish, content = make()
    head = convert.header(1, '')
    tracemalloc.start()
    try:
        message = publish(content, head)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(message.data) == content.nbytes
    assert content.nbytes <= peak < 1.2 * content.nbytes
