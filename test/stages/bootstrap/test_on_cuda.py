# SPDX-License-Identifier: Apache-2.0
"""The first scene on the CUDA device of fake_cuda.py: as on the CPU, and what it costs."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from igs_ros.core.config import BootstrapConfig, Config
from igs_ros.io.codec.ply import load_ply, save_ply
from igs_ros.io.recordings.open import open_recording
from igs_ros.render.choose import make_rasterizer
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.optimize import _CHECK_EVERY
from igs_ros.render.rasterizer import render_view
from igs_ros.stages.bootstrap import guide
from igs_ros.stages.bootstrap.first_scene import first_scene
from igs_ros.vision.preparer import Preparer

TRAIN = ('cam00', 'cam01', 'cam03')
SMALL = Config(width=64, max_gaussians=500, threads=1, bootstrap=BootstrapConfig(iterations=12))


class Bench:
    def __init__(self, folder):
        recording = open_recording(folder)
        preparer = Preparer({name: recording.cameras[name] for name in TRAIN}, 64)
        self.cameras, self.points = preparer.cameras, recording.points()
        self.frame_set = preparer.prepare(next(recording.frame_sets(0, 1, cameras=TRAIN)))

    def first(self, device, method='points', config=SMALL):
        rasterizer = make_rasterizer(device, 1)
        return first_scene(method, self.frame_set, self.cameras, self.points, rasterizer, config)


@pytest.fixture(scope='module')
def bench(workbench):
    return Bench(workbench)


def test_it_is_that_of_the_cpu(cuda, bench):
    slow, fast = bench.first('cpu'), bench.first('cuda')
    assert fast.scene.device.type == 'cuda' and len(fast.scene) == len(slow.scene)
    for camera in bench.cameras.values():
        pictures = [render_view(CpuRasterizer(1), one.scene.to('cpu'), camera).rgb
                    for one in (slow, fast)]
        assert np.abs(pictures[0] - pictures[1]).mean() < 2e-3


def test_a_file_is_read_onto_the_device_and_written_from_it(cuda, bench, tmp_path):
    made = bench.first('cuda')
    save_ply(made.scene, tmp_path / 'scene.ply')
    again = bench.first('cuda', str(tmp_path / 'scene.ply'))
    assert again.scene.device.type == 'cuda'
    known = load_ply(tmp_path / 'scene.ply')
    torch.testing.assert_close(known.means, made.scene.means.cpu())


def test_iterations_wait_for_nothing_but_gsplat(cuda, bench, monkeypatch):
    """A look at the losses now and then apart; the cameras of few views between are there soon."""
    monkeypatch.setattr(guide, 'VIEWS', 3)

    def cost(iterations):
        config = replace(SMALL, bootstrap=BootstrapConfig(iterations=iterations))
        with cuda.counted() as costs:
            bench.first('cuda', config=config)
        return costs
    few, many = cost(15), cost(15 + _CHECK_EVERY)
    assert many.own_waits() <= few.own_waits() + 1, many
    assert many.uploads == few.uploads, many
