# SPDX-License-Identifier: Apache-2.0
"""COLMAP binary models, written here from the format's description."""
import struct

import cv2
import numpy as np
import pytest
from recording_files import HEIGHT, WIDTH, frame_picture, pose, told, write_images
from scipy.spatial.transform import Rotation

from igs_ros.core.errors import InputError
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import train_views

PINHOLE = (1, [50.0, 51.0, 31.0, 23.0])


def write_model(folder, images, cameras, points=()):
    """images: (name, camera id, camera_from_world); cameras: id -> (model, parameters)."""
    sparse = folder / 'sparse' / '0'
    sparse.mkdir(parents=True)
    data = struct.pack('<Q', len(cameras))
    for number, (model, values) in cameras.items():
        data += struct.pack(f'<iiQQ{len(values)}d', number, model, WIDTH, HEIGHT, *values)
    (sparse / 'cameras.bin').write_bytes(data)
    data = struct.pack('<Q', len(images))
    for number, (name, camera, matrix) in enumerate(images):
        x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat()
        data += struct.pack('<I7di', number, w, x, y, z, *matrix[:3, 3], camera)
        data += name.encode() + b'\0' + struct.pack('<Q2dq2dq', 2, 1.5, 2.5, 0, 3.5, 4.5, -1)
    (sparse / 'images.bin').write_bytes(data)
    data = struct.pack('<Q', len(points))
    for number, (xyz, rgb) in enumerate(points):
        data += struct.pack('<Q3d3Bd', number, *xyz, *rgb, 0.5)
        data += struct.pack('<Q4i', 2, 0, 1, 1, 0)
    (sparse / 'points3D.bin').write_bytes(data)


def write_static(folder, names=('b.png', 'a.png'), **model):
    (folder / 'images').mkdir()
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / 'images' / name), frame_picture(number, 0)[..., ::-1])
    images = [(name, 1, pose(number)) for number, name in enumerate(names)]
    write_model(folder, **{'images': images, 'cameras': {1: PINHOLE}, **model})


def test_images_are_cameras_of_one_static_frame_set(tmp_path):
    write_static(tmp_path, points=[([1, 2, 3], [10, 20, 30]), ([4, 5, 6], [255, 0, 9])])
    recording = open_recording(tmp_path)
    assert list(recording.cameras) == ['a', 'b'] and recording.frames_total == 1
    only, = recording.frame_sets()
    assert {name: told(p.decode())[0] for name, p in only.pictures.items()} == {'a': 1, 'b': 0}
    camera = recording.cameras['a']
    np.testing.assert_allclose(camera.camera_from_world, pose(1), atol=1e-12)
    np.testing.assert_allclose(camera.K, [[50, 0, 31], [0, 51, 23], [0, 0, 1]])
    points = recording.points()
    np.testing.assert_array_equal(points.xyz, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(points.rgb, [[10, 20, 30], [255, 0, 9]])
    assert train_views(recording, 'a') == ('b',)


@pytest.mark.parametrize('model, values, K, distortion', [
    (0, [50, 31, 23], (50, 50, 31, 23), [0, 0, 0, 0, 0]),
    (1, [50, 51, 31, 23], (50, 51, 31, 23), [0, 0, 0, 0, 0]),
    (2, [50, 31, 23, 0.1], (50, 50, 31, 23), [0.1, 0, 0, 0, 0]),
    (3, [50, 31, 23, 0.1, 0.2], (50, 50, 31, 23), [0.1, 0.2, 0, 0, 0]),
    (4, [50, 51, 31, 23, 0.1, 0.2, 0.3, 0.4], (50, 51, 31, 23), [0.1, 0.2, 0.3, 0.4, 0]),
], ids=['SIMPLE_PINHOLE', 'PINHOLE', 'SIMPLE_RADIAL', 'RADIAL', 'OPENCV'])
def test_camera_models(tmp_path, model, values, K, distortion):
    write_static(tmp_path, cameras={1: (model, values)})
    camera = open_recording(tmp_path).cameras['a']
    assert (camera.K[0, 0], camera.K[1, 1], camera.K[0, 2], camera.K[1, 2]) == K
    np.testing.assert_array_equal(camera.distortion, distortion)


@pytest.mark.parametrize('model, name', [(7, 'FOV'), (10, 'THIN_PRISM_FISHEYE'),
                                         (77, 'number 77')])
def test_other_camera_models_are_named(tmp_path, model, name):
    write_static(tmp_path, cameras={1: (model, [0] * 12)})
    with pytest.raises(InputError, match=f'camera 1 has the model {name}; expected SIMPLE_PINH'):
        open_recording(tmp_path)


def write_rig_of_folders(folder, registered=('cam00/000.png', 'cam01/000.png'), shift=0.0):
    for camera in range(2):
        write_images(folder / 'images' / f'cam{camera:02d}', camera, 3)
    images = []
    for number, name in enumerate(registered):
        matrix = pose(int(name[3:5]))
        matrix[0, 3] += shift * number
        images.append((name, 1, matrix))
    write_model(folder, images, {1: PINHOLE})


def test_folders_are_cameras_with_frames(tmp_path, caplog):
    write_rig_of_folders(tmp_path, ('cam00/000.png', 'cam00/001.png', 'cam01/002.png'))
    recording = open_recording(tmp_path)
    sets = list(recording.frame_sets())
    assert [{n: told(p.decode()) for n, p in s.pictures.items()} for s in sets] \
        == [{'cam00': (0, i), 'cam01': (1, i)} for i in range(3)]
    np.testing.assert_allclose(recording.cameras['cam01'].camera_from_world, pose(1), atol=1e-12)
    assert 'COLMAP models hold no frame rate; taking 30 Hz' in caplog.text


def test_a_folder_whose_camera_moves_is_refused(tmp_path):
    write_rig_of_folders(tmp_path, ('cam00/000.png', 'cam00/001.png', 'cam01/000.png'), 0.1)
    with pytest.raises(InputError, match="cam00: 'cam00/000.png' and 'cam00/001.png' have differ"):
        open_recording(tmp_path)


def test_images_that_differ_only_in_their_suffix_are_refused(tmp_path):
    write_static(tmp_path, names=('a.png', 'a.jpg'))
    with pytest.raises(InputError, match="two cameras would be called 'a'"):
        open_recording(tmp_path)


def test_a_missing_image_is_named(tmp_path):
    write_static(tmp_path)
    (tmp_path / 'images' / 'a.png').unlink()
    with pytest.raises(InputError, match='a.png: missing, but the COLMAP model names it'):
        open_recording(tmp_path)


@pytest.mark.parametrize('file', ['cameras.bin', 'images.bin', 'points3D.bin'])
def test_a_truncated_model_is_named(tmp_path, file):
    write_static(tmp_path, points=[([1, 2, 3], [10, 20, 30])])
    path = tmp_path / 'sparse' / '0' / file
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match=f'{file}: ends after .* bytes in the middle'):
        open_recording(tmp_path).points()


