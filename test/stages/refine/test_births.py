# SPDX-License-Identifier: Apache-2.0
"""Where Gaussians are born and which fade: how many views must be wrong, and who has a vote."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from views_of import EVERYWHERE, HEIGHT, NOTHING, WIDTH, camera, gaussians, residual, votes

from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.stages.refine import births
from igs_ros.stages.refine.reference import ReferenceImages
from igs_ros.stages.refine.residuals import compare_views
from igs_ros.vision.stereo import DepthMap

SURFACE_M = 2.0


def left_after(wrong: int, right: int, covered: int = 0, cover_m: float = 1.0) -> bool:
    """Whether a point of a depth map is left: wrong in some views, right in others.

    covered: of the views in which it is right, how many see something before it, at `cover_m`.
    """
    views = {f'cam{v}': camera(f'cam{v}') for v in range(wrong + right)}
    residuals = {name: residual(view, [], wrong=EVERYWHERE if v < wrong else NOTHING)
                 for v, (name, view) in enumerate(views.items())}

    def depth_map(view, depth_m):
        depth = np.full((HEIGHT, WIDTH), np.nan, np.float32)
        depth[20, 30] = depth_m
        return DepthMap.of_depth(depth, view)
    maps = {name: depth_map(view, cover_m if wrong <= v < wrong + covered else SURFACE_M)
            for v, (name, view) in enumerate(views.items())}
    left = births._only_wrong(maps['cam0'], residuals, maps)
    assert np.isnan(left.depth).sum() >= HEIGHT * WIDTH - 1  # nothing is made up
    assert np.isfinite(maps['cam0'].depth[20, 30])  # the given one is left alone
    return bool(np.isfinite(left.depth[20, 30]))


@pytest.mark.parametrize('wrong, right, expected', [
    (2, 0, True), (2, 2, True), (2, 3, False),  # half of those that see it, exactly and not
    (3, 3, True), (3, 4, False),
    (1, 0, False), (1, 1, False)])  # one view alone is not believed
def test_two_views_and_half_of_those_that_see_a_point_must_be_wrong_there(wrong, right, expected):
    assert left_after(wrong, right) == expected


@pytest.mark.parametrize('cover_m, expected', [
    (1.0, True), (1.90, True),  # 2.0 m lies more than 5 % behind it: no say
    (1.91, False), (2.0, False), (3.0, False), (np.nan, False)])
def test_views_with_something_before_a_point_have_no_say(cover_m, expected):
    assert left_after(2, 3, covered=1, cover_m=cover_m) == expected


@pytest.mark.parametrize('count, wrong, expected', [
    (10, 9, True), (10, 8, False), (2, 2, True), (2, 1, False), (5, 4, False), (1, 1, True)])
def test_an_old_gaussian_fades_where_nine_of_ten_views_are_wrong(count, wrong, expected):
    assert births.inconsistent(votes(count, wrong, 'wrong')).tolist() == [expected]


def test_fading_cuts_opacities_to_a_fifth_and_raises_none():
    scene = gaussians(*[[0.0, 0, 2]] * 4).replaced(opacities=torch.tensor([0.1, 0.2, 0.7, 0.7]))
    faded = births.fade(scene, np.array([True, True, True, False]))
    torch.testing.assert_close(faded.opacities, torch.tensor([0.1, 0.2, 0.2, 0.7]))


def test_the_eight_views_with_most_wrong_are_swept():
    def wrong(count):
        return np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) < count
    residuals = {f'cam{v}': residual(camera(f'cam{v}'), [], wrong=wrong(pixels))
                 for v, pixels in enumerate((5, 9, 1, 7, 7, 7, 7, 7, 7, 7))}
    # least of all in cam2; of seven equal ones the first six, by name, join cam1
    assert list(births._most_wrong(residuals)) == [f'cam{v}' for v in (1, 3, 4, 5, 6, 7, 8, 9)]
    residuals['cam9'] = replace(residuals['cam9'], wrong=wrong(5))
    assert list(births._most_wrong(residuals)) == [f'cam{v}' for v in (0, 1, 3, 4, 5, 6, 7, 8)]


@pytest.fixture(scope='module')
def appeared(world):
    """What the views of the wall say to pictures of the board before it."""
    before, after = world.pictures(world.wall), world.pictures(world.both, 1)
    return compare_views(world.wall, after.images, world.cameras, CpuRasterizer(1),
                         ReferenceImages.of(before))


def only_wrong_in(residuals, names):
    return {name: one if name in names else replace(one, wrong=np.zeros_like(one.wrong))
            for name, one in residuals.items()}


def born(world, residuals, count=10):
    return births.spawn_from_stereo(residuals, world.wall, count, 0, 1)


def test_two_wrong_views_are_enough_and_one_is_not_looked_at(world, appeared, monkeypatch):
    pair = {name: appeared[name] for name in ('b', 'c')}
    assert 0 < len(born(world, pair)) <= 10
    monkeypatch.setattr(births, 'find_depth', lambda *_, **__: pytest.fail('stereo for nothing'))
    assert len(born(world, only_wrong_in(appeared, 'b'))) == 0


def test_the_number_of_births_is_bounded(world, appeared, monkeypatch):
    assert len(born(world, appeared, 1)) == 1
    monkeypatch.setattr(births, 'find_depth', lambda *_, **__: pytest.fail('stereo for nothing'))
    assert len(born(world, appeared, 0)) == 0 == len(born(world, appeared, -1))


def test_newborn_are_faint_and_no_larger_than_a_hundredth_of_their_distance(world, appeared):
    scene = born(world, appeared, 4)  # so few are far apart: each is as large as it may be
    assert len(scene) > 1 and scene.sh_degree == world.wall.sh_degree
    torch.testing.assert_close(scene.opacities, torch.full((len(scene),), 0.3))
    nearest = np.min([np.linalg.norm(scene.means.numpy() - view.center, axis=1)
                      for view in world.cameras.values()], 0)
    np.testing.assert_allclose(scene.scales.numpy().max(1), 0.01 * nearest, rtol=1e-4)
