# SPDX-License-Identifier: Apache-2.0
"""Neighbors in plain torch, by all distances: for CUDA devices without torch_cluster.

Exact up to the rounding of the dtype; differences are squared directly, as the usual expansion
into products loses the digits that near neighbors differ in.
"""
from __future__ import annotations

import torch
from torch import Tensor

TABLE_BYTES = 256_000_000  # bound of the tables of distances that are there at once


def fps(points: Tensor, m: int, start: int) -> Tensor:
    """See `igs_ros.vision.neighbors.fps`.

    Some eight kernels per pick, one after the other, and one wait for the device at the end.

    Args:
        points: [N, D] on any device.
        m: how many to pick, 1..N.
        start: row of the first one, below N.
    """
    points = points.float()
    nearest = points.new_full((len(points),), torch.inf)  # squared distance to the picked points
    picked = torch.empty(m, dtype=torch.int64, device=points.device)
    gaps = points.new_empty(m)  # squared distance of each pick to those before
    newest = torch.full((1,), start, dtype=torch.int64, device=points.device)
    for taken in range(m):
        picked[taken] = newest[0]
        gaps[taken] = nearest[newest][0]
        torch.minimum(nearest, (points - points[newest]).square().sum(1), out=nearest)
        newest = nearest.argmax(0, keepdim=True)
    # gaps never grow: from the first 0 on, all points equal one that was picked
    return picked[gaps > 0]


def knn(query: Tensor, points: Tensor, k: int, table_bytes: int = TABLE_BYTES,
        ) -> tuple[Tensor, Tensor]:
    """See `igs_ros.vision.neighbors.knn`.

    Args:
        query: [Q, D], Q >= 1.
        points: [P, D] on the same device.
        k: neighbors of each, 1..P.
        table_bytes: bound of the working memory, except that the distances of one query point must
            fit.
    """
    rows = max(1, table_bytes // (2 * len(points) * query.element_size()))
    distances = query.new_empty(len(query), k)
    indices = torch.empty(len(query), k, dtype=torch.int64, device=query.device)
    for first in range(0, len(query), rows):
        part = slice(first, first + rows)
        nearest = _squared_distances(query[part], points).topk(k, largest=False)
        distances[part], indices[part] = nearest.values.sqrt(), nearest.indices
    return distances, indices


def _squared_distances(query: Tensor, points: Tensor) -> Tensor:
    """[Q, P]; no more than two such tables at once."""
    table = query.new_zeros(len(query), len(points))
    for ours, theirs in zip(query.unbind(1), points.unbind(1), strict=True):
        difference = ours[:, None] - theirs
        table.addcmul_(difference, difference)
    return table
