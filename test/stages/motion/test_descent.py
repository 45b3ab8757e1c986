# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from igs_ros.core.scene import ATTRIBUTES, GaussianScene
from igs_ros.render.tiles import tile_grid
from igs_ros.stages.motion import descent
from igs_ros.stages.motion.descent import STEPS, ViewTarget, descend, from_params, to_params


def aim_at(stage, scene, free, name='middle'):
    """The picture of `scene`, with the Gaussians of the world but `free` as they are."""
    camera = stage.rig[name]
    tiles = np.ones(tile_grid(camera.height, camera.width), bool)
    with torch.no_grad():
        target = stage.rasterizer.render(scene, camera).rgb
        frozen = stage.scene.select(torch.from_numpy(~free))
        context = stage.rasterizer.context(frozen, camera, tiles=tiles)
        return ViewTarget(camera, target, tiles, context)


def sizes(values, **own):
    """The full step of every Gaussian; means in m."""
    steps = {**STEPS, 'means': 0.005, **own}
    return {name: torch.full_like(value, steps[name]) for name, value in values.items()}


def test_raw_values_and_back(stage):
    scene = from_params(to_params(stage.scene), stage.scene.sh[:, 1:])
    for name in ATTRIBUTES:
        torch.testing.assert_close(getattr(scene, name), getattr(stage.scene, name))


def test_steps_lead_to_the_picture(stage):
    part = stage.scene.select(torch.from_numpy(stage.ball))
    shade = torch.from_numpy(np.where(stage.ball, 0.7, 1.0)).float()[:, None, None]
    goal = stage.moved(1).replaced(sh=stage.scene.sh * shade)
    targets = [aim_at(stage, goal, stage.ball, name) for name in ('middle', 'left')]
    before = to_params(part)
    after = descend(before, part.sh[:, 1:], targets, stage.rasterizer, sizes(before), 12)
    for name, value in to_params(part).items():
        assert torch.equal(before[name], value)  # what was given is left as it was

    def loss(values):
        with torch.no_grad():
            drawn = stage.rasterizer.render(from_params(values, part.sh[:, 1:]), targets[0].camera,
                                            tiles=targets[0].tiles, context=targets[0].context)
        return float((drawn.rgb - targets[0].target).abs().mean())

    assert loss(after) < 0.5 * loss(before)


def test_who_is_not_seen_and_who_may_not_stays_bit_for_bit(stage):
    part = stage.scene.select(torch.from_numpy(stage.ball))
    camera = stage.rig['middle']
    pixels, _ = camera.project(part.means.numpy())
    target = aim_at(stage, stage.moved(2), stage.ball)
    target.tiles[:, :14] = False  # the ball's left side is not looked at
    before = to_params(part)
    after = descend(before, part.sh[:, 1:], [target], stage.rasterizer,
                    sizes(before, means=0.0), 3)
    assert torch.equal(after['means'], before['means'])
    unseen = pixels[:, 0] < 14 * 16 - 40
    assert unseen.sum() > 20
    for name in after:
        assert torch.equal(after[name][unseen], before[name][unseen])
    assert not torch.equal(after['colors'], before['colors'])


def stepped(monkeypatch, gradients, rows=1):
    """Where a value of `rows` Gaussians is after steps with such gradients, from 0; full step 1.

    gradients: a list of `rows` numbers for each step.
    """
    told = iter(gradients)
    monkeypatch.setattr(descent, '_gradients', lambda *_: {'logits': torch.tensor(next(told))})
    values = {'logits': torch.zeros(rows)}
    return descend(values, None, [None], None, {'logits': torch.ones(rows)},
                   len(gradients))['logits'].tolist()


def test_steps_shrink_evenly_to_a_fifth(monkeypatch):
    """Of a steady gradient g each is g / (|g| + 2 |g|) of its size: 1, 0.8, 0.6, 0.4, 0.2."""
    assert stepped(monkeypatch, [[3.0]] * 5) == pytest.approx([-3.0 / 3])
    assert stepped(monkeypatch, [[-3.0]] * 2) == pytest.approx([1.2 / 3])
    assert stepped(monkeypatch, [[3.0]]) == pytest.approx([-1 / 3])  # a single one is a full one
    assert stepped(monkeypatch, [[0.0]] * 3) == [0]


def test_gradients_of_the_step_before_count_seven_tenths(monkeypatch):
    """And their squares nineteen of twenty parts; 1 is followed by 0 here."""
    mean, square = 0.7 * 1 / (1 + 0.7), 0.95 * 1 / (1 + 0.95)
    expected = -1 / 3 - 0.2 * mean / (3 * square ** 0.5)
    assert stepped(monkeypatch, [[1.0], [0.0]]) == pytest.approx([expected])


def test_what_hardly_shows_hardly_moves(monkeypatch):
    """The floor is twice the root mean square over both."""
    floor = 2 * ((1 + 1e-6) / 2) ** 0.5
    expected = [-1 / (1 + floor), -1e-3 / (1e-3 + floor)]
    assert stepped(monkeypatch, [[1.0, 1e-3]], rows=2) == pytest.approx(expected)


def test_targets_take_turns(monkeypatch):
    met = []

    def noted(values, sh_rest, target, rasterizer):
        met.append(target)
        return {'logits': torch.zeros(1)}
    monkeypatch.setattr(descent, '_gradients', noted)
    zero = {'logits': torch.zeros(1)}
    descend(zero, None, ['a', 'b', 'c'], None, zero, 5)
    assert met == ['a', 'b', 'c', 'a', 'b']


def test_values_at_their_ends_stay_finite():
    scene = GaussianScene(torch.zeros(2, 3), torch.tensor([[1.0, 0, 0, 0]] * 2),
                          torch.tensor([[0.0] * 3, [1.0] * 3]), torch.tensor([0.0, 1.0]),
                          torch.arange(24.0).view(2, 4, 3))
    values = to_params(scene)
    assert all(torch.isfinite(value).all() for value in values.values())
    assert values['colors'].flatten().tolist() == [0, 1, 2, 12, 13, 14]
    back = from_params(values, scene.sh[:, 1:])
    assert torch.equal(back.sh, scene.sh) and (back.scales > 0).all()
    assert back.scales[0].max() < 1e-6
    torch.testing.assert_close(back.opacities, scene.opacities, rtol=0, atol=2e-6)


def test_depth_is_not_drawn_for_nothing(stage):
    class Watched:
        def render(self, *arguments, depth=True, **options):
            assert not depth
            return stage.rasterizer.render(*arguments, depth=depth, **options)
    part = stage.scene.select(torch.from_numpy(stage.ball))
    values = to_params(part)
    after = descend(values, part.sh[:, 1:], [aim_at(stage, stage.moved(2), stage.ball)], Watched(),
                    sizes(values), 1)
    assert not torch.equal(after['colors'], values['colors'])
