# SPDX-License-Identifier: Apache-2.0
"""Stereo against geometry done by hand and the ray tracer's depth."""
from dataclasses import replace

import cv2
import numpy as np
import pytest

from igs_ros.core.camera import Camera, pixel_grid
from igs_ros.io.recordings.open import open_recording
from igs_ros.vision.preparer import Preparer
from igs_ros.vision.stereo import StereoSettings, agreeing, find_depth

FAST = StereoSettings(planes=48, rounds=3, pixels=160 * 120)
MEDIUM = StereoSettings(planes=64, rounds=3, pixels=240 * 180)


def posed(name, center, target=(0, 0, 3.0), size=(120, 90), focal=100.0):
    """A camera at `center` that looks at `target`, y axis of the world downwards."""
    forward = np.subtract(target, center) / np.linalg.norm(np.subtract(target, center))
    right = np.cross([0, 1, 0], forward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ center
    K = [[focal, 0, size[0] / 2 + 3], [0, focal, size[1] / 2 - 2], [0, 0, 1]]
    return Camera(name, *size, K, pose)


def wall_picture(camera, texture, depth=3.0, meter_px=60):
    """What `camera` sees of the textured plane z = depth, by casting each pixel's ray."""
    ones = np.ones(camera.width * camera.height)
    direction = camera.unproject(pixel_grid(camera).reshape(-1, 2), ones) - camera.center
    hit = camera.center + direction * ((depth - camera.center[2]) / direction[:, 2])[:, None]
    at = hit[:, :2] * meter_px + np.array(texture.shape[1::-1]) / 2
    at = at.reshape(camera.height, camera.width, 2).astype(np.float32)
    truth = camera.to_camera(hit)[:, 2].reshape(camera.height, camera.width)
    return cv2.remap(texture, at[..., 0], at[..., 1], cv2.INTER_LINEAR), truth


@pytest.fixture(scope='module')
def wall():
    """Cameras, pictures and true depths of a textured wall seen by three cameras."""
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    texture = cv2.GaussianBlur(noise, (0, 0), 1.5)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    cameras = {c.name: c for c in (posed('left', (-0.4, 0, 0)), posed('middle', (0, 0.1, 0.1)),
                                   posed('right', (0.4, -0.1, 0)))}
    made = {name: wall_picture(camera, texture) for name, camera in cameras.items()}
    return cameras, {n: m[0] for n, m in made.items()}, {n: m[1] for n, m in made.items()}


def load(folder):
    """Training cameras, first pictures and points of a recording."""
    recording = open_recording(folder)
    cameras = {n: c for n, c in recording.cameras.items() if n not in recording.held_out}
    preparer = Preparer(cameras)
    prepared = preparer.prepare(next(iter(recording.frame_sets(0, 1, cameras))))
    points = recording.points()
    return preparer.cameras, prepared.images, None if points is None else points.xyz


def truth_of(folder, name, camera):
    """Ray-traced depth of frame 0 at the centers of the pixels of `camera`."""
    depth = np.load(folder / 'gt' / f'depth_{name}_000.npz')['depth']
    return cv2.resize(depth, (camera.width, camera.height), interpolation=cv2.INTER_NEAREST)


@pytest.fixture(scope='module')
def found(wall):
    """What stereo makes of the wall."""
    cameras, images, _ = wall
    return find_depth(images, cameras, settings=FAST)


def test_wall_depth(found, wall):
    for name, truth in wall[2].items():
        known = np.isfinite(found[name].depth)
        error = np.abs(found[name].depth - truth)[known] / truth[known]
        assert known.mean() > 0.6, name
        assert np.median(error) < 0.0025, name  # 0.03 px
        assert np.mean(error < 0.02) > 0.99, name


def test_normals_are_unit_and_look_at_the_camera(found, wall):
    for name, camera in wall[0].items():
        known = np.isfinite(found[name].depth)
        rays = camera.placed(np.eye(4)).unproject(pixel_grid(camera)[known],
                                                  found[name].depth[known])
        assert ((found[name].normals[known] * rays).sum(1) < 0).all()
        np.testing.assert_allclose(np.linalg.norm(found[name].normals[known], axis=1), 1,
                                   rtol=1e-5)
        assert np.isnan(found[name].normals[~known]).all()


def test_count_of_views_is_that_of_the_others_that_agree(found, wall):
    cameras, _, _ = wall
    for name, one in found.items():
        known = np.isfinite(one.depth)
        assert ((one.views > 0) == known).all() and one.views.max() == 2
        assert one.confirmed_share == pytest.approx(known.mean())
        grid = pixel_grid(one.camera)
        both = one.views == 2
        points = one.camera.unproject(grid[both], one.depth[both])
        for other in set(found) - {name}:  # what two views confirm lies in both pictures
            pixels, _ = cameras[other].project(points)
            assert ((pixels > -1) & (pixels < [121, 91])).all()


def test_a_slanted_plane_beats_planes_parallel_to_the_picture():
    """A floor at 30 degrees of the view's axis: depth and normal, from both sides."""
    noise = np.random.default_rng(3).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.5), None, 0, 255, cv2.NORM_MINMAX)
    cameras = {c.name: c for c in (posed(f'cam{i}', (0.15 * i, 0, 0), (0.15 * i, -0.01, 3))
                                   for i in range(3))}
    tilt = np.radians(60)  # of the wall's normal against the view's axis
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    pose = np.eye(4)
    pose[:3, :3] = turn
    pose[:3, 3] = [0, 0.0, 3.0] - turn @ [0, 0, 3.0]  # about the point 3 m ahead
    made = {name: wall_picture(camera.placed(camera.camera_from_world @ pose), texture)
            for name, camera in cameras.items()}
    images = {name: picture for name, (picture, _) in made.items()}
    seen = find_depth(images, cameras, settings=replace(FAST, near=1.0, far=9.0))['cam1']
    truth, known = made['cam1'][1], np.isfinite(seen.depth)
    inner = np.zeros_like(known)
    inner[20:70, 20:100] = True
    error = np.abs(seen.depth - truth)[known & inner] / truth[known & inner]
    assert (known & inner).sum() > 0.7 * inner.sum()
    assert np.median(error) < 0.004 and np.mean(error < 0.02) > 0.95
    wanted = cameras['cam1'].camera_from_world[:3, :3] @ pose[:3, :3] @ [0, 0, -1]
    angle = np.degrees(np.arccos(np.clip(seen.normals[known & inner] @ wanted, -1, 1)))
    assert np.median(angle) < 8  # parallel to the picture would be 60


