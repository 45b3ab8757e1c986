# SPDX-License-Identifier: Apache-2.0
"""The first scene: every method, its bounds, its report, and equal bytes for equal input."""
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from igs_ros.core.config import BootstrapConfig, Config
from igs_ros.core.errors import InputError
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import ATTRIBUTES
from igs_ros.io.codec.ply import load_ply, save_ply
from igs_ros.io.recordings.open import open_recording
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.rasterizer import render_view
from igs_ros.stages.bootstrap.first_scene import first_scene
from igs_ros.vision.preparer import Preparer

SMALL = Config(bootstrap=BootstrapConfig(iterations=340), max_gaussians=2000, threads=1)


class Bench:
    """The workbench's first frame set: prepared pictures, working cameras, points."""

    def __init__(self, folder, width):
        recording = open_recording(folder)
        preparer = Preparer(recording.cameras, width)
        everything = preparer.prepare(next(iter(recording.frame_sets(0, 1))))
        names = [n for n in recording.cameras if n not in recording.held_out]
        self.frame_set = everything.only(names)
        self.cameras = {name: preparer.cameras[name] for name in names}
        self.points = recording.points()
        self.test_camera = preparer.cameras['cam02']
        self.test_image = everything.images['cam02'].astype(np.float32) / 255

    def first(self, method='auto', config=SMALL, frame_set=None, threads=1, progress=None,
              with_points=True):
        """`first_scene` of these pictures."""
        return first_scene(method, frame_set or self.frame_set, self.cameras,
                           self.points if with_points else None, CpuRasterizer(threads), config,
                           progress)

    def test_psnr(self, scene):
        """PSNR in dB of the camera that did not train."""
        drawn = render_view(CpuRasterizer(2), scene, self.test_camera).rgb
        return -10 * np.log10(np.mean((drawn - self.test_image) ** 2))


@pytest.fixture(scope='module')
def bench(workbench):
    """At 96x72 px: seconds, not minutes."""
    return Bench(workbench, 96)


@pytest.fixture(scope='module')
def made(bench):
    """One finished first scene with one thread."""
    return bench.first()


def data(scene):
    return [getattr(scene, name).numpy().tobytes() for name in ATTRIBUTES]


def test_threads_do_not_matter(bench, made):
    again = bench.first(config=replace(SMALL, threads=3), threads=3)
    assert data(again.scene) == data(made.scene)
    assert again.report.psnr_views == made.report.psnr_views


def test_seed_matters(bench, made):
    config = replace(SMALL, seed=1, bootstrap=BootstrapConfig(iterations=5))
    zero = bench.first(config=replace(config, seed=0))
    assert data(bench.first(config=config).scene) != data(zero.scene)


def test_report(bench, made):
    report = made.report
    assert (report.method, report.iterations, report.stopped_by) == ('points', 340, 'iterations')
    assert report.gaussians == len(made.scene) <= 2000
    assert report.seconds > 0 and report.cpu_s > 0
    assert set(report.psnr_views) == {'cam00', 'cam01', 'cam03'}
    assert report.psnr_train == pytest.approx(np.mean(list(report.psnr_views.values())))
    drawn = render_view(CpuRasterizer(1), made.scene, bench.cameras['cam01']).rgb
    gain, offset = (report.exposures['cam01'][name] for name in ('gain', 'offset'))
    target = bench.frame_set.images['cam01'] / 255
    assert report.psnr_views['cam01'] == pytest.approx(
        -10 * np.log10(np.mean((drawn * gain + offset - target) ** 2)), abs=1e-2)


def test_quality_on_the_unseen_view(bench, made):
    start = bench.first(config=replace(SMALL, bootstrap=BootstrapConfig(iterations=0)))
    assert made.report.psnr_train > start.report.psnr_train + 3
    assert bench.test_psnr(made.scene) > max(21.0, bench.test_psnr(start.scene) + 2)
    assert bool(made.scene.finite().all()) and made.scene.sh_degree == 1


def brighter(image):
    """What a camera of gain 1.2 and offset 0.05 would have recorded."""
    return np.clip(np.round(1.2 * image + 0.05 * 255), 0, 255).astype(np.uint8)


def test_a_camera_of_other_exposure_is_recovered(bench):
    images = dict(bench.frame_set.images)
    images['cam03'] = brighter(images['cam03'])
    frame_set = replace(bench.frame_set, images=images)
    without = bench.first(frame_set=frame_set, config=replace(
        SMALL, bootstrap=BootstrapConfig(iterations=340, exposure=False)))
    made = bench.first(frame_set=frame_set)
    assert not without.exposures.cameras and not without.report.exposures
    # the mean camera is the world's: gains 1, 1, 1.2 over their mean 1.067, offsets accordingly
    for name, gain, offset in (('cam00', 0.9375, -0.0156), ('cam01', 0.9375, -0.0156),
                               ('cam03', 1.125, 0.03125)):
        found = made.exposures.cameras[name]
        np.testing.assert_allclose(found.gain, gain, atol=0.03)
        np.testing.assert_allclose(found.offset, offset, atol=0.015)
    assert bench.test_psnr(made.scene) > bench.test_psnr(without.scene) + 0.5


def test_equal_cameras_lose_nothing_to_exposures(bench, made):
    without = bench.first(config=replace(
        SMALL, bootstrap=BootstrapConfig(iterations=340, exposure=False)))
    for found in made.exposures.cameras.values():
        assert (found.gain - 1).abs().max() < 0.02 and found.offset.abs().max() < 0.01
    # two fits of one scene differ by 0.15 dB from processor to processor, by their rounding alone
    assert bench.test_psnr(made.scene) > bench.test_psnr(without.scene) - 0.3


