# SPDX-License-Identifier: Apache-2.0
"""Changed pixels."""
import numpy as np
import pytest

from igs_ros.vision.changes import changed_pixels, changed_share, difference, grown


def gray(level: int, height: int = 40, width: int = 60) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def test_a_flat_change_is_its_size_in_any_channel():
    after = gray(100)
    after[..., 2] += 51
    np.testing.assert_allclose(difference(after, gray(100)), 0.2, atol=1e-6)
    np.testing.assert_allclose(difference(gray(100), after), 0.2, atol=1e-6)


@pytest.mark.parametrize('step, expected', [(7, False), (9, True)])
def test_the_threshold_lies_at_eight_levels(step, expected):
    assert changed_pixels(gray(100 + step), gray(100)).all() == expected


def test_changed_areas_grow_by_four_pixels_to_each_side():
    mask = np.zeros((40, 60), bool)
    mask[20, 30] = True
    expected = np.zeros_like(mask)
    expected[16:25, 26:35] = True
    assert (grown(mask) == expected).all()


def test_the_share_is_the_mean_over_cameras_that_both_have():
    half = gray(100)
    half[:, :30] = 200
    images = {'a': half, 'b': gray(100), 'new': gray(0)}
    share = changed_share(images, {'a': gray(100), 'b': gray(100), 'gone': gray(7)})
    assert share == pytest.approx(0.25, abs=0.02)  # the blur carries the edge a little on
    assert changed_share(images, {}) == 0
