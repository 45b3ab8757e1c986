# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from igs_ros.core.errors import InputError
from igs_ros.stages.motion.region import (
    BoxRegion,
    ChangedRegion,
    follows_data,
    grown,
    in_box,
    in_company,
    read_box,
)

BOX = [[-4, -3, 8], [4, 3, 16]]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in (('one', {'room': BOX}), ('two', {'room': BOX, 'hall': BOX}),
                          ('bare', BOX), ('odd', {'room': [[1, 2], [3, 4]]})):
        (tmp_path / f'{name}.json').write_text(json.dumps(content))
    (tmp_path / 'broken.json').write_text('{')
    return tmp_path


@pytest.mark.parametrize('text', ['-4 -3 8 4 3 16', '-4, -3, 8, 4, 3, 16', 'one.json',
                                  'one.json:room', 'two.json:hall', 'bare.json'])
def test_boxes(folder, text):
    np.testing.assert_array_equal(read_box(text), BOX)


def test_no_box():
    assert read_box('all') is None and read_box(' all ') is None
    assert not follows_data('all') and not follows_data('0 0 0 1 1 1')
    assert follows_data('auto') and follows_data('')


@pytest.mark.parametrize('text, said', [
    ('', 'expected auto, all, six numbers'), ('1 2 3', 'six numbers'),
    ('4 0 0 1 1 1', 'no minimum above'),
    ('nan 0 0 1 1 1', 'six numbers'),
    ('nowhere.json', "no file 'nowhere.json'"), ('nowhere.json:room', "no file 'nowhere.json'"),
    ('two.json', r"one of \['hall', 'room'\]"), ('two.json:attic', "no scene 'attic'"),
    ('odd.json', 'six numbers'), ('broken.json', 'no JSON')])
def test_bad_boxes(folder, text, said):
    with pytest.raises(InputError, match=said):
        read_box(text)


def test_faces_belong_to_the_box():
    points = np.array([[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 1, 1.0001], [-1e-6, 0, 0]])
    np.testing.assert_array_equal(in_box(points, np.array([[0, 0, 0], [1, 1, 1.0]])), [0, 1, 2])
    np.testing.assert_array_equal(in_box(points, None), np.arange(5))


def test_box_region():
    points = np.array([[0, 0, 0], [1, 1, 1], [3, 3, 3]])
    region = BoxRegion(points, np.array([[0, 0, 0], [1, 1, 1.0]]))
    assert region.rows.tolist() == region.around.tolist() == [0, 1]
    assert not region.update({}) and BoxRegion(points, None).rows.tolist() == [0, 1, 2]


def noisy(images, sigma, seed):
    """With Gaussian noise of `sigma` / 255 in each channel."""
    rng = np.random.default_rng(seed)
    return {name: np.clip(image + rng.normal(0, sigma, image.shape), 0, 255).astype(np.uint8)
            for name, image in images.items()}


def changed_region(stage, images, names=None):
    rig = stage.rig if names is None else {name: stage.rig[name] for name in names}
    return ChangedRegion(stage.scene, images, rig, stage.rasterizer)


def shares(stage, region):
    """Of the ball and of the rest, that are in the region."""
    inside = np.isin(np.arange(len(stage.scene)), region.rows)
    return inside[stage.ball].mean(), inside[~stage.ball].mean()


@pytest.mark.parametrize('step', [1, 4])
def test_region_covers_the_mover_and_little_else(stage, sets, step):
    region = changed_region(stage, sets[0].images)
    assert len(region.rows) == 0
    assert region.update(sets[step].images)
    ball, rest = shares(stage, region)
    assert ball == 1 and rest < 0.05  # with its back, which no camera sees
    assert set(region.rows) <= set(region.around)
    points = stage.scene.means.numpy()[region.around]
    assert len(in_box(points, np.array([[-0.9, -0.9, 1.5], [0.9, 0.9, 3.0]]))) == len(points)


def test_nothing_changed(stage, sets):
    region = changed_region(stage, sets[0].images)
    assert not region.update(sets[0].images) and len(region.rows) == 0
    assert not region.update({}) and len(region.rows) == 0


@pytest.mark.parametrize('sigma', [1, 2.5])
def test_noise_is_no_motion(stage, sets, sigma):
    region = changed_region(stage, noisy(sets[0].images, sigma, 1))
    assert not region.update(noisy(sets[0].images, sigma, 2))
    assert region.update(noisy(sets[1].images, sigma, 3))
    ball, rest = shares(stage, region)
    assert ball == 1 and rest < 0.05


def test_one_view_alone_is_not_believed(stage, sets):
    """Something before one lens, or a reflection: the others do not see it."""
    images = dict(sets[0].images)
    images['middle'] = images['middle'] ^ 128
    region = changed_region(stage, sets[0].images)
    region.update(images)
    ball, rest = shares(stage, region)
    assert ball == 0 and rest < 0.1  # of the wall's rim, which it alone sees
    only = changed_region(stage, sets[0].images, ['middle'])
    assert only.update(sets[1].images) and shares(stage, only)[0] > 0.9


def test_region_only_grows(stage, sets):
    region = changed_region(stage, sets[0].images)
    assert region.update(sets[1].images)
    first = set(region.rows)
    assert not region.update(sets[0].images) and set(region.rows) == first
    assert not region.update(sets[1].images)
    region.update(sets[4].images)
    assert first <= set(region.rows)


def test_views_may_come_and_go(stage, sets):
    region = changed_region(stage, {k: v for k, v in sets[0].images.items() if k != 'top'})
    assert region.update({k: v for k, v in sets[1].images.items() if k != 'left'})
    assert shares(stage, region)[0] > 0.9


def test_growth_keeps_to_the_scale_of_what_is_marked():
    """Points in a row: as many are grown in any unit."""
    points = np.stack([np.arange(100.0), np.zeros(100), np.zeros(100)], 1)
    mask = np.zeros(100, bool)
    mask[40:60] = True
    for unit in (1.0, 2.0 ** -10):
        reach = np.flatnonzero(grown(points * unit, mask))
        spacing = np.median([abs(np.arange(40, 60) - i)[np.argsort(abs(np.arange(40, 60) - i))
                                                        ][1:9] for i in range(40, 60)])
        assert reach.tolist() == list(range(40 - int(spacing), 60 + int(spacing)))


def test_what_changed_on_its_own_is_not_believed():
    points = np.random.default_rng(0).uniform(0, 1, (500, 3))
    half = points[:, 0] < 0.5
    specks = ~half & (np.arange(500) % 25 == 0) & (points[:, 0] > 0.7)
    kept = in_company(points, half | specks)
    assert specks.any() and not kept[specks].any() and kept[points[:, 0] < 0.3].all()
    assert not in_company(points, np.zeros(500, bool)).any()
    for count in (0, 1, 2):
        assert in_company(points[:count], np.ones(count, bool)).all()


@pytest.mark.parametrize('count', [0, 1, 2])
def test_growth_of_few(count):
    points = np.random.default_rng(0).normal(size=(5, 3))
    mask = np.arange(5) < count
    assert (grown(points, mask) >= mask).all()
