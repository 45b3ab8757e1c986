# SPDX-License-Identifier: Apache-2.0
"""One key refinement at its bounds: what it asks stereo and the optimizer for, who gives way."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from views_of import HEIGHT, WIDTH, camera, gaussians

from igs_ros.core.config import RefineConfig
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import SH_C0, concatenated
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.optimize import LearningRates
from igs_ros.stages.refine import refiner as refiner_module
from igs_ros.stages.refine.optimization import TUNED, Outcome
from igs_ros.stages.refine.reference import ReferenceImages
from igs_ros.stages.refine.refiner import RefineEffort, Refiner

VIEWS = {'a': camera('a'), 'b': camera('b', 0.05)}


def row(count, opacity=0.5, z=2.0):
    """Small Gaussians side by side in all views, from the left, a little over 3 px apart."""
    return gaussians(*[[-1.6 + 0.22 * i, 0.02, z] for i in range(count)], scale=0.05,
                     opacity=opacity)


def pictures(level=0, names='ab'):
    return FrameSet(5, {name: np.full((HEIGHT, WIDTH, 3), level, np.uint8) for name in names})


class Stages:
    """A refiner whose stereo finds `newborn` and whose optimizer changes nothing; takes notes."""

    def __init__(self, monkeypatch, limit=1000, newborn=0, views=VIEWS, fixed=None, **config):
        self.asked, self.outcome = {}, lambda scene: scene

        def spawn(residuals, scene, max_count, seed, threads):
            self.asked.update(births=max_count, seed=seed, threads=threads)
            return row(newborn, z=1.0) if newborn else scene.select(slice(0))

        def optimize(scene, tasks, rasterizer, schedule, *, cancelled):
            self.asked.update(scene=scene, tasks=tasks, schedule=schedule)
            return Outcome(out := self.outcome(scene), 0.25, 0, 0, np.arange(len(out)))
        monkeypatch.setattr(refiner_module, 'spawn_from_stereo', spawn)
        monkeypatch.setattr(refiner_module, 'optimize', optimize)
        self.refiner = Refiner(CpuRasterizer(1), views, replace(RefineConfig(), **config), limit,
                               7, 3, fixed)

    def refine(self, scene, wanted=None, **options):
        return self.refiner.refine(scene, wanted or pictures(), 11, **options)


@pytest.fixture
def stages(monkeypatch):
    return lambda **options: Stages(monkeypatch, **options)


# --- effort -----------------------------------------------------------------------------------


@pytest.mark.parametrize('options, iterations', [
    ({}, 40), ({'catch_up': True}, 120), ({'effort': RefineEffort(9, 1.0, 50)}, 9),
    ({'effort': RefineEffort(9, 1.0, 50), 'catch_up': True}, 9)])
def test_catching_up_takes_three_times_the_iterations(stages, options, iterations):
    made = stages(iterations=40)
    refined = made.refine(row(4), **options)
    schedule = made.asked['schedule']
    assert schedule.iterations == refined.iterations == iterations and refined.loss == 0.25
    assert (schedule.seed, schedule.number) == (7, 11)
    assert (made.asked['seed'], made.asked['threads']) == (7, 3)


@pytest.mark.parametrize('limit, max_free, births', [(1000, 1000, 100), (994, 1000, 99),
                                                     (996, 1000, 100), (1000, 99, 99),
                                                     (1000, 100, 100)])
def test_a_tenth_of_the_limit_may_be_born_if_so_many_may_be_free(stages, limit, max_free, births):
    made = stages(limit=limit)
    made.refine(row(4), effort=RefineEffort(5, 1.0, max_free))
    assert made.asked['births'] == births


def test_without_births_stereo_is_not_asked_and_nothing_fades(stages):
    made = stages(births=False)
    refined = made.refine(row(4, opacity=0.9), pictures(255))
    assert 'births' not in made.asked and refined.born == 0
    assert (made.asked['scene'].opacities == 0.9).all()
    made = stages(births=True)
    made.refine(row(4, opacity=0.9), pictures(255))  # gray before white: wrong in both views
    torch.testing.assert_close(made.asked['scene'].opacities, torch.full((4,), 0.2))


@pytest.mark.parametrize('max_free, newborn, free', [(6, 0, 6), (6, 2, 6), (3, 2, 3), (99, 2, 12)])
def test_the_newborn_count_among_those_that_may_be_free(stages, max_free, newborn, free):
    made = stages(newborn=newborn)
    refined = made.refine(row(10), effort=RefineEffort(5, 1.0, max_free))
    assert refined.free == len(made.asked['scene']) == free and refined.born == newborn
    assert (refined.rows >= 0).sum() == 10 - (free - newborn)
    assert sorted(refined.rows[refined.rows >= 0]) == refined.rows[:10 + newborn - free].tolist()


# --- room -------------------------------------------------------------------------------------


@pytest.mark.parametrize('count, newborn, limit, kept', [
    (8, 2, 10, 8),  # just room enough: nothing gives way
    (9, 2, 10, 8), (10, 2, 10, 8), (98, 2, 100, 98), (10, 0, 10, 10), (99, 2, 149, 99)])
def test_who_matters_least_gives_way_to_the_newborn(stages, count, newborn, limit, kept):
    made = stages(limit=limit, newborn=newborn)
    start = concatenated([row(14, z=2.0 + 0.01 * i) for i in range(-(-count // 14))])
    refined = made.refine(start.select(slice(count)))
    assert len(refined.scene) == kept + newborn and refined.born == newborn
    assert refined.pruned == count - kept
    frozen = (refined.rows >= 0).sum()
    assert made.asked['schedule'].densify.max_gaussians == limit - frozen


@pytest.mark.parametrize('faint, opacity, births, room', [
    (0, 0.04, 2, 0), (2, 0.04, 2, 0),  # no more than the newborn need
    (3, 0.04, 2, 1), (4, 0.04, 2, 2), (3, 0.04, 1, 2),
    (20, 0.04, 2, 2),  # a hundredth of the limit at most
    (20, 0.07, 2, 0),  # a seventh of the others: it would be missed
    (20, 0.04, 0, 0)])  # nothing is born: nobody gives way
def test_only_who_hardly_shows_gives_way_to_splits(stages, faint, opacity, births, room):
    """154 of one size, none before another: what shows of each is its opacity."""
    start = concatenated([row(14) for _ in range(11)])
    lines = torch.arange(11).repeat_interleave(14)
    start.means[:, 1] = -1.1 + 0.22 * lines
    start.opacities[torch.randperm(154, generator=torch.Generator().manual_seed(0))[:faint]] = \
        opacity
    start.sh[:] = -0.5 / SH_C0  # black, as the pictures: nothing is wrong
    seen = pictures()
    refined = stages(limit=154, newborn=births).refine(start, seen,
                                                       reference=ReferenceImages.of(seen))
    assert len(refined.scene) == 154 - room and refined.pruned == births + room
    assert (start.opacities == opacity).sum() - (refined.scene.opacities == opacity).sum() \
        == min(faint, births + room)


@pytest.mark.parametrize('limit', [10, 12])
def test_splits_may_fill_what_the_frozen_leave_of_the_limit(stages, limit):
    fixed = replace(TUNED, densify_threshold=0.125, prune_opacity=0.25, densify_every=3, dssim=0.5)
    made, seen = stages(limit=limit, fixed=fixed), pictures()
    made.refine(row(10), seen, reference=ReferenceImages.of(seen), moved=np.array([1, 4]),
                effort=RefineEffort(5, 1.0, 99))
    how = made.asked['schedule'].densify
    assert how.max_gaussians == limit - 8 and len(made.asked['scene']) == 2
    assert (how.threshold, how.prune_opacity) == (0.125, 0.25)
    assert (made.asked['schedule'].densify_every, made.asked['schedule'].dssim) == (3, 0.5)


def test_a_scene_at_the_limit_is_taken_as_it_is_and_one_above_loses_what_is_seen_least(stages):
    scene = row(10).replaced(opacities=torch.linspace(0.9, 0.1, 10))
    assert len(stages(limit=10).refine(scene).scene) == 10
    assert len(stages(limit=9).refine(scene).scene) == 9
    made = stages(limit=7)
    refined = made.refine(scene, pictures(names=''))
    assert refined.iterations == 0 and refined.pruned == 3 and len(refined.scene) == 7
    torch.testing.assert_close(refined.scene.opacities, scene.opacities[:7])


ELSEWHERE = camera('b', 100.0)


def left(stages, names):
    """Whether a bright Gaussian is that b alone sees; of it and two of a's, one gives way."""
    start = concatenated([row(2), gaussians([100.0, 0.02, 2.0], scale=0.2, opacity=0.9)])
    made, seen = stages(limit=3, newborn=1, views={'a': VIEWS['a'], 'b': ELSEWHERE}), pictures()
    refined = made.refine(start, seen.only(names), reference=ReferenceImages.of(seen))
    assert len(refined.scene) == 3
    return bool((refined.scene.means[:, 0] == 100).any())


