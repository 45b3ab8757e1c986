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


def test_a_single_pixel_is_blurred_by_a_gaussian_of_one_and_a_half_pixels():
    after = gray(0)
    after[20, 30] = 255
    bell = np.exp(-np.arange(-6, 7) ** 2 / (2 * 1.5 ** 2))
    bell /= bell.sum()
    expected = np.zeros((40, 60))
    expected[14:27, 24:37] = np.outer(bell, bell)
    for image, reference in ((after, gray(0)), (np.float32(after / 255), np.float32(gray(0)))):
        np.testing.assert_allclose(difference(image, reference), expected, atol=1e-5)


def test_pictures_of_bytes_and_of_floats_differ_by_the_same():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 256, (2, 20, 30, 3)).astype(np.uint8)
    np.testing.assert_allclose(difference(np.float32(one / 255), np.float32(other / 255)),
                               difference(one, other), atol=1e-5)


@pytest.mark.parametrize('step, expected', [(7, 0.0), (9, 1.0)])
def test_the_share_counts_from_the_same_threshold_on(step, expected):
    assert changed_share({'a': gray(100 + step)}, {'a': gray(100)}) == expected


@pytest.mark.parametrize('threshold, expected', [(0.19, True), (0.21, False)])
def test_another_threshold_can_be_asked_for(threshold, expected):
    assert changed_pixels(gray(151), gray(100), threshold).any() == expected
