# SPDX-License-Identifier: Apache-2.0
"""One rig, written by the rules of every tool, comes back as the same cameras, and opens."""
import inspect
import json

import numpy as np
import pytest
import rig_files
from recording_files import HEIGHT, WIDTH, pose, rig_entry, told, write_rig
from rig_files import BEND, NAMES, K, relative, write_pictures

from igs_ros.apps.cli.import_rig import Import
from igs_ros.core.errors import InputError
from igs_ros.io.imports.convert import imported
from igs_ros.io.imports.formats import BAG, FORMATS, detected
from igs_ros.io.imports.options import ImportOptions, Request
from igs_ros.io.imports.write import write
from igs_ros.io.recordings.open import open_recording

CASES = {  # name: format, writer, cameras called otherwise, poses, lens
    'nerfstudio': ('nerfstudio', lambda f: rig_files.nerf(f, camera_model='OPENCV'), NAMES, pose,
                   'plumb_bob'),
    'instant-ngp': ('instant-ngp', lambda f: rig_files.nerf(f, aabb_scale=4), NAMES, pose,
                    'plumb_bob'),
    'colmap text': ('colmap', lambda f: rig_files.colmap(f, True), NAMES, pose, 'colmap'),
    'colmap binary': ('colmap', lambda f: rig_files.colmap(f, False), NAMES, pose, 'colmap'),
    'kalibr': ('kalibr', rig_files.kalibr, ('cam0', 'cam1', 'cam2'), relative, 'equidistant'),
    'anipose': ('anipose', rig_files.anipose, NAMES, pose, 'plumb_bob'),
    'anipose fisheye': ('anipose', lambda f: rig_files.anipose(f, 'equidistant'), NAMES, pose,
                        'equidistant'),
    'pose2sim': ('pose2sim', rig_files.pose2sim, NAMES, pose, 'colmap'),
    'caliscope': ('caliscope', rig_files.caliscope, ('cam_0', 'cam_1', 'cam_2'), pose,
                  'plumb_bob'),
    'caliscope 2024': ('caliscope', lambda f: rig_files.caliscope(f, True),
                       ('cam_0', 'cam_1', 'cam_2'), pose, 'plumb_bob'),
    'opencv stereo': ('opencv', rig_files.opencv_stereo, ('left', 'right'), relative,
                      'plumb_bob'),
    'opencv multiview': ('opencv', rig_files.opencv_multiview, NAMES, relative, 'plumb_bob'),
    'opencv multicamera': ('opencv', rig_files.opencv_multicamera, ('cam0', 'cam1', 'cam2'),
                           relative, 'plumb_bob'),
    'opencv named': ('opencv', rig_files.opencv_named, NAMES, pose, 'plumb_bob'),
    'opencv singles': ('opencv', rig_files.opencv_singles, NAMES, pose, 'plumb_bob'),
}


def scaled(matrix, factor):
    """A pose in other units."""
    matrix = matrix.copy()
    matrix[:3, 3] *= factor
    return matrix


def brought_in(folder, case, **options):
    """What the import of a case makes, and what it says."""
    _, writer, names, *_ = CASES[case]
    source = writer(folder)
    if not (folder / 'images').is_dir():
        write_pictures(folder)
    if set(names) != set(NAMES) and 'pictures' not in options:
        options['pictures'] = tuple(f'{name}={folder / NAMES[n]}' for n, name in enumerate(names))
    found = imported(source, None, Request(ImportOptions(**options)))
    out = folder / 'out'
    write(found.recording, out, found.format, False)
    return found, open_recording(out)


