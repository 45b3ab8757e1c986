# SPDX-License-Identifier: Apache-2.0
"""The line in lockstep, on the recording that ships, small."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from igs_ros.core.config import BootstrapConfig, Config, RefineConfig
from igs_ros.core.frames import RawFrameSet
from igs_ros.core.scene import ATTRIBUTES
from igs_ros.io.recordings.open import open_recording
from igs_ros.pipeline import Pipeline
from igs_ros.render.rasterizer import render_view
from igs_ros.vision.metrics import psnr

TRAIN = ('cam00', 'cam01', 'cam03')
SMALL = Config(width=96, max_gaussians=2500, motion='static', key_interval=2,
               bootstrap=BootstrapConfig(iterations=40), refine=RefineConfig(iterations=45))


@pytest.fixture(scope='module')
def recording(workbench):
    return open_recording(workbench)


def run(recording, config: Config, frames: int):
    """The pipeline after `frames` steps, and its steps."""
    pipeline = Pipeline(config, {name: recording.cameras[name] for name in TRAIN})
    sets = recording.frame_sets(0, frames + 1, cameras=TRAIN)
    pipeline.start(next(sets), recording.points())
    return pipeline, [pipeline.step(frame_set) for frame_set in sets]


def same(left, right) -> bool:
    return all(torch.equal(getattr(left, name), getattr(right, name)) for name in ATTRIBUTES)


@pytest.fixture(scope='module')
def finished(recording):
    return run(recording, SMALL, 4)


def test_keys_come_at_the_interval(finished):
    _, steps = finished
    assert [step.kind for step in steps] == ['candidate', 'key', 'candidate', 'key']
    assert [step.snapshot.sequence for step in steps] == [3, 6, 7, 10]
    assert [step.snapshot.key_sequence for step in steps] == [1, 5, 5, 9]


def test_static_candidates_are_their_key(finished):
    _, steps = finished
    assert same(steps[2].snapshot.scene, steps[1].snapshot.key)
    assert not same(steps[3].snapshot.scene, steps[2].snapshot.scene)


def test_refinement_fits_the_new_pictures_better_than_the_copy(recording, finished):
    pipeline, steps = finished
    frame = next(recording.frame_sets(2, 3, cameras=TRAIN))
    images = pipeline.stages.preparer.prepare(frame).images

    def mean_psnr(scene):
        return np.mean([psnr(images[name], render_view(pipeline.stages.rasterizer, scene,
                                                       pipeline.stages.cameras[name]).rgb)
                        for name in TRAIN])
    assert mean_psnr(steps[1].snapshot.scene) > mean_psnr(steps[0].snapshot.scene) + 0.5


def test_bound_holds_at_all_times(finished):
    _, steps = finished
    assert all(len(step.snapshot.scene) <= SMALL.max_gaussians for step in steps)


@pytest.mark.parametrize('motion', ['static', 'geometric'])
def test_same_seed_same_bytes_for_any_number_of_threads(recording, motion):
    runs = [run(recording, replace(SMALL, motion=motion, threads=threads), 2)[1]
            for threads in (1, 2, 2)]
    for other in runs[1:]:
        assert all(same(a.snapshot.scene, b.snapshot.scene) for a, b in zip(runs[0], other))


def test_interval_zero_freezes_the_first_scene(recording):
    pipeline, steps = run(recording, replace(SMALL, key_interval=0), 3)
    assert {step.kind for step in steps} == {'candidate'}
    assert same(steps[-1].snapshot.scene, pipeline.snapshot.key)


def test_scene_above_the_limit_is_cut_at_the_key(recording):
    pipeline = Pipeline(SMALL, {name: recording.cameras[name] for name in TRAIN})
    sets = recording.frame_sets(0, 2, cameras=TRAIN)
    pipeline.start(next(sets), recording.points())
    refiner = pipeline.stages.refiner
    refiner._max_gaussians = 500
    prepared = pipeline.stages.preparer.prepare(next(sets))
    refined = refiner.refine(pipeline.snapshot.scene, prepared, 1)
    assert len(refined.scene) <= 500 and refined.iterations == 45


def test_frame_set_without_any_picture_keeps_the_scene(recording, finished):
    pipeline, steps = finished
    before = pipeline.snapshot.scene
    late = RawFrameSet(10 ** 10, {}, missing=TRAIN)
    assert same(pipeline.step(late).snapshot.scene, before)
    late = pipeline.stages.preparer.prepare(late)
    refined = pipeline.stages.refiner.refine(before, late, 9)
    assert refined.iterations == 0 and same(refined.scene, before)


def test_diverging_refinement_is_reported_and_dropped(recording, monkeypatch):
    pipeline = Pipeline(replace(SMALL, key_interval=1),
                        {name: recording.cameras[name] for name in TRAIN})
    sets = recording.frame_sets(0, 2, cameras=TRAIN)
    pipeline.start(next(sets), recording.points())
    before = pipeline.snapshot.key
    monkeypatch.setattr('igs_ros.render.optimize.photometric_loss',
                        lambda *_: torch.tensor(float('nan')))
    step = pipeline.step(next(sets))
    assert 'refinement discarded' in step.problems[0]
    assert step.snapshot.key is before


def test_a_key_comes_early_when_much_changes_at_once(recording):
    """The third frame set is dark: a light went out."""
    config = replace(SMALL, key_interval=0, early_key=0.5, hold_s=0.0,
                     refine=RefineConfig(iterations=2))
    pipeline = Pipeline(config, {name: recording.cameras[name] for name in TRAIN})
    sets = list(recording.frame_sets(0, 5, cameras=TRAIN))
    pipeline.start(sets[0], recording.points())
    kinds = []
    for number, frame_set in enumerate(sets[1:], 1):
        images = {name: picture.decode() // (1 if number < 3 else 4)
                  for name, picture in frame_set.pictures.items()}
        kinds.append(pipeline.step(RawFrameSet.of(frame_set.stamp_ns, images)).kind)
    assert kinds == ['candidate', 'candidate', 'key', 'candidate']


def test_polish_is_a_step_of_its_own_and_off_by_default(recording, finished):
    _, steps = finished
    polished = replace(SMALL, refine=replace(SMALL.refine, polish_iterations=3))
    _, other = run(recording, polished, 2)
    assert len(other[1].snapshot.key) == len(steps[1].snapshot.key)
    assert not same(other[1].snapshot.key, steps[1].snapshot.key)
