# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch

from igs_ros.apps.evaluation.motion_error import (
    MotionError,
    MotionScorer,
    displacement_errors,
    rendered_motion,
    summarized,
)
from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene, empty_scene
from igs_ros.core.snapshot import Moved, advanced, first_snapshot, with_new_key
from igs_ros.io.recordings.motion_truth import MotionTruth, motion_files, read_motion
from igs_ros.io.recordings.open import open_recording
from igs_ros.render.cpu.rasterizer import CpuRasterizer

CAMERA = Camera('a', 64, 48, np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]]), np.eye(4))
SHIFT = np.array([0.03, -0.01, 0.02])


@pytest.fixture(scope='module')
def rasterizer():
    return CpuRasterizer(1)


@pytest.fixture(scope='module')
def wall():
    """An opaque wall 2 m away, in two layers; the one behind is hidden."""
    x, y = np.meshgrid(np.linspace(-1.6, 1.6, 80), np.linspace(-1.3, 1.3, 64))
    front = np.stack([x.ravel(), y.ravel(), np.full(x.size, 2.0)], 1)
    means = torch.from_numpy(np.concatenate([front, front + [0, 0, 1.0]])).float()
    count = len(means)
    return GaussianScene(means, torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
                         torch.full((count, 3), 0.05), torch.full((count,), 0.99),
                         torch.zeros(count, 1, 3))


def shifted(scene, rows, shift):
    means = scene.means.clone()
    means[rows] += torch.from_numpy(shift).float()
    return scene.replaced(means=means)


def truth_of(motion, moving=None):
    shape = (CAMERA.height, CAMERA.width)
    full = np.broadcast_to(np.asarray(motion, np.float32), (*shape, 3)).copy()
    return MotionTruth('a', 0, full, np.ones(shape, bool) if moving is None else moving)


def test_motion_of_what_is_seen(rasterizer, wall):
    half = slice(0, len(wall) // 2)
    moved = rendered_motion(rasterizer, wall, shifted(wall, half, SHIFT), CAMERA)
    np.testing.assert_allclose(moved, np.broadcast_to(SHIFT, moved.shape), atol=1e-4)
    hidden = slice(len(wall) // 2, None)
    moved = rendered_motion(rasterizer, wall, shifted(wall, hidden, SHIFT), CAMERA)
    np.testing.assert_allclose(moved, 0, atol=1e-4)
    assert not rendered_motion(rasterizer, wall, wall, CAMERA).any()


def test_errors_are_distances_to_the_truth(rasterizer, wall):
    after = shifted(wall, slice(None), SHIFT)
    for motion in (SHIFT, 3 * SHIFT, np.zeros(3)):
        errors = displacement_errors(rasterizer, wall, after, CAMERA, truth_of(motion))
        np.testing.assert_allclose(errors, np.linalg.norm(SHIFT - motion), atol=1e-4)
        assert errors.shape == (CAMERA.width * CAMERA.height,)


def test_only_what_moves_and_is_known_counts(rasterizer, wall):
    moving = np.zeros((CAMERA.height, CAMERA.width), bool)
    moving[10:20, 30:50] = True
    truth = truth_of(SHIFT, moving)
    truth.motion[10, 30:40] = np.nan
    truth.motion[:5] = 9.0  # not moving
    errors = displacement_errors(rasterizer, wall, wall, CAMERA, truth)
    assert errors.shape == (190,)
    np.testing.assert_allclose(errors, np.linalg.norm(SHIFT), rtol=1e-6)


def test_nothing_moves_where_nothing_is(rasterizer, wall):
    away = wall.replaced(means=wall.means + torch.tensor([0.0, 0, -9]))
    for scene in (away, empty_scene()):
        after = scene.replaced(means=scene.means + 1)
        assert not rendered_motion(rasterizer, scene, after, CAMERA).any()


def test_summary():
    assert summarized([]) == summarized([np.zeros(0)]) == MotionError(0)
    errors = np.random.default_rng(0).uniform(size=101)
    result = summarized([errors[:40], errors[40:]])
    assert result.points == 101
    assert result.median_m == np.sort(errors)[50] and result.p90_m == np.sort(errors)[90]


def test_a_scene_that_stands_still_errs_by_the_motion_itself(test_data, rasterizer, wall):
    folder = test_data / 'synthetic' / 'scene_C_small'
    camera = open_recording(folder).cameras['cam00']
    truth = read_motion(motion_files(folder)[10][0])
    errors = displacement_errors(rasterizer, wall, wall, camera, truth)
    np.testing.assert_allclose(
        errors, np.linalg.norm(truth.motion[truth.moving].astype(float), axis=1), rtol=1e-6)


@pytest.fixture
def truthful(tmp_path):
    """A recording that knows the motion from frame 4 to 5, of cameras a and b."""
    (tmp_path / 'gt').mkdir()
    truth = truth_of(SHIFT)
    for camera in ('a', 'b'):
        np.savez(tmp_path / 'gt' / f'flow_{camera}_004.npz', flow3d=truth.motion,
                 moving=truth.moving, frame=4, next_frame=5)
    return tmp_path


def test_a_run_is_judged_where_the_truth_is_known(truthful, rasterizer, wall):
    def snapshots():
        first = first_snapshot(wall, 0)
        moved = Moved(shifted(wall, slice(None), SHIFT), np.arange(len(wall), dtype=np.uint32), 1)
        return first, advanced(first, moved), with_new_key(first, wall, 1, moved)

    def points(frames, cameras):
        scorer = MotionScorer(truthful, cameras, rasterizer)
        for index, snapshot in frames:
            scorer.add(index, snapshot)
        return scorer.summary()
    still, moved, key = snapshots()
    both = {'a': CAMERA, 'b': CAMERA}
    found = points([(3, still), (4, still), (5, moved), (6, moved)], both)
    assert found.points == 2 * CAMERA.width * CAMERA.height
    assert found.p90_m == pytest.approx(0, abs=1e-4)
    assert points([(4, still), (5, still)], both).median_m \
        == pytest.approx(np.linalg.norm(SHIFT), rel=1e-5)
    assert points([(4, still), (5, moved)], {'a': CAMERA}).points == CAMERA.width * CAMERA.height
    assert points([(3, still), (5, moved)], both) == MotionError(0)  # 4 was lost
    assert points([(4, still), (5, key)], both) == MotionError(0)  # other rows
    larger = replace(CAMERA, width=65)
    assert points([(4, still), (5, moved)], {'a': larger}) == MotionError(0)
