# SPDX-License-Identifier: Apache-2.0
"""What is free and where it is fitted; and whole runs of it in a small world.

The world's truth is known: births, fading, what stays.
"""
import numpy as np
import pytest
import torch
from views_of import EVERYWHERE, HEIGHT, NOTHING, WIDTH, camera, residual, votes

from igs_ros.core.config import RefineConfig
from igs_ros.core.scene import ATTRIBUTES, concatenated
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.importance import importance
from igs_ros.stages.refine.reference import ReferenceImages
from igs_ros.stages.refine.refiner import RefineEffort, Refiner
from igs_ros.stages.refine.selection import (
    cap_by_change,
    center_mask,
    fitting_area,
    select_changed,
    tiles_at,
    top_k,
)
from igs_ros.vision.visibility import Visibility


@pytest.mark.parametrize('count, changed, expected', [
    (5, 3, True), (5, 2, False), (10, 6, True), (10, 5, False),  # six of ten, exactly and not
    (2, 2, True), (3, 1, False), (2, 1, False),  # two views where two see it
    (1, 1, True), (1, 0, False)])
def test_six_of_ten_views_that_see_a_gaussian_must_see_it_change(count, changed, expected):
    assert select_changed(votes(count, changed, 'changed')).tolist() == [expected]


def test_views_that_do_not_know_what_changed_have_no_say():
    strangers = {f'new{v}': residual(camera(f'new{v}'), [[0.0, 0, 2]]) for v in range(3)}
    assert select_changed(votes(3, 2, 'changed') | strangers).tolist() == [True]
    assert select_changed(votes(3, 1, 'changed') | strangers).tolist() == [False]
    assert select_changed(strangers).tolist() == [True]  # where none knows, all is free


def test_the_highest_are_taken_and_the_first_of_equals():
    scores = np.array([1.0, 3, 0, 3, 2, 2])
    assert [top_k(scores, count).tolist() for count in (-1, 0, 1, 3, 9)] == [
        [], [], [1], [1, 3, 4], [0, 1, 2, 3, 4, 5]]


def changing(*shares):
    """A view that sees one Gaussian per share, side by side, whose pixels changed by that."""
    change = np.zeros((HEIGHT, WIDTH), np.float32)
    change[20, 30:30 + len(shares)] = shares
    return residual(camera('a'), [[x / 15 + 0.01, 0, 2] for x in range(len(shares))],
                    change=change)


def test_where_too_many_are_free_those_that_changed_most_over_all_views_stay():
    views = {'a': changing(0.2, 0.9, 0.5, 0.1), 'b': changing(0.4, 0.0, 0.0, 0.9)}
    free = np.array([True, True, True, False])
    assert cap_by_change(free, views, 3) is free
    assert cap_by_change(free, views, 2).tolist() == [True, True, False, False]
    assert cap_by_change(free, views, 1).tolist() == [False, True, False, False]
    assert not cap_by_change(free, views, 0).any()


def test_centers_are_those_of_free_gaussians_in_the_picture():
    visibility = Visibility.of_points(
        np.array([[0.0, 0, 2], [1.0, 0.5, 2], [0.5, 0, 2], [9.0, 0, 2]]), camera('a'))
    mask = center_mask(visibility, np.array([True, True, False, True]), (HEIGHT, WIDTH))
    assert np.argwhere(mask).tolist() == [[20, 30], [27, 45]]


def test_fitted_is_what_changed_or_is_wrong_and_lies_near_a_free_gaussian():
    centers, changed, wrong = NOTHING.copy(), NOTHING.copy(), NOTHING.copy()
    centers[20, 30] = True  # near: rows 16 to 24, columns 26 to 34
    changed[18, 20:32] = True  # as it is
    wrong[28, 38] = True  # grown to rows 24 and columns 34
    expected = NOTHING.copy()
    expected[18, 26:32] = expected[24, 34] = True
    area = fitting_area(residual(camera('a'), [], wrong=wrong, changed=changed), centers)
    np.testing.assert_array_equal(area, expected)
    near = fitting_area(residual(camera('a'), [], wrong=NOTHING), centers)
    assert near.sum() == 81 and near[16, 26] and near[24, 34]  # where nothing is known, all
    assert not fitting_area(residual(camera('a'), [], wrong=EVERYWHERE, changed=EVERYWHERE),
                            NOTHING).any()


