# SPDX-License-Identifier: Apache-2.0
import logging

import numpy as np
import pytest

from igs_ros import neighbors
from igs_ros.neighbors import fps, knn


def slow_fps(points, m, start):
    """Farthest point sampling as it is written in textbooks, float64."""
    picked = [start]
    while len(picked) < m:
        gaps = np.linalg.norm(points[:, None] - points[picked][None], axis=2).min(1)
        picked.append(int(gaps.argmax()))
    return np.array(picked)


@pytest.fixture(params=['fpsample', 'numba'])
def backend(request, monkeypatch):
    if request.param == 'numba':
        monkeypatch.setattr(neighbors, 'fpsample', None)
    elif neighbors.fpsample is None:
        pytest.skip('fpsample is not installed')


@pytest.mark.parametrize('n, m', [(40, 13), (700, 150)])
def test_fps_is_farthest_point_sampling(backend, n, m):
    points = np.random.default_rng(1).normal(size=(n, 3)).astype(np.float32)
    picked = fps(points, m, seed=5)
    np.testing.assert_array_equal(picked, slow_fps(points.astype(np.float64), m, picked[0]))


def test_fps_of_clusters_covers_them_all(backend):
    rng = np.random.default_rng(0)
    centers = rng.uniform(-10, 10, (20, 3))
    points = np.repeat(centers, 50, 0) + rng.normal(0, 1e-3, (1000, 3))
    assert set(fps(points, 20) // 50) == set(range(20))


def test_fps_repeats_itself_and_follows_the_seed(backend):
    points = np.random.default_rng(2).normal(size=(500, 3))
    np.testing.assert_array_equal(fps(points, 50, seed=3), fps(points, 50, seed=3))
    assert fps(points, 50, seed=3)[0] != fps(points, 50, seed=4)[0]


def test_fps_never_picks_equal_points(backend):
    points = np.repeat(np.eye(3), 300, 0)
    assert sorted(fps(points, 100) // 300) == [0, 1, 2]


@pytest.mark.parametrize('n, m, expected', [(0, 5, 0), (1, 5, 1), (5, 0, 0), (5, 9, 5)])
def test_fps_of_few_points(backend, n, m, expected):
    assert len(fps(np.random.default_rng(0).normal(size=(n, 3)), m)) == expected


def test_missing_fpsample_is_told_once(monkeypatch, caplog):
    monkeypatch.setattr(neighbors, 'fpsample', None)
    monkeypatch.setattr(neighbors, '_told', set())
    with caplog.at_level(logging.WARNING):
        fps(np.eye(3), 2)
        fps(np.eye(3), 2)
    assert len(caplog.records) == 1 and 'fpsample' in caplog.text


@pytest.mark.parametrize('k', [1, 4, 30])
def test_knn_agrees_with_all_distances(k):
    rng = np.random.default_rng(0)
    query, points = rng.normal(size=(60, 3)), rng.normal(size=(20, 3))
    distances, indices = knn(query, points, k)
    table = np.linalg.norm(query[:, None] - points[None], axis=2)
    np.testing.assert_array_equal(indices, np.argsort(table, axis=1)[:, :k])
    np.testing.assert_allclose(distances, np.sort(table, axis=1)[:, :k], rtol=1e-12)


def test_knn_of_nothing():
    assert knn(np.zeros((0, 3)), np.zeros((4, 3)), 2)[1].shape == (0, 2)
    assert knn(np.zeros((4, 3)), np.zeros((0, 3)), 2)[1].shape == (4, 0)
