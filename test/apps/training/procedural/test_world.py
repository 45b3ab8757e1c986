# SPDX-License-Identifier: Apache-2.0
"""Rigs, light and worlds."""
import numpy as np

from igs_ros.apps.training.procedural.rigs import looking, random_rig
from igs_ros.apps.training.procedural.textures import SIZE, sampled, texture
from igs_ros.apps.training.procedural.world import Light, random_world


def test_rigs_look_at_the_middle_and_keep_cameras_unseen():
    kinds = set()
    for seed in range(30):
        rig = random_rig(np.random.default_rng(seed))
        kinds.add(rig.kind)
        assert 1 <= len(rig.unseen) <= 2 and 3 <= len(rig.cameras) - len(rig.unseen)
        assert set(rig.unseen) < set(rig.cameras)
        for camera in rig.cameras.values():
            pixel, depth = camera.project(np.zeros((1, 3)))
            assert 0 < depth[0] < 6
            assert (pixel > 0).all() and (pixel < (camera.width, camera.height)).all()
    assert kinds == {'arc', 'ring', 'few'}


def test_a_camera_that_looks_is_upright():
    pose = looking(np.array([1.0, -2, 0.5]), np.zeros(3))
    assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3))
    assert np.isclose(np.linalg.det(pose[:3, :3]), 1)
    assert pose[1, :3] @ [0, 0, 1] < 0  # y points down
    assert np.allclose(pose @ [0, 0, 0, 1], [0, 0, np.linalg.norm([1, -2, 0.5]), 1])


def test_a_body_throws_its_shadow_away_from_the_lamp():
    light = Light(np.array([0.0, 0, 1]), ambient=0.4, change=np.zeros(3), cell=0.05)
    x, y = np.meshgrid(np.linspace(-1, 1, 81), np.linspace(-1, 1, 81))
    floor = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], 1)
    plate = floor[(np.abs(floor[:, :2]) < 0.3).all(1)] + [0, 0, 0.8]
    points = np.concatenate([floor, plate])
    casts = np.arange(len(points)) >= len(floor)
    factors = light.at(0.0, points, np.tile([0.0, 0, 1], (len(points), 1)), casts)[:, 0]
    reach = np.abs(floor[:, :2]).max(1)
    assert np.allclose(factors[:len(floor)][reach < 0.2], 0.4)
    assert np.allclose(factors[:len(floor)][reach > 0.45], 1.0)
    assert np.allclose(factors[len(floor):], 1.0)  # the plate itself is lit


def test_worlds_move_and_keep_their_rows():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rig = random_rig(rng)
        world = random_world(rng, rig)
        first, last = world.scene(0.0), world.scene(4.0)
        assert len(first) == len(last) and first.finite().all() and last.finite().all()
        assert 30_000 < len(first) < 160_000
        assert not np.array_equal(first.means.numpy(), last.means.numpy())


def test_textures_repeat_and_are_no_single_color():
    for seed in range(12):
        image = texture(np.random.default_rng(seed))
        assert image.shape == (SIZE, SIZE, 3) and image.min() > 0 and image.max() < 1
        assert image.std() > 0.02
        uv = np.random.default_rng(seed).random((50, 2))
        assert np.allclose(sampled(image, uv), sampled(image, uv + (3, -2)))
