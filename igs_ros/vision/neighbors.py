# SPDX-License-Identifier: Apache-2.0
"""Farthest point sampling and nearest neighbors of point clouds.

One interface for arrays and tensors. Where the points are decides who computes: on a CUDA device
torch_cluster where it is installed, else plain torch, and nothing is copied to the host; elsewhere
fpsample and a k-d tree (reference/cpu_core.md 4). All of them are exact; they may differ in the
order of what is equally far.
"""
from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import overload

import numpy as np
import torch

from igs_ros.vision import neighbors_chunked as chunked
from igs_ros.vision import neighbors_cluster as cluster
from igs_ros.vision import neighbors_host as host

_LOG = logging.getLogger(__name__)
PointArray = np.ndarray | torch.Tensor


@overload
def fps(points: np.ndarray, m: int, seed: int = 0) -> np.ndarray: ...
@overload
def fps(points: torch.Tensor, m: int, seed: int = 0) -> torch.Tensor: ...
def fps(points: PointArray, m: int, seed: int = 0) -> PointArray:
    """Farthest point sampling: each point is the one farthest from all before it.

    Args:
        points: [N, D] array or tensor, any unit, finite; taken as float32.
        m: how many to pick.
        seed: decides which one is the first; the rest follow.

    Returns:
        int64 indices in the order picked, of the same kind and on the same device: `m` of them,
        or fewer where there are fewer different points.
    """
    if len(points) == 0 or m <= 0:
        return _like(points, np.zeros(0, np.int64))
    start = int(np.random.default_rng(seed).integers(len(points)))
    m = min(m, len(points))
    if isinstance(points, torch.Tensor) and _on_device(points):
        return _device_backend().fps(points.detach(), m, start)
    return _like(points, host.fps(_array(points), m, start))


@overload
def knn(query: np.ndarray, points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]: ...
@overload
def knn(query: torch.Tensor, points: torch.Tensor, k: int,
        ) -> tuple[torch.Tensor, torch.Tensor]: ...
def knn(query: PointArray, points: PointArray, k: int) -> tuple[PointArray, PointArray]:
    """The k nearest points of each query point, nearest first.

    Args:
        query: [Q, D].
        points: [P, D]; both are arrays or both tensors of one device, same unit, finite.
        k: how many.

    Returns:
        Distances [Q, k'] (float64, of tensors their dtype) and indices [Q, k'] int64 into
        `points`, with k' = min(k, P).
    """
    k = min(k, len(points))
    if k <= 0 or len(query) == 0:
        distances = np.zeros((len(query), max(k, 0)))
        indices = distances.astype(np.int64)
    elif isinstance(query, torch.Tensor) and isinstance(points, torch.Tensor) \
            and _on_device(query):
        return _device_backend(k).knn(query.detach(), points.detach(), k)
    else:
        distances, indices = host.knn(_array(query), _array(points), k)
    if isinstance(query, torch.Tensor):
        return _tensor(query, distances).to(query.dtype), _tensor(query, indices)
    return distances, indices


def has_torch_cluster() -> bool:
    """Whether torch_cluster can be imported."""
    return find_spec('torch_cluster') is not None


def _on_device(points: torch.Tensor) -> bool:
    return points.device.type != 'cpu'


def _device_backend(k: int = 0) -> ModuleType:
    """The module for points on a CUDA device; k: neighbors asked for."""
    return cluster if _uses_torch_cluster() and k <= cluster.MAX_NEIGHBORS else chunked


@cache
def _uses_torch_cluster() -> bool:
    """Whether torch_cluster is there and loads; says once which it is."""
    if not has_torch_cluster():
        _LOG.warning('neighbors: torch_cluster is not installed, plain torch samples anchors and '
                     'finds neighbors, which is slower; pip install torch-cluster')
        return False
    try:
        import_module('torch_cluster')
    except (ImportError, OSError, RuntimeError) as error:  # built for another torch
        _LOG.warning('neighbors: torch_cluster cannot be used (%s), plain torch takes its place, '
                     'which is slower; install one built for torch %s', error, torch.__version__)
        return False
    _LOG.info('neighbors: torch_cluster')
    return True


def _array(points: PointArray) -> np.ndarray:
    return points.detach().numpy() if isinstance(points, torch.Tensor) else np.asarray(points)


def _like(points: PointArray, values: np.ndarray) -> PointArray:
    """`values` as what `points` are: an array, or a tensor of their device."""
    return _tensor(points, values) if isinstance(points, torch.Tensor) else values


def _tensor(points: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(points.device)