@pytest.mark.parametrize('case', CASES)
def test_a_rig_by_the_rules_of_its_tool_is_the_rig(tmp_path, case):
    name, _, names, poses, lens = CASES[case]
    found, recording = brought_in(tmp_path, case)
    assert found.format == name == detected(tmp_path)
    assert sorted(recording.cameras) == sorted(names)
    bend = BEND['plumb_bob'][:4] if lens == 'colmap' else BEND[lens]
    for number, camera in enumerate(recording.cameras[key] for key in names):
        assert (camera.width, camera.height) == (WIDTH, HEIGHT)
        single = 2e-7 if case == 'opencv multicamera' else 1e-12  # 32-bit numbers
        np.testing.assert_allclose(camera.opencv_K, K, rtol=single)
        np.testing.assert_allclose(camera.camera_from_world, poses(number), atol=max(single, 1e-9))
        np.testing.assert_allclose(camera.distortion[:len(bend)], bend, rtol=single)
        assert not camera.distortion[len(bend):].any()
        assert camera.lens == ('equidistant' if lens == 'equidistant' else 'plumb_bob')
    assert any(line.startswith('poses: ') for line in found.said)
    assert any(line.startswith('units: ') for line in found.said)
    assert any(line.startswith('pixels: ') for line in found.said)
    for index, one in enumerate(recording.frame_sets()):
        assert {key: told(picture.decode()) for key, picture in one.pictures.items()} \
            == {key: (number, index) for number, key in enumerate(names)}


def test_every_format_has_a_case_and_the_help_names_it():
    assert {name for name, *_ in CASES.values()} == set(FORMATS) - {BAG}  # test_bags.py
    assert all(name in inspect.getdoc(Import) for name in FORMATS)


@pytest.mark.parametrize('case, options, change', [
    ('kalibr', {'units': 'mm'}, lambda m: scaled(m, 1e-3)),
    ('anipose', {'units': 'm'}, lambda m: scaled(m, 1e3)),
    ('pose2sim', {'units': '0.5'}, lambda m: scaled(m, 0.5)),
    ('pose2sim', {'axes': 'opengl'}, lambda m: np.diag([1, -1, -1, 1]) @ m),
    ('pose2sim', {'poses': 'camera-to-world'}, np.linalg.inv),
    ('nerfstudio', {'axes': 'opencv', 'poses': 'world-to-camera'},
     lambda m: np.linalg.inv(np.diag([1, -1, -1, 1]) @ m)),
])
def test_options_win_over_the_convention_of_the_format(tmp_path, case, options, change):
    _, recording = brought_in(tmp_path, case, **options)
    poses = CASES[case][3]
    for number, camera in enumerate(recording.cameras.values()):
        wanted = change(poses(number))
        np.testing.assert_allclose(camera.camera_from_world, wanted, atol=1e-9)


@pytest.mark.parametrize('case, center, cx, words', [
    ('pose2sim', 0.5, 31.5, '(0.5, 0.5)'), ('pose2sim', None, 32.0, '(0, 0)'),
    ('nerfstudio', 0.0, 32.5, '(0, 0)'), ('nerfstudio', None, 32.0, '(0.5, 0.5)')])
def test_the_half_pixel_may_be_told(tmp_path, case, center, cx, words):
    found, recording = brought_in(tmp_path, case, pixel_center=center)
    assert recording.cameras['cam00'].K[0, 2] == pytest.approx(cx)
    assert any(words in line for line in found.said if line.startswith('pixels'))


@pytest.mark.parametrize('units', ['feet', '0', '-1', 'nan', 'inf', '1e9'])
def test_units_that_are_none_are_refused(tmp_path, units):
    with pytest.raises(InputError, match='--units .*expected m, cm, mm'):
        brought_in(tmp_path, 'pose2sim', units=units)


def test_wrong_units_are_noticed(tmp_path):
    found, _ = brought_in(tmp_path, 'anipose', units='m')
    assert any('That is no room: are the units right' in line for line in found.said)


