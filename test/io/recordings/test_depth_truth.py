# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from igs_ros.core.errors import InputError
from igs_ros.io.recordings.depth_truth import depth_files, read_depth


def write(folder, name='depth_cam01_007.npz', without=(), **changed):
    values = {'depth': np.full((4, 6), 2.5, np.float32),
              'object': np.arange(24, dtype=np.uint8).reshape(4, 6), **changed}
    (folder / 'gt').mkdir(exist_ok=True)
    path = folder / 'gt' / name
    np.savez(path, **{key: value for key, value in values.items() if key not in without})
    return path


def test_read(tmp_path):
    truth = read_depth(write(tmp_path))
    assert (truth.camera, truth.frame) == ('cam01', 7)
    assert (truth.depth == 2.5).all() and truth.depth.dtype == np.float32
    assert truth.thing[3, 5] == 23


def test_files_are_found_by_frame(tmp_path):
    assert depth_files(tmp_path) == {}
    late = write(tmp_path, 'depth_a_012.npz')
    first = [write(tmp_path, f'depth_{camera}_003.npz') for camera in ('a', 'left_eye')]
    write(tmp_path, 'flow_a_003.npz')
    assert depth_files(tmp_path) == {3: tuple(first), 12: (late,)}


@pytest.mark.parametrize('name, changed, told', [
    ('depth_cam01_007.npz', {'without': ('object',)}, 'object'),
    ('depth_cam01_007.npz', {'depth': np.ones((4, 5), np.float32)}, r'\[4, 5\]'),
    ('depth_cam01_007.npz', {'depth': np.ones((4, 6), int)}, 'int64'),
    ('depth_cam01_007.npz', {'object': np.ones((4, 6))}, 'float64'),
    ('depth_cam01_007.npz', {'depth': np.array('x')}, 'expected float'),
    ('depth_cam01.npz', {}, 'depth_CAMERA_FRAME')])
def test_files_that_do_not_fit_are_refused(tmp_path, name, changed, told):
    path = write(tmp_path, name, **changed)
    with pytest.raises(InputError, match=told):
        read_depth(path)


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04 cut off', b'no npz at all'])
def test_broken_files_are_refused(tmp_path, content):
    path = tmp_path / 'depth_a_001.npz'
    path.write_bytes(content)
    with pytest.raises(InputError, match='cannot be read'):
        read_depth(path)


def test_recordings_have_it(test_data):
    files = depth_files(test_data / 'synthetic' / 'scene_C_small')
    assert list(files) == [0, 10, 19]
    truth = read_depth(files[10][0])
    assert truth.depth.shape == (360, 480) and 1 < np.median(truth.depth) < 3
