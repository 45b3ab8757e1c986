# SPDX-License-Identifier: Apache-2.0
"""What transforms.json may say, and what is refused, with the frame and what to do."""
import json
import math

import cv2
import numpy as np
import pytest
import rig_files
from recording_files import HEIGHT, WIDTH, told

from igs_ros.core.errors import InputError
from igs_ros.io.imports.convert import imported
from igs_ros.io.imports.options import ImportOptions, Request
from igs_ros.io.imports.write import write
from igs_ros.io.recordings.open import open_recording


def changed(folder, change, **nerf):
    """A transforms.json whose content `change` has changed."""
    path = rig_files.nerf(folder, **nerf)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def opened(folder, path, **options):
    found = imported(path, 'nerfstudio', Request(ImportOptions(**options)))
    write(found.recording, folder / 'out', 'x', False)
    return open_recording(folder / 'out'), found.said


def test_pictures_without_a_pose_in_common_are_cameras_of_one_frame_set(tmp_path):
    path = rig_files.nerf(tmp_path, pictures='images/{name}.png', frames=1)
    recording, _ = opened(tmp_path, path)
    assert tuple(recording.cameras) == rig_files.NAMES and recording.frames_total == 1
    assert told(next(recording.frame_sets()).pictures['cam01'].decode()) == (1, 0)


def test_frames_of_one_folder_are_told_apart_by_their_poses(tmp_path):
    path = changed(tmp_path, lambda top: [entry.update(time=1.0 - index % 2) for index, entry in
                                          enumerate(top['frames'])],
                   pictures='all/{name}_{frame}.png')
    recording, _ = opened(tmp_path, path)
    assert list(recording.cameras) == ['cam00_1', 'cam01_1', 'cam02_1']  # time turns them round
    assert [told(one.pictures['cam01_1'].decode()) for one in recording.frame_sets()] \
        == [(1, 1), (1, 0)]


def test_intrinsics_of_a_frame_win_and_angles_do_for_focal_lengths(tmp_path):
    angle = 2 * math.atan(WIDTH / 2 / 80.0)
    path = changed(tmp_path, lambda top: top['frames'][0].update(fl_x=60.0, k1=0.5), frames=1,
                   pictures='{name}.png', fl_x=None, fl_y=None, cx=None, cy=None,
                   camera_angle_x=angle)
    cameras = opened(tmp_path, path)[0].cameras
    assert cameras['cam00'].K[0, 0] == 60 and cameras['cam00'].distortion[0] == 0.5
    np.testing.assert_allclose(cameras['cam01'].K, [[80, 0, 32], [0, 80, 24], [0, 0, 1]])


def test_a_fisheye_of_either_tool(tmp_path):
    bend = dict(zip(('k1', 'k2', 'k3', 'k4'), rig_files.BEND['equidistant'], strict=True))
    for more in ({'camera_model': 'OPENCV_FISHEYE'}, {'is_fisheye': True}):
        path = rig_files.nerf(tmp_path, **{'p1': None, 'p2': None, **bend, **more})
        camera = opened(tmp_path, path)[0].cameras['cam00']
        assert camera.lens == 'equidistant'
        np.testing.assert_allclose(camera.distortion, rig_files.BEND['equidistant'])


def test_splits_become_cameras_that_are_held_out(tmp_path):
    path = changed(tmp_path, lambda top: top.update(
        train_filenames=['cam00.png', 'cam02.png'], test_filenames=['cam01.png']),
        frames=1, pictures='{name}.png')
    assert opened(tmp_path, path)[0].held_out == ('cam01',)
    content = json.loads(path.read_text())
    content.pop('train_filenames'), content.pop('test_filenames')
    for split, frames in (('train', (0, 2)), ('test', (1,))):
        (tmp_path / f'transforms_{split}.json').write_text(json.dumps(
            {**content, 'frames': [{**content['frames'][n], 'file_path': f'./cam0{n}'}
                                   for n in frames]}))
    path.unlink()
    recording, _ = opened(tmp_path, tmp_path)
    assert recording.held_out == ('cam01',) and len(recording.cameras) == 3