@pytest.mark.parametrize('taken, case, words', [
    ('kalibr', 'anipose', r'nothing of Kalibr; expected camchain.*It looks like Anipose: igs '
                          'import anipose'),
    ('colmap', 'pose2sim', 'nothing of COLMAP.*It looks like Pose2Sim'),
    ('caliscope', 'anipose', r'no tables \[cameras.0\].*It looks like Anipose'),
    ('anipose', 'kalibr', 'nothing of Anipose; expected calibration.toml.*It looks like Kalibr'),
    ('kalibr', 'opencv multiview', 'no YAML that can be read.*It looks like OpenCV'),
])
def test_the_wrong_format_is_told_what_it_looks_like(tmp_path, taken, case, words):
    with pytest.raises(InputError, match=words):
        imported(CASES[case][1](tmp_path), taken, Request())


def test_nothing_that_is_known(tmp_path):
    (tmp_path / 'readme.txt').write_text('x')
    with pytest.raises(InputError, match='no calibration that is known .nerfstudio: transforms'):
        imported(tmp_path, None, Request())
    write_rig(tmp_path, [rig_entry(0)])
    with pytest.raises(InputError, match='a recording already; .* igs run'):
        imported(tmp_path, None, Request())
    with pytest.raises(InputError, match="no format 'kitti'; expected nerfstudio, instant-ngp"):
        imported(tmp_path, 'kitti', Request())
    with pytest.raises(InputError, match='gone: no such file or folder'):
        imported(tmp_path / 'gone', None, Request())


@pytest.mark.parametrize('case, name', [
    ('anipose', 'calibration.toml'), ('kalibr', 'camchain-rig.yaml'),
    ('instant-ngp', 'transforms.json'), ('opencv multiview', 'calib.yaml')])
def test_a_file_that_is_cut_is_named(tmp_path, case, name):
    CASES[case][1](tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:len(content) // 2])
    with pytest.raises(InputError, match=name):
        imported(tmp_path, None, Request())


def test_points_and_depth_come_in_meters(tmp_path):
    rig_files.colmap(tmp_path, True)
    found = imported(tmp_path, 'colmap', Request(ImportOptions(units='0.1')))
    write(found.recording, tmp_path / 'out', 'colmap', False)
    recording = open_recording(tmp_path / 'out')
    np.testing.assert_allclose(recording.points().xyz[:, 2], 0.2)
    assert recording.points().rgb[1].tolist() == [10, 20, 30]


@pytest.mark.parametrize('text', [False, True])
def test_a_still_colmap_scene_has_a_camera_for_each_picture(tmp_path, text):
    rig_files.colmap(tmp_path, text, per_folder=False)
    found = imported(tmp_path, None, Request())
    write(found.recording, tmp_path / 'out', 'colmap', False)
    recording = open_recording(tmp_path / 'out')
    assert tuple(recording.cameras) == NAMES and recording.frames_total == 1
    assert told(next(recording.frame_sets()).pictures['cam02'].decode()) == (2, 0)
    # the reader of recordings sees the same cameras
    if not text:
        for name, camera in open_recording(tmp_path).cameras.items():
            assert camera.is_at(recording.cameras[name].camera_from_world)


def test_copies_stand_alone(tmp_path):
    source = rig_files.pose2sim(tmp_path)
    write_pictures(tmp_path)
    found = imported(source, None, Request())
    write(found.recording, tmp_path / 'out', 'pose2sim', copied=True)
    rig = json.loads((tmp_path / 'out' / 'rig.json').read_text())
    assert [entry['images'] for entry in rig['cameras']] == list(NAMES)
    assert (tmp_path / 'out' / 'cam01' / '001.png').is_file()
    assert rig['source'] == 'igs import pose2sim'


def test_a_rig_that_was_not_imported_is_never_written_over(tmp_path):
    source = rig_files.pose2sim(tmp_path)
    write_pictures(tmp_path)
    found = imported(source, None, Request())
    for _ in range(2):  # what was imported may be imported again
        write(found.recording, tmp_path / 'out', 'pose2sim', False)
    (tmp_path / 'out' / 'rig.json').write_text('{"cameras": []}')
    with pytest.raises(InputError, match='is there already, and was not imported'):
        write(found.recording, tmp_path / 'out', 'pose2sim', False)