def test_gain_and_offset_of_a_camera_change_little(wall):
    cameras, images, _ = wall
    settings = replace(FAST, near=1.5, far=8.0)
    plain = find_depth(images, cameras, settings=settings)['middle'].depth
    dimmed = dict(images, left=(images['left'] * 0.5 + 90).astype(np.uint8))
    changed = find_depth(dimmed, cameras, settings=settings)['middle'].depth
    both = np.isfinite(plain) & np.isfinite(changed)
    assert both.sum() > 0.95 * np.isfinite(plain).sum()
    assert np.mean(np.abs(plain - changed)[both] < 0.01 * plain[both]) > 0.98


@pytest.mark.parametrize('unit', [1e-2, 250.0])
def test_units_do_not_matter(wall, unit):
    cameras, images, _ = wall
    scaled = {}
    for name, camera in cameras.items():
        pose = camera.camera_from_world.copy()
        pose[:3, 3] *= unit
        scaled[name] = camera.placed(pose)
    small = find_depth(images, scaled, settings=FAST)['middle'].depth / unit
    meters = find_depth(images, cameras, settings=FAST)['middle'].depth
    both = np.isfinite(small) & np.isfinite(meters)
    assert both.sum() > 0.98 * max(np.isfinite(small).sum(), np.isfinite(meters).sum()) > 100
    np.testing.assert_allclose(small[both], meters[both], rtol=0.01)