def test_depth_is_in_the_units_of_the_poses(tmp_path):
    def depth(top):
        for number, entry in enumerate(top['frames']):
            cv2.imwrite(str(tmp_path / f'd{number}.png'),
                        np.full((HEIGHT, WIDTH), 1500 + number, np.uint16))
            entry['depth_file_path'] = f'd{number}.png'
    path = changed(tmp_path, depth, frames=1, pictures='{name}.png', scale=0.5)
    recording, _ = opened(tmp_path, path, units='0.5')
    one = next(recording.frame_sets())
    np.testing.assert_allclose(one.depths['cam01'].decode(), 0.5 * 1.501, atol=1e-6)
    np.testing.assert_allclose(recording.cameras['cam01'].camera_from_world, rig_files.pose(1),
                               atol=1e-9)


def test_pictures_that_are_gone_are_left_out_of_still_scenes_alone(tmp_path):
    path = rig_files.nerf(tmp_path, pictures='{name}.png', frames=1)
    (tmp_path / 'cam01.png').unlink()
    recording, said = opened(tmp_path, path)
    assert tuple(recording.cameras) == ('cam00', 'cam02')
    assert any('1 of 3 are not there, and their cameras left out' in line for line in said)
    moving = rig_files.nerf(tmp_path)
    (tmp_path / 'images' / 'cam01' / '000.png').unlink()
    with pytest.raises(InputError, match='cam01/000.png: no such file, but transforms.json names'):
        opened(tmp_path, moving)


@pytest.mark.parametrize('change, words', [
    (lambda top: top.update(fl_z=3), r"unknown \['fl_z'\]; expected none but .*--ignore 'fl_z'"),
    (lambda top: top['frames'][2].update(colour=1), r"frame 2: unknown \['colour'\]"),
    (lambda top: top.pop('frames'), "no list 'frames'; expected a transforms.json"),
    (lambda top: top.update(frames=[]), 'no frames'),
    (lambda top: top['frames'][1].pop('transform_matrix'),
     "001.png': transform_matrix is None; expected 12 or 16 finite numbers"),
    (lambda top: top['frames'][1]['transform_matrix'][0].__setitem__(0, float('nan')),
     'transform_matrix is .*expected 12 or 16 finite numbers'),
    (lambda top: top['frames'][1]['transform_matrix'][0].__setitem__(0, 7.0),
     'expected a rigid 4x4'),
    (lambda top: top['frames'][0].pop('file_path'), 'frame 0: file_path is None; expected'),
    (lambda top: top.update(camera_model='EQUIRECTANGULAR'),
     "camera_model 'EQUIRECTANGULAR'; expected SIMPLE_PINHOLE, PINHOLE"),
    (lambda top: top.update(camera_model='FISHEYE624'), "camera_model 'FISHEYE624'"),
    (lambda top: top.update(k4=0.1), 'k4 0.1 of no fisheye'),
    (lambda top: top.update(is_fisheye=True), 'a fisheye with p1 0.001 and p2 -0.002'),
    (lambda top: top.update(ftheta_p0=1), r"unknown \['ftheta_p0'\]"),
    (lambda top: (top.pop('fl_x'), top.pop('fl_y')), 'no focal length; expected fl_x'),
    (lambda top: (top.pop('w'), top.pop('cx')), 'neither cx and cy nor w and h'),
    (lambda top: top.update(w=128), 'calibrated with pictures of 128x48 px, but'),
    (lambda top: top.update(w=0.5), 'w 0.5, h 48; expected pixels'),
    (lambda top: top.update(fl_x='50'), None),
    (lambda top: top.update(fl_x=[50, 1]), 'fl_x is .*expected 1 finite numbers'),
    (lambda top: top.update(ply_file_path=3), 'ply_file_path is 3'),
])
def test_what_cannot_be_used_is_named(tmp_path, change, words):
    path = changed(tmp_path, change)
    if words is None:
        assert opened(tmp_path, path)[0].cameras['cam00'].K[0, 0] == 50
        return
    with pytest.raises(InputError, match=words) as raised:
        opened(tmp_path, path)
    assert 'transforms.json' in str(raised.value)


def test_unknown_keys_may_be_ignored(tmp_path):
    path = changed(tmp_path, lambda top: top.update(fl_z=3))
    opened(tmp_path, path, ignore=('fl_z',))


def test_a_calibration_of_other_pictures_is_scaled_where_the_proportions_fit(tmp_path):
    path = changed(tmp_path, lambda top: top.update(
        w=128, h=96, fl_x=100.0, fl_y=102.0, cx=64.0, cy=48.0))
    recording, said = opened(tmp_path, path)
    np.testing.assert_allclose(recording.cameras['cam00'].K, [[50, 0, 32], [0, 51, 24], [0, 0, 1]])
    assert any('calibrated at 128x96 px, scaled to its pictures of 64x48' in line for line in said)
