# SPDX-License-Identifier: Apache-2.0
"""What is trusted of a flow, where it is computed, and how much of it is kept: at the bounds."""
from types import SimpleNamespace

import numpy as np
import pytest

from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet
from igs_ros.vision import flow as flow_module
from igs_ros.vision.flow import Flow, FlowCache, dense_flow, spread_views


def gray(level, height=40, width=60):
    return np.full((height, width, 3), level, np.uint8)


def leads_back(forward, backward):
    """In the middle of a picture whose flow is the same everywhere."""
    def flow(vector):
        return np.full((40, 60, 2), vector, np.float32)
    return bool(flow_module._leads_back(flow(forward), flow(backward))[20, 30])


@pytest.mark.parametrize('forward, backward, trusted', [
    # of still pixels: 0.01 b^2 + 0.5 is allowed, so b up to 0.7107
    ((0, 0), (0.70, 0), True), ((0, 0), (0.72, 0), False), ((0, 0.70), (0, 0), True),
    ((0, 0.72), (0, 0), False), ((0, 0), (0.55, 0.5), False), ((0, 0), (0.5, -0.48), True),
    # of a flow of 10 px: e^2 < 0.01 (100 + (10 - e)^2) + 0.5, so e up to 1.4917
    ((10, 0), (-10, 0), True), ((10, 0), (-8.52, 0), True), ((10, 0), (-8.5, 0), False),
    ((0, -10), (0, 8.52), True), ((0, -10), (0, 8.5), False), ((10, 0), (10, 0), False)])
def test_the_backward_flow_must_lead_back(forward, backward, trusted):
    assert leads_back(forward, backward) == trusted


@pytest.mark.parametrize('x, y, trusted', [
    (0, 0, True), (-30.5, 0, True), (-30.51, 0, False), (29.5, 0, True), (29.51, 0, False),
    (0, -20.5, True), (0, -20.51, False), (0, 19.5, True), (0, 19.51, False)])
def test_the_flow_must_end_in_the_picture(x, y, trusted):
    """From pixel 30, 20, whose center is there; the border lies half a pixel off the last one."""
    assert leads_back((x, y), (-x, -y)) == trusted


def still(trusted):
    """A flow of nothing, over 6 x 4 pixels."""
    return Flow(np.zeros((4, 6, 2), np.float16), trusted.astype(np.uint8), (6, 4))


@pytest.mark.parametrize('x, y, alive', [
    (2.5, 1.5, True), (3.5, 1.5, True), (3.54, 1.5, False), (4.5, 1.5, False), (5.46, 1.5, False),
    (5.5, 1.5, True), (3.5, 2.6, True), (3.6, 2.6, False)])
def test_all_four_pixels_around_a_point_must_be_trusted(x, y, alive):
    trusted = np.ones((4, 6), bool)
    trusted[:, 4] = False  # centers at 4.5
    found = still(trusted).follow(np.float32([[x, y]]), np.array([True]))[1]
    assert found.tolist() == [alive]


@pytest.mark.parametrize('shift, alive', [
    ((0, 0), True), ((-2.5, 0), False), ((-2.25, 0), True), ((0, -1.5), False),
    ((0, -1.25), True), ((3.5, 0), False), ((3.25, 0), True), ((0, 2.5), False),
    ((0, 2.25), True)])
def test_points_live_inside_the_picture_only(shift, alive):
    """From 2.5, 1.5 in a picture of 6 x 4 pixels, whose border is outside."""
    flow = Flow(np.full((4, 6, 2), shift, np.float16), np.ones((4, 6), np.uint8), (6, 4))
    start = np.float32([[2.5, 1.5]])
    moved, found = flow.follow(start, np.array([True]))
    assert found.tolist() == [alive]
    np.testing.assert_allclose(moved, start + shift if alive else start)


@pytest.mark.parametrize('step, moved', [(6, False), (7, True)])
def test_six_levels_are_noise(step, moved):
    assert (dense_flow(gray(100), gray(100 + step)).forward is not None) == moved


@pytest.mark.parametrize('scale, margin', [(1.0, 48), (0.5, 24)])
def test_flow_is_computed_so_far_around_what_changed(monkeypatch, scale, margin):
    """Of one changed square the blur takes two pixels more on each side."""
    sizes = []

    def noted(earlier, later):
        sizes.append(earlier.shape)
        return np.zeros((*earlier.shape, 2), np.float32)
    monkeypatch.setattr(flow_module, '_dis', noted)
    earlier, later = gray(0, 400, 600), gray(0, 400, 600)
    later[200:204, 300:310] = 255
    dense_flow(earlier, later, scale)
    height, width = 4 * scale + 4 + 2 * margin, 10 * scale + 4 + 2 * margin
    assert sizes == [(height, width)] * 2
    sizes.clear()
    later[:4, :4] = later[-4:, -4:] = 255  # never beyond the picture
    dense_flow(earlier, later, scale)
    assert sizes == [(400 * scale, 600 * scale)] * 2


