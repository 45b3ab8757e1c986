# SPDX-License-Identifier: Apache-2.0
"""Frame sets, test views, and recordings with something missing."""
import logging

import pytest
from recording_files import rig_entry, told, write_images, write_recording, write_rig, write_video

from igs_ros.core.errors import InputError
from igs_ros.io.recordings import recording
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import train_views


@pytest.fixture
def three(tmp_path):
    return write_recording(tmp_path / 'three', held_out=['cam01'])


def test_frame_sets_hold_the_frames_asked_for(three):
    rig = open_recording(three)
    sets = list(rig.frame_sets(1, 6, ['cam02', 'cam00'], step=2))
    assert [{name: told(p.decode()) for name, p in s.pictures.items()} for s in sets] \
        == [{'cam02': (2, i), 'cam00': (0, i)} for i in (1, 3, 5)]
    assert [s.stamp_ns for s in sets] == [33333333, 100000000, 166666667]
    assert all(s.missing == () for s in sets)


@pytest.mark.parametrize('arguments, message', [
    ({'first': 6}, 'frames 6:6 step 1 asked for; expected a range inside 0:6'),
    ({'first': -1}, 'frames -1:6'),
    ({'first': 3, 'last': 3}, 'frames 3:3'),
    ({'step': 0}, 'step 0'),
    ({'cameras': ['cam07']}, "no camera 'cam07'; this recording has cam00, cam01, cam02"),
    ({'cameras': []}, 'no camera given'),
])
def test_a_range_that_is_not_there_is_refused_at_the_call(three, arguments, message):
    rig = open_recording(three)
    with pytest.raises(InputError, match=message):
        rig.frame_sets(**arguments)


def test_a_range_past_the_end_stops_there_and_says_so(three, caplog):
    assert len(list(open_recording(three).frame_sets(4, 40))) == 2
    assert 'frames 4:40 asked for, it has 6' in caplog.text


def test_iteration_may_stop_early_and_start_again(three):
    rig = open_recording(three)
    for _ in range(3):
        sets = rig.frame_sets()
        assert told(next(sets).pictures['cam00'].decode()) == (0, 0)
        sets.close()


