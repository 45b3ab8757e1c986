# SPDX-License-Identifier: Apache-2.0
"""Every motion model on the CUDA device of fake_cuda.py: as on the CPU, and what it costs."""
import numpy as np
import pytest
import torch
from stage import cameras

from igs_ros.core.config import MotionConfig
from igs_ros.render.choose import make_rasterizer
from igs_ros.stages.motion.adjust import AdjustedMotion
from igs_ros.stages.motion.agm_small.model import AgmSmallMotion
from igs_ros.stages.motion.geometric import GeometricMotion
from igs_ros.stages.motion.static import StaticMotion

STEPS = 6  # of adjustment
VIEWS = 3  # of the rig
MODELS = {
    'static': lambda rig, rasterizer: StaticMotion(),
    'geometric': lambda rig, rasterizer: GeometricMotion(rig, rasterizer, MotionConfig()),
    'adjusted': lambda rig, rasterizer: AdjustedMotion(
        GeometricMotion(rig, rasterizer, MotionConfig()), rig, rasterizer, STEPS, VIEWS),
    'agm_small': lambda rig, rasterizer: AgmSmallMotion(rig, rasterizer, MotionConfig()),
}
# Waits, without those of gsplat, and copies that a frame set may cost with three views: today's
# figures, so that who adds one has to say why.
MOST = {'static': (0, 0), 'geometric': (5, 5), 'adjusted': (59, 58), 'agm_small': (44, 42)}


def run(name, stage, sets, rasterizer):
    """After a frame set, which uploads what is uploaded once: moves the scene to another one."""
    rig = cameras('left', 'right', 'top')
    model = MODELS[name](rig, rasterizer)
    model.observe(sets[0])
    follower = model.follow(stage.scene.to(rasterizer.device), sets[0])
    model.observe(sets[1])
    follower.move_to(sets[1])
    model.observe(sets[2])
    return lambda: follower.move_to(sets[2])


@torch.no_grad()
def picture(stage, scene):
    """On the CPU, from a camera that is not in the rig."""
    return stage.rasterizer.render(scene.to('cpu'), cameras('middle')['middle']).rgb.numpy()


@pytest.mark.parametrize('name', MODELS)
def test_moves_as_on_the_cpu_at_todays_cost(cuda, stage, sets, name):
    slow = run(name, stage, sets, stage.rasterizer)()
    last = run(name, stage, sets, make_rasterizer('cuda'))
    with cuda.counted() as costs:
        fast = last()
    assert fast.scene.device.type == 'cuda' and fast.rows.dtype == np.uint32
    both = np.intersect1d(slow.rows, fast.rows)
    assert len(both) >= 0.97 * max(len(slow.rows), len(fast.rows))
    drawn = picture(stage, slow.scene), picture(stage, fast.scene)
    changed = np.abs(drawn[0] - picture(stage, stage.scene)).mean()
    assert np.abs(drawn[0] - drawn[1]).mean() <= 0.03 * changed
    known = [one.scene.velocities for one in (slow, fast)]
    assert (known[0] is None) == (known[1] is None)
    waits, copies = MOST[name]
    assert costs.own_waits() <= waits, costs
    assert costs.uploads.total() + costs.downloads.total() <= copies, costs
