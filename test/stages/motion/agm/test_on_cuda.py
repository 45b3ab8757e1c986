# SPDX-License-Identifier: Apache-2.0
"""AGM-Net on the CUDA device of fake_cuda.py: as on the CPU, in full precision."""
import numpy as np
import torch
from golden import formula_net
from stage import cameras

from igs_ros.core.config import MotionConfig
from igs_ros.render.choose import make_rasterizer
from igs_ros.stages.motion.agm.model import AgmMotion, AgmSizes
from igs_ros.vision import neighbors

BALL = '-0.5 -0.5 1.5 0.5 0.5 2.5'


def moved(stage, sets, rasterizer):
    model = AgmMotion(cameras('left', 'right'), rasterizer, MotionConfig(bbox=BALL, flow_views=2),
                      formula_net(torch.float32), AgmSizes(picture=64, anchors=32))
    model.observe(sets[0])
    follower = model.follow(stage.scene.to(rasterizer.device), sets[0])
    model.observe(sets[1])
    return follower.move_to(sets[1])


def test_moves_as_on_the_cpu(cuda, stage, sets, monkeypatch):
    """With the same anchors: of points that are about equally far, each backend takes its own."""
    monkeypatch.setattr(neighbors.host, 'fps', lambda points, m, start: neighbors.chunked.fps(
        torch.from_numpy(points), m, start).numpy())
    slow, fast = (moved(stage, sets, each)
                  for each in (stage.rasterizer, make_rasterizer('cuda')))
    assert fast.scene.device.type == 'cuda' and len(fast.rows) > 500
    assert np.array_equal(slow.rows, fast.rows)
    size = (slow.scene.means - stage.scene.means).abs().max()
    apart = (slow.scene.means - fast.scene.means.cpu()).abs()
    assert apart.max() < 1e-4 * size
