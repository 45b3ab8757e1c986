# SPDX-License-Identifier: Apache-2.0
"""Farthest point sampling and nearest neighbours of point clouds (reference/cpu_core.md 4)."""
from __future__ import annotations

import logging

import numpy as np
from numba import njit
from scipy.spatial import cKDTree

try:
    import fpsample
except ImportError:  # it has no wheel for every Python
    fpsample = None

_LOG = logging.getLogger(__name__)
_TREE_HEIGHT = 7  # fastest of those measured, for 10k to 150k points
_told = set()


def fps(points: np.ndarray, m: int, seed: int = 0) -> np.ndarray:
    """Farthest point sampling: each point is the one farthest from all before it.

    points: [N, D], any unit, finite. The first one is drawn with `seed`; the rest follow.
    Returns int64 indices in the order picked: `m` of them, or fewer where there are fewer
    different points.
    """
    points = np.ascontiguousarray(points, dtype=np.float32)
    if len(points) == 0 or m <= 0:
        return np.zeros(0, np.int64)
    start = int(np.random.default_rng(seed).integers(len(points)))
    count = min(m, len(points))
    if fpsample is None:
        _tell_once('fpsample is not installed: farthest point sampling runs in numba, which is '
                   'about 20 times slower; pip install fpsample==0.3.3')
        return _fps_brute_force(points, count, start)
    if len(points) < 2 ** _TREE_HEIGHT:
        return _fps_brute_force(points, count, start)
    picked = fpsample.bucket_fps_kdline_sampling(points, count, _TREE_HEIGHT, start)
    picked = np.asarray(picked, dtype=np.int64)
    # once every different point is taken, the tree returns equal ones again
    _, first = np.unique(points[picked], axis=0, return_index=True)
    return picked[np.sort(first)]


def knn(query: np.ndarray, points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest points of each query point, nearest first.

    query: [Q, D]; points: [P, D], same unit, finite. Returns distances [Q, k'] float64 and
    indices [Q, k'] int64 into `points`, with k' = min(k, P).
    """
    k = min(k, len(points))
    if k <= 0 or len(query) == 0:
        return np.zeros((len(query), max(k, 0))), np.zeros((len(query), max(k, 0)), np.int64)
    # a list of ranks keeps the second axis, also for k = 1
    return cKDTree(points).query(query, k=list(range(1, k + 1)))


def _tell_once(message: str) -> None:
    if message not in _told:
        _told.add(message)
        _LOG.warning(message)


@njit(cache=True, nogil=True)
def _fps_brute_force(points, count, start):
    n, dimensions = points.shape
    nearest = np.full(n, np.inf, np.float32)  # squared distance to the picked points
    picked = np.empty(count, np.int64)
    newest = start
    for taken in range(count):
        picked[taken] = newest
        farthest, best = -1, np.float32(0)
        for i in range(n):
            squared = np.float32(0)
            for d in range(dimensions):
                difference = points[i, d] - points[newest, d]
                squared += difference * difference
            if squared < nearest[i]:
                nearest[i] = squared
            if nearest[i] > best:
                best = nearest[i]
                farthest = i
        if farthest < 0:
            return picked[:taken + 1]
        newest = farthest
    return picked