def test_what_only_an_absent_camera_sees_does_not_give_way(stages, monkeypatch):
    assert left(stages, 'a')
    monkeypatch.setattr(Refiner, '_importance',
                        lambda *_: pytest.fail('drawn again, for nothing'))
    assert left(stages, 'ab')


def test_what_faded_gives_way_first(stages):
    """The one in the middle shows most of itself, but where both views are white."""
    scene = row(3).replaced(opacities=torch.tensor([0.3, 0.5, 0.3]))
    dark, white = pictures(), pictures()
    for image in white.images.values():
        image[14:27, 5:14] = 255  # it lies at 9, 20; the others 3 px to either side
    middle = float(scene.means[1, 0])
    for wanted, expected in ((dark, True), (white, False)):
        made = stages(limit=3, newborn=1)
        views = made.refiner._cameras
        residuals = refiner_module.compare_views(scene, wanted.images, views, CpuRasterizer(1),
                                                 ReferenceImages())
        faded = refiner_module.inconsistent(residuals)
        assert faded[1] == (wanted is white)
        refined = made.refine(scene, wanted)
        assert bool((refined.scene.means[:, 0] == middle).any()) == expected


# --- what comes out ---------------------------------------------------------------------------


@pytest.mark.parametrize('left, limit, collapsed', [(5, 1000, False), (4, 1000, True),
                                                    (4, 8, False), (3, 8, True)])
