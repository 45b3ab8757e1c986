# SPDX-License-Identifier: Apache-2.0
import threading

import cv2
import numpy as np
import pytest

from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet
from igs_ros.io.recordings.open import open_recording
from igs_ros.vision.flow import FlowCache, dense_flow, spread_views
from igs_ros.vision.preparer import Preparer


def texture(height=120, width=160, seed=0):
    """A picture with detail of several sizes."""
    rng = np.random.default_rng(seed)
    picture = sum(cv2.resize(rng.uniform(0, 1, (height // s, width // s, 3)), (width, height),
                             interpolation=cv2.INTER_CUBIC) for s in (4, 8, 20))
    return np.clip(picture * 85, 0, 255).astype(np.uint8)


def shifted(picture, x, y):
    """The picture, its content moved by (x, y) px."""
    matrix = np.float32([[1, 0, x], [0, 1, y]])
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def frame_set(stamp_ns, **images):
    return FrameSet(stamp_ns, images)


@pytest.mark.parametrize('x, y', [(3.0, -2.0), (0.5, 7.25)])
def test_flow_of_a_shift(x, y):
    picture = texture()
    flow = dense_flow(picture, shifted(picture, x, y))
    inner = flow.forward[20:-20, 20:-20].astype(float)
    assert np.median(np.abs(inner - (x, y))) < 0.05
    assert flow.trusted[20:-20, 20:-20].mean() > 0.98


@pytest.mark.parametrize('scene, camera, frame, moving_px', [
    ('scene_A_slow', 'cam04', 12, 0.5), ('scene_B_ring', 'cam02', 12, 3.0)])
def test_flow_agrees_with_the_truth(test_data, scene, camera, frame, moving_px):
    folder = test_data / 'synthetic' / scene
    recording = open_recording(folder)
    preparer = Preparer({camera: recording.cameras[camera]})
    earlier, later = (preparer.prepare(s).images[camera]
                      for s in recording.frame_sets(frame, frame + 2, [camera]))
    truth = np.load(folder / 'gt' / f'flow_{camera}_{frame:03d}.npz')
    flow = dense_flow(earlier, later)
    error = np.linalg.norm(flow.forward.astype(float) - truth['flow2d'], axis=2)
    length = np.linalg.norm(truth['flow2d'], axis=2)
    moving = truth['moving'] & (length > moving_px) & (flow.trusted > 0)
    assert moving.sum() > 1000
    assert np.median(error[moving]) < 0.15 * np.median(length[moving])
    still = ~truth['moving'] & (flow.trusted > 0)
    assert np.quantile(error[still], 0.9) < 0.3


@pytest.mark.parametrize('scale', [0.75, 0.5])
def test_coarse_flow_is_in_pixels_of_the_pictures(scale):
    picture = texture(121, 163)
    flow = dense_flow(picture, shifted(picture, 6.0, -3.0), scale)
    assert flow.forward.shape == (round(121 * scale), round(163 * scale), 2)
    x, y = np.meshgrid(np.arange(30.0, 130), np.arange(30.0, 90))
    points = np.stack([x, y], -1).reshape(-1, 2).astype(np.float32)
    moved, alive = flow.follow(points, np.ones(len(points), bool))
    assert alive.mean() > 0.95
    np.testing.assert_allclose(np.median(moved - points, 0), (6, -3), atol=0.05)


def test_coarse_flow_lies_where_the_fine_one_does():
    picture = texture(200, 300)
    later = picture.copy()
    later[60:100, 200:240] = shifted(picture[55:105, 195:245], 3, 0)[5:45, 5:45]
    points = np.float32([[220, 80], [210, 88], [100, 80], [220, 150]])
    coarse = dense_flow(picture, later, 0.5).follow(points, np.ones(4, bool))[0] - points
    np.testing.assert_allclose(coarse, [[3, 0], [3, 0], [0, 0], [0, 0]], atol=0.3)


def test_equal_pictures_cost_nothing_and_noise_is_no_motion():
    picture = texture()
    noise = np.random.default_rng(0).integers(-3, 4, picture.shape)
    for later in (picture, np.clip(picture + noise, 0, 255).astype(np.uint8)):
        flow = dense_flow(picture, later)
        assert flow.forward is None and flow.nbytes == 0
        points, alive = np.float32([[3.2, 4.5]]), np.array([True])
        moved, still_alive = flow.follow(points, alive)
        np.testing.assert_array_equal(moved, points)
        assert still_alive.all()


def test_flow_far_from_any_change_is_exactly_zero():
    picture = texture(200, 300)
    later = picture.copy()
    later[10:40, 10:40] = shifted(picture[5:45, 5:45], 2, 0)[5:35, 5:35]
    flow = dense_flow(picture, later)
    assert not flow.forward[100:].any() and not flow.forward[:, 100:].any()
    assert np.median(flow.forward[15:35, 15:35, 0]) == pytest.approx(2, abs=0.2)


def test_points_die_at_the_border_and_where_the_check_fails():
    picture = texture()
    flow = dense_flow(picture, shifted(picture, 10, 0))
    points = np.float32([[155.0, 60.0], [80.0, 60.0], [80.0, 60.0]])
    moved, alive = flow.follow(points, np.array([True, True, False]))
    np.testing.assert_array_equal(alive, [False, True, False])
    np.testing.assert_allclose(moved[1], [90, 60], atol=0.2)
    np.testing.assert_array_equal(moved[[0, 2]], points[[0, 2]])
    other = dense_flow(picture, texture(seed=9))
    assert other.trusted.mean() < 0.5


def test_flow_does_not_depend_on_the_number_of_threads():
    picture = texture(240, 320)
    later = shifted(picture, 2.5, 1)
    threads = cv2.getNumThreads()
    try:
        flows = []
        for count in (1, 2, 4):
            cv2.setNumThreads(count)
            flows.append(dense_flow(picture, later).forward)
    finally:
        cv2.setNumThreads(threads)
    assert flows[0].tobytes() == flows[1].tobytes() == flows[2].tobytes()


@pytest.mark.parametrize('height, width', [(1, 1), (8, 8), (9, 200), (33, 17)])
def test_flow_of_small_pictures(height, width):
    rng = np.random.default_rng(0)
    earlier, later = rng.integers(0, 255, (2, height, width, 3)).astype(np.uint8)
    flow = dense_flow(earlier, later)
    assert flow.forward.shape == (height, width, 2)
    assert np.isfinite(flow.forward).all()


def ring(count):
    """Cameras on a circle, looking at its middle."""
    cameras = {}
    for i in range(count):
        angle = 2 * np.pi * i / count
        forward = -np.array([np.cos(angle), np.sin(angle), 0])
        rotation = np.array([np.cross([0, 0, -1], forward), [0, 0, -1], forward])
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation, -rotation @ (-3 * forward)
        K = [[100, 0, 50], [0, 100, 40], [0, 0, 1]]
        cameras[f'cam{i}'] = Camera(f'cam{i}', 100, 80, K, pose)
    return cameras


def test_views_are_spread_over_the_rig():
    cameras = ring(8)
    picked = [int(name[3:]) for name in spread_views(cameras, 4)]
    assert sorted(np.diff(sorted(picked))) == [2, 2, 2]
    assert spread_views(cameras, 4) == spread_views(cameras, 4)
    assert spread_views(cameras, 0) == spread_views(cameras, 20) == tuple(cameras)
    assert len(spread_views(cameras, 1)) == 1


def test_views_in_a_row_are_its_middle_and_its_ends():
    row = {}
    for i in range(5):
        pose = np.eye(4)
        pose[0, 3] = -0.2 * i
        row[f'cam{i}'] = Camera(f'cam{i}', 100, 80, [[100, 0, 50], [0, 100, 40], [0, 0, 1]], pose)
    assert spread_views(row, 3) == ('cam2', 'cam0', 'cam4')


def test_chain_leads_from_any_picture_to_a_later_one():
    picture = texture()
    cache = FlowCache(('a',), 10**8)
    for step in range(4):
        cache.observe(frame_set(step, a=shifted(picture, 2 * step, -step)))
    flows = cache.chain('a', 1, 3)
    assert len(flows) == 2 and cache.chain('a', 2, 2) == []
    points, alive = np.float32([[80, 60]]), np.array([True])
    for flow in cache.chain('a', 0, 3):
        points, alive = flow.follow(points, alive)
    np.testing.assert_allclose(points, [[86, 57]], atol=0.2)
    assert cache.chain('a', 0, 9) is None and cache.chain('b', 0, 1) is None
    assert cache.previous_stamp(3) == 2 and cache.previous_stamp(2) is None


def test_flows_of_different_sizes_chain():
    picture = texture()
    cache = FlowCache(('a',), 10**8)
    for step, scale in enumerate((1.0, 1.0, 0.5, 0.7, 1.0)):
        cache.observe(frame_set(step, a=shifted(picture, 2 * step, -step)), scale)
    points, alive = np.float32([[80, 60]]), np.array([True])
    for flow in cache.chain('a', 0, 4):
        points, alive = flow.follow(points, alive)
    assert alive.all()
    np.testing.assert_allclose(points, [[88, 56]], atol=0.3)


def test_cache_is_bounded_and_forgets_the_oldest():
    picture = texture()
    one = dense_flow(picture, shifted(picture, 3, 0)).nbytes
    cache = FlowCache(('a', 'b'), 5 * one)
    for step in range(6):
        image = shifted(picture, 3 * step, 0)
        cache.observe(frame_set(step, a=image, b=image))
        assert cache.nbytes <= 5 * one
    assert cache.chain('a', 0, 5) is None
    assert len(cache.chain('b', 3, 5)) == 2


def test_cache_too_small_for_one_flow_is_told(caplog):
    cache = FlowCache(('a',), 1000)
    cache.observe(frame_set(0, a=texture()))
    cache.observe(frame_set(1, a=texture(seed=1)))
    assert cache.nbytes == 0 and cache.chain('a', 0, 1) is None
    assert 'cache_mb' in caplog.text


def test_camera_that_misses_a_set_is_linked_across_it():
    picture = texture()
    cache = FlowCache(('a', 'b'), 10**8)
    cache.observe(frame_set(0, a=picture, b=picture))
    cache.observe(frame_set(1, b=picture))
    cache.observe(frame_set(2, a=shifted(picture, 4, 0), b=picture))
    assert cache.chain('a', 0, 1) is None
    assert len(cache.chain('a', 0, 2)) == 1 and len(cache.chain('b', 0, 2)) == 2


def test_backwards_jump_of_time_clears_the_cache():
    cache = FlowCache(('a',), 10**8)
    for stamp in (10, 20, 20, 5, 6):
        cache.observe(frame_set(stamp, a=texture(seed=stamp)))
    assert cache.chain('a', 10, 20) is None
    assert len(cache.chain('a', 5, 6)) == 1


def test_cache_serves_several_threads():
    cache = FlowCache(('a', 'b'), 300_000)
    pictures = [texture(seed=seed) for seed in range(3)]
    failures, done = [], threading.Event()

    def read():
        while not done.is_set():
            for start in range(20):
                flows = cache.chain('a', start, 20)
                if flows is not None and len(flows) != 20 - start:
                    failures.append(start)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for stamp in range(21):
        cache.observe(frame_set(stamp, a=pictures[stamp % 3], b=pictures[stamp % 2]))
    done.set()
    for reader in readers:
        reader.join()
    assert not failures and cache.nbytes <= 300_000