def test_parts_that_do_not_fit_together_are_named(tmp_path):
    write_static(tmp_path, cameras={2: PINHOLE})
    with pytest.raises(InputError, match="image 'a.png' names camera 1, which cameras.bin lacks"):
        open_recording(tmp_path)
    (tmp_path / 'sparse' / '0' / 'images.bin').unlink()
    with pytest.raises(InputError, match='images.bin: cannot be read'):
        open_recording(tmp_path)


def test_points_that_are_not_finite_are_refused(tmp_path):
    write_static(tmp_path, points=[([1, float('nan'), 3], [10, 20, 30])])
    with pytest.raises(InputError, match='points3D.bin: 1 of 1 points hold NaN'):
        open_recording(tmp_path).points()


def test_intrinsics_of_zero_are_refused(tmp_path):
    write_static(tmp_path, cameras={1: (1, [0.0, 50, 31, 23])})
    with pytest.raises(InputError, match="sparse/0: camera 'a': intrinsics K"):
        open_recording(tmp_path)


@pytest.mark.parametrize('name', ['', '.', '../a.png', '/etc/a.png', 'x/../../a.png', 'a\n.png'])
def test_image_names_that_lead_elsewhere_are_refused(tmp_path, name):
    write_static(tmp_path)
    folder = tmp_path / 'again'
    write_model(folder, [(name, 1, pose(0))], {1: PINHOLE})
    with pytest.raises(InputError, match='images.bin: image 0 has the name .* below images/'):
        open_recording(folder)


def test_a_rotation_of_no_length_is_refused(tmp_path):
    write_static(tmp_path)
    path = tmp_path / 'sparse' / '0' / 'images.bin'
    data = bytearray(path.read_bytes())
    data[12:44] = bytes(32)
    path.write_bytes(data)
    with pytest.raises(InputError, match="camera 'b': camera_from_world"):
        open_recording(tmp_path)


def test_points_far_beyond_the_rig_are_left_out_and_said(tmp_path, caplog):
    write_static(tmp_path, points=[([1, 2, 3], [10, 20, 30]), ([4e7, 5, 6], [255, 0, 9])])
    assert open_recording(tmp_path).points().xyz.tolist() == [[1, 2, 3]]
    assert 'leaving out 1 of 2 points' in caplog.text
