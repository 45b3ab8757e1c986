# SPDX-License-Identifier: Apache-2.0
"""A key in the making."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from igs_ros.core.scene import GaussianScene, concatenated


@dataclass(frozen=True, eq=False)
class KeyDraft:
    """Gaussians on their way into a new key."""

    scene: GaussianScene  # N
    rows: np.ndarray  # [N] int64 row of the scene that was given, -1 = newborn
    free: np.ndarray  # [N] bool: to be optimized

    def select(self, rows: np.ndarray) -> KeyDraft:
        """The Gaussians `rows` (index or boolean array)."""
        index = np.flatnonzero(rows) if rows.dtype == bool else rows  # a GPU waits for masks
        index = torch.from_numpy(index).to(self.scene.device)
        return KeyDraft(self.scene.select(index), self.rows[rows], self.free[rows])

    def joined(self, newborn: GaussianScene) -> KeyDraft:
        """With some Gaussians more, all free, behind those that are there."""
        count = len(newborn)
        if not count:
            return self
        velocities = None if self.scene.velocities is None else torch.zeros_like(newborn.means)
        return KeyDraft(concatenated([self.scene, newborn.replaced(velocities=velocities)]),
                        np.concatenate([self.rows, np.full(count, -1)]),
                        np.concatenate([self.free, np.ones(count, bool)]))