def test_losing_more_than_half_is_a_collapse(stages, left, limit, collapsed):
    made = stages(limit=limit)
    made.outcome = lambda scene: scene.select(slice(left))
    if collapsed:
        with pytest.raises(FloatingPointError, match=f'10 Gaussians collapsed to {left}'):
            made.refine(row(10))
    else:
        assert made.refine(row(10)).pruned == 10 - left


def test_splits_are_not_counted_as_pruned(stages):
    made = stages(newborn=2)

    def grown(scene, *_, **__):
        rows = np.concatenate([np.arange(len(scene)), np.arange(3)])
        return Outcome(concatenated([scene, scene.select(slice(3))]), 0.0, 5, 2, rows)
    refiner_module.optimize = grown  # undone with the fixture's own patch
    refined = made.refine(row(10))
    assert (refined.split, refined.born, refined.pruned, len(refined.scene)) == (5, 2, 2, 15)


# --- what is fitted ---------------------------------------------------------------------------


def test_frozen_ones_limit_the_tiles_and_views_without_free_ones_are_left_out(stages):
    views = {'a': VIEWS['a'], 'b': ELSEWHERE}
    made, seen = stages(views=views), pictures()
    refined = made.refine(row(10), seen, reference=ReferenceImages.of(seen), moved=np.array([0]))
    assert list(made.asked['tasks']) == ['a']
    tiles = made.asked['tasks']['a'].tiles
    assert np.argwhere(tiles).tolist() == [[1, 0]]  # row 20, column 6 of 60 x 40
    assert refined.tiles_share == pytest.approx(1 / 12)
    whole = made.refine(row(10), seen)  # without a reference all are free
    assert all(task.tiles is None for task in made.asked['tasks'].values())
    assert whole.tiles_share == 1 and list(made.asked['tasks']) == ['a', 'b']


