# SPDX-License-Identifier: Apache-2.0
"""Which pictures of cameras that move are believed."""
from dataclasses import replace

import numpy as np
import pytest
from moving_world import RIG, rig_at

from igs_ros.core.frames import FrameSet
from igs_ros.stages.expectation import glance
from igs_ros.stages.plausibility import Change, PlausibilityCheck

TURNS = (0.0, 4.0, 8.0, 14.0, 20.0, 20.0, 12.0)  # degrees: nearly half of a picture at most


def checked(world, sets, look=True):
    """What comes of frame sets; look: whether the scene is asked."""
    check = PlausibilityCheck(20.0)
    return [check.check(one, (lambda name, one=one: glance(
        world.scene, one.in_place(RIG)[name], world.rasterizer)) if look else None)
        for one in sets]


@pytest.fixture(scope='module')
def turning(moving_world):
    """The rig turns before a still wall."""
    return [moving_world.frame_set(step, rig_at(0.02 * step, turn), False)
            for step, turn in enumerate(TURNS)]


def test_turning_is_no_fault(moving_world, turning):
    for result in checked(moving_world, turning):
        assert not result.implausible and not result.held and result.change is Change.NONE


def test_without_poses_it_is(moving_world, turning):
    results = checked(moving_world, [replace(one, cameras={}) for one in turning])
    assert results[3].held


@pytest.mark.parametrize('fault, said', [
    (lambda images, before: 0 * images['a'], 'shows nothing'),
    (lambda images, before: images['a'][::-1, ::-1].copy(), 'unlike'),
    (lambda images, before: images['b'], "shows what camera 'b' sees"),
    (lambda images, before: before['a'], 'frozen')], ids=['dark', 'wrong', 'swapped', 'frozen'])
def test_a_fault_is_told_while_the_rig_turns(moving_world, turning, fault, said):
    number = 4
    sets = list(turning)
    images = {**sets[number].images, 'a': fault(sets[number].images, sets[number - 1].images)}
    sets[number] = replace(sets[number], images=images)
    results = checked(moving_world, sets)
    assert list(results[number].implausible) == ['a'] and said in results[number].implausible['a']
    assert not any(result.implausible for result in results[:number] + results[number + 1:])


def test_a_camera_that_stands_still_is_not_frozen_because_others_move(moving_world):
    """It repeats its picture, as nothing moves before it."""
    sets = []
    for step in range(6):
        cameras = {**rig_at(0.03 * step, 2.0 * step), 'a': RIG['a']}
        sets.append(moving_world.frame_set(step, cameras, False))
    assert not any(result.implausible for result in checked(moving_world, sets))


def test_another_scene_lasts_and_is_believed_though_the_rig_moves(moving_world, turning):
    """The scene is held, for as long as it is when the rig stands still."""
    others = {name: image[::-1].copy() for name, image in turning[1].images.items()}
    sets = [turning[0]] + [
        FrameSet(10**9 * (2 + 3 * second), others, cameras=rig_at(0.01 * second, second))
        for second in range(1, 9)]
    results = checked(moving_world, sets)
    assert [bool(result.held) for result in results] == [False] + 7 * [True] + [False]  # 20 s
    assert results[-1].change is Change.NEW


def test_a_scene_that_covers_nothing_there_says_nothing(moving_world):
    sets = [moving_world.frame_set(0, RIG, False),
            moving_world.frame_set(1, rig_at(0.0, 150.0), False)]  # where there is no wall
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    sets[1] = replace(sets[1], images={name: np.roll(noise, 9 * number, 0)
                                       for number, name in enumerate(RIG)})
    assert not checked(moving_world, sets)[1].implausible
