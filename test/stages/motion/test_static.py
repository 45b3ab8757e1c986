# SPDX-License-Identifier: Apache-2.0
"""The baseline hands out its key, untouched, with the newest stamp."""
import numpy as np
import pytest
import torch

from igs_ros.core.config import MotionConfig
from igs_ros.core.errors import InputError
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.stages.motion.choose import make_motion


def key() -> GaussianScene:
    return GaussianScene(torch.rand(5, 3), torch.nn.functional.normalize(torch.rand(5, 4), dim=1),
                         torch.rand(5, 3), torch.rand(5), torch.rand(5, 1, 3))


def model(name='static'):
    return make_motion(name, {}, CpuRasterizer(1), MotionConfig())


def test_the_key_is_copied_with_the_new_stamp():
    scene, motion = key(), model()
    motion.observe(FrameSet(1, {}))
    follower = motion.follow(scene, FrameSet(1, {}))
    for stamp in (1, 5, 9):
        moved = follower.move_to(FrameSet(stamp, {}))
        assert moved.scene is scene and moved.stamp_ns == stamp
        assert moved.rows.dtype == np.uint32 and len(moved.rows) == 0
    assert follower.frame_set.stamp_ns == 1 and motion.counts == {}


def test_followers_do_not_share_their_key():
    motion, old, new = model(), key(), key()
    first, second = motion.follow(old, FrameSet(1, {})), motion.follow(new, FrameSet(2, {}))
    assert first.move_to(FrameSet(3, {})).scene is old
    assert second.move_to(FrameSet(3, {})).scene is new


def test_two_models_count_apart():
    one, other = model(), model()
    one.counts['chain_breaks'] = 1
    assert other.counts == {}


def test_an_unknown_model_is_named_with_those_there_are():
    with pytest.raises(InputError, match="'teleport'.*geometric or static"):
        model('teleport')
