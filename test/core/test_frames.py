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
