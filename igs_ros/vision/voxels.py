# SPDX-License-Identifier: Apache-2.0
"""Many points as one per voxel."""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Voxels:
    """P points sorted into the G voxels of an endless grid that hold any of them."""

    group: np.ndarray  # [P] int64, the voxel of each point
    weights: np.ndarray  # [P] float64 > 0
    total: np.ndarray  # [G] float64, of the weights

    @classmethod
    def of(cls, points: np.ndarray, weights: np.ndarray, size: float) -> Voxels:
        """Of points, in voxels of a grid through the origin.

        Args:
            points: [P, 3] m.
            weights: [P], above 0.
            size: side of a voxel, m.
        """
        _, group = np.unique(np.floor(points / size).astype(np.int64), axis=0,
                             return_inverse=True)
        group = group.reshape(-1)  # numpy 2.0 alone keeps a second axis
        weights = weights.astype(np.float64)
        return cls(group, weights, np.bincount(group, weights))

    def __len__(self) -> int:
        return len(self.total)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """[G, ...] float64 weighted means of values [P, ...]."""
        flat = values.reshape(len(values), math.prod(values.shape[1:]))
        sums = [np.bincount(self.group, self.weights * column, len(self)) for column in flat.T]
        means = np.stack(sums, 1) / self.total[:, None]
        return means.reshape(len(self), *values.shape[1:])

    def spread(self, values: np.ndarray) -> np.ndarray:
        """[G, K, K] float64 weighted covariances of values [P, K] within each voxel."""
        off = values - self.mean(values)[self.group]
        return self.mean(off[:, :, None] * off[:, None])
