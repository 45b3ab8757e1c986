# SPDX-License-Identifier: Apache-2.0
"""Frame sets of one's own pictures."""
import numpy as np
import pytest

from igs_ros.core.errors import InputError
from igs_ros.core.frames import RawFrameSet

IMAGE = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


def test_images_are_kept_as_they_are():
    made = RawFrameSet.of(np.int64(7), {'left': IMAGE, 'right': IMAGE[:, ::-1]})
    assert made.stamp_ns == 7 and type(made.stamp_ns) is int and made.missing == ()
    assert made.pictures['left'].decode() is IMAGE
    assert made.pictures['right'].size() == (4, 2)


@pytest.mark.parametrize('image, said', [
    (IMAGE.astype(np.float32), r'float32 \[2, 4, 3\]'), (IMAGE[:, :, 0], r'uint8 \[2, 4\]'),
    (IMAGE[:, :, :1], r'uint8 \[2, 4, 1\]'), (IMAGE.tolist(), 'list')])
def test_an_image_of_another_kind_is_refused(image, said):
    with pytest.raises(InputError, match=f"camera 'left': an image of {said}.*uint8 RGB"):
        RawFrameSet.of(0, {'right': IMAGE, 'left': image})


@pytest.mark.parametrize('stamp', [1.7e9, '3', None])
def test_a_stamp_that_is_no_whole_number_is_refused(stamp):
    with pytest.raises(InputError, match='expected whole nanoseconds'):
        RawFrameSet.of(stamp, {'left': IMAGE})


POSE = np.array([[0.0, -1, 0, 0.1], [1, 0, 0, 0.2], [0, 0, 1, 0.3], [0, 0, 0, 1]])


def test_poses_of_a_frame_set_are_float64_matrices_by_camera():
    made = RawFrameSet.of(5, {'a': IMAGE, 'b': IMAGE}, {'a': POSE.tolist()})
    assert list(made.poses) == ['a']
    assert made.poses['a'].dtype == np.float64
    np.testing.assert_array_equal(made.poses['a'], POSE)
    assert not made.only(['b']).poses


@pytest.mark.parametrize('bad', [
    np.full((4, 4), np.nan), np.eye(3), np.diag([1.0, 1, -1, 1]), np.diag([1.01, 1, 1, 1]),
    np.eye(4) + np.eye(4)[[3, 2, 1, 0]], 'pose'], ids=[
        'nan', '3x3', 'mirrored', 'stretched', 'no row 0 0 0 1', 'a text'])
def test_a_pose_that_is_not_rigid_is_refused_in_one_line_with_its_camera(bad):
    with pytest.raises(InputError, match=r"^camera 'a': camera_from_world = .*rigid") as error:
        RawFrameSet.of(5, {'a': IMAGE}, {'a': bad})
    assert '\n' not in str(error.value)
