# SPDX-License-Identifier: Apache-2.0
"""No false alarms: whole JPEG files of all kinds decode, to the pixels that OpenCV has."""
import random

import cv2
import numpy as np
from fuzzing import fuzzer
from hypothesis import strategies as st
from whole_pictures import photo, whole_jpeg

from igs_ros.core.errors import InputError
from igs_ros.io.pictures import AS_STORED, decode_color, picture_size

PHOTO = photo()


@fuzzer(cases=300, number=st.integers(0, 2 ** 32), noise=st.sampled_from((0, 0, 3, 30)))
def test_whole_pictures(number, noise):
    rng = random.Random(number)
    normal = np.random.default_rng(number).normal(0, noise or 1, PHOTO.shape)
    pixels = np.clip(PHOTO + normal, 0, 255).astype(np.uint8) if noise else PHOTO
    data = whole_jpeg(rng, pixels)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), AS_STORED)[..., ::-1]
    try:
        assert picture_size(data, 'here') == expected.shape[1::-1]
        decoded = decode_color(data, 'here')
    except InputError as error:
        raise AssertionError(f'a whole picture is refused: {error}') from error
    np.testing.assert_array_equal(decoded, expected)