def warnings_of(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_a_shorter_camera_is_missing_from_its_end_on_with_one_warning(tmp_path, caplog):
    rig = open_recording(write_recording(tmp_path, frames=(6, 4, 6)))
    for _ in range(2):
        sets = list(rig.frame_sets())
        assert [s.missing for s in sets] == [()] * 4 + [('cam01',)] * 2
        assert [sorted(s.pictures) for s in sets[4:]] == [['cam00', 'cam02']] * 2
    warning, = warnings_of(caplog)
    assert "cam01.mp4: camera 'cam01' has no frame 4 of 6" in warning


def test_a_shorter_image_folder_is_missing_from_its_end_on(tmp_path, caplog):
    write_images(tmp_path / 'cam00', 0, 3)
    write_images(tmp_path / 'cam01', 1, 1)
    write_rig(tmp_path, [rig_entry(0), rig_entry(1)])
    sets = list(open_recording(tmp_path).frame_sets())
    assert [s.missing for s in sets] == [(), ('cam01',), ('cam01',)]
    assert len(warnings_of(caplog)) == 1


def test_a_video_truncated_in_its_middle_counts_as_shorter(tmp_path, caplog):
    write_recording(tmp_path, frames=(24, 24))
    path = tmp_path / 'cam01.mp4'
    write_video(path, 1, 24, {'movflags': 'faststart'})
    whole = path.read_bytes()
    start = whole.index(b'mdat')
    path.write_bytes(whole[:start + (len(whole) - start) // 2])
    sets = list(open_recording(tmp_path).frame_sets())
    assert len(sets) == 24
    there = [not s.missing for s in sets]
    assert there == sorted(there, reverse=True) and 4 <= sum(there) < 24
    warning, = warnings_of(caplog)
    assert "cam01.mp4: camera 'cam01' has no frame" in warning


def test_frames_end_where_all_cameras_have_ended(tmp_path):
    rig = open_recording(write_recording(tmp_path, frames=(3, 5)))
    assert len(list(rig.frame_sets(cameras=['cam00']))) == 3


@pytest.mark.parametrize('keep', [0.0, 0.5])
def test_a_video_truncated_before_its_index_is_named_at_once(three, keep):
    whole = (three / 'cam02.mp4').read_bytes()
    (three / 'cam02.mp4').write_bytes(whole[:int(len(whole) * keep)])
    with pytest.raises(InputError, match='cam02.mp4: no readable video.*truncated'):
        open_recording(three)


def test_a_video_without_a_single_good_frame_is_named_at_once(tmp_path):
    write_recording(tmp_path)
    path = tmp_path / 'cam00.mp4'
    write_video(path, 0, 6, {'movflags': 'faststart'})
    whole = path.read_bytes()
    path.write_bytes(whole[:whole.index(b'mdat') + 12])
    with pytest.raises(InputError, match='cam00.mp4: not a single picture can be decoded'):
        open_recording(tmp_path)


def test_a_corrupt_first_image_is_named_at_once(tmp_path):
    write_images(tmp_path / 'cam00', 0, 2)
    (tmp_path / 'cam00' / '000.png').write_bytes(b'\x89PNG')
    write_rig(tmp_path, [rig_entry(0)])
    with pytest.raises(InputError, match='000.png: 4 bytes that are no readable'):
        open_recording(tmp_path)


def test_a_folder_that_is_no_recording_lists_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match='looked for rig.json, poses_bounds.npy .*sparse/0'):
        open_recording(tmp_path)
    with pytest.raises(InputError, match='nowhere: no such folder'):
        open_recording(tmp_path / 'nowhere')


def test_the_test_view_is_the_asked_one_else_the_held_out_one(three):
    rig = open_recording(three)
    assert recording.test_view(rig) == 'cam01'
    assert train_views(rig, 'cam01') == ('cam00', 'cam02')
    assert recording.test_view(rig, 'cam02') == 'cam02'
    assert train_views(rig, 'cam02') == ('cam00', 'cam01')
    with pytest.raises(InputError, match="no camera 'cam09'; this recording has cam00"):
        recording.test_view(rig, 'cam09')


def test_all_held_out_cameras_that_do_not_train_are_test_views(tmp_path, caplog):
    rig = open_recording(write_recording(tmp_path, held_out=['cam02', 'cam00']))
    assert recording.test_views(rig) == ('cam02', 'cam00')
    assert train_views(rig, ('cam02', 'cam00')) == ('cam01',)
    assert recording.test_views(rig, train=['cam02', 'cam01']) == ('cam00',)
    assert recording.test_views(rig, ['cam01', 'cam00']) == ('cam01', 'cam00')
    assert not warnings_of(caplog)
    with pytest.raises(InputError, match="'cam00' is both test view and train view"):
        train_views(rig, ('cam02', 'cam00'), ['cam00', 'cam01'])


def test_without_a_held_out_camera_all_train_and_one_warning_says_so(tmp_path, caplog):
    rig = open_recording(write_recording(tmp_path))
    assert recording.test_view(rig) is None
    assert train_views(rig, None) == ('cam00', 'cam01', 'cam02')
    warning, = warnings_of(caplog)
    assert 'all cameras train, test scores are null' in warning


def test_asked_train_views_keep_the_order_of_the_rig(tmp_path):
    rig = open_recording(write_recording(tmp_path, held_out=['cam00', 'cam02']))
    assert train_views(rig, 'cam00') == ('cam01',)  # the other held-out camera stays out
    assert train_views(rig, 'cam00', ['cam02', 'cam01']) == ('cam01', 'cam02')
    with pytest.raises(InputError, match="'cam00' is both test view and train view"):
        train_views(rig, 'cam00', ['cam00', 'cam01'])
    with pytest.raises(InputError, match="no camera 'cam08'"):
        train_views(rig, None, ['cam08'])
