# SPDX-License-Identifier: Apache-2.0
"""Seeds: shares of the limit, and the Gaussians made of them."""
import numpy as np
import pytest
import torch
from gsplat.cuda._torch_impl import _spherical_harmonics
from scipy.spatial.transform import Rotation

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.points import Points
from igs_ros.io.recordings.open import open_recording
from igs_ros.stages.bootstrap.coverage import Seeds
from igs_ros.stages.bootstrap.seeds import (
    guessed_depth,
    known_depth,
    scene_from_points,
    seed_points,
)
from igs_ros.vision.preparer import Preparer
from igs_ros.vision.stereo import agreeing

K = [[100.0, 0, 60.0], [0, 100.0, 45.0], [0, 0, 1]]
ORIGIN = {'a': Camera('a', 120, 90, K, np.eye(4))}


@pytest.fixture(scope='module')
def bench(workbench):
    """Pictures, cameras and points of the workbench at 240 px."""
    recording = open_recording(workbench)
    names = [n for n in recording.cameras if n not in recording.held_out]
    preparer = Preparer({n: recording.cameras[n] for n in names}, 240)
    prepared = preparer.prepare(next(iter(recording.frame_sets(0, 1, names))))
    return prepared.images, preparer.cameras, recording.points()


def grid_points(step):
    x, y = np.meshgrid(np.arange(20) * step, np.arange(20) * step)
    xyz = np.stack([x.ravel(), y.ravel(), np.full(400, 2.0)], 1).astype(np.float32)
    return Points(xyz, np.random.default_rng(0).integers(0, 256, (400, 3), dtype=np.uint8))


def seeded(images, cameras, points, limit):
    maps = known_depth(images, cameras, points, threads=1)
    return seed_points(images, maps, guessed_depth(images, maps), points, max_gaussians=limit,
                       seed=0)


def test_scale_is_the_rms_distance_to_three_neighbors():
    scene = scene_from_points(grid_points(0.05), ORIGIN, opacity=0.3, sh_degree=1)
    inner = scene.scales.reshape(20, 20, 3)[1:-1, 1:-1]
    torch.testing.assert_close(inner, torch.full_like(inner, 0.05), rtol=1e-3, atol=0)
    assert (scene.opacities == 0.3).all() or torch.allclose(scene.opacities, torch.tensor(0.3))
    assert (scene.quats == torch.tensor([1.0, 0, 0, 0])).all()


def test_lone_points_are_bounded_by_their_distance():
    points = Points(np.array([[0, 0, 2], [0, 0, 50], [30, 0, 3], [-9, 9, 9]], np.float32),
                    np.zeros((4, 3), np.uint8))
    scene = scene_from_points(points, ORIGIN, opacity=0.3, sh_degree=0)
    distance = torch.from_numpy(np.linalg.norm(points.xyz, axis=1))
    torch.testing.assert_close(scene.scales[:, 0], 0.05 * distance, rtol=1e-4, atol=0)


@pytest.mark.parametrize('count', [1, 2, 3])
def test_fewer_points_than_neighbors_and_equal_points(count):
    same = Points(np.ones((count, 3), np.float32), np.zeros((count, 3), np.uint8))
    scene = scene_from_points(same, ORIGIN, opacity=0.3, sh_degree=0)
    assert bool(scene.finite().all()) and (scene.scales > 0).all()


@pytest.mark.parametrize('degree', [0, 1, 3])
def test_color_is_that_of_the_points_from_all_sides(degree):
    points = grid_points(0.05)
    scene = scene_from_points(points, ORIGIN, opacity=0.3, sh_degree=degree)
    directions = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    seen = _spherical_harmonics(degree, directions, scene.sh) + 0.5  # gsplat's own function
    np.testing.assert_allclose(seen.numpy(), points.rgb / 255, atol=1e-6)


@pytest.fixture(scope='module')
def maps(bench):
    """What stereo knows of the workbench, without points."""
    return known_depth(*bench[:2], None, threads=1)


@pytest.mark.parametrize('limit', [0, 1, 40, 3000, 20000])
@pytest.mark.parametrize('with_points', [True, False])
def test_limit_is_never_exceeded(bench, maps, limit, with_points):
    images, _, points = bench
    points, guessed = points if with_points else None, guessed_depth(images, maps)
    if limit < 2:
        with pytest.raises(InputError, match='max_gaussians'):
            seed_points(images, maps, guessed, points, max_gaussians=limit, seed=0)
        return
    seeds = seed_points(images, maps, guessed, points, max_gaussians=limit, seed=0)
    assert 0.4 * limit < len(seeds) <= 0.81 * limit


def test_points_fill_what_stereo_leaves(bench):
    """Cameras that share nothing: stereo finds nothing, so the sparse points get its share."""
    images, cameras, points = bench
    one = 'cam00'
    seeds = seeded({one: images[one]}, {one: cameras[one]}, points, 5000)
    assert len(seeds) == 4000
    known = set(map(bytes, points.xyz))
    assert all(bytes(row) in known for row in seeds.xyz)


def test_one_picture_alone_starts_a_scene(bench):
    images, cameras, _ = bench
    one = 'cam00'
    seeds = seeded({one: images[one]}, {one: cameras[one]}, None, 2000)
    pixels, depth = cameras[one].project(seeds.xyz.astype(np.float64))
    assert len(seeds) > 500 and (depth > 0).all()
    assert (pixels > 0).all() and (pixels < [240, 180]).all()


def test_holes_are_seeded_on_what_goes_on_there(bench, maps):
    """Without points, part of the seeds lies where no depth is confirmed, none at random."""
    images, _, _ = bench
    seeds = seed_points(images, maps, guessed_depth(images, maps), None, max_gaussians=20000,
                        seed=0)
    between = ~np.any([agreeing(seeds.xyz.astype(np.float64), found.camera, found.depth, 0.02)
                       for found in maps.values()], 0)
    assert 0.05 < between.mean() < 0.45
    lengths = np.linalg.norm(seeds.normals, axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-4)  # every one has a surface


def test_seeds_lie_flat_on_their_surface():
    normals = np.array([[0, 0, 1], [0, 0, -1], [1, 0, 0], [0, -0.6, 0.8], [0.6, 0, -0.8],
                        [np.nan] * 3], np.float32)
    xyz = np.arange(18, dtype=np.float32).reshape(6, 3) % 7 + [0, 0, 9]
    seeds = Seeds(xyz.astype(np.float32), np.zeros((6, 3), np.uint8), normals)
    scene = scene_from_points(seeds, ORIGIN, opacity=0.3, sh_degree=0)
    turned = Rotation.from_quat(scene.quats.numpy()[:, [1, 2, 3, 0]])
    for row in range(5):
        covariance = turned[row].as_matrix() @ np.diag(scene.scales[row].numpy() ** 2) \
            @ turned[row].as_matrix().T
        across = normals[row] @ covariance @ normals[row]
        assert across == pytest.approx((0.15 * float(scene.scales[row, 0])) ** 2, rel=1e-3)
        assert np.trace(covariance) == pytest.approx(
            (2 + 0.15 ** 2) * float(scene.scales[row, 0]) ** 2, rel=1e-3)
    assert scene.scales[5, 0] == scene.scales[5, 2]  # nothing known: round
