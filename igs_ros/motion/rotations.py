# SPDX-License-Identifier: Apache-2.0
"""Rotation matrices and unit quaternions (wxyz, Hamilton)."""
from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def quaternions(rotations: np.ndarray) -> np.ndarray:
    """[N, 4] wxyz float64 of rotation matrices [N, 3, 3]."""
    if len(rotations) == 0:
        return np.zeros((0, 4))
    return Rotation.from_matrix(rotations).as_quat()[:, [3, 0, 1, 2]]


def turned(turns: np.ndarray, quats: np.ndarray) -> np.ndarray:
    """[N, 4] wxyz: the orientations `quats` [N, 4], turned by `turns` [N, 4] in the world."""
    a, b = turns[:, :1], quats[:, :1]
    u, v = turns[:, 1:], quats[:, 1:]
    product = np.concatenate([a * b - (u * v).sum(1, keepdims=True),
                              a * v + b * u + np.cross(u, v)], 1)
    return product / np.linalg.norm(product, axis=1, keepdims=True)
