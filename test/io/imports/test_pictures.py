# SPDX-License-Identifier: Apache-2.0
"""Which videos and folders belong to which camera, and what is said where that is not plain."""
from pathlib import Path

import numpy as np
import pytest
from recording_files import write_images, write_video

from igs_ros.core.errors import InputError
from igs_ros.io.imports.found import Convention, FoundCamera, FoundRig
from igs_ros.io.imports.options import ImportOptions
from igs_ros.io.imports.pictures import located, natural, source_of


def rig(folder, *names):
    K = np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]])
    return FoundRig(folder / 'calibration.toml', [FoundCamera(name, K, np.eye(4))
                                                  for name in names], Convention())


def touched(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b'x')


def found(folder, *names, pictures=()):
    places = located(rig(folder, *names), ImportOptions(pictures=pictures))
    return {name: [str(path.relative_to(folder)) for path in paths]
            for name, paths in places.items()}


@pytest.mark.parametrize('files, names, wanted', [
    (('cam01.mp4', 'cam02.MP4'), ('cam01', 'cam02'), {'cam01': ['cam01.mp4'],
                                                      'cam02': ['cam02.MP4']}),
    (('minimal_back.mp4', 'minimal_mid.avi'), ('back', 'mid'),
     {'back': ['minimal_back.mp4'], 'mid': ['minimal_mid.avi']}),
    (('2024-01-01-camA.mov', '2024-01-01-camB.mov'), ('A', 'B'),
     {'A': ['2024-01-01-camA.mov'], 'B': ['2024-01-01-camB.mov']}),
    (('trial_cam1.mp4', 'trial_cam10.mp4'), ('cam_1', 'cam_10'),
     {'cam_1': ['trial_cam1.mp4'], 'cam_10': ['trial_cam10.mp4']}),
    (('cam_01.mp4', 'videos/cam1.mp4'), ('cam1',), {'cam1': ['videos/cam1.mp4']}),
    (('a.mp4', 'deep/a.mp4'), ('a',), {'a': ['a.mp4']}),
    (('cam1/2.png', 'cam1/10.png', 'cam1/x.txt'), ('cam1',), {'cam1': ['cam1/2.png',
                                                                       'cam1/10.png']}),
    (('left1.jpg', 'left2.jpg', 'left10.jpg', 'right1.jpg'), ('left', 'right'),
     {'left': ['left1.jpg', 'left2.jpg', 'left10.jpg'], 'right': ['right1.jpg']}),
    (('.hidden/a.mp4', 'b/c/a.mp4'), ('a',), {'a': ['b/c/a.mp4']}),
])
def test_pictures_are_found_by_the_name_of_the_camera(tmp_path, files, names, wanted):
    touched(tmp_path, *files)
    assert found(tmp_path, *names) == wanted


@pytest.mark.parametrize('files, names, pictures, words', [
    (('one/a.mp4', 'two/a.mp4'), ('a',), (), "camera 'a': 2 that may be its pictures: .*one/a.mp4"
                                             '.*two/a.mp4; expected one. Name it: --pictures a='),
    (('b.mp4',), ('a',), (), "camera 'a': no video, folder or pictures of that name in .*"
                             'there: b.mp4.; expected a.mp4 or a/'),
    (('a.mp4',), ('a',), ('b=x',), "--pictures 'b=x': no camera 'b'; expected one of a"),
    (('a.mp4',), ('a',), ('nowhere',), "--pictures 'nowhere': no folder"),
    (('a.mp4',), ('a',), ('a=gone.mp4',), 'gone.mp4: no video and no folder of pictures'),
])
def test_what_is_not_plain_is_asked_for(tmp_path, files, names, pictures, words):
    touched(tmp_path, *files)
    with pytest.raises(InputError, match=words):
        found(tmp_path, *names, pictures=pictures)


def test_they_may_be_named(tmp_path):
    touched(tmp_path, 'one/a.mp4', 'two/a.mp4', 'x.mp4')
    assert found(tmp_path, 'a', pictures=(f'a={tmp_path / "x.mp4"}',)) == {'a': ['x.mp4']}
    assert found(tmp_path, 'a', pictures=(str(tmp_path / 'two'),)) == {'a': ['two/a.mp4']}


def test_numbers_count_as_people_count():
    names = ['f10.png', 'f2.png', 'f1.png', 'g.png', '3.png']
    assert sorted(map(Path, names), key=natural) == [Path(name) for name in (
        '3.png', 'f1.png', 'f2.png', 'f10.png', 'g.png')]


def test_videos_and_pictures_become_sources(tmp_path):
    write_video(tmp_path / 'v.mp4', 0, 3)
    write_images(tmp_path / 'a', 1, 2)
    assert source_of([tmp_path / 'v.mp4']).rate_hz == 30
    assert source_of(sorted((tmp_path / 'a').iterdir())).length == 2
