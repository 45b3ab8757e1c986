# SPDX-License-Identifier: Apache-2.0
"""Which depths pictures confirm: a textured wall, seen from places that tell and that do not."""
import cv2
import numpy as np
import pytest

from igs_ros.core.camera import Camera
from igs_ros.vision.support import witnesses

K = np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]])
SIZE = (160, 120)
WALL = 2.0  # m before all cameras


def camera(x, name='a'):
    pose = np.eye(4)
    pose[0, 3] = -x
    return Camera(name, *SIZE, K, pose)


def wall(texture, x):
    """The picture of a wall across the view from x: texels of 0.5 px, at WALL."""
    columns, rows = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    shifted = columns + x * K[0, 0] / WALL
    places = [np.float32(2 * value + 100) for value in (shifted, rows)]
    gray = cv2.remap(texture, *places, cv2.INTER_LINEAR)
    return np.repeat(gray[..., None], 3, -1)


def texture(seed=0, contrast=1.0):
    rough = np.random.default_rng(seed).uniform(0, 1, (500, 700)).astype(np.float32)
    smooth = cv2.GaussianBlur(rough, (0, 0), 3)
    smooth = (smooth - smooth.mean()) / smooth.std() * 0.15 * contrast + 0.5
    return np.rint(255 * smooth.clip(0, 1)).astype(np.uint8)


def counted(xs, depth=WALL, pictures=None, measured=None, other=WALL):
    """[h, w] of camera 0 at xs[0], whose depth is `depth`; the others have `other`."""
    cameras = {str(i): camera(x, str(i)) for i, x in enumerate(xs)}
    pictures = pictures or [wall(texture(), x) for x in xs]
    depths = {name: np.full(SIZE[::-1], other, np.float32) for name in cameras}
    depths['0'] = np.broadcast_to(np.float32(depth), SIZE[::-1]).copy()
    return witnesses(depths, dict(zip(cameras, pictures, strict=True)), cameras, measured)['0']


def share(count):
    """Of the middle, which all cameras of these tests see."""
    return (count[10:-10, 40:-40] > 0).mean()


@pytest.mark.parametrize(('xs', 'expected'), [((0, 0.3), 2), ((0, 0.3, -0.3), 3),
                                             ((0, 0.3, -0.3, 0.5, -0.5), 5)])
def test_each_camera_that_confirms_a_depth_is_a_witness(xs, expected):
    count = counted(xs)
    middle = count[10:-10, 50:-50]
    assert share(count) > 0.98 and np.median(middle) == expected and middle.max() == expected
    assert set(np.unique(count)) <= {0, *range(2, expected + 1)}


@pytest.mark.parametrize('xs', [(0,), (0, 0), (0, 1e-4, 2e-4, -1e-4), (0, 0.005)])
def test_cameras_that_see_no_parallax_confirm_nothing(xs):
    """One camera, all at one place, or so near that 5 % of the depth move no pixel."""
    assert share(counted(xs)) < 0.02


def test_a_wrong_depth_is_confirmed_by_nobody():
    for depth in (1.7, 1.85, 2.15, 2.4):
        assert share(counted((0, 0.3, -0.3), depth, other=depth)) < 0.05, depth
    assert share(counted((0, 0.3, -0.3), 1.98, other=1.98)) > 0.9, '1 % off is a pixel of it'


def test_the_other_camera_must_have_a_surface_there():
    assert share(counted((0, 0.3), other=WALL * 1.02)) > 0.9
    for other in (WALL * 0.95, WALL * 1.05, np.nan):
        assert share(counted((0, 0.3), other=other)) == 0


def test_a_blank_wall_and_other_pictures_are_not_confirmed():
    blank = [np.full((*SIZE[::-1], 3), 120, np.uint8)] * 2
    assert share(counted((0, 0.3), pictures=blank)) == 0
    noise = np.random.default_rng(3)
    grainy = [np.clip(120 + noise.normal(0, 2, (*SIZE[::-1], 1)), 0, 255).repeat(3, 2).astype('u1')
              for _ in range(2)]
    assert share(counted((0, 0.3), pictures=grainy)) < 0.01
    others = [wall(texture(0), 0), wall(texture(1), 0.3)]
    assert share(counted((0, 0.3), pictures=others)) < 0.15, 'by chance, where it is smooth'


def test_exposure_does_not_matter():
    pictures = [wall(texture(), 0), np.uint8(0.6 * wall(texture(), 0.3) + 30)]
    assert share(counted((0, 0.3), pictures=pictures)) > 0.95


def test_a_depth_picture_is_a_witness_by_itself():
    depth = np.full(SIZE[::-1], WALL, np.float32)
    measured = depth.copy()
    measured[:, :80], measured[:40] = 1.02 * WALL, np.nan
    measured[80:] = 1.05 * WALL
    count = counted((0,), measured={'0': measured})
    assert (count[44:76] == 2).all() and not count[:36].any() and not count[84:].any()
    assert np.median(counted((0, 0.3), measured={'0': depth})[10:-10, 50:-50]) == 3


def test_a_window_speaks_for_its_own_surface_only():
    """The confirmed wall does not speak for the thing before it, however near in the picture."""
    depth = np.full(SIZE[::-1], WALL, np.float32)
    depth[50:70, 70:90] = 1.5
    count = counted((0, 0.3, -0.3), depth)
    assert not count[52:68, 72:88].any() and share(count[:48]) > 0.95
