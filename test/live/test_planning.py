# SPDX-License-Identifier: Apache-2.0
"""A box before a wall, as planners see it; it goes away and comes back before any key does."""
from dataclasses import replace

import numpy as np
import pytest
from planner_world import FLAT, cameras, scenes

from igs_ros.core.errors import InputError
from igs_ros.core.snapshot import first_snapshot
from igs_ros.live.planning import (
    MAX_VOXELS,
    Planning,
    PlanningConfig,
    check,
    grid_from_world,
)
from igs_ros.render.choose import make_rasterizer
from igs_ros.vision.occupancy import FREE, OCCUPIED


@pytest.fixture(scope='module')
def rasterizer():
    return make_rasterizer('cpu', 1)


@pytest.fixture(scope='module')
def world(rasterizer):
    return scenes(rasterizer)


def looked(world, rasterizer, scene, pictures, config=FLAT, **changes):
    config = replace(config, **changes)
    planning = Planning(config, cameras(), rasterizer, 0.3)
    return planning.look(first_snapshot(world[scene][0], 10), world[pictures][1], 0.1)


def around_the_box(scene, margin):
    """[X, Y, Z] bool: voxels of the box, and those at least two voxels before the wall."""
    centers = scene.box.centers(np.argwhere(np.ones(scene.box.shape))).reshape(*scene.box.shape, 3)
    x, y, z = np.moveaxis(centers, -1, 0)
    return (np.abs(x) < 0.15 - margin) & (np.abs(y) < 0.15 - margin) & (np.abs(z - 1.425) < 0.01)


@pytest.mark.parametrize('scene', ['with', 'without'])
def test_a_scene_that_is_right_is_occupied_where_it_is(world, rasterizer, scene):
    found = looked(world, rasterizer, scene, scene)
    box = around_the_box(found, 0.03)
    assert box.sum() >= 10
    expected = OCCUPIED if scene == 'with' else FREE
    assert (found.states[box] == expected).mean() > 0.9
    grid = found.grid()
    assert grid.shape == (36, 24)
    assert (grid[:, 12] == OCCUPIED).any() == (grid == OCCUPIED).any()
    assert found.chosen.mean() > 0.6  # the box hides some, and some are in no picture


def test_what_went_away_is_gone_before_a_key_says_so(world, rasterizer):
    found = looked(world, rasterizer, 'with', 'without')
    box = around_the_box(found, 0.03)
    assert (found.states[box] == OCCUPIED).mean() < 0.1
    assert (found.states[box] == FREE).mean() > 0.5  # stereo sees the wall behind it
    rows = np.abs(world['with'][0].means[:, 2].numpy() - 1.42) < 0.01
    assert found.chosen[rows].mean() < 0.05 and found.chosen[~rows].mean() > 0.5


def test_what_came_is_there_before_a_key_says_so(world, rasterizer):
    found = looked(world, rasterizer, 'without', 'with')
    box = around_the_box(found, 0.03)
    assert (found.states[box] == OCCUPIED).mean() > 0.5
    assert (found.states[box] == FREE).mean() < 0.1


def test_without_a_picture_that_can_be_used_nothing_is_known(world, rasterizer):
    planning = Planning(FLAT, cameras(), rasterizer, 0.3)
    found = planning.look(first_snapshot(world['with'][0], 10), world['with'][1].only(()), 0.1)
    assert not found.sights
    assert found.chosen.shape == (len(found.snapshot.scene),) and not found.chosen.any()


def test_a_single_camera_that_sees_it_makes_it_unknown(world, rasterizer):
    scene, pictures = world['without']
    mixed = replace(pictures, images={**pictures.images, 'b': world['with'][1].images['b']})
    found = Planning(FLAT, cameras(), rasterizer, 0.3).look(first_snapshot(scene, 10), mixed, 0.1)
    assert np.isnan(found.sights['b'].depth[50:70, 70:90]).mean() > 0.5


def test_voxels_and_points_are_in_the_world(world, rasterizer):
    found = looked(world, rasterizer, 'with', 'with')
    voxels = found.occupied()
    assert len(voxels) == (found.states == OCCUPIED).sum() > 100
    near = np.abs(voxels[:, 2, None] - (1.42, 2.22)).min(1)
    assert (near < 0.06).all() and (np.abs(voxels[:, 1]) < 0.45).all()
    points = found.points(0.1)
    assert 100 < len(points) < found.chosen.sum() / 2
    assert len(found.moving()) == 0  # velocities are unknown


def test_the_voxels_stay_where_they_are_until_the_scene_starts_anew(world, rasterizer):
    planning = Planning(replace(FLAT, region=''), cameras(), rasterizer, 0.3)
    small, large = (first_snapshot(world[name][0].select(slice(0, count)), 10)
                    for name, count in (('without', 400), ('with', None)))
    boxes = [planning.look(one, world['without'][1], 0.1).box
             for one in (small, large, replace(large, scene_id=2))]
    assert boxes[0] is boxes[1] and boxes[2].shape != boxes[0].shape
    centers = np.array([camera.center for camera in cameras().values()])
    inside = ((centers @ boxes[2].grid_from_world.T - boxes[2].corner)[:, :2] >= -1e-6)
    assert inside.all()  # a robot may stand beside the cameras


@pytest.mark.parametrize('up', ['x', 'y', 'z', '-x', '-y', '-z'])
def test_up_is_up(up):
    turn = grid_from_world(up)
    expected = np.zeros(3)
    expected['xyz'.index(up[-1])] = -1 if up[0] == '-' else 1
    assert turn @ expected == pytest.approx([0, 0, 1])
    assert turn @ turn.T == pytest.approx(np.eye(3)) and np.linalg.det(turn) == pytest.approx(1)
    assert up != 'z' or (turn == np.eye(3)).all()


@pytest.mark.parametrize(('changes', 'said'), [
    ({'region': '0 0 1'}, "region is '0 0 1'; expected four numbers"),
    ({'region': '0 0 x 1'}, 'expected four numbers'),
    ({'region': '0 0 0 1'}, 'the first two below the last two'),
    ({'region': '0 0 nan 1'}, 'the first two below'),
    ({'region': '0 0 100 100', 'voxel_m': 0.02}, f'expected at most {MAX_VOXELS}'),
    ({'min_height': 1.0, 'max_height': 1.0}, 'expected the first below the second')])
def test_what_makes_no_grid_is_refused(changes, said):
    with pytest.raises(InputError, match='planning') as error:
        check(replace(PlanningConfig(), **changes))
    assert said in str(error.value)


def test_a_region_of_its_own_choice_is_bounded(world, rasterizer, caplog):
    found = looked(world, rasterizer, 'without', 'without', region='', voxel_m=0.005)
    assert np.prod(found.box.shape) <= MAX_VOXELS
    assert 'Set planning.region' in caplog.text
