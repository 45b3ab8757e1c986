# SPDX-License-Identifier: Apache-2.0
"""The line in lockstep when cameras fail: the scene is held, and heals."""
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from igs_ros.apps.bench.fault_kinds import faults
from igs_ros.core.config import BootstrapConfig, Config, RefineConfig
from igs_ros.core.frames import RawFrameSet, RawPicture
from igs_ros.core.scene import ATTRIBUTES
from igs_ros.io.recordings.open import open_recording
from igs_ros.pipeline import Pipeline
from igs_ros.render.rasterizer import render_view
from igs_ros.vision.metrics import psnr

TRAIN, UNSEEN = ('cam00', 'cam01', 'cam03'), 'cam02'
SMALL = Config(width=96, max_gaussians=2500, key_interval=3,
               bootstrap=BootstrapConfig(iterations=60), refine=RefineConfig(iterations=30))
BEGIN, END, COUNT = 5, 11, 22  # of the fault; frames in all


@pytest.fixture(scope='module')
def recording(workbench):
    return open_recording(workbench)


@pytest.fixture(scope='module')
def frames(recording):
    """Forth and back, of all cameras."""
    sets = [{name: picture.decode() for name, picture in one.pictures.items()}
            for one in recording.frame_sets(0, 12)]
    return (sets + sets[-2:0:-1])[:COUNT]


def play(recording, frames, fault=None, config=SMALL, spans=((BEGIN, END),),
         watch=lambda pipeline: None):
    """Steps after the first scene, and the PSNR of the unseen view at each."""
    pipeline = Pipeline(config, {name: recording.cameras[name] for name in TRAIN})
    camera = recording.cameras[UNSEEN].resized(config.width)
    watch(pipeline)
    steps, scores = [], []
    for number, one in enumerate(frames):
        pictures = {name: one[name] for name in TRAIN}
        for start, end in spans if fault else ():
            if start <= number < end:
                before = {name: frames[start - 1][name] for name in TRAIN}
                pictures = fault.apply(pictures, before, number)
        frame_set = RawFrameSet(number * 33_333_333, {
            name: RawPicture(np.ascontiguousarray(image)) for name, image in pictures.items()})
        if not number:
            pipeline.start(frame_set, recording.points())
            continue
        steps.append(pipeline.step(frame_set))
        view = render_view(pipeline.stages.rasterizer, pipeline.snapshot.scene, camera)
        scores.append(psnr(cv2.resize(one[UNSEEN], (camera.width, camera.height),
                                   interpolation=cv2.INTER_AREA), view.rgb))
    return steps, np.array(scores)


def same(left, right) -> bool:
    return all(torch.equal(getattr(left, name), getattr(right, name)) for name in ATTRIBUTES)


@pytest.fixture(scope='module')
def clean(recording, frames):
    return play(recording, frames)


def test_without_faults_the_check_changes_nothing(recording, frames, clean):
    steps, _ = play(recording, frames[:8], config=replace(SMALL, hold_s=0.0))
    for left, right in zip(steps, clean[0], strict=False):
        assert left.kind == right.kind and not right.implausible and not right.held
        assert same(left.snapshot.scene, right.snapshot.scene)


def after(scores, clean, steps) -> float:
    """What is lost from the second key after the fault on, dB."""
    keys = [number for number in range(END - 1, len(steps)) if steps[number].kind == 'key']
    return float((scores - clean[1])[keys[1]:keys[1] + 3].mean())


def test_the_scene_is_held_and_heals(recording, frames, clean):
    given = []  # what keys are made of

    def watch(pipeline):
        refine = pipeline.stages.refiner.refine
        pipeline.stages.refiner.refine = lambda scene, *arguments, **options: (
            given.append(scene), refine(scene, *arguments, **options))[1]
    steps, scores = play(recording, frames, faults()['rotated'], watch=watch)
    shown = steps[BEGIN - 2].snapshot
    for step in steps[BEGIN - 1:END - 1]:
        assert step.held and step.snapshot is shown and set(step.implausible) == set(TRAIN)
        assert step.kind == 'candidate' and step.refined is None
    resumed = steps[END - 1]
    assert not resumed.held and resumed.kind == 'key'
    assert same(given[1], shown.scene) and given[1].velocities is None
    # what was missed is caught up
    assert resumed.refined.iterations == 3 * steps[2].refined.iterations == 90
    assert after(scores, clean, steps) > -0.5
    assert sum('implausible' in text for step in steps for text in step.problems) == len(TRAIN)


def test_the_same_fault_stays_where_every_picture_is_believed(recording, frames, clean):
    """What the test above tells apart."""
    steps, scores = play(recording, frames, faults()['rotated'], replace(SMALL, hold_s=0.0))
    assert after(scores, clean, steps) < -1.0


def test_one_dark_camera_is_left_out_and_the_others_go_on(recording, frames, clean):
    steps, scores = play(recording, frames, faults()['dark-one'])
    assert not any(step.held for step in steps)
    assert [set(step.implausible) for step in steps[BEGIN - 1:END - 1]] == [{'cam00'}] * 6
    assert after(scores, clean, steps) > -0.5


def test_three_faults_do_not_pile_up(recording, frames, clean):
    steps, scores = play(recording, frames, faults()['dark'], spans=((2, 4), (6, 7), (9, END)))
    assert sum(bool(step.held) for step in steps) == 5
    assert after(scores, clean, steps) > -0.5


def test_a_light_that_comes_back_brings_the_scene_of_then(recording, frames, clean):
    """What is fitted to the dark meanwhile is another scene."""
    steps, scores = play(recording, frames, faults()['light'], replace(SMALL, hold_s=1.0))
    assert [bool(step.held) for step in steps[BEGIN - 1:END - 1]] == 4 * [True] + 2 * [False]
    assert steps[BEGIN + 3].kind == 'key' and scores[BEGIN + 3] < clean[1][BEGIN + 3] - 5
    assert steps[END - 1].kind == 'key' and not steps[END - 1].held
    assert scores[END - 1] > clean[1][END - 1] - 1
    assert after(scores, clean, steps) > -0.5


def test_no_key_comes_after_a_fault_where_there_are_to_be_none(recording, frames):
    steps, _ = play(recording, frames[:13], faults()['dark'], replace(SMALL, key_interval=0))
    assert {step.kind for step in steps} == {'candidate'}