@pytest.mark.parametrize('height, width', [(32, 32), (31, 40), (40, 31), (5, 7)])
def test_small_pictures_are_enlarged_by_repeating_their_border(monkeypatch, height, width):
    given = []

    class Noted:
        def setFinestScale(self, scale):
            assert scale == 0

        def calc(self, earlier, later, _):
            given.append((earlier, later))
            return np.zeros((*earlier.shape, 2), np.float32)
    monkeypatch.setattr(flow_module.cv2, 'DISOpticalFlow',
                        SimpleNamespace(create=lambda preset: Noted()))
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 255, (2, height, width)).astype(np.uint8)
    assert flow_module._dis(one, other).shape == (height, width, 2)
    for image, padded in zip((one, other), given[0], strict=True):
        rows, columns = max(0, 32 - height), max(0, 32 - width)
        np.testing.assert_array_equal(padded, np.pad(image, ((0, rows), (0, columns)), 'edge'))


def test_flows_of_nothing_end_too():
    """4096 are kept."""
    cache, picture = FlowCache(('a',), 10 ** 8), gray(0, 2, 2)
    for stamp in range(4097):
        cache.observe(FrameSet(stamp, {'a': picture}))
    assert len(cache.chain('a', 0, 4096)) == 4096
    cache.observe(FrameSet(4097, {'a': picture}))
    assert cache.chain('a', 0, 4097) is None and len(cache.chain('a', 1, 4097)) == 4096


def test_a_cache_may_be_full_to_the_last_byte():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (3, 40, 60, 3)).astype(np.uint8)
    one = dense_flow(pictures[0], pictures[1]).nbytes
    assert one == 40 * 60 * (2 * 2 + 1)
    for limit, kept in ((2 * one, 2), (2 * one - 1, 1)):
        cache = FlowCache(('a',), limit)
        for stamp, picture in enumerate(pictures):
            cache.observe(FrameSet(stamp, {'a': picture}))
        assert cache.nbytes == kept * one
        assert (cache.chain('a', 0, 2) is not None) == (kept == 2)


def camera(name, x=0.0, away=False):
    """At x, looking along +z, or along -z."""
    pose = np.diag([-1.0, 1, -1, 1]) if away else np.eye(4)
    pose[0, 3] = -pose[0, 0] * x
    return Camera(name, 100, 80, [[100, 0, 50], [0, 100, 40], [0, 0, 1]], pose)


def test_views_are_far_apart_or_look_elsewhere():
    """Distances count in shares of the rig's extent, directions as they are."""
    cameras = {one.name: one for one in (camera('left', -30.0), camera('middle', 0.1),
                                         camera('back', 3.0, away=True), camera('right', 29.9))}
    assert spread_views(cameras, 2) == ('middle', 'back')
    assert spread_views(cameras, 3) == ('middle', 'back', 'left')
    assert spread_views(cameras, 4) == tuple(cameras) == spread_views(cameras, -1)
    same = {name: camera(name) for name in 'abc'}
    assert spread_views(same, 2) == ('a', 'b')


def placed(name, x=0.0, z=0.0, degrees=0.0):
    """At x, z, turned about the vertical."""
    pose = np.eye(4)
    turn = np.radians(degrees)
    pose[:3, :3] = [[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]]
    pose[:3, 3] = -pose[:3, :3] @ [x, 0, z]
    return name, Camera(name, 100, 80, [[100, 0, 50], [0, 100, 40], [0, 0, 1]], pose)


def test_where_a_view_is_and_where_it_looks_weigh_alike():
    """The farthest camera is 1 away, 50 degrees are 0.85, 9 of 10 m are 0.9."""
    ends = [placed('left', -10), placed('right', 10)]
    assert spread_views(dict([*ends, placed('middle'), placed('turned', 0.1, 0, 50)]), 2) \
        == ('middle', 'left')
    assert spread_views(dict([*ends, placed('middle'), placed('turned', 0.1, 0, 70)]), 2) \
        == ('middle', 'turned')
    assert spread_views(dict([placed('near', 0, -9), placed('far', 0, 9), *ends,
                              placed('middle')]), 2) == ('middle', 'left')


def test_a_picture_is_never_smaller_than_a_pixel():
    flow = dense_flow(gray(0, 3, 40), gray(255, 3, 40), 0.1)
    assert flow.forward.shape == (1, 4, 2)


def test_a_cleared_cache_takes_no_bytes():
    cache = FlowCache(('a',), 10 ** 8)
    for stamp, level in ((10, 0), (20, 255), (5, 0)):
        cache.observe(FrameSet(stamp, {'a': gray(level)}))
    assert cache.nbytes == 0 and cache.previous_stamp(5) is None


@pytest.mark.parametrize('count', [0, 1, 1023, 1024, 1025, 2049])
def test_any_number_of_points_is_sampled(count):
    ramp = np.float32(np.arange(60) + np.zeros((40, 1)))
    points = np.random.default_rng(0).uniform(1, 39, (count, 2)).astype(np.float32)
    np.testing.assert_allclose(flow_module._sample(ramp, points), points[:, 0] - 0.5, atol=0.02)
