# SPDX-License-Identifier: Apache-2.0
"""Lens models: names and coefficients of ROS and COLMAP, and that another one is one entry."""
import json
import math

import cv2
import numpy as np
import pytest

from igs_ros.core import lenses
from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.frames import RawFrameSet
from igs_ros.core.lenses import LENSES, Lens, from_colmap, from_ros
from igs_ros.io.recordings.rig import read_rig
from igs_ros.vision.preparer import Preparer

K = np.array([[60.0, 0, 48], [0, 60, 36], [0, 0, 1]])


@pytest.mark.parametrize('model, given, expected', [
    ('plumb_bob', [], [0] * 5), ('plumb_bob', [1, 2, 3, 4], [1, 2, 3, 4, 0]),
    ('plumb_bob', [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]), ('', [], [0] * 5), ('', [0] * 8, [0] * 5)])
def test_what_camera_info_may_say(model, given, expected):
    lens, distortion = from_ros(model, given, '/a/camera_info')
    assert (lens, distortion.tolist()) == ('plumb_bob', expected)


@pytest.mark.parametrize('model, given', [
    ('plumb_bob', [1, 2, 3]), ('plumb_bob', [1] * 6), ('', [1.0]), ('equidistant', [0] * 4)])
def test_what_camera_info_may_not_say(model, given):
    with pytest.raises(InputError, match='/a/camera_info: distortion model .* expected plumb_bob'):
        from_ros(model, given, '/a/camera_info')


@pytest.mark.parametrize('number, values, focal, distortion', [
    (0, (9, 4, 3), (9, 9), [0] * 5), (1, (9, 8, 4, 3), (9, 8), [0] * 5),
    (2, (9, 4, 3, .1), (9, 9), [.1, 0, 0, 0, 0]),
    (3, (9, 4, 3, .1, .2), (9, 9), [.1, .2, 0, 0, 0]),
    (4, (9, 8, 4, 3, .1, .2, .3, .4), (9, 8), [.1, .2, .3, .4, 0])])
def test_models_of_colmap(number, values, focal, distortion):
    assert lenses.colmap_parameters(number, 'camera 1') == len(values)
    K, lens, found = from_colmap(number, values)
    assert np.array_equal(K, [[focal[0], 0, 4], [0, focal[1], 3], [0, 0, 1]])
    assert (lens, found.tolist()) == ('plumb_bob', distortion)


def test_other_models_of_colmap_are_named():
    with pytest.raises(InputError, match='camera 1 has the model OPENCV_FISHEYE; expected '):
        lenses.colmap_parameters(5, 'camera 1')


@pytest.fixture
def fisheye(monkeypatch):
    """A lens model that was not there: angles stay angles."""
    def maps(K, distortion, new_K, size):
        return cv2.fisheye.initUndistortRectifyMap(K, distortion, np.eye(3), new_K, size,
                                                   cv2.CV_32FC1)
    monkeypatch.setitem(LENSES, 'equidistant', Lens(('k1', 'k2', 'k3', 'k4'), 0, maps))


def test_another_model_is_one_entry(fisheye, tmp_path):
    """From a rig file to working images: a point 30 degrees off the axis is found where it is."""
    (tmp_path / 'rig.json').write_text(json.dumps({'pixel_center': 0.5, 'cameras': [{
        'name': 'a', 'width': 96, 'height': 72, 'K': K.tolist(), 'dist': [0, 0, 0, 0],
        'distortion_model': 'equidistant', 'world_to_camera': np.eye(4).tolist()}]}))
    camera = read_rig(tmp_path / 'rig.json')['a']
    assert camera.lens == from_ros('equidistant', [0] * 4, '')[0] == 'equidistant'
    angle = math.radians(30)
    x, y = camera.opencv_K[:2, 2] + (60 * angle, 0)  # r = f * theta
    raw = np.zeros((72, 96, 3), np.uint8)
    cv2.circle(raw, (round(x), round(y)), 2, (255, 255, 255), -1)
    image = Preparer({'a': camera}).prepare(RawFrameSet.of(0, {'a': raw})).images['a']
    rows, columns = np.nonzero(image[..., 0] > 128)
    assert columns.mean() == pytest.approx(camera.opencv_K[0, 2] + 60 * math.tan(angle), abs=1)
    assert rows.mean() == pytest.approx(y, abs=1)


def test_coefficients_of_another_lens_are_refused(fisheye):
    with pytest.raises(InputError, match='expected four finite equidistant values k1 k2 k3 k4'):
        Camera('a', 96, 72, K, np.eye(4), np.zeros(5), 'equidistant')
    with pytest.raises(InputError, match='lens model .*double_sphere.* expected plumb_bob'):
        Camera('a', 96, 72, K, np.eye(4), np.zeros(5), 'double_sphere')
