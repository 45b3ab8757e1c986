# SPDX-License-Identifier: Apache-2.0
"""Frame sets of cameras of other rates, offsets and stamps; frame steps."""
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_files import (
    HEIGHT,
    WIDTH,
    pose,
    rig_entry,
    told,
    write_images,
    write_recording,
    write_rig,
    write_video,
)

from igs_ros.core.errors import InputError
from igs_ros.io.recordings.bag_options import BagOptions
from igs_ros.io.recordings.clocks import read_stamps
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.sources import VideoSource


def told_sets(recording, **asked):
    """Frame number by camera, of every frame set."""
    return [{name: told(picture.decode())[1] for name, picture in one.pictures.items()}
            for one in recording.frame_sets(**asked)]


@pytest.fixture
def mixed(tmp_path):
    """cam00 at 30 Hz, cam01 at 15 Hz."""
    write_video(tmp_path / 'cam00.mp4', 0, 10, fps=30)
    write_video(tmp_path / 'cam01.mp4', 1, 5, fps=15)
    write_rig(tmp_path, [rig_entry(0), rig_entry(1)])
    return tmp_path


def with_rig(folder, **cameras):
    """Change entries of the rig file, by camera."""
    rig = json.loads((folder / 'rig.json').read_text())
    for entry in rig['cameras']:
        entry.update(cameras.get(entry['name'], {}))
    rig.update(cameras.get('rig', {}))
    (folder / 'rig.json').write_text(json.dumps(rig))
    return open_recording(folder)


def test_videos_of_one_rate_come_out_as_they_came_in(tmp_path):
    recording = open_recording(write_recording(tmp_path, frames=(3, 3)))
    assert all(isinstance(source, VideoSource) for source in recording.sources.values())
    assert recording.stamps_ns is None and recording.rate_hz == 30


def test_videos_of_different_rates_are_joined_by_time(mixed, caplog):
    caplog.set_level('INFO')
    recording = open_recording(mixed)
    sets = told_sets(recording)
    whole = [one for one in sets if len(one) == 2]
    assert whole == [{'cam00': 2 * i, 'cam01': i} for i in range(5)]
    assert [one for one in sets if len(one) == 1] == [{'cam00': i} for i in (1, 3, 5, 7, 9)]
    assert 'joined by time (rates of 15 to 30 Hz): 10 frame sets, 5 of them of all' in caplog.text
    assert [recording.stamp_ns(i) for i in (0, 2)] == [0, pytest.approx(66_666_667, abs=2)]


def test_an_offset_shifts_a_camera(tmp_path):
    write_recording(tmp_path, frames=(6, 6))
    # cam01 began two frames later: its first picture is of the time of cam00's third
    recording = open_recording(tmp_path, BagOptions(offset=('cam01=0.0666666',)))
    sets = told_sets(recording)
    assert sets[:4] == [{'cam00': i + 2, 'cam01': i} for i in range(4)]
    assert with_rig(tmp_path, cam01={'offset_s': 0.0666666}).frames_total == len(sets)


def test_an_equal_offset_of_all_changes_nothing(tmp_path):
    write_recording(tmp_path, frames=(2, 2))
    recording = open_recording(tmp_path, BagOptions(offset=('cam00=1', 'cam01=1')))
    assert recording.stamps_ns is None


def test_stamp_files_win_over_rates(mixed):
    (mixed / 'a.txt').write_text('\n'.join(f'1763781600.{i}' for i in range(10)))
    (mixed / 'b.txt').write_text('# ns since 1970\n' + '\n'.join(
        str(1763781600_000000000 + 200_000_000 * i + 1_000_000) for i in range(5)))
    recording = open_recording(mixed, BagOptions(
        stamps=(f'cam00={mixed / "a.txt"}', f'cam01={mixed / "b.txt"}'), max_spread_s=0.01))
    sets = told_sets(recording)
    assert [one for one in sets if len(one) == 2] == [{'cam00': 2 * i, 'cam01': i}
                                                      for i in range(5)]
    assert recording.stamp_ns(0) == 1763781600_000000000
    assert recording.stamp_ns(2) == 1763781600_200000000
    again = with_rig(mixed, cam00={'stamps': 'a.txt'}, cam01={'stamps': 'b.txt'},
                     rig={'max_spread_s': 0.01})
    assert told_sets(again) == sets


def test_cameras_of_disjoint_times_are_refused(mixed):
    with pytest.raises(InputError, match='no two cameras have pictures within .* cam01 100.000 to'
                                         '.* give --offset'):
        open_recording(mixed, BagOptions(offset=('cam01=100',)))


