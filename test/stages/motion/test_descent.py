# SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch

from igs_ros.core.scene import ATTRIBUTES
from igs_ros.render.tiles import tile_grid
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
