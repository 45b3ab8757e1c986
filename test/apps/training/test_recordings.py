# SPDX-License-Identifier: Apache-2.0
import json
import shutil

import numpy as np
import pytest
from ball_world import BOX, FRAMES, pictures, prepared_folder, rig, scene
from hypothesis import given
from hypothesis import strategies as st

from igs_ros.apps.training.config import DataConfig, TrainConfig, Views
from igs_ros.apps.training.prepared import INDEX, picture_path, read_index, read_prepared
from igs_ros.apps.training.recordings import RecordingSource
from igs_ros.apps.training.sources import build
from igs_ros.apps.training.views import grouped, picked_views
from igs_ros.core.errors import InputError

VIEWS = Views(inputs=2, losses=3)


def source(*folders, views=VIEWS, consecutive=False, held_out=False, seed=0, **data):
    return RecordingSource(DataConfig(recordings=folders, **data), views, seed, consecutive,
                           held_out)


def frames_of(sample):
    """Key and last target, as the name has them."""
    words = sample.name.split()
    return int(words[-3]), int(words[-1])


def test_pairs_reach_both_ways(prepared):
    found = source(prepared, reach=3)
    assert found.len_hint == 3 + 3 + 2, 'key 0: 1 to 3; key 4: 1 to 3 and 5, 6'
    pairs = sorted(frames_of(found.sample(number)) for number in range(found.len_hint))
    assert pairs == [(0, 1), (0, 2), (0, 3), (4, 1), (4, 2), (4, 3), (4, 5), (4, 6)]
    assert frames_of(found.sample(0)) == frames_of(source(prepared, reach=3).sample(0))


def test_samples_hold_what_the_files_hold(prepared):
    sample = source(prepared).sample(3)
    key, target = frames_of(sample)
    assert len(sample.input_views) == 2 and len(sample.loss_views) == 3
    assert set(sample.input_views) < set(sample.loss_views)
    assert 'cam00' not in sample.cameras, 'held out'
    for name in sample.loss_views:
        np.testing.assert_array_equal(sample.target_images[0][name],
                                      pictures(target, rig())[name])
        np.testing.assert_allclose(sample.cameras[name].K, rig()[name].K)
    for name in sample.input_views:
        np.testing.assert_array_equal(sample.key_images[name], pictures(key, rig())[name])
    np.testing.assert_allclose(sample.key_scene.means, scene(key).means, atol=1e-6)
    assert sample.box is None and sample.displacements is None


def test_validation_looks_through_cameras_that_no_key_was_made_from(prepared):
    sample = source(prepared, held_out=True).sample(0)
    assert sample.loss_views == ('cam00',)
    assert {'cam00', *sample.input_views} == set(sample.key_images)


def test_consecutive_samples_hold_the_way_to_the_target(prepared):
    found = source(prepared, consecutive=True, reach=3)
    for number in range(found.len_hint):
        sample = found.sample(number)
        key, target = frames_of(sample)
        between = range(key, target, 1 if target > key else -1)
        assert len(sample.target_images) == len(between)
        name = sample.input_views[0]
        for frame, images in zip([*between, target][1:], sample.target_images, strict=True):
            np.testing.assert_array_equal(images[name], pictures(frame, rig())[name])


def test_a_camera_without_a_picture_is_not_asked_for(tmp_path):
    folder = prepared_folder(tmp_path / 'ball', keys=(0,))
    for name in ('cam01', 'cam02', 'cam03'):
        picture_path(folder, name, 2).unlink()
    found = source(folder, reach=2, views=Views(1, 4))
    samples = [found.sample(number) for number in range(2)]
    assert sorted(frames_of(sample) for sample in samples) == [(0, 1), (0, 2)]
    seen = {frames_of(sample)[1]: set(sample.loss_views) for sample in samples}
    assert seen == {1: {'cam01', 'cam02', 'cam03', 'cam04'}, 2: {'cam04'}}


def test_boxes_are_looked_up_by_scene(prepared, tmp_path):
    (tmp_path / 'bbox.json').write_text(json.dumps({'ball': BOX.tolist(), 'x': BOX.tolist()}))
    found = source(prepared, bbox=tmp_path / 'bbox.json')
    np.testing.assert_array_equal(found.sample(0).box, BOX)
    (tmp_path / 'bbox.json').write_text(json.dumps({'y': BOX.tolist(), 'x': BOX.tolist()}))
    with pytest.raises(InputError, match='ball'):
        source(prepared, bbox=tmp_path / 'bbox.json')


def test_what_cannot_be_used_is_named(prepared, tmp_path):
    with pytest.raises(InputError, match='igs prepare'):
        source(tmp_path)
    with pytest.raises(InputError, match='one of them'):
        build(TrainConfig(data=DataConfig((prepared,), tmp_path)), None, False)
    folder = shutil.copytree(prepared, tmp_path / 'copy')
    found = source(folder, reach=1)
    picture_path(folder, 'cam01', 1).write_bytes(b'no png')
    with pytest.raises(InputError, match=r'cam01/000001\.png'):
        for number in range(30):
            found.sample(number)
    (folder / 'keys' / '000004.ply').unlink()
    with pytest.raises(InputError, match='4'):
        read_prepared(folder)
    shutil.rmtree(folder / 'pictures')
    (folder / INDEX).write_text((folder / INDEX).read_text().replace('"frame": 4', '"frame": 0'))
    with pytest.raises(InputError, match='no key with a frame'):
        source(folder)


def test_groups_are_neighbors():
    """Cameras on a line fall into stretches, each with its own middle."""
    cameras = rig()
    groups = grouped(cameras, 3)
    assert sorted(name for group in groups for name in group) == sorted(cameras)
    assert len(groups) == 3 and [group[0] for group in groups if len(group) > 1]
    assert grouped(cameras, 9) == [(name,) for name in cameras]


def test_views_are_one_of_each_group_and_others():
    groups = [['a', 'b'], ['c'], ['d', 'e', 'f']]
    inputs, losses = zip(*(picked_views(groups, Views(2, 4), np.random.default_rng(seed))
                           for seed in range(60)))
    assert {name for found in inputs for name in found} == set('abcdef')
    for found, compared in zip(inputs, losses, strict=True):
        assert len(found) == 2 and compared[:2] == found and len(set(compared)) == 4
        assert not any(set(found) <= set(group) for group in groups)
    few = picked_views(groups[:1], Views(4, 8), np.random.default_rng(0))
    assert len(few[0]) == 1 and set(few[1]) == {'a', 'b'}


_json = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                     lambda inner: st.lists(inner, max_size=3)
                     | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8)


@given(st.sampled_from(['format', 'scene', 'cameras', 'held_out', 'keys']), _json)
def test_an_index_is_read_or_refused(tmp_path_factory, field, value):
    """Whatever stands in it, the message names the file."""
    folder = tmp_path_factory.getbasetemp() / 'fuzz'
    folder.mkdir(exist_ok=True)
    good = {'format': 1, 'scene': 's', 'cameras': [], 'held_out': [], 'keys': []}
    (folder / INDEX).write_text(json.dumps({**good, field: value}))
    for read in (read_index, read_prepared):
        try:
            read(folder)
        except InputError as error:
            assert INDEX in str(error)


def test_the_little_world_has_the_frames_that_its_tests_count_on(prepared):
    assert read_prepared(prepared).frames('cam02') == frozenset(range(FRAMES))
