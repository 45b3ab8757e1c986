# SPDX-License-Identifier: Apache-2.0
"""The authors' training layout, on a small folder of the same form."""
import json

import numpy as np
import pytest
from ball_world import BOX, igs_folder, pictures, rig, scene
from hypothesis import given
from hypothesis import strategies as st

from igs_ros.apps.training.config import DataConfig, Views
from igs_ros.apps.training.igs_data import IgsDataSource, read_cameras, read_groups, read_pairs
from igs_ros.core.errors import InputError

VIEWS = Views(inputs=3, losses=4)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return igs_folder(tmp_path_factory.mktemp('IGS_data'))


def source(root, views=VIEWS, consecutive=False, held_out=False):
    return IgsDataSource(DataConfig(igs_data=root), views, 0, consecutive, held_out)


def test_samples_are_the_pairs_of_the_file(root):
    found = source(root)
    assert found.len_hint == 2
    samples = {sample.name: sample for sample in map(found.sample, range(2))}
    assert samples.keys() == {'ball frame 0 to 1', 'ball frame 3 to 2'}
    sample = samples['ball frame 3 to 2']
    for name, camera in sample.cameras.items():
        np.testing.assert_array_equal(sample.target_images[0][name], pictures(2, rig())[name])
        np.testing.assert_allclose(camera.K, rig()[name].K)
        np.testing.assert_allclose(camera.camera_from_world, rig()[name].camera_from_world)
    for name in sample.input_views:
        np.testing.assert_array_equal(sample.key_images[name], pictures(3, rig())[name])
    np.testing.assert_allclose(sample.key_scene.means, scene(3).means, atol=1e-6,
                               err_msg='the compressed scene, as published')
    np.testing.assert_array_equal(sample.box, BOX)


def test_inputs_come_from_the_groups(root):
    inputs = [source(root).sample(number).input_views for number in range(20)]
    assert {views[:2] for views in inputs} == {('cam01', 'cam02')}
    assert {views[2] for views in inputs} == {'cam03', 'cam04'}
    sample = source(root).sample(0)
    assert set(sample.loss_views) == {'cam01', 'cam02', 'cam03', 'cam04'}, 'the first is held out'


def test_validation_looks_through_the_first_camera(root):
    sample = source(root, held_out=True).sample(0)
    assert sample.loss_views == ('cam00',) and 'cam00' not in sample.input_views
    assert 'cam00' in sample.key_images


def test_consecutive_samples_walk_from_key_to_target(tmp_path):
    root = igs_folder(tmp_path, pairs=((4, 1),))
    sample = source(root, consecutive=True).sample(0)
    assert len(sample.target_images) == 3
    name = sample.input_views[0]
    for frame, images in zip((3, 2, 1), sample.target_images, strict=True):
        np.testing.assert_array_equal(images[name], pictures(frame, rig())[name])


def test_full_size_pictures_where_there_are_no_half_ones(tmp_path):
    root = igs_folder(tmp_path, half=False)
    sample = source(root).sample(0)
    name = sample.input_views[0]
    np.testing.assert_allclose(sample.cameras[name].K, rig()[name].K)


def test_without_groups_and_boxes(tmp_path, caplog):
    root = igs_folder(tmp_path)
    (root / 'ball' / 'group.json').unlink()
    (root / 'bbox.json').unlink()
    sample = source(root).sample(0)
    assert sample.box is None and len(sample.input_views) == 3
    assert 'group.json' in caplog.text and 'bbox.json' in caplog.text


@pytest.mark.parametrize(('path', 'content', 'said'), [
    ('N3D_train_gap_10.json', '{"train": []}', 'no pair'),
    ('N3D_train_gap_10.json', '[1', 'no JSON'),
    ('N3D_train_gap_10.json', '{"train": [{"scene_name": "ball", "cur_frame": "0"}]}', 'entry 0'),
    ('N3D_train_gap_10.json', None, 'N3D_train_gap_10.json: cannot be read'),
    ('bbox.json', '{"a": [[0,0,0],[1,1,1]], "b": [[0,0,0],[1,1,1]]}', "no scene 'ball'"),
    ('ball/group.json', '[[1], [7]]', 'indices'), ('ball/group.json', '{}', 'expected lists'),
    ('ball/group.json', '[[0]]', 'held-out'),
    ('ball/colmap_0/3dgs_rade/cameras.json', '[{}]', 'entry 0'),
    ('ball/colmap_0/3dgs_rade/cameras.json', None, 'no scene'),
    ('ball/colmap_1/images_r2/cam01.png', None, "no picture of camera 'cam01'"),
    ('ball/colmap_0/3dgs_rade/point_cloud', None, 'point_cloud')])
def test_what_is_wrong_is_named(tmp_path, path, content, said):
    root = igs_folder(tmp_path, pairs=((0, 1),))
    target = root / path
    if content is not None:
        target.write_text(content)
    elif target.is_dir():
        target.rename(target.with_name('elsewhere'))
    else:
        target.unlink()
    with pytest.raises(InputError, match=said):
        for number in range(8):
            source(root).sample(number)


_json = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                     lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                         st.sampled_from(['train', 'scene_name', 'cur_frame', 'next_frame',
                                          'rotation', 'position', 'fx', 'fy', 'width', 'height',
                                          'img_name']), inner, max_size=7), max_leaves=12)


@given(st.sampled_from([read_pairs, read_groups, read_cameras]), _json)
def test_json_is_read_or_refused(tmp_path_factory, read, content):
    """Whatever stands in it, the message names the file."""
    path = tmp_path_factory.getbasetemp() / 'fuzz.json'
    path.write_text(json.dumps(content))
    try:
        read(path)
    except InputError as error:
        assert 'fuzz.json' in str(error)
