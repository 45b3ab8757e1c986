# SPDX-License-Identifier: Apache-2.0
"""poses.json: cameras of a recording that move."""
import json

import numpy as np
import pytest
from recording_files import pose, write_recording

from igs_ros.apps.evaluation.evaluator import Evaluator
from igs_ros.core.errors import InputError
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import require_still
from igs_ros.vision.preparer import Preparer


def moved(camera: int, frame: int) -> np.ndarray:
    found = pose(camera)
    found[0, 3] += 0.01 * frame
    return found


@pytest.fixture
def folder(tmp_path):
    return write_recording(tmp_path / 'rig', (4, 4, 4))


def write(folder, poses, name='world_to_camera'):
    (folder / 'poses.json').write_text(json.dumps({name: poses}))


def test_frame_sets_carry_the_poses_of_the_cameras_that_move(folder):
    write(folder, {'cam01': [moved(1, frame).tolist() for frame in range(4)]})
    recording = open_recording(folder)
    for frame, frame_set in enumerate(recording.frame_sets(1, 4, step=2)):
        assert list(frame_set.poses) == ['cam01']
        np.testing.assert_allclose(frame_set.poses['cam01'], moved(1, 1 + 2 * frame))
    assert not next(recording.frame_sets(cameras=['cam00'])).poses
    with pytest.raises(InputError, match='its cameras move; igs prepare takes'):
        require_still(recording, 'igs prepare')


def test_without_the_file_nothing_moves(folder):
    recording = open_recording(folder)
    assert recording.poses is None and not next(recording.frame_sets()).poses
    require_still(recording, 'igs prepare')


GOOD = [moved(1, frame).tolist() for frame in range(4)]


@pytest.mark.parametrize('poses, said', [
    ({'cam09': GOOD}, r"poses of 'cam09'; expected cameras of the rig: cam00, cam01, cam02"),
    ({'cam01': GOOD[:3]}, r"camera 'cam01': 3 poses; expected a list of 4"),
    ({'cam01': {}}, r"camera 'cam01': \{\}; expected a list of 4"),
    ({'cam01': [*GOOD[:3], [[2.0]]]}, r"camera 'cam01', frame 3: camera_from_world .* rigid"),
    ({'cam01': [*GOOD[:2], (2 * np.eye(4)).tolist(), GOOD[3]]}, r"'cam01', frame 2: .* rigid"),
    ({'cam01': [*GOOD[:3], 'x']}, r"'cam01', frame 3: .* rigid"),
    ([GOOD], r"no object 'world_to_camera'")])
def test_poses_that_cannot_be_used_are_refused_by_file_camera_and_frame(folder, poses, said):
    write(folder, poses)
    with pytest.raises(InputError, match=r'poses\.json.*' + said) as error:
        open_recording(folder)
    assert '\n' not in str(error.value)


def test_the_watched_camera_is_scored_from_where_it_was(folder):
    write(folder, {'cam01': GOOD})
    recording = open_recording(folder)
    evaluator = Evaluator(Preparer(recording.cameras, 32), ['cam01'], True, None, None)
    places = [evaluator._place('cam01', one) for one in recording.frame_sets()]
    for frame, place in enumerate(places):
        np.testing.assert_allclose(place.camera_from_world, moved(1, frame))
        assert (place.width, place.height) == (32, 24)