@pytest.mark.parametrize('scale, size', [(1.0, (60, 40)), (0.5, (30, 20)), (0.41, (25, 17)),
                                         (0.001, (1, 1))])
def test_pictures_are_fitted_at_the_scale_of_the_effort(stages, scale, size):
    made, image = stages(), np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, ::2] = 100
    made.refine(row(4), FrameSet(5, {'a': image}), effort=RefineEffort(5, scale, 9))
    task = made.asked['tasks']['a']
    assert (task.camera.width, task.camera.height) == size
    assert (task.camera is VIEWS['a']) == (scale == 1)
    assert task.target.image.shape[:2] == size[::-1]
    if scale < 1:  # the mean of what is under each pixel
        assert task.target.image.mean() == pytest.approx(50 / 255, abs=0.02)


def test_nothing_free_costs_nothing(stages):
    made, seen = stages(), pictures()
    refined = made.refine(row(4), seen, reference=ReferenceImages.of(seen))
    assert refined.iterations == 0 and np.isnan(refined.loss) and 'schedule' not in made.asked
    assert refined.rows.tolist() == [0, 1, 2, 3] and refined.reference is None


@pytest.mark.parametrize('selective', [True, False])
def test_selection_is_by_the_reference_unless_all_is_wanted(stages, selective):
    made, seen = stages(selective=selective), pictures()
    refined = made.refine(row(4), seen, reference=ReferenceImages.of(seen), moved=np.array([2]))
    assert refined.free == (1 if selective else 4)
    assert refined.rows.tolist() == ([0, 1, 3, -1] if selective else [-1] * 4)


# --- polishing --------------------------------------------------------------------------------


def test_polishing_takes_a_tenth_of_the_rates_and_changes_no_rows(stages):
    made = stages(fixed=replace(TUNED, dssim=0.5, rates=LearningRates(1.0, 2.0, 3.0, 4.0, 5.0,
                                                                      6.0)))
    polished = made.refiner.polish(row(4), pictures(), 2, 9)
    schedule = made.asked['schedule']
    rates = schedule.rates
    assert (rates.means, rates.quats, rates.log_scales, rates.logits, rates.sh_dc, rates.sh_rest) \
        == pytest.approx((0.1, 0.2, 0.3, 0.4, 0.5, 0.6))
    assert schedule.iterations == 9 and schedule.number == 2 and schedule.densify is None
    assert schedule.dssim == 0.5
    assert polished.rows.tolist() == [-1] * 4 and polished.free == 4 == len(polished.scene)
    assert polished.tiles_share == 1 and polished.born == polished.split == polished.pruned == 0
    made.refine(row(4))
    assert made.asked['schedule'].rates.means == 1.0


@pytest.mark.parametrize('rates, log_scales, sh_dc', [('published', 5e-3, 2.5e-3),
                                                      ('tuned', 1e-2, 1e-2)])
def test_the_settings_choose_the_rates(stages, rates, log_scales, sh_dc):
    made = stages(learning_rates=rates)
    made.refine(row(4))
    assert made.asked['schedule'].rates == LearningRates(1.6e-3, 1e-2, log_scales, 5e-2, sh_dc,
                                                         2.5e-3)


@pytest.mark.parametrize('count, names, iterations', [(0, 'ab', 9), (4, '', 9), (4, 'ab', 0)])
def test_nothing_to_polish(stages, count, names, iterations):
    made, scene = stages(), row(4).select(slice(count))
    polished = made.refiner.polish(scene, pictures(names=names), 2, iterations)
    assert polished.scene is scene and polished.iterations == 0 and np.isnan(polished.loss)
    assert 'schedule' not in made.asked
