# SPDX-License-Identifier: Apache-2.0
"""A key in the making: rows and freedom go with their Gaussians."""
import numpy as np
import pytest
import torch
from views_of import gaussians

from igs_ros.stages.refine.draft import KeyDraft


def draft(velocities=None) -> KeyDraft:
    scene = gaussians([0.0, 0, 1], [0.0, 0, 2], [0.0, 0, 3]).replaced(velocities=velocities)
    return KeyDraft(scene, np.array([4, 5, 9]), np.array([True, False, False]))


@pytest.mark.parametrize('rows', [np.array([0, 2]), np.array([True, False, True])])
def test_a_selection_keeps_rows_and_freedom(rows):
    taken = draft().select(rows)
    assert taken.scene.means[:, 2].tolist() == [1, 3]
    assert taken.rows.tolist() == [4, 9] and taken.free.tolist() == [True, False]


def test_the_newborn_are_free_and_come_from_nowhere():
    joined = draft().joined(gaussians([0.0, 0, 7], [0.0, 0, 8]))
    assert joined.scene.means[:, 2].tolist() == [1, 2, 3, 7, 8]
    assert joined.rows.tolist() == [4, 5, 9, -1, -1]
    assert joined.free.tolist() == [True, False, False, True, True]
    assert joined.scene.velocities is None


def test_the_newborn_stand_still_where_velocities_are_known():
    joined = draft(torch.ones(3, 3)).joined(gaussians([0.0, 0, 7]))
    assert joined.scene.velocities[:, 0].tolist() == [1, 1, 1, 0]


def test_without_births_nothing_is_copied():
    made = draft()
    assert made.joined(made.scene.select(slice(0))) is made
