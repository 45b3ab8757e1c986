# SPDX-License-Identifier: Apache-2.0
"""agm-small as the pipeline uses it."""
import numpy as np
import torch
from stage import stepped

from igs_ros.core.config import MotionConfig
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import ATTRIBUTES
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.stages.motion.agm_small.model import AgmSmallMotion
from igs_ros.stages.motion.geometric import GeometricMotion


def started(stage, sets, net=None, rasterizer=None):
    model = AgmSmallMotion(stage.rig, rasterizer or stage.rasterizer, MotionConfig(), net)
    model.observe(sets[0])
    return model, model.follow(stage.scene, sets[0])


def geometric(stage, sets, until):
    model = GeometricMotion(stage.rig, stage.rasterizer, MotionConfig())
    model.observe(sets[0])
    return stepped(model, model.follow(stage.scene, sets[0]), sets[1:until])


def values(scene):
    return [getattr(scene, name).numpy().tobytes() for name in (*ATTRIBUTES, 'velocities')]


def test_untrained_it_is_geometric_motion_bit_for_bit(stage, sets, untrained):
    moved = stepped(*started(stage, sets, untrained), sets[1:4])
    plain = geometric(stage, sets, 4)
    assert values(moved.scene) == values(plain.scene)
    assert np.array_equal(moved.rows, plain.rows)


def test_rows_say_what_differs_from_the_key(stage, sets):
    moved = stepped(*started(stage, sets), sets[1:3])
    assert moved.rows.dtype == np.uint32 and (np.diff(moved.rows.astype(int)) > 0).all()
    still = np.setdiff1d(np.arange(len(stage.scene)), moved.rows)
    assert len(still) > len(stage.scene) / 2
    for name in ATTRIBUTES:
        assert torch.equal(getattr(stage.scene, name)[still], getattr(moved.scene, name)[still])
    assert moved.scene.finite().all()


def test_same_bits_for_any_number_of_threads(stage, sets):
    one, two = (stepped(*started(stage, sets, rasterizer=CpuRasterizer(threads)), sets[1:3])
                for threads in (1, 2))
    assert values(one.scene) == values(two.scene)


def test_the_key_itself_stays(stage, sets):
    _, follower = started(stage, sets)
    moved = follower.move_to(sets[0])
    assert moved.scene is stage.scene and len(moved.rows) == 0


def test_without_pictures_geometry_decides(stage, sets):
    nothing = FrameSet(sets[2].stamp_ns, {}, tuple(stage.rig))
    model, follower = started(stage, sets)
    moved = stepped(model, follower, [sets[1], nothing])
    plain, prior = GeometricMotion(stage.rig, stage.rasterizer, MotionConfig()), None
    plain.observe(sets[0])
    prior = stepped(plain, plain.follow(stage.scene, sets[0]), [sets[1], nothing])
    assert values(moved.scene) == values(prior.scene)
    assert model.counts == plain.counts and model.counts['views_missing'] > 0