@pytest.mark.parametrize('pixel, width, expected', [
    ((0, 0), 60, (0, 0)), ((15, 15), 60, (0, 0)), ((16, 15), 60, (1, 0)), ((39, 59), 60, (2, 3)),
    ((31, 31), 30, (0, 0)), ((32, 31), 30, (1, 0)), ((31, 32), 30, (0, 1)), ((39, 59), 30, (1, 1)),
])
def test_tiles_hold_the_pixels_also_of_smaller_pictures(pixel, width, expected):
    mask = NOTHING.copy()
    mask[pixel] = True
    tiles = tiles_at(mask, camera('a').resized(width))
    assert tiles.shape == ((3, 4) if width == 60 else (2, 2))
    assert [tuple(tile) for tile in np.argwhere(tiles)] == [expected]


@pytest.fixture(scope='module')
def appeared(world):
    """A board stands before the wall now; start, pictures before and after, and the result."""
    before, after = world.pictures(world.wall), world.pictures(world.both, 1)
    return before, after, world.refine(world.wall, after, ReferenceImages.of(before))


def same(one, other) -> list[bool]:
    return [torch.equal(getattr(one, name), getattr(other, name)) for name in ATTRIBUTES]


def test_what_did_not_change_stays_bit_for_bit(world, appeared):
    _, _, refined = appeared
    kept = refined.rows >= 0
    assert kept.sum() > 0.7 * len(world.wall) and 0 < refined.tiles_share < 0.7
    assert all(same(refined.scene.select(torch.from_numpy(kept)),
                    world.wall.select(torch.from_numpy(refined.rows[kept]))))


def test_births_stand_where_the_new_thing_is(world, appeared):
    before, after, refined = appeared
    assert refined.born > 50
    new = refined.scene.select(torch.from_numpy(refined.rows < 0))
    near = (new.means[:, 2] - 2.5).abs() < 0.1
    assert near.sum() > 0.6 * refined.born
    on_board = (new.means[near][:, :2].abs() < 0.55).all(1)
    assert on_board.float().mean() > 0.9
    assert world.error(refined.scene, after, before) < 0.5 * world.error(world.wall, after, before)


def test_births_are_worth_it(world, appeared):
    before, after, refined = appeared
    without = world.refine(world.wall, after, ReferenceImages.of(before), births=False)
    assert without.born == 0
    assert world.error(refined.scene, after, before) \
        < 0.8 * world.error(without.scene, after, before)


def test_a_thing_that_vanishes_is_removed(world):
    before, after = world.pictures(world.both), world.pictures(world.wall, 1)
    refined = world.refine(world.both, after, ReferenceImages.of(before), iterations=100)
    left = (refined.scene.means[:, 2] - 2.5).abs() < 0.3
    weight = float(refined.scene.opacities[left].sum())
    assert weight < 0.15 * float(world.board.opacities.sum())


def test_nothing_changed_costs_nothing_and_changes_nothing(world):
    seen = world.pictures(world.both)
    refined = world.refine(world.both, seen, ReferenceImages.of(seen))
    assert refined.iterations == refined.free == refined.born == 0
    assert all(same(refined.scene, world.both)) and refined.reference is None


def test_what_moved_is_free_wherever_it_is(world):
    seen = world.pictures(world.both)
    rows = np.arange(600, 620, dtype=np.uint32)
    refined = world.refine(world.both, seen, ReferenceImages.of(seen), moved=rows, iterations=5)
    assert refined.free == 20 and refined.iterations == 5
    assert sorted(set(range(len(world.both))) - set(refined.rows)) == rows.tolist()


def test_slow_light_piles_up_until_it_counts(world):
    """Three levels per key are below the threshold of eight: the third key follows."""
    fitted, scene, select_changed = ReferenceImages.of(world.pictures(world.wall)), world.wall, []
    for key in range(1, 5):
        refined = world.refine(scene, world.pictures(world.wall, key, light=3 * key), fitted,
                               births=False, iterations=2)
        select_changed.append(refined.free > 0.9 * len(world.wall))
        scene, fitted = refined.scene, refined.reference or fitted
    assert select_changed == [False, False, True, False]


def test_change_that_one_view_alone_sees_frees_nothing_and_is_not_forgotten(world):
    before = world.pictures(world.wall)
    images = dict(before.images)
    images['a'] = np.clip(images['a'].astype(int) + 20, 0, 255).astype(np.uint8)
    fitted = ReferenceImages.of(before)
    after = type(before)(1, images)
    refined = world.refine(world.wall, after, fitted, births=False, iterations=2)
    # only what no other view sees is free
    assert refined.free < 0.2 * len(world.wall)
    middle = (slice(30, 60), slice(50, 80))
    kept = (refined.reference or fitted).images['a']
    assert (kept[middle] == before.images['a'][middle]).all()


