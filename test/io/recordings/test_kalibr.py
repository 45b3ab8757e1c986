# SPDX-License-Identifier: Apache-2.0
"""Camera chains of Kalibr: poses against those worked by hand, whatever else comes is refused."""
import copy

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from igs_ros.core.errors import InputError
from igs_ros.io.recordings import kalibr
from igs_ros.io.recordings.open import read_cameras

# as kalibr_calibrate_cameras writes it
CAMCHAIN = """\
cam0:
  cam_overlaps: [1]
  camera_model: pinhole
  distortion_coeffs: [-0.28, 0.07, 0.0002, 1.8e-05]
  distortion_model: radtan
  intrinsics: [458.5, 457.5, 367.0, 248.0]
  resolution: [752, 480]
  rostopic: /cam0/image_raw
cam1:
  T_cn_cnm1:
  - [1.0, 0.0, 0.0, -0.11]
  - [0.0, 1.0, 0.0, 0.0]
  - [0.0, 0.0, 1.0, 0.0]
  - [0.0, 0.0, 0.0, 1.0]
  camera_model: pinhole
  distortion_coeffs: [0.01, 0.02, 0.03, 0.04]
  distortion_model: equidistant
  intrinsics: [457.5, 456.0, 379.0, 255.0]
  resolution: [752, 480]
cam2:
  T_cn_cnm1:
  - [0.0, 0.0, -1.0, 0.0]
  - [0.0, 1.0, 0.0, 0.0]
  - [1.0, 0.0, 0.0, 0.5]
  - [0.0, 0.0, 0.0, 1.0]
  camera_model: pinhole
  distortion_model: none
  intrinsics: [400.0, 400.0, 320.0, 240.0]
  resolution: [640, 480]
"""


@pytest.fixture
def camchain(tmp_path):
    """write(changes): a camchain file; a change is a function of its content."""
    def write(change=lambda content: None):
        content = yaml.safe_load(CAMCHAIN)
        change(content)
        path = tmp_path / 'camchain.yaml'
        path.write_text(yaml.safe_dump(content))
        return path
    return write


def test_poses_and_intrinsics_by_hand(camchain):
    cameras = read_cameras(camchain())
    assert list(cameras) == ['cam0', 'cam1', 'cam2']
    assert np.array_equal(cameras['cam0'].camera_from_world, np.eye(4))  # the world
    assert np.allclose(cameras['cam1'].center, (0.11, 0, 0))  # to the right of cam0
    # a point of cam2 at (a, b, c) is at (c - 0.5, b, -a) in cam1, 0.11 m further right in cam0
    assert np.allclose(cameras['cam2'].center, (-0.5 + 0.11, 0, 0))
    assert np.allclose(cameras['cam2'].world_from_camera[:3, 2], (1, 0, 0))  # looks right
    one, two = cameras['cam0'], cameras['cam1']
    assert (one.width, one.height, one.lens, two.lens) == (752, 480, 'plumb_bob', 'equidistant')
    assert np.array_equal(one.opencv_K, [[458.5, 0, 367], [0, 457.5, 248], [0, 0, 1]])
    assert one.distortion[:4].tolist() == [-0.28, 0.07, 0.0002, 1.8e-05]
    assert two.distortion.tolist() == [0.01, 0.02, 0.03, 0.04]
    assert not cameras['cam2'].distorted


def test_ten_cameras_come_in_the_order_of_their_numbers(camchain):
    def more(content):
        for number in range(3, 11):
            content[f'cam{number}'] = copy.deepcopy(content['cam1'])
    cameras = read_cameras(camchain(more))
    assert list(cameras)[-2:] == ['cam9', 'cam10']
    assert np.allclose(np.linalg.norm(cameras['cam10'].center - cameras['cam9'].center), 0.11)


def put(camera, key, value):
    def change(content):
        content[camera][key] = value
    return change


def without(camera, key):
    def change(content):
        del content[camera][key]
    return change


@pytest.mark.parametrize('change, words', [
    (put('cam0', 'camera_model', 'omni'), "camera 'cam0': camera_model 'omni'; expected pinhole"),
    (put('cam0', 'distortion_model', 'fov'), "distortion_model 'fov'; expected radtan"),
    (put('cam0', 'distortion_coeffs', [1.0]), "camera 'cam0'.*1 coefficients"),
    (put('cam0', 'distortion_coeffs', 'x'), 'distortion_coeffs is'),
    (put('cam0', 'intrinsics', [1, 2, 3]), 'intrinsics is .*expected numbers of shape 4'),
    (put('cam0', 'intrinsics', [float('nan')] * 4), "camera 'cam0': intrinsics"),
    (put('cam0', 'resolution', [752.5, 480]), 'resolution .*whole numbers'),
    (put('cam0', 'resolution', [float('inf'), 480]), 'resolution .*whole numbers'),
    (without('cam1', 'T_cn_cnm1'), "camera 'cam1': T_cn_cnm1 is None; .* of shape 4x4"),
    (put('cam1', 'T_cn_cnm1', np.diag([2.0, 1, 1, 1]).tolist()), 'rigid'),
    (lambda content: content.pop('cam1'), r'cameras \[0, 2\]; expected a camchain of Kalibr'),
    (lambda content: content.clear(), r'cameras \[\]; expected a camchain'),
    (lambda content: content.update(cam1=3), "camera 'cam1' is 3"),
])
def test_what_cannot_be_used_is_named(camchain, change, words):
    path = camchain(change)
    with pytest.raises(InputError, match=words) as raised:
        read_cameras(path)
    assert str(path) in str(raised.value)


def test_no_yaml_and_no_file(tmp_path):
    path = tmp_path / 'a.yaml'
    path.write_text('cam0: [')
    with pytest.raises(InputError, match='a.yaml: no YAML that can be read .*expected a camchain'):
        read_cameras(path)
    path.write_text('[' * 20_000)
    with pytest.raises(InputError, match='a.yaml: more than 10000 lists; expected a camchain'):
        read_cameras(path)
    with pytest.raises(InputError, match='nothing.yml: cannot be read'):
        read_cameras(tmp_path / 'nothing.yml')


scalars = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5)
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4)
                     | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=10)


@settings(max_examples=60)
@given(st.sampled_from(['cam0', 'cam1', 'cam2']), st.sampled_from(
    ['T_cn_cnm1', 'camera_model', 'distortion_coeffs', 'distortion_model', 'intrinsics',
     'resolution', None]), trees)
def test_anything_is_read_or_refused(tmp_path_factory, camera, key, value):
    content = yaml.safe_load(CAMCHAIN)
    if key is None:
        content[camera] = value
    else:
        content[camera][key] = value
    path = tmp_path_factory.getbasetemp() / 'camchain.yaml'
    path.write_text(yaml.safe_dump(content), encoding='utf-8', errors='replace')
    try:
        cameras = kalibr.read_cameras(path)
    except InputError as error:
        assert 'camchain.yaml' in str(error)
    else:
        assert list(cameras) == ['cam0', 'cam1', 'cam2']
