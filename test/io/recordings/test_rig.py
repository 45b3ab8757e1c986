# SPDX-License-Identifier: Apache-2.0
"""The rig.json layout: calibration, where pictures are, and clear refusals."""
import json

import numpy as np
import pytest
from recording_files import K, pose, rig_entry, told, write_images, write_recording, write_rig

from igs_ros.core.errors import InputError
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.rig import read_rig


def test_the_demo_recording_projects_its_points_onto_their_colors(workbench):
    recording = open_recording(workbench)
    assert list(recording.cameras) == ['cam00', 'cam01', 'cam02', 'cam03']
    assert (recording.name, recording.frames_total, recording.rate_hz) == ('workbench', 20, 30)
    assert recording.held_out == ('cam02',)
    points = recording.points()
    first = next(recording.frame_sets())
    for name, camera in recording.cameras.items():
        image = first.pictures[name].decode()
        pixels, depth = camera.project(points.xyz)
        inside = (depth > 0) & (pixels > 0).all(1) & (pixels < (480, 360)).all(1)
        x, y = pixels[inside].astype(int).T
        error = np.abs(image[y, x].astype(float) - points.rgb[inside]).mean(1)
        assert inside.mean() > 0.8
        # occluded or badly triangulated points miss; a wrong axis or frame would miss everywhere
        assert np.median(error) < 15, name


def test_all_recordings_open_and_every_frame_set_is_whole(test_data):
    expected = {'synthetic/scene_A_arc': (13, 30, 30, ('cam00',)),
                'synthetic/scene_A_slow': (13, 24, 30, ('cam00',)),
                'synthetic/scene_B_ring': (8, 24, 30, ('cam04',)),
                'synthetic/scene_C_small': (4, 20, 30, ('cam02',)),
                'real/caliscope_desk4': (4, 26, 6, ())}
    for name, facts in expected.items():
        recording = open_recording(test_data / name)
        found = (len(recording.cameras), recording.frames_total, recording.rate_hz,
                 recording.held_out)
        assert found == facts, name
        sets = list(recording.frame_sets(facts[1] - 2, None, list(recording.cameras)[:2]))
        assert len(sets) == 2 and not sets[-1].missing
        assert sets[-1].stamp_ns == round((facts[1] - 1) * 1e9 / facts[2])


def test_image_folders_and_named_places(tmp_path):
    write_images(tmp_path / 'cam00', 0, 3)
    write_images(tmp_path / 'elsewhere' / 'right', 1, 3)
    write_rig(tmp_path, [rig_entry(0), rig_entry(1, images='elsewhere/right')], fps=6)
    recording = open_recording(tmp_path)
    sets = list(recording.frame_sets())
    assert [told(s.pictures['cam01'].decode()) for s in sets] == [(1, 0), (1, 1), (1, 2)]
    assert [s.stamp_ns for s in sets] == [0, 166666667, 333333333]
    assert recording.points() is None


def test_pixel_center_zero_shifts_the_principal_point(tmp_path):
    write_rig(tmp_path, [rig_entry(0)], pixel_center=0)
    camera = read_rig(tmp_path / 'rig.json')['cam00']
    np.testing.assert_allclose(camera.opencv_K, K)
    assert camera.K[0, 2] == 32.5
    write_rig(tmp_path, [rig_entry(0, dist=[0.1, -0.2])], pixel_center=0.5)
    camera = read_rig(tmp_path / 'rig.json')['cam00']
    np.testing.assert_allclose(camera.K, K)
    np.testing.assert_allclose(camera.distortion, [0.1, -0.2, 0, 0, 0])
    np.testing.assert_allclose(camera.camera_from_world, pose(0))


@pytest.mark.parametrize('changes, message', [
    ({'K': [[0, 0, 32], [0, 50, 24], [0, 0, 1]]}, "rig.json: camera 'cam01': intrinsics K"),
    ({'K': [[float('nan'), 0, 32], [0, 50, 24], [0, 0, 1]]}, "camera 'cam01': intrinsics K"),
    ({'K': [50, 50, 32, 24]}, "rig.json: camera 'cam01': K is .*expected numbers of shape 3x3"),
    ({'K': 'auto'}, "camera 'cam01': K is 'auto'"),
    ({'dist': [0] * 8}, "camera 'cam01': dist .*up to 5 plumb_bob"),
    ({'width': 0}, "camera 'cam01': image size 0x48"),
    ({'width': float('nan')}, "camera 'cam01': width is nan; expected a whole number"),
    ({'world_to_camera': (np.eye(4) * 2).tolist()}, "camera 'cam01': camera_from_world"),
    ({'name': 'cam00'}, "camera number 1 has the name 'cam00'; expected a name of its own"),
    ({'name': ''}, 'camera number 1 has the name'),
    ({'name': '../../escaped'}, "rig.json: camera '../../escaped': expected a name of 1 to"),
    ({'width': 10 ** 400}, "camera 'cam01': width is a whole number of more than 308 digits"),
    ({'K': [[10 ** 400, 0, 32], [0, 50, 24], [0, 0, 1]]}, "camera 'cam01': K is .*shape 3x3"),
    ({'video': '\0.mp4'}, r"rig.json: camera 'cam01': video is '.x00.mp4'; expected a path"),
    ({'images': 7}, "rig.json: camera 'cam01': images is 7; expected a path"),
    ({'video': 'x' * 5000}, "missing; expected the pictures of camera 'cam01'"),
    ({'depth': [7]}, "rig.json: camera 'cam01': depth is 7; expected a path"),
    ({'images': []}, "rig.json: camera 'cam01': images is an empty list"),
    ({'distortion': [0.1]}, r"camera 'cam01': unknown \['distortion'\]; expected none but K, "),
    ({'model': 'fov'}, "camera 'cam01': distortion_model 'fov'; expected plumb_bob"),
    ({'model': 'fisheye', 'distortion_model': 'none'}, "model 'fisheye', but distortion_model"),
    ({'model': 'fisheye', 'dist': [0] * 5}, 'dist .*up to 4 equidistant'),
    ({'fps': 0}, "camera 'cam01': fps 0; expected 0.001 to 100000"),
    ({'offset_s': 'x'}, "camera 'cam01': offset_s is 'x'; expected a number"),
    ({'stamps': 'gone.txt'}, "gone.txt: missing; expected the stamps of camera 'cam01'"),
])
def test_calibration_that_cannot_be_used_is_named(tmp_path, changes, message):
    for camera in (0, 1):
        write_images(tmp_path / f'cam{camera:02d}', camera, 1)
    write_rig(tmp_path, [rig_entry(0), rig_entry(1, **changes)])
    with pytest.raises(InputError, match=message):
        open_recording(tmp_path)


