# SPDX-License-Identifier: Apache-2.0
"""CameraInfo by the rules of its definition: region of interest, binning, rectification."""
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.frames import RawFrameSet
from igs_ros.io.camera_info import as_sent, camera_from_info, is_rectified, rectified_line
from igs_ros.vision.preparer import Preparer

K = [200.0, 0, 79.5, 0, 202, 61.5, 0, 0, 1]
D = [-0.2, 0.05, 0.001, -0.002, 0.0]


def info(roi=(0, 0, 0, 0), binning=(0, 0), **changes):
    x, y, width, height = roi
    fields = {'width': 160, 'height': 120, 'k': K, 'd': D, 'distortion_model': 'plumb_bob',
              'r': np.eye(3).ravel(), 'p': [180.0, 0, 70, 0, 0, 181, 60, 0, 0, 0, 1, 0],
              'binning_x': binning[0], 'binning_y': binning[1],
              'roi': SimpleNamespace(x_offset=x, y_offset=y, width=width, height=height,
                                     do_rectify=False)}
    return SimpleNamespace(**{**fields, **changes})


def camera(message, **options):
    return camera_from_info(message, '/a/camera_info', 'a', np.eye(4), **options)


@pytest.mark.parametrize('roi, binning, size', [
    ((0, 0, 0, 0), (1, 1), (160, 120)), ((0, 0, 160, 120), (0, 0), (160, 120)),
    ((40, 20, 100, 80), (0, 0), (100, 80)), ((0, 0, 0, 0), (2, 2), (80, 60)),
    ((0, 0, 0, 0), (4, 2), (40, 60)), ((90, 70, 70, 50), (2, 0), (35, 50)),
    ((1, 3, 63, 41), (2, 2), (31, 20))])
def test_the_picture_is_the_region_of_interest_binned(roi, binning, size):
    """Where OpenCV, by the full K, sees points; then cut, then the mean place of binned pixels."""
    made = camera(info(roi, binning))
    assert (made.width, made.height) == size
    points = np.random.default_rng(0).uniform((-0.3, -0.3, 1), (0.3, 0.3, 2), (50, 3))
    full, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), np.reshape(K, (3, 3)), None)
    bins = np.maximum(binning, 1)
    # pixel i of the binned picture is the mean of the pixels b i .. b i + b - 1
    expected = (full[:, 0] - roi[:2] - (bins - 1) / 2) / bins
    assert np.allclose(made.project(points)[0] - 0.5, expected, atol=1e-6)
    assert made.distortion.tolist() == D


