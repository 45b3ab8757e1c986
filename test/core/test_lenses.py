# SPDX-License-Identifier: Apache-2.0
"""Lens models: names and coefficients of ROS and COLMAP, and that another one is one entry."""
import json
import math

import cv2
import numpy as np
import pytest

from igs_ros.core import lenses
from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.frames import RawFrameSet
from igs_ros.core.lenses import LENSES, Lens, from_colmap, from_ros
from igs_ros.io.recordings.rig import read_rig
from igs_ros.vision.preparer import Preparer

K = np.array([[60.0, 0, 48], [0, 60, 36], [0, 0, 1]])


@pytest.mark.parametrize('model, given, expected', [
    ('plumb_bob', [], [0] * 5), ('plumb_bob', [1, 2, 3, 4], [1, 2, 3, 4, 0]),
    ('plumb_bob', [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]), ('', [], [0] * 5), ('', [0] * 8, [0] * 5)])
def test_what_camera_info_may_say(model, given, expected):
    lens, distortion = from_ros(model, given, '/a/camera_info')
    assert (lens, distortion.tolist()) == ('plumb_bob', expected)


@pytest.mark.parametrize('model, given, lens, expected', [
    ('none', [0] * 5, 'plumb_bob', [0] * 5), ('none', [], 'plumb_bob', [0] * 5),
    ('rational_polynomial', list(range(8)), 'rational_polynomial', [*range(8), *[0] * 6]),
    ('plumb_bob', list(range(8)), 'rational_polynomial', [*range(8), *[0] * 6]),
    ('rational_polynomial', list(range(14)), 'rational_polynomial', list(range(14))),
    ('equidistant', [1, 2, 3, 4], 'equidistant', [1, 2, 3, 4]),
    ('fisheye', [1, 2, 3, 4], 'equidistant', [1, 2, 3, 4])])
def test_names_and_counts_of_the_lenses(model, given, lens, expected):
    found, distortion = from_ros(model, given, '/a/camera_info')
    assert (found, distortion.tolist()) == (lens, expected)


@pytest.mark.parametrize('model, given', [
    ('plumb_bob', [1, 2, 3]), ('plumb_bob', [1] * 6), ('', [1.0]), ('none', [1.0] * 5),
    ('equidistant', [0] * 5), ('fisheye', [0] * 3), ('rational_polynomial', [0] * 5),
    ('rational_polynomial', [0] * 15), ('double_sphere', [0] * 4), ('Plumb_Bob', [0] * 5)])
def test_what_camera_info_may_not_say(model, given):
    with pytest.raises(InputError, match='/a/camera_info: distortion model .* expected plumb_bob '
                       'with 4 or 5, rational_polynomial with 8 to 14, equidistant with 4, or no'):
        from_ros(model, given, '/a/camera_info')


@pytest.mark.parametrize('number, values, focal, distortion', [
    (0, (9, 4, 3), (9, 9), [0] * 5), (1, (9, 8, 4, 3), (9, 8), [0] * 5),
    (2, (9, 4, 3, .1), (9, 9), [.1, 0, 0, 0, 0]),
    (3, (9, 4, 3, .1, .2), (9, 9), [.1, .2, 0, 0, 0]),
    (4, (9, 8, 4, 3, .1, .2, .3, .4), (9, 8), [.1, .2, .3, .4, 0])])
def test_models_of_colmap(number, values, focal, distortion):
    assert lenses.colmap_parameters(number, 'camera 1') == len(values)
    K, lens, found = from_colmap(number, values)
    assert np.array_equal(K, [[focal[0], 0, 4], [0, focal[1], 3], [0, 0, 1]])
    assert (lens, found.tolist()) == ('plumb_bob', distortion)


@pytest.mark.parametrize('number, count, lens, values, distortion', [
    (5, 8, 'equidistant', (9, 8, 4, 3, .1, .2, .3, .4), [.1, .2, .3, .4]),
    (8, 4, 'equidistant', (9, 4, 3, .1), [.1, 0, 0, 0]),
    (9, 5, 'equidistant', (9, 4, 3, .1, .2), [.1, .2, 0, 0]),
    (6, 12, 'rational_polynomial', (9, 8, 4, 3, .1, .2, .3, .4, .5, .6, .7, .8),
     [.1, .2, .3, .4, .5, .6, .7, .8, *[0] * 6])])
