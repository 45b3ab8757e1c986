# SPDX-License-Identifier: Apache-2.0
"""The whole line with cameras that move."""
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from igs_ros.core.config import BootstrapConfig, Config, RefineConfig
from igs_ros.core.scene import ATTRIBUTES
from igs_ros.io.codec.ply import save_ply
from igs_ros.io.recordings.open import open_recording
from igs_ros.live.pipeline import LivePipeline
from igs_ros.pipeline import Pipeline
from igs_ros.render.rasterizer import render_view
from igs_ros.vision.metrics import psnr

sys.path.insert(0, str(Path(__file__).parent / 'stages'))

from moving_world import RIG, STEP_M, MovingWorld, rig_at, swaying  # noqa: E402

TRAIN = ('cam00', 'cam01', 'cam03')
SMALL = Config(width=96, max_gaussians=2500, motion='geometric', key_interval=2, early_key=0.3,
               bootstrap=BootstrapConfig(iterations=40), refine=RefineConfig(iterations=20))


@pytest.fixture(scope='module')
def world():
    return MovingWorld()


@pytest.fixture(scope='module')
def true_scene(world, tmp_path_factory):
    """Settings whose first scene is the true one."""
    path = tmp_path_factory.mktemp('scene') / 'scene.ply'
    save_ply(world.scene, path)
    return Config(motion='geometric', key_interval=3, max_gaussians=4000, sh_degree=0,
                  bootstrap=BootstrapConfig(method=str(path), exposure=False),
                  refine=RefineConfig(iterations=20), threads=1)


def test_still_cameras_that_say_so_give_the_same_scenes_bit_for_bit(workbench):
    recording = open_recording(workbench)
    cameras = {name: recording.cameras[name] for name in TRAIN}
    runs = []
    for poses in ({}, {name: camera.camera_from_world + 1e-9 * np.eye(4, 4, 1)
                       for name, camera in cameras.items()}):
        poses = {name: np.vstack([pose[:3], [0, 0, 0, 1]]) for name, pose in poses.items()}
        pipeline = Pipeline(SMALL, cameras)
        sets = [replace(one, poses=poses) for one in recording.frame_sets(0, 4, TRAIN)]
        runs.append([step.snapshot.scene for step in pipeline.run(sets, recording.points())])
    for one, other in zip(*runs, strict=True):
        for name in ATTRIBUTES:
            assert torch.equal(getattr(one, name), getattr(other, name))
    assert not torch.equal(runs[0][0].means, runs[0][-1].means)


def run(world, config, steps, cameras_at, ball, told=True):
    pipeline = Pipeline(config, RIG)
    return pipeline, list(pipeline.run(world.raw(step, cameras_at(step), ball, told)
                                       for step in range(steps)))


def test_a_moving_rig_changes_nothing_in_a_still_scene(world, true_scene):
    """And nothing less than before is seen from where nobody looked."""
    _, steps = run(world, true_scene, 5, swaying, ball=False)
    assert [step.kind for step in steps] == ['first'] + 2 * ['candidate'] + ['key', 'candidate']
    assert not any(step.held or step.implausible for step in steps)
    for step in steps[1:3] + steps[4:]:
        assert len(step.snapshot.moved_rows) < 0.01 * len(world.scene)
    between = rig_at(0.05, 2.5)['d']
    shown = render_view(world.rasterizer, steps[-1].snapshot.scene, between).rgb
    truth = world.images(world.scene, {'d': between})['d']
    assert psnr(truth, shown) > 33


def test_what_moves_before_a_moving_rig_is_where_it_is(world, true_scene):
    _, steps = run(world, replace(true_scene, key_interval=0), 4, swaying, ball=True)
    shift = (steps[-1].snapshot.scene.means - world.scene.means).numpy()
    error = np.linalg.norm(shift[world.front] - 3 * STEP_M, axis=1)
    assert np.median(error) < 0.15 * np.linalg.norm(3 * STEP_M)
    moved = np.zeros(len(world.scene), bool)
    moved[steps[-1].snapshot.moved_rows] = True
    assert moved[world.front].mean() > 0.9 and moved[~world.ball].mean() < 0.1


def test_poses_that_are_not_told_cost_the_scene(world, true_scene):
    _, steps = run(world, replace(true_scene, hold_s=0.0), 4, swaying, ball=False, told=False)
    seen = {told: render_view(world.rasterizer, steps[-1].snapshot.scene,
                              swaying(3)['d']).rgb for told in (False,)}
    truth = world.images(world.scene, swaying(3))['d']
    assert psnr(truth, seen[False]) < 25


def test_what_a_turning_rig_sees_for_the_first_time_gets_gaussians(world, true_scene):
    """The first scene ends where the first pictures do."""
    inside = np.abs(world.scene.means[:, 0].numpy()) < 1.5
    pipeline = Pipeline(replace(true_scene, key_interval=2, hold_s=20.0), RIG)
    first = pipeline.prepare(world.raw(0, RIG, ball=False))
    pipeline.begin(first)
    pipeline.timeline.take_key(world.scene.select(torch.from_numpy(np.flatnonzero(inside))),
                               first)
    before, after = len(pipeline.timeline.snapshot.scene), rig_at(0.0, 18.0)
    for step in range(1, 9):
        pipeline.step(world.raw(step, rig_at(0.0, min(18.0, 3.0 * step)), ball=False))
    scene = pipeline.timeline.snapshot.scene
    born = scene.means[:, 0].numpy() > 1.6
    assert len(scene) > before and born.sum() > 100
    truth = world.images(world.scene, after)['c'][:, 110:]
    without = world.images(world.scene.select(torch.from_numpy(np.flatnonzero(inside))), after)
    grown = world.images(scene, after)['c'][:, 110:]
    assert psnr(truth, grown / np.float32(255)) > psnr(
        truth, without['c'][:, 110:] / np.float32(255)) + 3


def test_a_pose_that_is_not_rigid_costs_its_picture_and_the_scene_goes_on(world, true_scene):
    pipeline = Pipeline(true_scene, RIG)
    pipeline.start(world.raw(0, RIG))
    raw = world.raw(1, swaying(1))
    step = pipeline.step(replace(raw, poses={**raw.poses, 'b': np.full((4, 4), np.nan)}))
    problem, = step.problems
    assert problem.startswith("camera 'b': ") and 'rigid' in problem and '\n' not in problem
    assert step.snapshot.stamp_ns == raw.stamp_ns


def test_live_pipelines_take_poses_too(world, true_scene):
    with LivePipeline(true_scene, RIG) as live:
        for step in range(2):
            raw = world.raw(step, swaying(step), ball=False)
            live.offer(raw)
            deadline = 600
            while deadline and (live.snapshot() is None
                                or live.snapshot().stamp_ns != raw.stamp_ns or not live.idle):
                import time
                time.sleep(0.05)
                deadline -= 1
        shown = live.snapshot()
    assert shown.stamp_ns == raw.stamp_ns
    assert len(shown.moved_rows) < 0.01 * len(world.scene)