def test_exposures_of_a_ply_are_those_of_its_pictures(bench, made, tmp_path):
    path = tmp_path / 'scene.ply'
    save_ply(made.scene, path)
    images = dict(bench.frame_set.images)
    images['cam03'] = brighter(images['cam03'])
    first = bench.first(str(path), frame_set=replace(bench.frame_set, images=images))
    gains = {name: found.gain for name, found in first.exposures.cameras.items()}
    np.testing.assert_allclose(gains['cam03'] / gains['cam00'], 1.2, atol=0.05)
    off = replace(SMALL, bootstrap=BootstrapConfig(exposure=False))
    assert not bench.first(str(path), config=off).exposures.cameras


def test_growth_stops_at_the_limit(bench):
    config = replace(SMALL, max_gaussians=450)
    scene = bench.first(config=config).scene
    assert 360 < len(scene) <= 450


@pytest.mark.parametrize('depth_s, iterations', [(4, 5), (8, 1), (20, 0)])
def test_the_cap_of_seconds_counts_finding_depth(bench, caplog, depth_s, iterations):
    """A clock that depth takes `depth_s` of, and everything after it a second a look."""
    ticks = itertools.chain([100], itertools.count(100 + depth_s))
    config = replace(SMALL, bootstrap=BootstrapConfig(iterations=10 ** 6, seconds=10.0))
    report = first_scene('auto', bench.frame_set, bench.cameras, bench.points, CpuRasterizer(1),
                         config, clock=lambda: next(ticks)).report
    assert (report.iterations, report.stopped_by) == (iterations, 'seconds')
    said = 'finding depth took 20 s of the 10 s that bootstrap.seconds allows'
    assert (said in caplog.text) is (iterations == 0)


def test_train_views_are_scored_fitted_too(made):
    assert made.report.psnr_train <= made.report.psnr_train_fitted < made.report.psnr_train + 3


def test_progress_rises_to_one(bench):
    told = []
    bench.first(config=replace(SMALL, bootstrap=BootstrapConfig(iterations=60)),
                progress=lambda stage, done: told.append((stage, done)))
    stages = [stage for stage, _ in told]
    assert len(set(stages)) >= 3 and told[-1][1] == 1.0
    for stage in set(stages):
        done = [d for s, d in told if s == stage]
        assert done == sorted(done) and 0 <= done[0] and done[-1] <= 1


def test_images_alone(bench, made):
    found = bench.first('auto', with_points=False)
    assert found.report.method == 'images'
    assert bench.test_psnr(found.scene) > bench.test_psnr(made.scene) - 2.5


def test_missing_picture(bench):
    frame_set = bench.frame_set.only(['cam00', 'cam03'])
    report = bench.first(frame_set=frame_set,
                         config=replace(SMALL, bootstrap=BootstrapConfig(iterations=20))).report
    assert set(report.psnr_views) == {'cam00', 'cam03'}


def test_ply_is_taken_as_it_is(bench, made, tmp_path, caplog):
    caplog.set_level('INFO')
    path = tmp_path / 'scene.ply'
    save_ply(made.scene, path)
    first = bench.first(str(path))
    assert (first.report.method, first.report.iterations) == ('ply', 0)
    assert 'taken as they are' in caplog.text and str(path) in caplog.text
    assert data(first.scene) == data(load_ply(path))
    assert first.report.psnr_train == pytest.approx(made.report.psnr_train, abs=0.05)


def test_ply_above_the_limit_keeps_what_covers_most(bench, made, tmp_path):
    path = tmp_path / 'scene.ply'
    save_ply(made.scene, path)
    limited = bench.first(str(path), config=replace(SMALL, max_gaussians=300, sh_degree=2))
    assert len(limited.scene) == 300 and limited.scene.sh_degree == 2
    assert limited.scene.scales.prod(1).median() > made.scene.scales.prod(1).median()


def test_ply_without_pictures(bench, made, tmp_path):
    path = tmp_path / 'scene.ply'
    save_ply(made.scene, path)
    assert np.isnan(bench.first(str(path), frame_set=FrameSet(0, {})).report.psnr_train)


@pytest.mark.parametrize('method, message', [
    ('points', 'brings no points'), ('depth', 'no camera of this frame set brings a depth'),
    ('/nowhere/scene.ply', 'neither auto, depth, points, images, nor an existing file')])
def test_bad_method(bench, method, message):
    with pytest.raises(InputError, match=message):
        bench.first(method, with_points=False)


def test_no_pictures(bench):
    with pytest.raises(InputError, match='no picture of any of the cameras cam00'):
        bench.first(frame_set=FrameSet(0, {}))


def test_ply_that_is_no_scene(bench, tmp_path):
    path = tmp_path / 'broken.ply'
    path.write_text('not a scene')
    with pytest.raises(InputError, match='broken.ply'):
        bench.first(str(path))


def test_a_diverging_fit_is_one_message(bench, monkeypatch):
    monkeypatch.setattr('igs_ros.render.optimize.photometric_loss',
                        lambda *_: torch.tensor(float('nan')))
    with pytest.raises(InputError, match='diverged'):
        bench.first()


def test_a_ply_scene_is_optimized_if_asked(bench, tmp_path):
    path = tmp_path / 'start.ply'
    rough = bench.first('points', replace(SMALL, bootstrap=BootstrapConfig(iterations=20)))
    save_ply(rough.scene, path)
    more = bench.first(str(path), replace(SMALL, bootstrap=BootstrapConfig(
        iterations=60, optimize_ply=True)))
    assert more.report.iterations == 60 and len(more.scene) <= SMALL.max_gaussians
    assert more.report.psnr_train > rough.report.psnr_train + 0.5