def test_other_lenses_of_colmap(number, count, lens, values, distortion):
    assert lenses.colmap_parameters(number, 'camera 1') == count == len(values)
    K, found, given = from_colmap(number, values)
    assert (K[0, 0], K[0, 2], found, given.tolist()) == (9, 4, lens, distortion)


def test_other_models_of_colmap_are_named():
    with pytest.raises(InputError, match='camera 1 has the model THIN_PRISM_FISHEYE; expected '):
        lenses.colmap_parameters(10, 'camera 1')


# --- the models' own formulas, written out -----------------------------------------------------


def brown(x, y, k1, k2, p1, p2, k3=0, k4=0, k5=0, k6=0, s1=0, s2=0, s3=0, s4=0):
    """Of OpenCV's documentation of calib3d; plumb_bob where what follows k3 is zero."""
    r2 = x * x + y * y
    radial = (1 + k1 * r2 + k2 * r2 ** 2 + k3 * r2 ** 3) / \
        (1 + k4 * r2 + k5 * r2 ** 2 + k6 * r2 ** 3)
    return (x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + s1 * r2 + s2 * r2 ** 2,
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + s3 * r2 + s4 * r2 ** 2)


def kannala_brandt(x, y, k1, k2, k3, k4):
    r = np.hypot(x, y)
    angle = np.arctan(r)
    bent = angle * (1 + k1 * angle ** 2 + k2 * angle ** 4 + k3 * angle ** 6 + k4 * angle ** 8)
    scale = np.where(r > 1e-9, bent / np.maximum(r, 1e-9), 1)
    return x * scale, y * scale


CASES = [
    ('plumb_bob', (-0.25, 0.08, 0.001, -0.002, 0.01), brown),
    ('rational_polynomial', (0.45, -2.6, 0.0008, -0.0003, 1.5, 0.33, -2.4, 1.45), brown),
    ('rational_polynomial', (0.2, -0.1, 0.001, 0.002, 0.01, 0.1, 0.05, 0.01, 0.003, -0.001, 0.002,
                             0.0005), brown),
    ('equidistant', (-0.03, 0.01, -0.004, 0.0007), kannala_brandt),
    ('equidistant', (0, 0, 0, 0), kannala_brandt)]


def camera_of(lens, values, name='a'):
    K = np.array([[260.0, 0, 163.25], [0, 255, 118.5], [0, 0, 1]])
    return Camera(name, 320, 240, K, np.eye(4), lenses.padded(lens, values), lens)


@pytest.mark.parametrize('lens, values, formula', CASES)
def test_every_lens_bends_as_its_formula_says(lens, values, formula):
    camera = camera_of(lens, values)
    across, down = np.meshgrid(np.arange(320.0), np.arange(240.0))
    K = camera.opencv_K
    x, y = formula((across - K[0, 2]) / K[0, 0], (down - K[1, 2]) / K[1, 1], *values)
    maps = camera.working_maps(camera.undistorted())
    assert np.abs(maps[0] - (K[0, 0] * x + K[0, 2])).max() < 1e-3
    assert np.abs(maps[1] - (K[1, 1] * y + K[1, 2])).max() < 1e-3
    assert np.hypot(maps[0] - across, maps[1] - down).max() > 2  # it does bend


@pytest.mark.parametrize('lens, values, formula', CASES)
def test_points_are_found_in_the_straightened_picture(lens, values, formula):
    """Known points, drawn where the formula and where OpenCV's own projection put them."""
    camera = camera_of(lens, values)
    points = np.array([[x, y, 2.0] for x in (-0.8, 0.1, 0.7) for y in (-0.6, 0.05, 0.5)])
    u, v = formula(points[:, 0] / 2, points[:, 1] / 2, *values)
    bent = np.stack([u, v], 1) * np.diag(camera.K)[:2] + camera.K[:2, 2]
    project = cv2.fisheye.projectPoints if lens == 'equidistant' else cv2.projectPoints
    theirs, _ = project(points[None], np.zeros(3), np.zeros(3), camera.opencv_K,
                        camera.distortion)
    assert np.allclose(bent - 0.5, theirs.reshape(-1, 2), atol=1e-6)
    straight, _ = camera.project(points)  # without distortion
    for place, expected in zip(bent, straight, strict=True):
        raw = np.zeros((240, 320, 3), np.uint8)
        down, across = np.mgrid[0:240, 0:320] + 0.5
        spot = 250 * np.exp(-((across - place[0]) ** 2 + (down - place[1]) ** 2) / 8)
        raw[:] = spot[..., None].round().astype(np.uint8)
        image = Preparer({'a': camera}).prepare(RawFrameSet.of(0, {'a': raw})).images['a']
        weight = image[..., 0].astype(float)
        found = np.array([(weight * across).sum(), (weight * down).sum()]) / weight.sum()
        assert np.abs(found - expected).max() < 0.25, (place, expected)


