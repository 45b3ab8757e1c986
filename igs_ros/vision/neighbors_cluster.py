# SPDX-License-Identifier: Apache-2.0
"""Neighbors by torch_cluster, which has CUDA kernels for both and is not needed."""
from __future__ import annotations

import torch
from torch import Tensor

MAX_NEIGHBORS = 100  # neighbors that its CUDA kernel can hold


def fps(points: Tensor, m: int, start: int) -> Tensor:
    """See `igs_ros.vision.neighbors.fps`.

    Args:
        points: [N, D] on a CUDA device.
        m: how many to pick, 1..N.
        start: row of the first one, below N.
    """
    import torch_cluster  # pyright: ignore[reportMissingImports]  it is optional
    points = points.float()
    order = torch.arange(len(points), device=points.device)
    order[[0, start]] = order[[start, 0]]  # it starts with the first point
    # it takes a share, and rounds up in float32: half a point less ends in the same number
    share = (m - 0.5) / len(points)
    picked = order[torch_cluster.fps(points[order], ratio=share, random_start=False)[:m]]
    # once every different point is taken, it returns equal ones again
    return picked[:len(torch.unique(points[picked], dim=0))]


def knn(query: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """See `igs_ros.vision.neighbors.knn`.

    Args:
        query: [Q, D], Q >= 1.
        points: [P, D] on the same CUDA device.
        k: neighbors of each, 1..P, at most `MAX_NEIGHBORS`.
    """
    import torch_cluster  # pyright: ignore[reportMissingImports]  it is optional
    indices = torch_cluster.knn(points, query, k)[1].reshape(len(query), k)
    distances = (query[:, None] - points[indices]).norm(dim=-1)
    distances, order = distances.sort(stable=True, dim=1)
    return distances, indices.gather(1, order)
