# SPDX-License-Identifier: Apache-2.0
"""The N3DV layout against the rig.json of the same recordings."""
import shutil

import numpy as np
import pytest
from recording_files import HEIGHT, WIDTH, rig_entry, write_rig, write_video

from igs_ros.core.errors import InputError
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import test_view as choose_test_view
from igs_ros.io.recordings.rig import read_rig


def copy_without_rig(source, target):
    target.mkdir()
    for file in source.iterdir():
        if file.suffix in ('.mp4', '.npy', '.ply'):
            shutil.copy(file, target)
    return target


def write_n3dv(folder, rows=3, videos=3):
    poses = np.zeros((rows, 17))
    poses[:, :15] = np.array([[0, 1, 0, 0.5, HEIGHT], [1, 0, 0, 0.1, WIDTH],
                              [0, 0, -1, 2.0, 50]]).ravel()
    np.save(folder / 'poses_bounds.npy', poses)
    for camera in range(videos):
        write_video(folder / f'cam{camera:02d}.mp4', camera, 2)
    return poses


def test_the_demo_recording_reads_the_same_without_its_rig_file(workbench, tmp_path):
    recording = open_recording(copy_without_rig(workbench, tmp_path / 'n3dv'))
    assert (recording.name, recording.rate_hz, recording.frames_total) == ('n3dv', 30, 20)
    assert recording.held_out == ('cam00',) and choose_test_view(recording) == 'cam00'
    assert len(recording.points()) == 6548
    for name, camera in read_rig(workbench / 'rig.json').items():
        found = recording.cameras[name]
        assert (found.width, found.height) == (camera.width, camera.height)
        np.testing.assert_allclose(found.K, camera.K, atol=1e-9)
        np.testing.assert_allclose(found.camera_from_world, camera.camera_from_world, atol=1e-9)


def test_poses_of_a_forward_facing_arc_equal_its_rig_file(test_data, tmp_path):
    scene = test_data / 'synthetic' / 'scene_A_arc'
    recording = open_recording(copy_without_rig(scene, tmp_path / 'arc'))
    for name, camera in read_rig(scene / 'rig.json').items():
        found = recording.cameras[name]
        np.testing.assert_allclose(found.camera_from_world, camera.camera_from_world, atol=1e-9)
        np.testing.assert_allclose(found.K, camera.K, atol=1e-9)


def test_a_rig_file_beside_it_wins(workbench):
    assert (workbench / 'poses_bounds.npy').is_file()
    assert open_recording(workbench).held_out == ('cam02',)


def test_numbers_of_the_videos_may_have_gaps(tmp_path):
    write_n3dv(tmp_path)
    (tmp_path / 'cam01.mp4').rename(tmp_path / 'cam07.mp4')
    assert list(open_recording(tmp_path).cameras) == ['cam00', 'cam02', 'cam07']


@pytest.mark.parametrize('videos, names', [(2, 'cam00.mp4, cam01.mp4'), (0, 'none')])
def test_a_missing_video_is_refused(tmp_path, videos, names):
    write_n3dv(tmp_path, rows=3, videos=videos)
    with pytest.raises(InputError, match=f'3 cameras in poses_bounds.npy, but {videos} videos '
                                         rf'\({names}\)'):
        open_recording(tmp_path)


def test_poses_that_cannot_be_used_are_refused(tmp_path):
    poses = write_n3dv(tmp_path)
    file = tmp_path / 'poses_bounds.npy'
    for spoiled, message in ((poses[:, :15], r'shape \[3, 15\]; expected \[cameras, 17\]'),
                             (np.where(poses == 50, np.nan, poses), "camera 'cam00': NaN or inf"),
                             (np.where(poses == 50, 0, poses), "camera 'cam00'.*intrinsics K"),
                             (np.where(poses == -1, 0, poses), "camera 'cam00'.*")):
        np.save(file, spoiled)
        with pytest.raises(InputError, match=f'poses_bounds.npy: .*{message}'):
            open_recording(tmp_path)
    file.write_bytes(b'\x93NUMPY')
    with pytest.raises(InputError, match='poses_bounds.npy: no readable NumPy array'):
        open_recording(tmp_path)


def test_videos_of_another_size_are_refused(tmp_path):
    poses = write_n3dv(tmp_path)
    np.save(tmp_path / 'poses_bounds.npy', np.where(poses == HEIGHT, 2 * HEIGHT, poses))
    with pytest.raises(InputError, match='64x48 px, but its calibration is for 64x96'):
        open_recording(tmp_path)


def test_a_rig_file_without_names_of_videos_finds_them(tmp_path):
    write_n3dv(tmp_path)
    write_rig(tmp_path, [rig_entry(0), rig_entry(2)])
    assert list(open_recording(tmp_path).cameras) == ['cam00', 'cam02']


def lying(shape: str, kind: str = '<f8') -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header + b'\0' * 272


@pytest.mark.parametrize('content', [
    lying('(2, 17'), lying('(1000000000000, 17)'), lying('(' * 500), lying('(2, 17)', '|O'),
    lying('(1000000000000, 17)', '<U0'), lying('(2, 17)', '<c16'), lying('(2, 17)', 'zz'), b'',
    b'PK\x03\x04' + b'\0' * 100], ids=range(9))
def test_poses_of_a_stranger_are_refused_whatever_numpy_says(tmp_path, content):
    write_n3dv(tmp_path)
    (tmp_path / 'poses_bounds.npy').write_bytes(content)
    with pytest.raises(InputError, match='poses_bounds.npy: no readable NumPy array'):
        open_recording(tmp_path)