@pytest.mark.parametrize('options, words', [
    ({'offset': ('cam07=1',)}, "--offset 'cam07=1': no camera 'cam07'; expected one of cam00"),
    ({'offset': ('cam01',)}, "--offset 'cam01': expected CAMERA=VALUE"),
    ({'offset': ('cam01=nan',)}, "--offset cam01 is 'nan'; expected seconds"),
    ({'stamps': ('cam01=STAMPS',)}, 'no stamps of cam00, but of other cameras'),
    ({'stamps': ('cam00=STAMPS', 'cam01=STAMPS')}, "camera 'cam00' has 10 pictures, but 5 stamps"),
    ({'frame_step': 0}, '--frame-step 0: expected 1'),
    ({'offset': ('cam01=1',), 'max_spread_s': -1}, '--max-spread-s -1'),
])
def test_what_does_not_fit_is_refused(mixed, options, words):
    (mixed / 's.txt').write_text('1\n2\n3\n4\n5\n')
    options = {key: tuple(text.replace('STAMPS', str(mixed / 's.txt')) for text in value)
               if isinstance(value, tuple) else value for key, value in options.items()}
    with pytest.raises(InputError, match=words):
        open_recording(mixed, BagOptions(**options))


def test_every_so_many_th_frame(tmp_path):
    write_recording(tmp_path, frames=(7, 5))
    recording = open_recording(tmp_path, BagOptions(frame_step=3))
    assert told_sets(recording) == [{'cam00': 0, 'cam01': 0}, {'cam00': 3, 'cam01': 3},
                                    {'cam00': 6}]
    assert recording.rate_hz == 10 and recording.stamp_ns(2) == 200_000_000
    assert told_sets(recording, first=1, step=2) == [{'cam00': 3, 'cam01': 3}]
    in_file = with_rig(tmp_path, rig={'frame_step': 3})
    assert told_sets(in_file) == told_sets(recording)
    twice = open_recording(tmp_path, BagOptions(frame_step=2))
    assert told_sets(twice) == [{'cam00': 0, 'cam01': 0}, {'cam00': 6}]


def test_depth_and_poses_go_with_their_pictures(tmp_path):
    write_recording(tmp_path, frames=(4, 4))
    write_rig(tmp_path, [rig_entry(0), rig_entry(1, depth='depth')])
    (tmp_path / 'depth').mkdir()
    for frame in range(4):
        cv2.imwrite(str(tmp_path / 'depth' / f'{frame}.png'),
                    np.full((HEIGHT, WIDTH), 1000 + frame, np.uint16))
    moves = [pose(1).tolist() for _ in range(4)]
    for frame, matrix in enumerate(moves):
        matrix[2][3] = 2.0 + frame
    (tmp_path / 'poses.json').write_text(json.dumps({'world_to_camera': {'cam01': moves}}))
    recording = open_recording(tmp_path, BagOptions(offset=('cam01=0.0333333',)))
    second = list(recording.frame_sets())[0]
    assert told(second.pictures['cam01'].decode())[1] == 0
    for index, one in enumerate(recording.frame_sets(last=3)):
        assert np.allclose(one.depths['cam01'].decode(), 1.0 + 0.001 * index, atol=1e-6)
        assert one.poses['cam01'][2, 3] == 2.0 + index


def test_the_rate_of_a_camera_may_be_told(tmp_path):
    write_images(tmp_path / 'cam00', 0, 6)
    write_images(tmp_path / 'cam01', 1, 2)
    write_rig(tmp_path, [rig_entry(0), rig_entry(1, fps=10)])  # fps of the rig: 30
    whole = [one for one in told_sets(open_recording(tmp_path)) if len(one) == 2]
    assert whole == [{'cam00': 0, 'cam01': 0}, {'cam00': 3, 'cam01': 1}]


@pytest.mark.parametrize('text, stamps', [
    ('0.5\n1\n\n# b\n2.25\n', [500_000_000, 10 ** 9, 2_250_000_000]),
    ('1763781600.123456789\r\n1763781601\r\n', [1763781600_123456789, 1763781601_000000000]),
    ('-1.5\n-1e-3\n', [-1_500_000_000, -1_000_000]),
    ('1763781600123456789\n', [1763781600123456789]),
])
def test_stamps_are_read_to_the_nanosecond(tmp_path, text, stamps):
    (tmp_path / 's').write_text(text)
    assert read_stamps(tmp_path / 's') == stamps


@pytest.mark.parametrize('text, words', [
    ('1\n1\n', 'line 2: the stamp 1 is not after'), ('', 'no stamps'), ('1\na\n', "line 2 is 'a'"),
    ('nan\n', "line 1 is 'nan'"), ('inf', "is 'inf'"), ('1e999', "is '1e999'"),
])
def test_lines_that_are_no_stamps_are_named(tmp_path, text, words):
    (tmp_path / 's').write_text(text)
    with pytest.raises(InputError, match=words):
        read_stamps(tmp_path / 's')


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_any_stamp_file_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / 'stamps'
    path.write_bytes(content)
    try:
        stamps = read_stamps(path)
    except InputError as error:
        assert str(path) in str(error) and str(error).isprintable()
    else:
        assert stamps == sorted(set(stamps))
