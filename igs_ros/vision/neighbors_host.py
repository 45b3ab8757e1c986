# SPDX-License-Identifier: Apache-2.0
"""Neighbors on the CPU: fpsample's bucket tree and SciPy's k-d tree (reference/cpu_core.md 4)."""
from __future__ import annotations

import logging

import numpy as np
from scipy.spatial import KDTree

from igs_ros.core.jit import njit
from igs_ros.core.logs import log_once

try:
    import fpsample
except ImportError:  # it has no wheel for every Python
    fpsample = None

_LOG = logging.getLogger(__name__)
_TREE_HEIGHT = 7  # fastest of those measured, for 10k to 150k points


def fps(points: np.ndarray, m: int, start: int) -> np.ndarray:
    """See `igs_ros.vision.neighbors.fps`.

    Args:
        points: [N, D], taken as float32.
        m: how many to pick, 1..N.
        start: row of the first one, below N.
    """
    points = np.ascontiguousarray(points, dtype=np.float32)
    if fpsample is None:
        log_once(_LOG, logging.WARNING,
                 'fpsample is not installed: farthest point sampling runs in numba, which is '
                 'about 20 times slower; pip install fpsample==0.3.3')
        return _fps_brute_force(points, m, start)
    if len(points) < 2 ** _TREE_HEIGHT:
        return _fps_brute_force(points, m, start)
    picked = fpsample.bucket_fps_kdline_sampling(points, m, _TREE_HEIGHT, start)
    picked = np.asarray(picked, dtype=np.int64)
    # once every different point is taken, the tree returns equal ones again
    _, first = np.unique(points[picked], axis=0, return_index=True)
    return picked[np.sort(first)]


def knn(query: np.ndarray, points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """See `igs_ros.vision.neighbors.knn`.

    Args:
        query: [Q, D], Q >= 1.
        points: [P, D].
        k: neighbors of each, 1..P.
    """
    distances, indices = KDTree(points, leafsize=16).query(query, k=k)
    shape = (len(query), k)  # for k = 1 the second axis is left out
    return np.reshape(distances, shape), np.reshape(indices, shape)


def warm_up() -> None:
    """Have numba compile, or load, the sampling."""
    _fps_brute_force(np.zeros((2, 3), np.float32), 1, 0)


@njit(cache=True, nogil=True)
def _fps_brute_force(points, count, start):
    """Farthest point sampling as in textbooks: [count'] int64, fewer where points are equal."""
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