@pytest.mark.parametrize('limit', [900, 1300])
def test_the_limit_holds_while_things_are_born(world, limit):
    before, after = world.pictures(world.wall), world.pictures(world.both, 1)
    refined = world.refine(world.wall, after, ReferenceImages.of(before), limit=limit,
                           densify_threshold=0.0)
    assert refined.born > 50 and len(refined.scene) <= limit


def test_births_replace_what_matters_least(world):
    """What the pictures show least of gives way."""
    behind = world.wall.replaced(means=world.wall.means + torch.tensor([0.0, 0, 0.5]))
    start = concatenated([world.wall, behind])
    before, after = world.pictures(start), world.pictures(concatenated([start, world.board]), 1)
    refined = world.refine(start, after, ReferenceImages.of(before), limit=len(start),
                           iterations=2)
    assert refined.born > 20 and len(refined.scene) <= len(start)
    gone = np.ones(len(start), bool)
    gone[refined.rows[refined.rows >= 0]] = False
    # away from the board, where nothing residuals wrong, so nothing was dimmed or optimized
    away = np.abs(start.means[:, :2].numpy()).max(1) > 1.3
    matters = importance(start, CpuRasterizer(1), world.cameras).numpy()
    assert gone[away].sum() > 20
    assert matters[gone & away].max() < matters[~gone & away].min() * 1.001


def test_the_same_bytes_again_and_for_any_number_of_threads(world, appeared):
    before, after, refined = appeared
    again = world.refine(world.wall, after, ReferenceImages.of(before), threads=3)
    assert all(same(refined.scene, again.scene)) and (refined.rows == again.rows).all()
    other = world.refine(world.wall, after, ReferenceImages.of(before), seed=1)
    assert len(other.scene) != len(refined.scene) or not all(same(refined.scene, other.scene))


def test_one_camera_refines_what_it_sees_change_without_births(world):
    before, after = world.pictures(world.wall), world.pictures(world.both, 1)
    alone = {'b': world.cameras['b']}
    refined = world.refine(world.wall, after, ReferenceImages.of(before.only(['b'])),
                           cameras=alone)
    assert refined.born == 0 and 0 < refined.free < 0.5 * len(world.wall)
    assert refined.iterations == 40


def test_cameras_come_and_go(world):
    """A camera that was never seen before does not vote, and counts from then on."""
    before, after = world.pictures(world.wall), world.pictures(world.both, 1)
    refined = world.refine(world.wall, after.only(['a', 'b', 'd']),
                           ReferenceImages.of(before.only(['a', 'b', 'c'])))
    assert refined.born > 20 and 0 < refined.free < 0.5 * len(world.wall)
    assert (refined.reference.images['c'] == before.images['c']).all()
    assert (refined.reference.images['d'] == after.images['d']).all()


def test_effort_bounds_iterations_free_gaussians_and_pictures(world, appeared):
    before, after, whole = appeared
    effort = RefineEffort(iterations=4, scale=0.5, max_free=100)
    refined = world.refine(world.wall, after, ReferenceImages.of(before), effort=effort)
    assert refined.iterations == 4 and 0 < refined.free <= 100 < whole.free
    # those that changed most come first: on the board, not at its border
    effort = RefineEffort(iterations=1, scale=1.0, max_free=40)
    fewest = world.refine(world.wall, after, ReferenceImages.of(before), effort=effort,
                          births=False)
    freed = np.setdiff1d(np.arange(len(world.wall)), fewest.rows)
    assert (world.wall.means[freed][:, :2].abs() < 0.85).all()


def test_whole_refinement_frees_everything(world, appeared):
    before, after, selective = appeared
    refined = world.refine(world.wall, after, ReferenceImages.of(before), selective=False)
    assert refined.born == selective.born and refined.tiles_share == 1
    assert (refined.rows == -1).all()
    assert all((refined.reference.images[name] == image).all()
               for name, image in after.images.items())


def test_polish_keeps_rows_and_comes_closer(world):
    before, wanted = world.pictures(world.wall), world.pictures(world.wall, light=10)
    refiner = Refiner(CpuRasterizer(1), world.cameras, RefineConfig(), 5000, 0)
    polished = refiner.polish(world.wall, wanted, 1, 20)
    assert len(polished.scene) == len(world.wall) and polished.reference is None
    assert world.error(polished.scene, wanted, before) < world.error(world.wall, wanted, before)