@pytest.mark.parametrize('roi, binning', [((48, 16, 96, 80), (1, 1)), ((16, 8, 128, 96), (2, 2))])
def test_a_cut_picture_is_straightened_as_the_whole_one(roi, binning):
    """Of both, the same place shows the same: the lens's axis stays where it was."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    raw = cv2.resize(pixels, (160, 120), interpolation=cv2.INTER_CUBIC)
    x, y, width, height = roi
    part = cv2.resize(raw[y:y + height, x:x + width],
                      (width // binning[0], height // binning[1]), interpolation=cv2.INTER_AREA)

    def straight(message, picture):
        preparer = Preparer({'a': camera(message)})
        return preparer.prepare(RawFrameSet.of(0, {'a': picture})).images['a'].astype(int)
    whole = straight(info(), raw).astype(np.uint8)[y:y + height, x:x + width]
    whole = cv2.resize(whole, part.shape[1::-1], interpolation=cv2.INTER_AREA).astype(int)
    found = straight(info(roi, binning), part)
    inside = np.s_[4:-4, 4:-4]
    assert np.abs(found - whole)[inside].mean() < (0.1 if binning == (1, 1) else 2)


def test_a_principal_point_may_lie_outside_of_a_part_but_not_of_the_whole():
    assert camera(info((100, 80, 60, 40))).K[0, 2] == -20
    with pytest.raises(InputError, match='principal point'):
        camera(info(k=[200.0, 0, -20.5, 0, 202, 61.5, 0, 0, 1]))


@pytest.mark.parametrize('roi, binning', [
    ((100, 0, 61, 120), (0, 0)), ((0, 0, 160, 0), (0, 0)), ((8, 0, 0, 0), (0, 0)),
    ((0, 0, 0, 0), (161, 1)), ((2 ** 32 - 1, 0, 2, 2), (0, 0)),
    ((0, 0, 2 ** 32 - 1, 5), (2 ** 32 - 1, 1))])
def test_parts_that_are_none_name_topic_and_camera(roi, binning):
    with pytest.raises(InputError, match="^/a/camera_info: camera 'a': the part .* of 160x120 px"):
        camera(info(roi, binning))


def test_the_rig_files_camera_is_compared_as_sent():
    message = info((40, 20, 100, 80), (2, 2))
    whole = Camera.from_opencv_K('a', 160, 120, np.reshape(K, (3, 3)), np.eye(4))
    assert np.allclose(as_sent(whole, message).K, camera(message).K)
    sent = whole.resized(50)
    assert as_sent(sent, message) is sent  # a rig file of the pictures as they are sent
    assert as_sent(whole, info()) is whole


# --- rectified -------------------------------------------------------------------------------


@pytest.mark.parametrize('topic, rectified', [
    ('/a/image_rect', True), ('/a/image_rect_color/compressed', True), ('/a/rect/image', True),
    ('/zed/zed_node/rgb/color/rect/image', True), ('/a/image_rectified', True),
    ('/camera/infra1/image_rect_raw', True), ('/a/image_raw', False), ('/direct/image', False),
    ('/a/image_correct', False), ('/a/rectangle', False), ('/a/image', False)])
def test_rectified_topics_are_told_by_their_name(topic, rectified):
    assert is_rectified(topic) is rectified


def test_rectified_pictures_have_the_intrinsics_of_p_and_no_distortion():
    made = camera(info(), rectified=True)
    assert np.array_equal(made.opencv_K, [[180, 0, 70], [0, 181, 60], [0, 0, 1]])
    assert not made.distorted and made.lens == 'plumb_bob'
    made = camera(info((10, 20, 100, 80), (2, 2), distortion_model='double_sphere'),
                  rectified=True)  # P is of the full picture, too
    assert np.allclose(made.K, [[90, 0, 30.25], [0, 90.5, 20.25], [0, 0, 1]])


def test_p_without_values_is_refused():
    with pytest.raises(InputError, match=r'^/a/camera_info: rectified pictures .*= \[0'):
        camera(info(p=[0.0] * 12), rectified=True)


def test_a_turn_by_rectification_is_told():
    turned = Rotation.from_rotvec([0, np.radians(1.5), 0]).as_matrix().ravel()
    for r, told in ((np.eye(3).ravel(), False), (np.zeros(9), False), (turned, True)):
        line = rectified_line(info(r=r), '/a/camera_info', '/a/image_rect')
        assert line.startswith('/a/image_rect: rectified by its name; intrinsics are those of P ')
        assert ('is turned by its R (1.50 degrees)' in line) is told


def test_a_rectified_pair_sees_points_where_opencv_has_them():
    """And in the same row, as the poses of the cameras as they are mounted say."""
    K = np.array([[180.0, 0, 70], [0, 181, 60], [0, 0, 1]])
    right_from_left = np.eye(4)
    right_from_left[:3, :3] = Rotation.from_rotvec([0.02, -0.05, 0.03]).as_matrix()
    right_from_left[:3, 3] = [-0.2, 0.01, 0.02]
    left = np.linalg.inv(np.eye(4) + np.eye(4, k=3) * 0.4)  # anywhere
    mounted = {'left': left, 'right': right_from_left @ left}
    lens = np.array([-0.2, 0.05, 0.001, 0.002, 0.0])
    turns = cv2.stereoRectify(K, lens, K, lens, (140, 120), right_from_left[:3, :3],
                              right_from_left[:3, 3:], alpha=0)[:4]
    points = np.linalg.inv(left)[:3, 3] + np.random.default_rng(0).uniform(
        [-0.3, -0.3, 2], [0.3, 0.3, 3], (20, 3))
    rows = []
    for (name, pose), R, P in zip(mounted.items(), turns[:2], turns[2:], strict=True):
        made = camera_from_info(info(r=R.ravel(), p=P.ravel(), k=K.ravel(), d=lens.tolist()),
                                '/a/camera_info', name, pose, rectified=True)
        found = made.project(points)[0] - 0.5
        raw = cv2.projectPoints(points, cv2.Rodrigues(pose[:3, :3])[0], pose[:3, 3:], K, lens)[0]
        expected = cv2.undistortPoints(raw, K, lens, R=R, P=P[:, :3])[:, 0]
        assert np.abs(found - expected).max() < 0.02
        rows.append(found[:, 1])
    assert np.abs(rows[0] - rows[1]).max() < 1e-6
    assert np.abs(made.camera_from_world - pose).max() > 0.01, 'R turns nothing: no test'
    raw_camera = camera_from_info(info(r=turns[1].ravel()), '/a/camera_info', 'a', pose)
    assert np.array_equal(raw_camera.camera_from_world, pose), 'raw pictures are not turned'


@pytest.mark.parametrize('r', [[2.0, 0, 0, 0, 1, 0, 0, 0, 1], [1.0, 0, 0, 0, 1, 0, 0, 0, -1],
                               [np.nan] * 9, [1e200] * 9])
def test_an_r_that_is_no_rotation_is_refused(r):
    with pytest.raises(InputError, match='^/a/camera_info: rectified pictures with R = .*expected '
                                         'a rotation'):
        camera(info(r=r), rectified=True)
    assert camera(info(r=r)).width, 'raw pictures do not need it'
