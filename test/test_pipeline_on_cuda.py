# SPDX-License-Identifier: Apache-2.0
"""The line in lockstep on the CUDA device of fake_cuda.py: as on the CPU."""
from dataclasses import replace

import numpy as np
import pytest

from igs_ros.core.config import BootstrapConfig, Config, RefineConfig
from igs_ros.core.machine import gpu_mb
from igs_ros.io.recordings.open import open_recording
from igs_ros.pipeline import Pipeline
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.rasterizer import render_view

TRAIN = ('cam00', 'cam01', 'cam03')
SMALL = Config(width=64, max_gaussians=600, key_interval=2, threads=1,
               bootstrap=BootstrapConfig(iterations=12),
               refine=RefineConfig(iterations=8, polish_iterations=2))


@pytest.fixture(scope='module')
def recording(workbench):
    return open_recording(workbench)


def run(recording, device, motion, adjust=0):
    config = replace(SMALL, device=device, motion=motion,
                     motion_model=replace(SMALL.motion_model, adjust_iterations=adjust))
    pipeline = Pipeline(config, {name: recording.cameras[name] for name in TRAIN})
    sets = recording.frame_sets(0, 4, cameras=TRAIN)
    pipeline.start(next(sets), recording.points())
    return pipeline, [pipeline.step(frame_set) for frame_set in sets]


@pytest.mark.parametrize('motion, adjust', [('static', 0), ('geometric', 0), ('geometric', 4)])
def test_steps_are_those_of_the_cpu(cuda, recording, motion, adjust):
    (pipeline, slow), (_, fast) = (run(recording, device, motion, adjust)
                                   for device in ('cpu', 'cuda'))
    assert gpu_mb() > 0
    for one, other in zip(slow, fast, strict=True):
        assert one.kind == other.kind and not other.problems and not other.held
        assert other.snapshot.scene.device.type == other.snapshot.key.device.type == 'cuda'
        for camera in pipeline.stages.cameras.values():
            pictures = [render_view(CpuRasterizer(1), step.snapshot.scene.to('cpu'), camera).rgb
                        for step in (one, other)]
            assert np.abs(pictures[0] - pictures[1]).mean() < 0.01
