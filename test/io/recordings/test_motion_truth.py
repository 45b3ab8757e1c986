# SPDX-License-Identifier: Apache-2.0
import io
import zipfile

import numpy as np
import pytest

from igs_ros.core.errors import InputError
from igs_ros.io.recordings.motion_truth import motion_files, read_motion


def write(folder, name='flow_cam01_007.npz', without=(), **changed):
    values = {'flow3d': np.ones((4, 6, 3), np.float32), 'moving': np.eye(4, 6, dtype=bool),
              'frame': np.int64(7), 'next_frame': np.int64(8), **changed}
    (folder / 'gt').mkdir(exist_ok=True)
    path = folder / 'gt' / name
    np.savez(path, **{key: value for key, value in values.items() if key not in without})
    return path


def test_read(tmp_path):
    truth = read_motion(write(tmp_path))
    assert (truth.camera, truth.frame) == ('cam01', 7)
    assert truth.motion.shape == (4, 6, 3) and truth.motion.dtype == np.float32
    np.testing.assert_array_equal(truth.moving, np.eye(4, 6, dtype=bool))


def test_files_are_found_by_frame(tmp_path):
    assert motion_files(tmp_path) == {}
    late = write(tmp_path, 'flow_a_012.npz')
    first = [write(tmp_path, f'flow_{camera}_003.npz') for camera in ('a', 'left_eye')]
    write(tmp_path, 'depth_a_003.npz')
    assert motion_files(tmp_path) == {3: tuple(first), 12: (late,)}


@pytest.mark.parametrize('name, changed, told', [
    ('flow_cam01_007.npz', {'without': ('moving',)}, 'moving'),
    ('flow_cam01_007.npz', {'flow3d': np.ones((4, 5, 3), np.float32)}, r'\[4, 5, 3\]'),
    ('flow_cam01_007.npz', {'flow3d': np.ones((4, 6, 3), int)}, 'int64'),
    ('flow_cam01_007.npz', {'moving': np.ones((4, 6))}, 'float64'),
    ('flow_cam01_007.npz', {'next_frame': np.int64(9)}, 'from frame 7 to 9'),
    ('flow_cam01_008.npz', {}, '8 to 9'),
    ('flow_cam01.npz', {}, 'flow_CAMERA_FRAME')])
def test_files_that_do_not_fit_are_refused(tmp_path, name, changed, told):
    path = write(tmp_path, name, **changed)
    with pytest.raises(InputError, match=told):
        read_motion(path)


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04 cut off', b'no npz at all'])
def test_broken_files_are_refused(tmp_path, content):
    path = tmp_path / 'flow_a_001.npz'
    path.write_bytes(content)
    with pytest.raises(InputError, match='cannot be read'):
        read_motion(path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match='flow_a_001'):
        read_motion(tmp_path / 'flow_a_001.npz')


def test_recordings_have_it(test_data):
    files = motion_files(test_data / 'synthetic' / 'scene_C_small')
    assert list(files) == [1, 10, 18]
    truth = read_motion(files[10][0])
    assert truth.motion.shape == (360, 480, 3) and 0.01 < truth.moving.mean() < 0.5


def stored(**members) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f'{name}.npy', content)
    return file.getvalue()


def npy(shape: str, kind: str = '<f4', more: bytes = bytes(96)) -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header + more


@pytest.mark.parametrize('content, reason', [
    (stored(flow3d=npy('(1000000, 1000000, 3)')), r'1000000, 1000000, 3\] in'),
    (stored(flow3d=npy('(2, 4, 3')), 'multi-line'),
    (stored(flow3d=npy('(2, 4, 3)', '|O')), 'an array of object'),
    (stored(flow3d=npy('(8,)', more=bytes(300_000_000))), '300 MB, more than 200'),
    (stored(flow3d=npy('(2, 4, 3)'))[:60], 'not a zip file'),
    (stored(flow3d=npy('(2, 4, 3)')), "'moving'"),
], ids=['shape', 'header', 'objects', 'bomb', 'cut', 'missing'])
def test_files_of_strangers_are_refused_before_they_are_unpacked(tmp_path, content, reason):
    path = tmp_path / 'flow_cam00_003.npz'
    path.write_bytes(content)
    with pytest.raises(InputError, match=f'flow_cam00_003.npz: cannot be read.*{reason}'):
        read_motion(path)


def test_damaged_compression_is_refused(tmp_path):
    content = bytearray(stored(flow3d=npy('(2, 4, 3)', more=np.random.default_rng(0).bytes(96))))
    content[60:90] = bytes(30)
    path = tmp_path / 'flow_cam00_003.npz'
    path.write_bytes(content)
    with pytest.raises(InputError, match='cannot be read'):
        read_motion(path)
