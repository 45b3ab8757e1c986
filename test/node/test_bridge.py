# SPDX-License-Identifier: Apache-2.0
"""Encodings left to cv_bridge. That package has no wheel: a stand-in with its two calls, as its
own source (vision_opencv, cv_bridge/core.py) has them, takes its place; the real one where it is.
"""
import numpy as np
import pytest

from igs_ros.core.errors import InputError

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from sensor_msgs.msg import Image  # noqa: E402

from igs_ros.node import bridge, convert  # noqa: E402


class CvBridge:
    """Knows 8UC3, which it shows as it is, and 32FC1, which it cannot make colors of."""

    def encoding_to_dtype_with_channels(self, encoding):
        return {'8UC3': ('uint8', 3), '32FC1': ('float32', 1)}[encoding]

    def imgmsg_to_cv2(self, message, desired_encoding='passthrough'):
        if message.encoding != '8UC3' or desired_encoding != 'rgb8':
            raise TypeError(f'[{message.encoding}] is not a color format')
        rows = np.ndarray((message.height, message.step), np.uint8, bytes(message.data))
        return rows[:, :3 * message.width].reshape(message.height, message.width, 3)


@pytest.fixture
def installed(monkeypatch):
    made = CvBridge()
    monkeypatch.setattr(bridge, '_cv_bridge', lambda: made)
    bridge.converts.cache_clear()
    yield made
    bridge.converts.cache_clear()


PIXELS = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)


def message(encoding='8UC3', step=17):
    rows = np.zeros((4, step), np.uint8)
    rows[:, :15] = PIXELS.reshape(4, 15)
    return Image(height=4, width=5, step=step, encoding=encoding, data=rows.tobytes())


def test_what_it_converts_is_taken(installed):
    picture = convert.picture_from_image(message(), '/t')
    assert picture.size() == (5, 4) and np.array_equal(picture.decode(), PIXELS)


@pytest.mark.parametrize('encoding', ['32FC1', 'yuv411', '', 'x' * 10 ** 6])
def test_what_it_does_not_convert_is_refused_in_the_callback(installed, encoding):
    with pytest.raises(InputError, match='^/t: images with encoding .* expected one of rgb8'):
        convert.picture_from_image(message(encoding), '/t')


def test_its_own_encodings_stay_with_this_package(installed, monkeypatch):
    monkeypatch.setattr(installed, 'imgmsg_to_cv2', None)
    assert convert.picture_from_image(message('rgb8'), '/t').decode().shape == (4, 5, 3)


@pytest.mark.parametrize('step, cut', [(14, 0), (17, 1)])
def test_headers_are_checked_before_it_sees_them(installed, step, cut):
    wrong = message()
    wrong.step, wrong.data = step, wrong.data[:4 * 17 - cut]
    with pytest.raises(InputError, match='^/t: an 8UC3 image of 5x4 px with step'):
        convert.picture_from_image(wrong, '/t')


def test_what_it_raises_later_names_the_topic(installed, monkeypatch):
    picture = convert.picture_from_image(message(), '/t')
    monkeypatch.setattr(CvBridge, 'imgmsg_to_cv2', lambda *_: 1 / 0)
    with pytest.raises(InputError, match='^/t: cv_bridge cannot convert an 8UC3 image of 5x4'):
        picture.decode()


def test_the_real_one_where_it_is_installed():
    pytest.importorskip('cv_bridge', reason='cv_bridge is not installed')
    bridge._cv_bridge.cache_clear()
    bridge.converts.cache_clear()
    assert bridge.converts('bgr8') and not bridge.converts('no encoding')


def test_without_it_one_line_says_what_is_known(monkeypatch):
    monkeypatch.setattr(bridge, '_cv_bridge', lambda: None)
    bridge.converts.cache_clear()
    with pytest.raises(InputError, match="^/t: images with encoding '8UC3'; expected one of rgb8"):
        convert.picture_from_image(message(), '/t')