def test_unrelated_pictures_give_almost_nothing(wall):
    cameras, images, _ = wall
    rng = np.random.default_rng(1)
    noise = {n: rng.integers(0, 256, i.shape, dtype=np.uint8) for n, i in images.items()}
    found = find_depth(noise, cameras, settings=FAST)
    assert all(np.isfinite(m.depth).mean() < 0.01 for m in found.values())


def test_flat_pictures_have_no_depth(wall):
    cameras, images, _ = wall
    gray = {name: np.full_like(image, 128) for name, image in images.items()}
    found = find_depth(gray, cameras, settings=FAST)
    assert all(np.isnan(m.depth).all() for m in found.values())


def test_cameras_that_share_nothing_have_no_depth(wall):
    _, images, _ = wall
    cameras = {'left': posed('left', (-1, 0, 0), target=(-9, 0, 0)),
               'right': posed('right', (1, 0, 0), target=(9, 0, 0))}
    found = find_depth({n: images[n] for n in cameras}, cameras, settings=FAST)
    assert list(found) == ['left', 'right']
    assert all(np.isnan(m.depth).all() for m in found.values())


@pytest.mark.parametrize('names', [[], ['left']])
def test_too_few_pictures(wall, names):
    cameras, images, _ = wall
    found = find_depth({n: images[n] for n in names}, cameras, settings=FAST)
    assert list(found) == names
    assert all(np.isnan(m.depth).all() for m in found.values())


def test_agreeing_knows_hidden_and_outside(wall):
    cameras, _, truths = wall
    camera = cameras['middle']
    pixel = np.array([[50.5, 40.5]])
    true = truths['middle'][40, 50]
    points = np.concatenate([camera.unproject(pixel, np.array([true * s]))
                             for s in (1.0, 1.015, 1.05, 0.9, -1.0)])
    points = np.concatenate([points, [[100.0, 0, 3.0]]])
    assert agreeing(points, camera, truths['middle'], 0.02).tolist() \
        == [True, True, False, False, False, False]


def test_threads_do_not_matter(test_data):
    cameras, images, points = load(test_data / 'synthetic' / 'scene_C_small')
    one, many = (find_depth(images, cameras, points=points, settings=FAST, threads=threads)
                 for threads in (1, 5))
    for name in cameras:
        for part in ('depth', 'score', 'slope', 'views'):
            assert getattr(one[name], part).tobytes() == getattr(many[name], part).tobytes()


@pytest.mark.parametrize('scene, names, with_points, known_share, right_share', [
    ('scene_A_slow', ['cam01', 'cam06', 'cam07', 'cam12'], True, 0.55, 0.94),  # 25 degrees apart
    ('scene_B_ring', ['cam00', 'cam01', 'cam02', 'cam07'], False, 0.3, 0.94),  # 45 degrees apart
    ('scene_C_small', None, True, 0.65, 0.9)])
def test_depth_of_the_recordings(test_data, scene, names, with_points, known_share, right_share):
    """Against the ray tracer; a plane sweep alone knew 38 and 24 % of the first two."""
    folder = test_data / 'synthetic' / scene
    cameras, images, points = load(folder)
    names = names or list(cameras)
    found = find_depth({n: images[n] for n in names}, cameras, settings=MEDIUM,
                       points=points if with_points else None)
    assert np.mean([depth_map.confirmed_share for depth_map in found.values()]) > known_share
    tested = [name for name in names if (folder / 'gt' / f'depth_{name}_000.npz').exists()]
    assert tested
    for name in tested:
        truth = truth_of(folder, name, found[name].camera)
        known = np.isfinite(found[name].depth)
        error = np.abs(found[name].depth - truth)[known] / truth[known]
        assert np.median(error) < 0.006, name
        assert np.mean(error < 0.02) > right_share, name
        assert np.median(np.abs(found[name].depth - 1.03 * truth)[known] / truth[known]) > 0.02


def test_webcams_that_hardly_overlap_give_few_points(test_data):
    cameras, images, points = load(test_data / 'real' / 'caliscope_desk4')
    assert points is None
    found = find_depth(images, cameras, settings=FAST)
    assert np.mean([np.isfinite(m.depth).mean() for m in found.values()]) < 0.25
