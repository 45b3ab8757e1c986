# SPDX-License-Identifier: Apache-2.0
"""Turning orientations: rotation matrices on unit quaternions (wxyz, Hamilton)."""
from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def turned(turns: np.ndarray, quats: np.ndarray) -> np.ndarray:
    """Orientations, turned in the world: turn * orientation.

    turns: [N, 3, 3] rotation matrices; quats: [N, 4] wxyz, any length but 0. Returns [N, 4] wxyz
    float64, unit.
    """
    if len(quats) == 0:
        return np.zeros((0, 4))
    product = Rotation.from_matrix(turns) * Rotation.from_quat(quats[:, [1, 2, 3, 0]])
    return product.as_quat()[:, [3, 0, 1, 2]]
