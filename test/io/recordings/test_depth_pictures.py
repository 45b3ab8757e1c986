# SPDX-License-Identifier: Apache-2.0
"""Depth pictures of a rig.json: where they are, meters, registration, clear refusals."""
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording_files import HEIGHT, WIDTH, rig_entry, write_images, write_rig

from igs_ros.core.camera import pixel_grid
from igs_ros.core.errors import InputError
from igs_ros.io.pictures import EncodedDepth
from igs_ros.io.recordings.open import open_recording
from igs_ros.vision.preparer import Preparer


def write_depth(folder, frames=2, value=lambda frame: 1500 + frame):
    folder.mkdir(parents=True)
    for frame in range(frames):
        units = np.full((HEIGHT, WIDTH), value(frame), np.uint16)
        units[0, 0] = 0
        cv2.imwrite(str(folder / f'{frame:03d}.png'), units)


@pytest.fixture
def folder(tmp_path):
    """Two cameras with three frames each; the first has two depth pictures."""
    for camera in range(2):
        write_images(tmp_path / f'cam{camera:02d}', camera, 3)
    write_depth(tmp_path / 'depth00')
    return tmp_path


def test_millimeters_become_meters_and_zero_is_unknown(folder):
    write_rig(folder, [rig_entry(0, depth='depth00'), rig_entry(1)])
    sets = list(open_recording(folder).frame_sets())
    assert [sorted(s.depths) for s in sets] == [['cam00'], ['cam00'], []]
    depth = sets[1].depths['cam00'].decode()
    assert depth.dtype == np.float32 and depth.shape == (HEIGHT, WIDTH)
    assert np.isnan(depth[0, 0]) and depth[5, 5] == pytest.approx(1.501)
    assert not sets[0].only(['cam01']).depths


def test_scale_of_the_file(folder):
    write_rig(folder, [rig_entry(0, depth='depth00'), rig_entry(1)], depth_scale=0.0002)
    first = next(open_recording(folder).frame_sets())
    assert first.depths['cam00'].decode()[5, 5] == pytest.approx(0.3)


@pytest.mark.parametrize('width', [None, 32])
@pytest.mark.parametrize('k1', [0.0, -0.2])
def test_prepared_depth_belongs_to_the_working_camera(folder, width, k1):
    """A wall at x_camera-dependent depth, drawn through the lens, stays where it is."""
    write_rig(folder, [rig_entry(0, depth='depth00', dist=[k1, 0, 0, 0, 0]), rig_entry(1)])
    recording = open_recording(folder)
    source = recording.cameras['cam00']
    rays = cv2.undistortPoints((pixel_grid(source) - 0.5).reshape(-1, 1, 2), source.opencv_K,
                               source.distortion).reshape(HEIGHT, WIDTH, 2)
    cv2.imwrite(str(folder / 'depth00' / '000.png'),
                (2000 + 1000 * rays[..., 0]).astype(np.uint16))  # z = 2 + x / z
    preparer = Preparer(recording.cameras, width)
    prepared = preparer.prepare(next(recording.frame_sets()))
    camera, depth = preparer.cameras['cam00'], prepared.depths['cam00'].decode()
    assert depth.shape == (camera.height, camera.width)
    x = (pixel_grid(camera)[..., 0] - camera.K[0, 2]) / camera.K[0, 0]
    inner = (slice(6, -6), slice(6, -6))
    np.testing.assert_allclose(depth[inner], (2 + x)[inner], atol=0.03)  # nearest pixel


def test_wrong_size_is_refused_with_both(folder):
    cv2.imwrite(str(folder / 'depth00' / '000.png'), np.ones((10, 20), np.uint16))
    write_rig(folder, [rig_entry(0, depth='depth00'), rig_entry(1)])
    recording = open_recording(folder)
    prepared = Preparer(recording.cameras).prepare(next(recording.frame_sets()))
    with pytest.raises(InputError, match='20x10 px, but its calibration is for 64x48'):
        prepared.depths['cam00'].decode()


@pytest.mark.parametrize('fields, entry, message', [
    ({}, {'depth': 'nowhere'}, 'nowhere: missing; expected the pictures of'),
    ({'depth_scale': 0}, {'depth': 'depth00'}, 'depth_scale 0.0; expected meters per unit'),
    ({'depth_scale': 'mm'}, {'depth': 'depth00'}, "depth_scale is 'mm'")])
def test_bad_declarations_are_refused(folder, fields, entry, message):
    write_rig(folder, [rig_entry(0, **entry), rig_entry(1)], **fields)
    with pytest.raises(InputError, match=message):
        open_recording(folder)


@pytest.mark.parametrize('array', [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.uint16)])
def test_pictures_of_other_kinds_are_refused(array):
    data = cv2.imencode('.png', array)[1].tobytes()
    with pytest.raises(InputError, match='d.png: uint.* expected a depth picture'):
        EncodedDepth(data, 'd.png', 0.001).decode()


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data):
    try:
        depth = EncodedDepth(data, 'd.png', 0.001).decode()
    except InputError as error:
        assert 'd.png' in str(error)
    else:
        assert depth.ndim == 2
