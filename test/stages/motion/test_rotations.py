# SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch
from gsplat.utils import normalized_quat_to_rotmat
from scipy.spatial.transform import Rotation

from igs_ros.stages.motion.geometric import turned


def test_turned_orientation_is_turn_times_orientation():
    rng = np.random.default_rng(0)
    turns = Rotation.random(50, rng=rng).as_matrix()
    quats = rng.normal(size=(50, 4))
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    result = turned(turns, quats)
    np.testing.assert_allclose(np.linalg.norm(result, axis=1), 1, rtol=1e-12)
    before, after = (normalized_quat_to_rotmat(torch.from_numpy(q)).numpy()
                     for q in (quats, result))
    np.testing.assert_allclose(after, turns @ before, atol=1e-12)


def test_no_orientations():
    assert turned(np.zeros((0, 3, 3)), np.zeros((0, 4))).shape == (0, 4)
