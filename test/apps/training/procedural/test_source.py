# SPDX-License-Identifier: Apache-2.0
"""Procedural samples: the same for the same number, and true."""
from dataclasses import fields

import numpy as np
import pytest
import torch

from igs_ros.apps.training.config import Views
from igs_ros.apps.training.procedural.kept import read_sample
from igs_ros.apps.training.procedural.source import ProceduralSource
from igs_ros.core.errors import InputError
from igs_ros.core.scene import ATTRIBUTES
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.rasterizer import render_view


def assert_equal(one, other):
    for name in ATTRIBUTES:
        assert getattr(one.key_scene, name).numpy().tobytes() == \
            getattr(other.key_scene, name).numpy().tobytes()
    assert list(one.cameras) == list(other.cameras)
    for name, camera in one.cameras.items():
        assert np.array_equal(camera.K, other.cameras[name].K)
        assert np.array_equal(camera.camera_from_world, other.cameras[name].camera_from_world)
    for a, b in zip((one.key_images, *one.target_images), (other.key_images,
                                                           *other.target_images), strict=True):
        assert a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
    assert one.displacements.tobytes() == other.displacements.tobytes()
    assert one.exposures.keys() == other.exposures.keys()
    for field in fields(one):
        if field.name in ('name', 'input_views', 'loss_views', 'box'):
            assert getattr(one, field.name) == getattr(other, field.name)


def test_a_number_is_always_the_same_sample(source, sample):
    again = ProceduralSource(7, CpuRasterizer(2), Views(4, 3), frames=2)
    assert_equal(sample, again.sample(0))


def test_values_are_in_range(sample):
    scene = sample.key_scene
    assert 3000 < len(scene) < 30000 and scene.finite().all()
    assert (scene.opacities > 0).all() and (scene.opacities <= 1).all()
    assert len(sample.target_images) == 2 and sample.displacements.shape[0] == 2
    known = np.isfinite(sample.displacements).all(2)
    assert known.mean() > 0.8 and not known.all()  # floaters belong to nothing
    assert not np.isfinite(sample.displacements[~known]).any()
    assert len(set(sample.loss_views) - set(sample.input_views)) >= 1
    pictures = [p for frame in (sample.key_images, *sample.target_images) for p in frame.values()]
    assert all(20 < picture.mean() < 235 and picture.std() > 5 for picture in pictures)


def test_the_key_is_imperfect_but_shows_the_scene(sample):
    rasterizer = CpuRasterizer(1)
    for view in sample.input_views[:2]:
        drawn = render_view(rasterizer, sample.key_scene, sample.cameras[view]).rgb
        error = np.square(drawn - sample.key_images[view] / 255.0).mean()
        assert 15 < -10 * np.log10(error) < 40


def test_true_displacements_explain_the_pictures(source):
    """Colors stay with points: moved ones find theirs again, the others do not."""
    sample = source.sample(3)
    truth, stays = [], []
    for view in sample.input_views:
        a, b = _color_changes(sample, view)
        truth.append(a)
        stays.append(b)
    truth, stays = np.concatenate(truth), np.concatenate(stays)
    assert len(truth) > 100
    assert np.median(truth) < 0.6 * np.median(stays)


def _color_changes(sample, view):
    """Change of color [M] of points in sight that move by more than 4 px, followed and not."""
    camera, rasterizer = sample.cameras[view], CpuRasterizer(1)
    means, moved = sample.key_scene.means.numpy().astype(float), sample.displacements[-1]
    start, near = camera.project(means)
    end, depth = camera.project(means + np.nan_to_num(moved))
    size = np.array([camera.width, camera.height])
    inside = ((start > 2) & (start < size - 2) & (end > 2) & (end < size - 2)).all(1)
    seen = inside & np.isfinite(moved).all(1) & (np.linalg.norm(end - start, axis=1) > 4)
    later = sample.key_scene.replaced(means=torch.from_numpy(
        (means + np.nan_to_num(moved)).astype(np.float32)))
    for scene, pixels, distance in ((sample.key_scene, start, near), (later, end, depth)):
        surface = render_view(rasterizer, scene, camera).depth
        column, row = np.clip(pixels.astype(int), 0, size - 1).T
        seen &= distance < 1.01 * surface[row, column]

    def colors(picture, pixels):
        column, row = pixels[seen].astype(int).T
        return picture[row, column].astype(float)
    before, after = sample.key_images[view], sample.target_images[-1][view]
    return (np.abs(colors(after, end) - colors(before, start)).mean(1),
            np.abs(colors(after, start) - colors(before, start)).mean(1))


def test_kept_samples_come_back_bit_for_bit(sample, tmp_path, monkeypatch):
    source = ProceduralSource(7, CpuRasterizer(1), Views(4, 3), frames=2, folder=tmp_path)
    monkeypatch.setattr(source, '_made', lambda number: sample)
    assert_equal(source.sample(0), sample)
    file, = tmp_path.glob('*.npz')
    written = file.stat().st_mtime_ns
    assert_equal(source.sample(0), sample)
    assert file.stat().st_mtime_ns == written
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match='Remove the file'):
        read_sample(file)


def test_a_count_brings_each_sample_once_per_pass(monkeypatch):
    source = ProceduralSource(7, CpuRasterizer(1), count=5)
    monkeypatch.setattr(source, '_made', lambda number: number)
    assert source.len_hint == 5
    passes = [[source.sample(number) for number in range(first, first + 5)] for first in (0, 5)]
    assert [sorted(numbers) for numbers in passes] == [list(range(5))] * 2
    assert passes[0] != passes[1]


def test_no_frames_are_refused():
    with pytest.raises(InputError, match='at least 1'):
        ProceduralSource(0, CpuRasterizer(1), frames=0)