@pytest.mark.parametrize('key', ['K', 'world_to_camera', 'width'])
def test_a_camera_without_calibration_is_named(tmp_path, key):
    entry = rig_entry(1)
    del entry[key]
    write_rig(tmp_path, [rig_entry(0), entry])
    with pytest.raises(InputError, match=f"rig.json: camera 'cam01' has no '{key}'"):
        open_recording(tmp_path)


@pytest.mark.parametrize('fields, message', [
    ({'pixel_center': 1}, 'pixel_center 1.0; expected 0.5'),
    ({'pixel_center': None}, 'pixel_center is None; expected a number'),
    ({'fps': 0}, 'fps 0; expected the frames per second'),
    ({'held_out': 'cam00'}, "held_out is 'cam00'; expected a list"),
    ({'held_out': ['cam09']}, r"held_out names \['cam09'\]; expected cameras of this rig"),
    ({'cameras': []}, "no list 'cameras'"),
    ({'cameras': {'name': 'cam00'}}, "no list 'cameras'"),
    ({'scene': ['a']}, r"scene is \['a'\]; expected a name"),
    ({'scene': 'a\nb'}, 'expected a name'),
])
def test_fields_of_the_rig_that_cannot_be_used_are_named(tmp_path, fields, message):
    write_images(tmp_path / 'cam00', 0, 1)
    write_rig(tmp_path, [rig_entry(0)], **{k: v for k, v in fields.items() if k != 'cameras'})
    if 'cameras' in fields:
        (tmp_path / 'rig.json').write_text(json.dumps(fields))
    with pytest.raises(InputError, match=message):
        open_recording(tmp_path)


def test_a_rig_file_that_is_no_json_is_refused(tmp_path):
    for content in (b'{"cameras": [', b'[' * 100_000, b'{"fps": ' + b'9' * 5000 + b'}', b''):
        (tmp_path / 'rig.json').write_bytes(content)
        with pytest.raises(InputError, match='rig.json: no JSON'):
            open_recording(tmp_path)
    (tmp_path / 'rig.json').write_text('{"cameras": []}', encoding='utf-16')
    with pytest.raises(InputError, match='rig.json: no text in UTF-8'):
        open_recording(tmp_path)
    with pytest.raises(InputError, match='nothing.json: cannot be read'):
        read_rig(tmp_path / 'nothing.json')


def test_a_missing_video_is_named(tmp_path):
    write_recording(tmp_path)
    (tmp_path / 'cam01.mp4').unlink()
    with pytest.raises(InputError, match="cam01.mp4: missing; expected the pictures of camera "
                                         "'cam01'"):
        open_recording(tmp_path)


def test_a_folder_without_images_is_named(tmp_path):
    (tmp_path / 'cam00').mkdir()
    write_rig(tmp_path, [rig_entry(0)])
    with pytest.raises(InputError, match='cam00: a folder without images'):
        open_recording(tmp_path)


def test_pictures_of_another_size_than_the_calibration_are_refused(tmp_path):
    write_images(tmp_path / 'cam00', 0, 1)
    write_rig(tmp_path, [rig_entry(0, width=128)])
    with pytest.raises(InputError, match="camera 'cam00': a picture of 64x48 px, but its "
                                         'calibration is for 128x48'):
        open_recording(tmp_path)


def test_pictures_may_be_listed(tmp_path):
    write_images(tmp_path / 'all', 0, 3)
    write_rig(tmp_path, [rig_entry(0, images=['all/002.png', 'all/000.png'])])
    shown = [told(one.pictures['cam00'].decode()) for one in open_recording(tmp_path).frame_sets()]
    assert shown == [(0, 2), (0, 0)]


def test_keys_that_nobody_reads_are_named_and_units_are_meters(tmp_path, caplog):
    write_images(tmp_path / 'cam00', 0, 1)
    write_rig(tmp_path, [rig_entry(0)], pixel_centre=0, units='metres')
    open_recording(tmp_path)
    assert "rig.json: unknown ['pixel_centre']; it is not read" in caplog.text
    write_rig(tmp_path, [rig_entry(0)], units='mm')
    with pytest.raises(InputError, match="units 'mm'; expected 'm'"):
        open_recording(tmp_path)
