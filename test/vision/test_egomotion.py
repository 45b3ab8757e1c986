# SPDX-License-Identifier: Apache-2.0
"""Pictures brought to where a camera is now, against pictures worked out from geometry."""
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from igs_ros.core.camera import Camera, pixel_grid
from igs_ros.core.frames import FrameSet
from igs_ros.vision.changes import changed_pixels
from igs_ros.vision.egomotion import carried, seen_from
from igs_ros.vision.flow import FlowCache, own_flow

K = np.array([[120.0, 0, 76], [0, 125, 62], [0, 0, 1]])
HERE = Camera('a', 160, 120, K, np.eye(4))


def placed(shift, degrees) -> Camera:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(np.radians(degrees)).as_matrix()
    pose[:3, 3] = shift
    return HERE.placed(np.linalg.inv(pose))


def look(camera: Camera, board=(0.0, 0.0)):
    """Picture and depth of a striped wall 3 m off, and of a board of 0.6 m at 2 m before it."""
    rays = np.concatenate([(pixel_grid(camera).reshape(-1, 2) - K[:2, 2]) / np.diag(K)[:2],
                           np.ones((camera.width * camera.height, 1))], 1)
    rays = rays @ camera.camera_from_world[:3, :3]
    image, depth, on_board = None, None, None
    for z, (left, top), extent in ((3.0, (-50, -50), 100), (2.0, np.subtract(board, 0.3), 0.6)):
        far = (z - camera.center[2]) / rays[:, 2]
        places = camera.center + rays * far[:, None]
        x, y = places[:, 0] - board[0] * (z == 2), places[:, 1] - board[1] * (z == 2)
        colors = 128 + 90 * np.stack([np.sin(7 * x), np.sin(8 * y + z), np.cos(6 * (x + y))], 1)
        inside = (places[:, 0] >= left) & (places[:, 0] < left + extent) & (
            places[:, 1] >= top) & (places[:, 1] < top + extent)
        if image is None:
            image, depth, on_board = colors, far, np.zeros(len(far), bool)
        else:
            image = np.where(inside[:, None], colors, image)
            depth, on_board = np.where(inside, far, depth), inside
    shape = (camera.height, camera.width)
    return (image.round().astype(np.uint8).reshape(*shape, 3),
            depth.reshape(shape).astype(np.float32), on_board.reshape(shape))


MOVES = [((0.1, 0, 0), (0, 0, 0)), ((0, 0, 0), (0, 8, 0)), ((0.05, -0.05, 0.2), (3, -4, 10)),
         ((0, 0, -0.3), (0, 0, 0))]


@pytest.mark.parametrize('shift, degrees', MOVES)
def test_the_expected_picture_is_the_one_that_is_taken(shift, degrees):
    now = placed(shift, degrees)
    image, depth, _ = look(now)
    expected = seen_from(now, depth, look(HERE)[0], HERE)
    off = np.abs(expected.image.astype(int) - image)[expected.known].max(1)
    assert np.percentile(off, 97) < 12  # edges of the board are one pixel wide
    assert expected.known.mean() > 0.6
    assert changed_pixels(image, expected.reference(image)).mean() < 0.005
    assert changed_pixels(image, look(HERE)[0]).mean() > 0.5


@pytest.mark.parametrize('shift, degrees', MOVES)
def test_known_is_what_the_earlier_picture_shows(shift, degrees):
    """By rays: in its frame, and not behind the board for the earlier camera."""
    now = placed(shift, degrees)
    _, depth, on_board = look(now)
    points = now.unproject(pixel_grid(now).reshape(-1, 2), depth.ravel())
    pixels, far = HERE.project(points)
    inside = (far > 0) & ((pixels >= 0) & (pixels < (160, 120))).all(1)
    # where the way from the earlier camera to the point passes the board's plane
    crossing = points[:, :2] * (2.0 / points[:, 2:])
    behind = ~on_board.ravel() & (np.abs(crossing) <= 0.3).all(1)
    visible = (inside & ~behind).reshape(depth.shape)
    known = seen_from(now, depth, look(HERE)[0], HERE).known
    assert (known != visible).mean() < 0.02
    assert behind.sum() < 50 or known.ravel()[behind & inside].mean() < 0.25


def test_where_nothing_is_known_nothing_changed():
    away = placed((0, 0, 0), (0, 170, 0))
    image, depth, _ = look(HERE)
    expected = seen_from(HERE, depth, image, away)
    assert not expected.known.any()
    np.testing.assert_array_equal(expected.completed(image), image)
    nothing = seen_from(HERE, np.full_like(depth, np.nan), image, placed((0.1, 0, 0), (0, 0, 0)))
    assert not nothing.known.any()
    flow = own_flow(expected, image)
    assert not flow.trusted.any() and not flow.forward.any()


@pytest.mark.parametrize('shift, degrees', MOVES)
def test_points_are_carried_to_where_the_camera_sees_them_now(shift, degrees):
    now = placed(shift, degrees)
    points = np.random.default_rng(0).uniform((-1, -0.7, 1), (1, 0.7, 4), (200, 3))
    before = HERE.project(points)[0]
    moved, inside = carried(before, points, HERE, now)
    truth, far = now.project(points)
    np.testing.assert_allclose(moved[inside], truth[inside], atol=1e-3)
    visible = (far > 0) & ((truth > 0) & (truth < (160, 120))).all(1)
    np.testing.assert_array_equal(inside, visible)
    np.testing.assert_allclose(moved[~inside], before[~inside], atol=1e-3)


@pytest.mark.parametrize('scale', [1.0, 0.5])
def test_own_flow_is_the_motion_without_the_cameras(scale):
    now, board = placed((0.04, 0, 0), (0, 2, 0)), (0.04, 0.02)
    image, _, on_board = look(now, board)
    expected = seen_from(now, look(now)[1], look(HERE)[0], HERE)
    flow = own_flow(expected, image, scale)
    assert flow.ways == (HERE, now)
    middle = np.array([[0.0, 0.0, 2.0], [0.1, -0.1, 2.0]])
    start, alive = carried(HERE.project(middle)[0], middle, HERE, now)
    moved, alive = flow.follow(start, alive)
    assert alive.all()
    np.testing.assert_allclose(moved, now.project(middle + [*board, 0])[0], atol=0.5)
    wall = np.array([[-0.9, -0.5, 3.0], [-0.9, 0.5, 3.0]])
    start, alive = carried(HERE.project(wall)[0], wall, HERE, now)
    np.testing.assert_allclose(flow.follow(start, alive)[0], now.project(wall)[0], atol=0.2)


def test_a_camera_that_moved_is_not_matched_without_what_it_should_see():
    now = placed((0.1, 0, 0), (0, 0, 0))
    sets = [FrameSet(1, {'a': look(HERE)[0]}), FrameSet(2, {'a': look(now)[0]},
                                                        cameras={'a': now})]
    cache = FlowCache(('a',), 10**8)
    for one in sets:
        cache.observe(one)
    assert cache.chain('a', 1, 2) is None
    cache = FlowCache(('a',), 10**8)
    cache.observe(sets[0])
    cache.observe(sets[1], expected={'a': seen_from(now, look(now)[1], sets[0].images['a'], HERE)})
    assert len(cache.chain('a', 1, 2)) == 1