def test_a_rig_file_has_them_by_name(tmp_path):
    def read(**entry):
        (tmp_path / 'rig.json').write_text(json.dumps({'cameras': [{
            'name': 'a', 'width': 96, 'height': 72, 'K': K.tolist(),
            'world_to_camera': np.eye(4).tolist(), **entry}]}))
        return read_rig(tmp_path / 'rig.json')['a']
    for model, dist, lens in (('equidistant', [.1, .2, .3, .4], 'equidistant'),
                              ('fisheye', [.1], 'equidistant'), ('none', [], 'plumb_bob'),
                              ('rational_polynomial', [.1] * 8, 'rational_polynomial')):
        camera = read(distortion_model=model, dist=dist)
        assert camera.lens == lens and camera.distortion[:len(dist)].tolist() == dist
    for model, words in (('double_sphere', 'expected plumb_bob, rational_poly'), (3, '3;'),
                         ('none', 'with dist .0.1.; expected zeros')):
        with pytest.raises(InputError, match=f"rig.json: camera 'a': distortion_model.*{words}"):
            read(distortion_model=model, dist=[.1])


# --- one more ----------------------------------------------------------------------------------


@pytest.fixture
def stereographic(monkeypatch):
    """A lens model that was not there: r = 2 f tan(angle / 2)."""
    def maps(K, distortion, new_K, size):
        across, down = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
        x, y = (across - new_K[0, 2]) / new_K[0, 0], (down - new_K[1, 2]) / new_K[1, 1]
        angle = np.arctan(np.hypot(x, y))
        scale = 2 * np.tan(angle / 2) / np.maximum(np.hypot(x, y), 1e-9)
        return ((K[0, 0] * x * scale + K[0, 2]).astype(np.float32),
                (K[1, 1] * y * scale + K[1, 2]).astype(np.float32))

    def rays(pixels, K, distortion):
        bent = (pixels - K[:2, 2]) / np.diag(K)[:2]
        size = np.maximum(np.linalg.norm(bent, axis=1, keepdims=True), 1e-9)
        return bent * np.tan(2 * np.arctan(size / 2)) / size
    monkeypatch.setitem(LENSES, 'stereographic', Lens(('k1',), 0, maps, rays))


def test_another_model_is_one_entry(stereographic, tmp_path):
    """From a rig file to working images: a point 30 degrees off the axis is found where it is."""
    (tmp_path / 'rig.json').write_text(json.dumps({'pixel_center': 0.5, 'cameras': [{
        'name': 'a', 'width': 96, 'height': 72, 'K': K.tolist(), 'dist': [0],
        'distortion_model': 'stereographic', 'world_to_camera': np.eye(4).tolist()}]}))
    camera = read_rig(tmp_path / 'rig.json')['a']
    assert camera.lens == from_ros('stereographic', [0], '')[0] == 'stereographic'
    angle = math.radians(30)
    x, y = camera.opencv_K[:2, 2] + (120 * math.tan(angle / 2), 0)
    raw = np.zeros((72, 96, 3), np.uint8)
    cv2.circle(raw, (round(x), round(y)), 2, (255, 255, 255), -1)
    image = Preparer({'a': camera}).prepare(RawFrameSet.of(0, {'a': raw})).images['a']
    rows, columns = np.nonzero(image[..., 0] > 128)
    assert columns.mean() == pytest.approx(camera.opencv_K[0, 2] + 60 * math.tan(angle), abs=1)
    assert rows.mean() == pytest.approx(y, abs=1)


def test_coefficients_of_another_lens_are_refused():
    with pytest.raises(InputError, match='expected four finite equidistant values k1 k2 k3 k4'):
        Camera('a', 96, 72, K, np.eye(4), np.zeros(5), 'equidistant')
    with pytest.raises(InputError, match='lens model .*double_sphere.* expected plumb_bob'):
        Camera('a', 96, 72, K, np.eye(4), np.zeros(5), 'double_sphere')
