# SPDX-License-Identifier: Apache-2.0
"""A small live pipeline on the recording that ships."""
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # running.py, beside the tests
from running import TRAIN  # noqa: E402

from igs_ros.core.config import BootstrapConfig, Config, RefineConfig
from igs_ros.core.frames import FrameSet
from igs_ros.io.codec.ply import save_ply
from igs_ros.io.recordings.open import open_recording
from igs_ros.live.pipeline import LivePipeline
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.stages.bootstrap.first_scene import first_scene
from igs_ros.vision.preparer import Preparer


@pytest.fixture(scope='session')
def recording(workbench):
    return open_recording(workbench)


@pytest.fixture(scope='session')
def rig(recording):
    return {name: recording.cameras[name] for name in TRAIN}


@pytest.fixture(scope='session')
def sets(recording) -> list[FrameSet]:
    return list(recording.frame_sets(0, 12, cameras=TRAIN))


@pytest.fixture(scope='session')
def config(recording, rig, sets, tmp_path_factory) -> Config:
    """Small, starting from a first scene on disk, so that tests start at once."""
    small = Config(width=96, max_gaussians=2000, key_interval=2, threads=1,
                   bootstrap=BootstrapConfig(iterations=40), refine=RefineConfig(iterations=10))
    preparer = Preparer(rig, 96)
    made = first_scene('points', preparer.prepare(sets[0]), preparer.cameras, recording.points(),
                       CpuRasterizer(1), small)
    path = tmp_path_factory.mktemp('scene') / 'first.ply'
    save_ply(made.scene, path)
    return replace(small, bootstrap=BootstrapConfig(method=str(path)))


@pytest.fixture
def live(rig, config):
    pipeline = LivePipeline(config, rig)
    pipeline.start()
    yield pipeline
    pipeline.stop()
