# SPDX-License-Identifier: Apache-2.0
"""All implementations agree with textbook code, and with each other."""
import logging
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from igs_ros.core.logs import log_once
from igs_ros.vision import neighbors
from igs_ros.vision import neighbors_chunked as chunked
from igs_ros.vision import neighbors_cluster as cluster
from igs_ros.vision import neighbors_host as host
from igs_ros.vision.neighbors import fps, knn

needs_cluster = pytest.mark.skipif(find_spec('torch_cluster') is None,
                                   reason='torch_cluster is not installed')
TORCH = [pytest.param('torch'), pytest.param('torch_cluster', marks=needs_cluster)]


def slow_fps(points, m, start):
    """Farthest point sampling as it is written in textbooks, float64."""
    picked = [start]
    while len(picked) < m:
        gaps = np.linalg.norm(points[:, None] - points[picked][None], axis=2).min(1)
        picked.append(int(gaps.argmax()))
    return np.array(picked)


MODULES = {'torch': chunked, 'torch_cluster': cluster}


@pytest.fixture(params=['fpsample', 'numba', *TORCH])
def sample(request, monkeypatch):
    """`fps` of arrays by each implementation; those for devices get CPU tensors."""
    if request.param == 'numba':
        monkeypatch.setattr(host, 'fpsample', None)
    elif request.param == 'fpsample' and host.fpsample is None:
        pytest.skip('fpsample is not installed')
    elif request.param not in ('numba', 'fpsample'):
        monkeypatch.setattr(neighbors, '_on_device', lambda points: True)
        monkeypatch.setattr(neighbors, '_device_backend', lambda: MODULES[request.param])
        return lambda points, m, seed=0: fps(torch.from_numpy(points), m, seed).numpy()
    return fps


@pytest.mark.parametrize('n, m', [(40, 13), (700, 150)])
def test_fps_is_farthest_point_sampling(sample, n, m):
    points = np.random.default_rng(1).normal(size=(n, 3)).astype(np.float32)
    picked = sample(points, m, seed=5)
    np.testing.assert_array_equal(picked, slow_fps(points.astype(np.float64), m, picked[0]))


@pytest.mark.parametrize('name', TORCH)
def test_fps_for_devices_begins_where_it_is_told(name):
    """fpsample does not: it numbers its tree, not the points."""
    points = np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)
    picked = MODULES[name].fps(torch.from_numpy(points), 40, 123).numpy()
    np.testing.assert_array_equal(picked, slow_fps(points.astype(np.float64), 40, 123))


