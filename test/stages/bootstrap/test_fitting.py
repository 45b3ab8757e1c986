# SPDX-License-Identifier: Apache-2.0
"""The schedule of the first scene's optimization."""
import time

import numpy as np
import pytest
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.config import BootstrapConfig
from igs_ros.core.scene import GaussianScene, concatenated
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.stages.bootstrap.fitting import fit

K = [[40.0, 0, 24.0], [0, 40.0, 16.0], [0, 0, 1]]
CAMERAS = {name: Camera(name, 48, 32, K, np.eye(4)) for name in ('a', 'b', 'c')}
RED = np.zeros((32, 48, 3), np.uint8) + np.array([150, 105, 105], np.uint8)


class Watched(CpuRasterizer):
    """Notes what it is asked to draw."""

    def __init__(self):
        super().__init__(1)
        self.drawn = []

    def render(self, scene, camera, **options):
        self.drawn.append((camera.name, camera.width, camera.height))
        return super().render(scene, camera, **options)


def gray_wall():
    """A grid of 12 x 8 gray Gaussians, 2 m away."""
    x, y = torch.meshgrid(torch.linspace(-1.2, 1.2, 12), torch.linspace(-0.8, 0.8, 8),
                          indexing='ij')
    means = torch.stack([x.flatten(), y.flatten(), torch.full((96,), 2.0)], 1)
    quats = torch.zeros(96, 4)
    quats[:, 0] = 1
    return GaussianScene(means, quats, torch.full((96, 3), 0.15), torch.full((96,), 0.5),
                         torch.zeros(96, 4, 3))


def run(iterations, rasterizer=None, told=None, watch=None, clock=time.perf_counter,
        images=None, **config):
    return fit(gray_wall(), images or {name: RED for name in CAMERAS}, CAMERAS,
               rasterizer or Watched(), BootstrapConfig(iterations=iterations, **config),
               max_gaussians=100, seed=0, progress=(told if told is not None else []).append,
               watch=watch, clock=clock)


def test_first_fifth_at_half_size_then_full():
    rasterizer = Watched()
    run(30, rasterizer)
    assert [size for _, *size in rasterizer.drawn] == [[24, 16]] * 6 + [[48, 32]] * 24


def test_every_pass_shows_all_cameras():
    rasterizer = Watched()
    run(30, rasterizer)
    names = [name for name, *_ in rasterizer.drawn]
    for start in range(0, 30, 3):
        assert sorted(names[start:start + 3]) == ['a', 'b', 'c']
    assert len({tuple(names[start:start + 3]) for start in range(0, 30, 3)}) > 1


def test_colors_move_to_the_picture():
    fitted = run(150)
    drawn = CpuRasterizer(1).render(fitted.scene, CAMERAS['a']).rgb[8:24, 12:36].mean((0, 1))
    before = CpuRasterizer(1).render(gray_wall(), CAMERAS['a']).rgb[8:24, 12:36].mean((0, 1))
    target = torch.tensor([150, 105, 105]) / 255
    assert (drawn - target).abs().sum() < 0.5 * (before - target).abs().sum()


def test_no_iterations_return_the_seeds():
    fitted, seeds = run(0), gray_wall()
    assert (fitted.iterations, fitted.stopped_by) == (0, 'iterations')
    torch.testing.assert_close(fitted.scene.means, seeds.means, rtol=0, atol=0)
    torch.testing.assert_close(fitted.scene.scales, seeds.scales)
    torch.testing.assert_close(fitted.scene.opacities, seeds.opacities)


def test_cap_of_seconds_counts_iterations():
    rasterizer = Watched()
    fitted = run(10 ** 6, rasterizer, seconds=0.2)
    assert fitted.stopped_by == 'seconds' and fitted.iterations == len(rasterizer.drawn) > 0


def test_schedule_follows_the_time_that_is_left():
    """Of 100 steps only 30 fit into the time: a fifth of those is coarse, not of the 100."""
    rasterizer, ticks, told = Watched(), iter(range(10 ** 6)), []
    fitted = run(100, rasterizer, told, clock=lambda: next(ticks), seconds=30.0)
    assert (fitted.iterations, fitted.stopped_by) == (29, 'seconds')  # one look is the start
    assert [size for _, *size in rasterizer.drawn] == [[24, 16]] * 5 + [[48, 32]] * 24
    assert told == pytest.approx([1 / 30, 26 / 30])


def test_time_that_is_not_short_changes_nothing():
    capped, free = run(30, seconds=1e6), run(30)
    assert capped.stopped_by == 'iterations'
    assert torch.equal(capped.scene.means, free.scene.means)


def test_watching_changes_nothing():
    seen = []
    watched = run(12, watch=lambda done, scene: seen.append((done, scene())))
    assert [done for done, _ in seen] == list(range(1, 13))
    assert torch.equal(seen[-1][1].means, watched.scene.means)
    assert torch.equal(watched.scene.means, run(12).scene.means)


def test_a_brighter_camera_is_told_from_the_others():
    bright = {name: RED for name in CAMERAS} | {
        'b': np.clip(RED * 1.25 + 8, 0, 255).astype(np.uint8)}
    fitted = run(200, images=bright)
    drawn = CpuRasterizer(1).render(fitted.scene, CAMERAS['a']).rgb[8:24, 12:36].mean((0, 1))
    wanted = (torch.tensor([150, 105, 105]) * 1.25 + 8) / torch.tensor([150, 105, 105])
    for other in 'ac':  # gain and offset cannot be told apart on one color: what they make of it
        ratio = fitted.exposures.apply('b', drawn) / fitted.exposures.apply(other, drawn)
        torch.testing.assert_close(ratio, wanted, rtol=0, atol=0.1)
    assert not run(10, images=bright, exposure=False).exposures.cameras


def test_what_no_camera_sees_makes_room_when_the_scene_is_full():
    start, hidden = gray_wall(), gray_wall().select(torch.arange(3))
    hidden = hidden.replaced(means=hidden.means - torch.tensor([0.0, 0, 9]))
    fitted = fit(concatenated([hidden, start]), {name: RED for name in CAMERAS}, CAMERAS,
                 Watched(), BootstrapConfig(iterations=401), max_gaussians=99, seed=0,
                 progress=lambda done: None)
    behind = (fitted.scene.means[:, 2] < 0).sum()
    assert behind < 3 and 80 < len(fitted.scene) <= 99


def test_a_scene_that_is_pruned_away_ends_the_fit_cleanly():
    start = gray_wall().replaced(opacities=torch.full((96,), 0.004))
    far = start.replaced(means=start.means + torch.tensor([0.0, 0, -9]))  # unseen: never opaque
    fitted = fit(far, {name: RED for name in CAMERAS}, CAMERAS, Watched(),
                 BootstrapConfig(iterations=400), max_gaussians=100, seed=0,
                 progress=lambda done: None)
    assert len(fitted.scene) == 0 and fitted.iterations == 400


def test_progress():
    told = []
    run(100, told=told)
    assert told == pytest.approx([0, 0.25, 0.5, 0.75])
