# SPDX-License-Identifier: Apache-2.0
"""Rounds of correction: free of scale, local, and nothing where nothing is wrong."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from igs_ros.core.scene import ATTRIBUTES
from igs_ros.stages.motion.agm_small.evidence import KeyViews
from igs_ros.stages.motion.agm_small.rounds import KeyAnchors, carried, corrections

NAMES = ('left', 'middle', 'right')


def corrected(net, stage, images, later, scene=None, rig=None, rounds=2):
    """The scene after all rounds, from the key as it is."""
    scene = stage.scene if scene is None else scene
    rig = rig or stage.rig
    evidence = KeyViews(scene, {name: rig[name] for name in NAMES}, images,
                        stage.rasterizer).evidence(later)
    with torch.no_grad():
        *_, last = scene, *corrections(net, scene, KeyAnchors(scene), evidence,
                                       torch.zeros(len(scene)), rounds)
    return last


def test_an_untrained_network_changes_nothing(stage, sets, untrained):
    last = corrected(untrained, stage, sets[0].images, sets[2].images)
    for name in ATTRIBUTES:
        torch.testing.assert_close(getattr(last, name), getattr(stage.scene, name), rtol=1e-5,
                                   atol=1e-5)


def test_where_nothing_is_wrong_rows_stay_bit_for_bit(stage, sets, arbitrary):
    last = corrected(arbitrary, stage, sets[0].images, sets[2].images)
    same = (last.sh == stage.scene.sh).flatten(1).all(1) & (last.means == stage.scene.means).all(1)
    assert not same[torch.from_numpy(stage.ball)].all()
    far = (stage.scene.means[:, :2] - torch.tensor([0.0, 0.0])).norm(dim=1) > 2.2
    assert same[far].all()
    again = corrected(arbitrary, stage, sets[0].images, sets[0].images)
    assert again is stage.scene  # the key's own pictures


def test_corrections_do_not_depend_on_the_unit_of_length(stage, sets, arbitrary):
    """A world that is 32 times as large: the same colors, and steps as many times longer."""
    unit = 32.0  # a power of two, so that anchors and digits stay the same
    scene = stage.scene.replaced(means=unit * stage.scene.means, scales=unit * stage.scene.scales)
    rig = {}
    for name in NAMES:
        pose = stage.rig[name].camera_from_world.copy()
        pose[:3, 3] *= unit
        rig[name] = stage.rig[name].placed(pose)
    meters = corrected(arbitrary, stage, sets[0].images, sets[2].images, rounds=1)
    larger = corrected(arbitrary, stage, sets[0].images, sets[2].images, scene, rig, rounds=1)
    moved = (meters.means - stage.scene.means).norm(dim=1)
    assert moved.max() > 1e-3
    gap = ((larger.means - scene.means) / unit - (meters.means - stage.scene.means)).norm(dim=1)
    assert gap.max() < 0.05 * moved.max() and gap.mean() < 0.01 * moved.mean()
    assert (larger.sh - meters.sh).abs().max() < 1e-3


def test_no_step_is_longer_than_its_bound(stage, sets, arbitrary):
    for value in (arbitrary.steps.weight, arbitrary.steps.bias):
        value.data.fill_(50.0)  # far into saturation
    last = corrected(arbitrary, stage, sets[0].images, sets[2].images, rounds=1)
    growth = torch.log(last.scales / stage.scene.scales).abs().max()
    assert 0 < growth <= 0.6 + 1e-4
    camera = stage.rig['middle']
    before, _ = camera.project(stage.scene.means.numpy())
    after, _ = camera.project(last.means.numpy())
    assert 0 < np.abs(after - before).max() < 3 * 2.0 * 2  # three ways of 2 px in some view
    assert last.finite().all()


def test_each_round_is_learned_by_itself(stage, sets, arbitrary):
    evidence = KeyViews(stage.scene, {name: stage.rig[name] for name in NAMES}, sets[0].images,
                        stage.rasterizer).evidence(sets[2].images)
    scenes = list(corrections(arbitrary, stage.scene, KeyAnchors(stage.scene), evidence,
                              torch.zeros(len(stage.scene)), 2))
    assert len(scenes) == 2
    for scene in scenes:
        gradient, = torch.autograd.grad(scene.means.sum(), arbitrary.steps.bias)
        assert gradient[1:4].abs().max() > 0


def test_corrections_are_carried_where_something_still_changes(stage, sets):
    evidence = KeyViews(stage.scene, {name: stage.rig[name] for name in NAMES}, sets[0].images,
                        stage.rasterizer).evidence(sets[2].images)
    plain = stage.scene
    shift = torch.full((1, 3), 0.01)
    corrected_before = replace(plain, means=plain.means + shift, sh=plain.sh + 0.1,
                               opacities=0.5 * plain.opacities)
    now = plain.replaced(means=plain.means + 0.02)
    start = carried(now, (plain, corrected_before), evidence, np.array([0]))
    kept = (start.means != now.means).any(1).numpy()
    assert kept[0] and kept[stage.ball].mean() > 0.3
    assert not kept[np.linalg.norm(plain.means[:, :2].numpy(), axis=1) > 2.2][1:].any()
    torch.testing.assert_close(start.means[kept], now.means[kept] + shift)
    torch.testing.assert_close(start.opacities[kept], 0.5 * now.opacities[kept], rtol=0.6, atol=0)
    assert carried(now, None, evidence, np.array([0])) is now


@pytest.mark.parametrize('count', [1, 5])
def test_few_gaussians_are_enough(stage, sets, arbitrary, count):
    rows = torch.nonzero(torch.from_numpy(stage.ball)).flatten()
    front = rows[stage.scene.means[rows, 2] < 1.75][:count]
    last = corrected(arbitrary, stage, sets[0].images, sets[2].images, stage.scene.select(front))
    assert last.finite().all()
