# SPDX-License-Identifier: Apache-2.0
"""The scene type."""
import pytest
import torch

from igs_ros.core.errors import InputError
from igs_ros.core.scene import GaussianScene, checked, concatenated, empty_scene


def scene(count: int, degree: int = 1, velocities: bool = False) -> GaussianScene:
    torch.manual_seed(count)
    return GaussianScene(torch.randn(count, 3), torch.randn(count, 4), torch.rand(count, 3),
                         torch.rand(count), torch.randn(count, (degree + 1) ** 2, 3),
                         torch.randn(count, 3) if velocities else None)


def test_select_and_concatenate_are_inverse():
    whole = scene(10, velocities=True)
    again = concatenated([whole.select(torch.arange(4)), whole.select(torch.arange(4, 10))])
    for name in ('means', 'quats', 'scales', 'opacities', 'sh', 'velocities'):
        assert torch.equal(getattr(again, name), getattr(whole, name))


def test_degree_can_be_cut_and_padded():
    low = scene(3, 2).with_sh_degree(1)
    assert low.sh_degree == 1 and torch.equal(low.sh, scene(3, 2).sh[:, :4])
    high = low.with_sh_degree(3)
    assert high.sh_degree == 3 and not high.sh[:, 4:].any()


def test_velocities_survive_only_if_all_have_them():
    assert concatenated([scene(2, velocities=True), scene(2)]).velocities is None


def test_nan_is_refused_with_its_origin():
    bad = scene(4)
    bad.scales[2, 1] = float('nan')
    with pytest.raises(InputError, match='room.ply: 1 of 4'):
        checked(bad, 'room.ply')


def test_wrong_shapes_are_refused():
    with pytest.raises(AssertionError):
        GaussianScene(torch.zeros(2, 3), torch.zeros(3, 4), torch.zeros(2, 3), torch.zeros(2),
                      torch.zeros(2, 1, 3))
    assert len(empty_scene(2)) == 0 and empty_scene(2).sh_degree == 2