def test_fps_of_clusters_covers_them_all(sample):
    rng = np.random.default_rng(0)
    centers = rng.uniform(-10, 10, (20, 3))
    points = np.repeat(centers, 50, 0) + rng.normal(0, 1e-3, (1000, 3))
    assert set(sample(points, 20) // 50) == set(range(20))


def test_fps_repeats_itself_and_follows_the_seed(sample):
    points = np.random.default_rng(2).normal(size=(500, 3))
    np.testing.assert_array_equal(sample(points, 50, seed=3), sample(points, 50, seed=3))
    assert sample(points, 50, seed=3)[0] != sample(points, 50, seed=4)[0]


def test_fps_never_picks_equal_points(sample):
    points = np.repeat(np.eye(3), 300, 0)
    assert sorted(sample(points, 100) // 300) == [0, 1, 2]


@pytest.mark.parametrize('n, m, expected', [(0, 5, 0), (1, 5, 1), (5, 0, 0), (5, 9, 5)])
def test_fps_of_few_points(sample, n, m, expected):
    picked = sample(np.random.default_rng(0).normal(size=(n, 3)), m)
    assert len(picked) == expected and picked.dtype == np.int64


def test_missing_fpsample_is_told_once(monkeypatch, caplog):
    monkeypatch.setattr(host, 'fpsample', None)
    log_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        fps(np.eye(3), 2)
        fps(np.eye(3), 2)
    assert len(caplog.records) == 1 and 'fpsample' in caplog.text


def distances_of(query, points, indices):
    return np.linalg.norm(query[:, None] - points[indices], axis=2)


@pytest.mark.parametrize('k', [1, 4, 30])
def test_knn_agrees_with_all_distances(k):
    rng = np.random.default_rng(0)
    query, points = rng.normal(size=(60, 3)), rng.normal(size=(20, 3))
    distances, indices = knn(query, points, k)
    table = np.linalg.norm(query[:, None] - points[None], axis=2)
    np.testing.assert_array_equal(indices, np.argsort(table, axis=1)[:, :k])
    np.testing.assert_allclose(distances, np.sort(table, axis=1)[:, :k], rtol=1e-12)


@pytest.mark.parametrize('name', TORCH)
@pytest.mark.parametrize('k', [1, 8, 20])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_torch_finds_the_neighbors_of_the_tree(name, k, dtype):
    rng = np.random.default_rng(k)
    query, points = rng.normal(size=(333, 3)), rng.normal(size=(90, 3))
    query, points = (torch.from_numpy(values).to(dtype) for values in (query, points))
    expected = knn(query.double().numpy(), points.double().numpy(), k)
    distances, indices = MODULES[name].knn(query, points, k)
    assert distances.dtype == dtype and indices.dtype == torch.int64
    np.testing.assert_array_equal(indices, expected[1])
    np.testing.assert_allclose(distances, expected[0], rtol=1e-5)


@pytest.mark.parametrize('name', TORCH)
def test_ties_may_fall_either_way_but_are_as_far(name):
    """Points on a lattice, asked for at its cells' centers: eight are equally near."""
    points = np.stack(np.meshgrid(*[np.arange(5.0)] * 3), -1).reshape(-1, 3)
    query = points[(points < 4).all(1)] + 0.5
    distances, indices = (found.numpy() for found in MODULES[name].knn(
        torch.from_numpy(query), torch.from_numpy(points), 8))
    np.testing.assert_allclose(distances, np.sqrt(0.75), rtol=1e-12)
    np.testing.assert_allclose(distances_of(query, points, indices), distances, rtol=1e-12)
    assert all(len(set(row)) == 8 for row in indices)


@pytest.mark.parametrize('name', TORCH)
def test_digits_survive_far_from_the_origin(name):
    """Neighbors 1 mm apart, 100 m away, float32: products of coordinates would not tell them."""
    points = torch.tensor([[100.0, 100, 100]]) + torch.arange(20)[:, None] * 1e-3
    _, indices = MODULES[name].knn(points + 1e-4, points, 1)
    assert torch.equal(indices[:, 0], torch.arange(20))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(1, 5000))
def test_pieces_of_any_size_give_the_same(queries, count, k, table_bytes):
    generator = torch.Generator().manual_seed(queries * 41 + count)
    query = torch.rand((queries, 3), generator=generator)
    points = torch.rand((count, 3), generator=generator)
    k = min(k, count)
    whole = chunked.knn(query, points, k)
    pieces = chunked.knn(query, points, k, table_bytes)
    assert torch.equal(pieces[0], whole[0]) and torch.equal(pieces[1], whole[1])


def test_working_memory_is_bounded(monkeypatch):
    sizes = []
    squared = chunked._squared_distances

    def watched(query, points):
        table = squared(query, points)
        sizes.append(table.nbytes)
        return table
    monkeypatch.setattr(chunked, '_squared_distances', watched)
    chunked.knn(torch.rand(1000, 3), torch.rand(100, 3), 4, table_bytes=20_000)
    assert 2 * max(sizes) <= 20_000 and len(sizes) == 40
    sizes.clear()
    chunked.knn(torch.rand(3, 3), torch.rand(100, 3), 4, table_bytes=1)  # one row at the least
    assert sizes == [400] * 3


def test_tensors_stay_tensors():
    points = torch.rand(30, 3, dtype=torch.float64)
    distances, indices = knn(points.float(), points.float(), 2)
    assert distances.dtype == torch.float32 and indices.dtype == torch.int64
    np.testing.assert_array_equal(indices[:, 0], np.arange(30))
    picked = fps(points, 7)
    assert isinstance(picked, torch.Tensor)
    np.testing.assert_array_equal(picked, fps(points.numpy(), 7))


@pytest.mark.parametrize('kind', [np.asarray, torch.from_numpy])
def test_knn_of_nothing(kind):
    nothing, some = kind(np.zeros((0, 3))), kind(np.zeros((4, 3)))
    assert tuple(knn(nothing, some, 2)[1].shape) == (0, 2)
    assert tuple(knn(some, nothing, 2)[1].shape) == (4, 0)


def test_what_computes_for_a_device_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr(neighbors, 'has_torch_cluster', lambda: False)
    neighbors._uses_torch_cluster.cache_clear()
    with caplog.at_level(logging.INFO):
        assert neighbors._device_backend() is neighbors._device_backend(8) is chunked
    assert len(caplog.records) == 1 and 'torch_cluster is not installed' in caplog.text
    neighbors._uses_torch_cluster.cache_clear()


def test_a_torch_cluster_that_does_not_load_is_said_and_replaced(monkeypatch, caplog):
    def fail(name):
        raise OSError('undefined symbol')
    monkeypatch.setattr(neighbors, 'has_torch_cluster', lambda: True)
    monkeypatch.setattr(neighbors, 'import_module', fail)
    neighbors._uses_torch_cluster.cache_clear()
    with caplog.at_level(logging.INFO):
        assert neighbors._device_backend() is chunked
    assert 'cannot be used (undefined symbol)' in caplog.text
    neighbors._uses_torch_cluster.cache_clear()


@needs_cluster
def test_torch_cluster_is_preferred_up_to_what_it_can_hold():
    neighbors._uses_torch_cluster.cache_clear()
    assert neighbors._device_backend(8) is cluster
    assert neighbors._device_backend(cluster.MAX_NEIGHBORS + 1) is chunked


@pytest.mark.gpu
def test_on_a_gpu_nothing_else_comes_out():
    points = torch.rand(5000, 3)
    picked = fps(points.cuda(), 100)
    assert picked.is_cuda
    np.testing.assert_array_equal(picked.cpu(), slow_fps(points.double().numpy(), 100,
                                                         int(picked[0])))
    expected = knn(points, points[:300], 8)
    distances, indices = knn(points.cuda(), points[:300].cuda(), 8)
    assert distances.is_cuda and indices.is_cuda
    torch.testing.assert_close(distances.cpu(), expected[0], atol=1e-6, rtol=1e-5)
    assert (indices.cpu() == expected[1]).float().mean() > 0.999  # float32 may swap ties
