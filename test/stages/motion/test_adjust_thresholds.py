# SPDX-License-Identifier: Apache-2.0
"""What adjusting counts as wrong, whom it frees, and how far it may step: each from both sides."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import SH_C0, GaussianScene, concatenated
from igs_ros.core.snapshot import Moved
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.stages.motion import adjust
from igs_ros.stages.motion.adjust import AdjustedMotion
from igs_ros.stages.motion.descent import to_params
from igs_ros.stages.motion.models import MotionEffort
from igs_ros.stages.motion.static import StaticFollower, StaticMotion

WIDTH, HEIGHT = 112, 80  # 7 x 5 tiles


def camera(name='a', z=0.0, focal=30.0) -> Camera:
    pose = np.eye(4)
    pose[2, 3] = -z
    K = np.array([[focal, 0, 56], [0, 1.5 * focal, 40], [0, 0, 1]])
    return Camera(name, WIDTH, HEIGHT, K, pose)


def gaussian(mean=(0.0, 0, 2), scales=(0.01, 0.01, 0.01), quat=(1.0, 0, 0, 0), opacity=0.5,
             rgb=(0.5, 0.5, 0.5)) -> GaussianScene:
    sh = (torch.tensor(rgb) - 0.5) / SH_C0
    return GaussianScene(torch.tensor([mean]), torch.tensor([quat]), torch.tensor([scales]),
                         torch.tensor([opacity]), sh.view(1, 1, 3))


def wall(rgb, opacity=0.999) -> GaussianScene:
    """Fills the picture."""
    return gaussian(scales=(60.0, 60.0, 0.01), opacity=opacity, rgb=rgb)


def follower(scene, views=None, images=None, iterations=3):
    views = views or {'a': camera()}
    model = AdjustedMotion(StaticMotion(), views, CpuRasterizer(1), iterations, 0)
    return model.follow(scene, FrameSet(0, images or {}))


GRAY = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
ALL = np.ones((HEIGHT, WIDTH), bool)


# --- what is wrong ----------------------------------------------------------------------------


def gray(*, red=0.0):
    return (128 / 255 + red / 255, 128 / 255, 128 / 255)


@pytest.mark.parametrize('levels, expected', [
    (0.0, False), (7.5, False), (-7.5, False), (8.5, True), (-8.5, True)])
def test_where_the_picture_changed_eight_levels_in_any_channel_are_wrong(levels, expected):
    scene = wall(gray(red=levels), opacity=1.0)
    one = follower(scene)._compare_view('a', scene, ALL, GRAY)
    middle = one.wrong[8:-8, 8:-8]
    assert middle.all() == middle.any() == expected
    np.testing.assert_allclose(one.error[40, 56], abs(levels) / 255, atol=1e-3)


@pytest.mark.parametrize('levels, expected', [(5.5, False), (-5.5, False), (6.5, True),
                                              (7.9, True), (-6.5, True)])
def test_where_it_did_not_six_levels_from_what_the_key_shows_are(levels, expected):
    key, moved = wall(gray(), opacity=1.0), wall(gray(red=levels), opacity=1.0)
    changed = np.zeros((HEIGHT, WIDTH), bool)
    changed[40, 56] = True
    one = follower(key)._compare_view('a', moved, changed, 255 - GRAY)
    still = one.wrong[28:36, 46:66]  # tiles above the one that changed
    assert still.all() == still.any() == expected
    # its pictures count only where they changed
    np.testing.assert_allclose(one.target[30, 50], 128 / 255, atol=2e-3)
    np.testing.assert_allclose(one.target[40, 56], 127 / 255, atol=2e-3)


def test_one_tile_around_what_changed_is_looked_at_on_each_side():
    changed = np.zeros((HEIGHT, WIDTH), bool)
    changed[40, 56] = True  # tile 2, 3
    scene = wall(gray(red=90), opacity=1.0)
    one = follower(wall(gray()))._compare_view('a', scene, changed, GRAY)
    seen = one.error[8::16, 8::16] > 0.1  # middles of tiles: the blur reaches 6 px
    assert np.argwhere(seen).tolist() == [[r, c] for r in (1, 2, 3) for c in (2, 3, 4)]


@pytest.mark.parametrize('opacity, known', [(0.48, False), (0.52, True)])
def test_depth_is_known_where_half_of_the_light_comes_from(opacity, known):
    scene = wall(gray(), opacity)
    depth = follower(scene)._compare_view('a', scene, ALL, GRAY).depth
    assert np.isfinite(depth[40, 56]) == known
    assert not known or depth[40, 56] == pytest.approx(2.0, rel=1e-3)


# --- who is free ------------------------------------------------------------------------------


def residual(wrong, error=0.1, depth=np.nan):
    return adjust._ViewResidual(torch.zeros(HEIGHT, WIDTH, 3), np.full((HEIGHT, WIDTH), error),
                                wrong, np.full((HEIGHT, WIDTH), depth))


def freed(scene, residuals, moves=None):
    one = follower(scene, {name: camera(name) for name in residuals or 'a'})
    moves = np.zeros(len(scene), bool) if moves is None else np.array(moves)
    return one._free(scene, moves, residuals)


NOWHERE = np.zeros((HEIGHT, WIDTH), bool)


@pytest.mark.parametrize('views, wrong, expected', [
    (5, 3, True), (5, 2, False), (2, 2, True), (2, 1, False), (1, 1, True), (1, 0, False)])
def test_six_of_ten_views_that_see_a_gaussian_must_see_it_wrong(views, wrong, expected):
    residuals = {f'cam{v}': residual(ALL if v < wrong else NOWHERE) for v in range(views)}
    assert freed(gaussian(), residuals)[0].tolist() == [expected]
    moves, _ = freed(gaussian(), residuals, [True])  # what moves is free anyhow
    assert moves.tolist() == [True]


def test_views_with_something_before_a_gaussian_have_no_say():
    residuals = {f'cam{v}': residual(ALL if v < 2 else NOWHERE, depth=1.5 if v == 3 else np.nan)
                 for v in range(4)}
    assert freed(gaussian(), residuals)[0].tolist() == [True]  # two of three
    del residuals['cam3']
    residuals['cam4'] = residual(NOWHERE)
    residuals['cam5'] = residual(NOWHERE)
    assert freed(gaussian(), residuals)[0].tolist() == [False]  # two of four


@pytest.mark.parametrize('left, right, expected', [
    (7, 7, True), (7, 5, False), (5, 7, False), (5, 5, False), (8, 8, True), (20, 3, False)])
def test_a_gaussian_must_be_wrong_at_both_ends(left, right, expected):
    """Its ends lie two standard deviations of 0.2 m off, 6 px at that depth."""
    mask = NOWHERE.copy()
    mask[36:44, 56 - left:56 + right + 1] = True
    half = float(np.sqrt(0.5))
    for scene in (gaussian(scales=(0.2, 0.01, 0.01)),
                  gaussian(scales=(0.01, 0.2, 0.01), quat=(3 * half, 0.0, 0.0, 3 * half))):
        two = concatenated([gaussian(mean=(30.0, 0, 2)), scene])  # the other one is not in sight
        free, _ = freed(two, {'a': residual(mask), 'b': residual(mask)})
        assert free.tolist() == [False, expected]


def test_a_gaussian_must_be_wrong_in_its_middle_too():
    mask = ALL.copy()
    mask[36:44, 54:59] = False
    assert freed(gaussian(scales=(0.2, 0.01, 0.01)), {'a': residual(mask)})[0].tolist() == [False]


def test_how_wrong_a_gaussian_looks_is_the_mean_over_the_views_that_see_it():
    scene = concatenated([gaussian(), gaussian(mean=(30.0, 0, 2))])
    free, error = freed(scene, {'a': residual(ALL, 0.2), 'b': residual(ALL, 0.4)})
    np.testing.assert_allclose(error, [0.3, 0.0])
    assert free.tolist() == [True, False]
    free, error = freed(scene, {}, [True, False])
    assert not free.any() and not error.any() and len(error) == 2


# --- how far and where ------------------------------------------------------------------------


FULL = {'means': 1.2, 'quats': 0.16, 'log_scales': 0.08, 'logits': 1.2, 'colors': 0.32}


@pytest.mark.parametrize('error, share', [(0, 0), (48 / 255, 0.5), (96 / 255, 1), (0.9, 1)])
def test_steps_grow_with_the_error_up_to_ninety_six_levels(monkeypatch, error, share):
    """Geometry only of what moves, means in the pixels of the view where they are finest."""
    scene = concatenated([gaussian(), gaussian(), gaussian()])
    given = {}

    def noted(values, sh_rest, targets, rasterizer, sizes, iterations):
        given.update(sizes=sizes, targets=targets, iterations=iterations)
        return values
    monkeypatch.setattr(adjust, 'descend', noted)
    one = follower(scene, {'a': camera('a'), 'b': camera('b', focal=60.0)})
    wrong = NOWHERE.copy()
    wrong[0:4, 0:4] = True
    rows = np.array([0, 2])
    values = one._descended(scene, rows, np.array([False, True]), np.array([error, error]),
                            {'a': residual(wrong, 0.5)})
    for name, value in to_params(scene.select(torch.from_numpy(rows))).items():
        assert torch.equal(values[name], value)
        unit = FULL[name] * (2.0 / 60 if name == 'means' else 1)
        still = 0 if name in ('means', 'quats', 'log_scales') else share * unit
        sizes = given['sizes'][name]
        assert sizes.ndim == value.ndim and len(sizes) == 2
        np.testing.assert_allclose(sizes.flatten(), [still, share * unit], rtol=1e-6)
    target, = given['targets']
    assert np.argwhere(target.tiles).tolist() == [[0, 0]]  # only where it is wrong
    assert given['iterations'] == 3


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_one_value_that_is_not_finite_discards_all(monkeypatch, bad):
    def broken(values, *_):
        values['logits'][1] = bad
        return values
    monkeypatch.setattr(adjust, 'descend', broken)
    scene = concatenated([gaussian(), gaussian()])
    arguments = np.array([0, 1]), np.ones(2, bool), np.ones(2), {'a': residual(ALL)}
    assert follower(scene)._descended(scene, *arguments) is None


def energies(*pixels):
    """An error map whose tiles, in their order, hold so much: pixels of error 1."""
    error = np.zeros((20, 40), np.float32)  # 2 x 3 tiles, those below and right stick out
    for tile, count in enumerate(pixels):
        row, column = 16 * (tile // 3), 16 * (tile % 3)
        block = error[row:row + 16, column:column + 16]
        block.flat[:count] = 1
    return error


@pytest.mark.parametrize('pixels, expected', [
    ([60, 35, 5], [0, 1]), ([60, 34, 6], [0, 1, 2]),  # 95 of 100, exactly and not
    ([5, 95, 0], [1]), ([6, 94, 0], [0, 1]), ([0, 0, 64, 64], [2, 3]), ([0, 0, 0, 0, 0, 30], [5]),
    ([50, 48, 0, 1, 1], [0, 1]), ([18] * 5 + [10], [0, 1, 2, 3, 4, 5]),
    ([19] * 4 + [24], [0, 1, 2, 3, 4])])
def test_the_fewest_tiles_that_hold_nineteen_of_twenty_parts_of_the_error(pixels, expected):
    tiles = adjust._worst_tiles(energies(*pixels))
    assert tiles.shape == (2, 3) and np.flatnonzero(tiles).tolist() == expected


def test_errors_count_squared():
    error = np.zeros((16, 48), np.float32)
    error[0, 0], error[:4, 16] = 1.0, 0.1  # 0.4 of the sum, 0.04 of the squares
    assert np.flatnonzero(adjust._worst_tiles(error)).tolist() == [0]


def test_a_pixel_is_as_long_as_in_the_view_where_it_is_finest():
    scene = concatenated([gaussian(), gaussian(mean=(0.0, 0, 9)), gaussian(mean=(0.0, 0, 1)),
                          gaussian(mean=(0.0, 0, 0)), gaussian(mean=(0.0, 0, -3))])
    views = {'a': camera('a', focal=30.0), 'b': camera('b', z=1.0, focal=20.0)}
    sizes = adjust._pixel_sizes(scene, views)
    np.testing.assert_allclose(sizes, [1 / 20, 9 / 30, 1 / 30, 0, 0])  # two behind both
    assert adjust._pixel_sizes(scene, {}).tolist() == [0] * 5


# --- what is carried on -----------------------------------------------------------------------


def shifted(scene, rows, by):
    """What is carried if the rows of `scene` differ by `by` in each raw value."""
    part = to_params(scene.select(torch.tensor(rows, dtype=torch.long)))
    return adjust._Carried(np.array(rows), {name: torch.full_like(value, by)
                                            for name, value in part.items()})


def test_geometry_is_carried_for_what_moves_and_light_for_all():
    scene = concatenated([gaussian(), gaussian(), gaussian()])
    merged = adjust._merged(scene, shifted(scene, [0, 2], 0.1), np.array([False, True, True]))
    assert (merged.sh != scene.sh).flatten(1).all(1).tolist() == [True, False, True]
    assert (merged.opacities > scene.opacities).tolist() == [True, False, True]
    for name in ('means', 'quats', 'scales'):
        changed = (getattr(merged, name) != getattr(scene, name)).any(1)
        assert changed.tolist() == [False, False, True], name
    torch.testing.assert_close(merged.means[2], scene.means[2] + 0.1)
    torch.testing.assert_close(merged.quats.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(merged.opacities[[0, 2]], torch.full((2,), 0.1).sigmoid())
    assert adjust._merged(scene, shifted(scene, [], 0.1), np.ones(3, bool)) is scene


def test_higher_sh_stay_as_they_are():
    scene = gaussian().with_sh_degree(1)
    scene.sh[:, 1:] = 0.25
    merged = adjust._merged(scene, shifted(scene, [0], 0.1), np.array([True]))
    torch.testing.assert_close(merged.sh[:, :1], scene.sh[:, :1] + 0.1)
    assert torch.equal(merged.sh[:, 1:], scene.sh[:, 1:])


def test_new_values_take_the_place_of_old_ones_row_by_row():
    scene = concatenated([gaussian(mean=(float(x), 0, 2)) for x in range(5)])
    rows = np.array([1, 3])
    values = {name: value + 0.5
              for name, value in to_params(scene.select(torch.from_numpy(rows))).items()}
    joined = adjust._joined(scene, shifted(scene, [0, 3, 4], 0.1), rows, values)
    assert joined.rows.tolist() == [0, 1, 3, 4]
    for name in values:
        apart = joined.apart[name].flatten(1) if joined.apart[name].ndim > 1 \
            else joined.apart[name][:, None]
        torch.testing.assert_close(apart[:, 0], torch.tensor([0.1, 0.5, 0.5, 0.1]))


@pytest.mark.parametrize('views, changed, kept', [(5, 3, True), (5, 2, False), (2, 2, True)])
def test_light_is_carried_while_six_of_ten_views_see_it_differ_from_the_key(views, changed, kept):
    scene = concatenated([gaussian(), gaussian()])
    one = follower(scene, {f'cam{v}': camera(f'cam{v}') for v in range(views)})
    one._carried = shifted(scene, [0, 1], 0.1)
    masks = {f'cam{v}': ALL if v < changed else NOWHERE for v in range(views)}
    left = one._still_carried(scene, np.array([False, True]), masks)
    assert left.rows.tolist() == ([0, 1] if kept else [1])  # what moves is carried anyhow
    assert all(len(value) == len(left.rows) for value in left.apart.values())
    assert one._still_carried(scene, np.array([False, True]), {}).rows.tolist() == [0, 1]
    one._carried = None
    assert len(one._still_carried(scene, np.array([False, True]), masks).rows) == 0


class Moving(StaticMotion):
    """Says that row 1 moved, and leaves it where it is."""

    def follow(self, scene, frame_set):
        class Follower(StaticFollower):
            def move_to(self, frame_set):
                return Moved(self.scene, np.array([1], np.uint32), frame_set.stamp_ns)
        return Follower(scene, frame_set)


def test_what_moves_may_change_its_place_and_what_stands_may_not():
    scene = concatenated([gaussian(mean=(x, 0.0, 2.0), scales=(0.1, 0.1, 0.1), opacity=0.9)
                          for x in (-1.0, 1.0)])
    views = {'a': camera('a'), 'b': camera('b', z=0.3)}
    model = AdjustedMotion(Moving(), views, CpuRasterizer(1), 4, 0)
    black = {name: np.zeros((HEIGHT, WIDTH, 3), np.uint8) for name in views}
    white = {name: np.full((HEIGHT, WIDTH, 3), 255, np.uint8) for name in views}
    moved = model.follow(scene, FrameSet(0, black)).move_to(FrameSet(1, white))
    assert moved.rows.tolist() == [0, 1]
    assert (moved.scene.sh > scene.sh).flatten(1).all(1).tolist() == [True, True]
    assert (moved.scene.scales != scene.scales).any(1).tolist() == [False, True]


@pytest.mark.parametrize('share, steps', [(1.0, 20), (0.75, 15), (0.25, 5), (0.0, 0)])
def test_effort_is_a_share_of_the_steps(share, steps):
    model = AdjustedMotion(StaticMotion(), {'a': camera()}, CpuRasterizer(1), 20, 0)
    model.set_effort(MotionEffort(100, 1.0, share))
    assert model.iterations == steps
    model.set_effort(replace(MotionEffort(100, 1.0), adjust_share=1.0))
    assert model.iterations == 20
