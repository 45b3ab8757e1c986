# SPDX-License-Identifier: Apache-2.0
"""Guessed depth: planes go on, colors bound surfaces, what is known stays."""
import numpy as np
import pytest

from igs_ros.core.camera import Camera
from igs_ros.vision.fill import filled
from igs_ros.vision.stereo import DepthMap

CAMERA = Camera('a', 96, 64, [[80.0, 0, 48], [0, 80.0, 32], [0, 0, 1]], np.eye(4))
GRAY = np.full((64, 96, 3), 120, np.uint8)


def plane(slant):
    """Depth [64, 96] of a plane 2 m away; inverse depth grows by `slant` per px."""
    inverse = 0.5 + slant * (np.arange(96) - 48)
    return np.tile(1 / inverse, (64, 1)).astype(np.float32)


def fill(truth, known, image=GRAY):
    depth = np.where(known, truth, np.float32(np.nan))
    return filled(depth, DepthMap.of_depth(truth, CAMERA).slope, image)


@pytest.mark.parametrize('slant', [0.0, 2e-3, -3e-3])
def test_a_plane_goes_on_beyond_the_last_known_pixel(slant):
    truth, known = plane(slant), np.zeros((64, 96), bool)
    known[:, 30:70] = True
    found = fill(truth, known)
    error = np.abs(found - truth) / truth
    assert (found[known] == truth[known]).all()  # bit for bit
    assert error[:, 20:80].max() < 0.02  # 10 px on
    assert error.max() < 0.06  # 30 px on; depth held constant is off by up to 0.2
    if slant:
        assert np.abs(truth[:, 29] - truth[:, 0]).max() / truth[:, 0].max() > 0.09


def test_a_hole_in_a_plane_is_closed():
    truth, known = plane(2e-3), np.ones((64, 96), bool)
    known[20:44, 30:66] = False
    assert (np.abs(fill(truth, known) - truth) / truth).max() < 0.002


def test_colors_bound_surfaces():
    """A bright box before a dark wall, known in the middle of each: the edge is the color's."""
    truth = np.full((64, 96), 2.0, np.float32)
    truth[16:48, 24:72] = 1.0
    image = np.full((64, 96, 3), 40, np.uint8)
    image[16:48, 24:72] = 220
    known = np.zeros((64, 96), bool)
    known[28:36, 40:56] = True
    known[:6], known[-6:] = True, True
    step = np.abs(np.diff(fill(truth, known, image), axis=1))[20:44]
    assert step[:, [23, 71]].min() > 0.4  # where the colors change
    assert step[:, 2:22].max() < 0.02 and step[:, 73:94].max() < 0.02
    blind = np.abs(np.diff(fill(truth, known), axis=1))[20:44]
    assert blind[:, [23, 71]].max() < 0.05  # without colors it is a slope


@pytest.mark.parametrize('pixels', [0, 19])
def test_too_little_known_gives_nothing(pixels):
    known = np.zeros((64, 96), bool)
    known.ravel()[:pixels] = True
    assert np.isnan(fill(plane(0.0), known)[~known]).all()


def test_guesses_stay_in_range():
    truth, known = plane(4e-3), np.zeros((64, 96), bool)
    known[:, 48:54] = True  # seen at 2 m; to the left the plane would reach beyond infinity
    found = fill(truth, known)
    assert found.min() >= 0.49 * truth[known].min() and found.max() <= 2.01 * truth[known].max()
