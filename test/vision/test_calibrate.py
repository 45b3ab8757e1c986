# SPDX-License-Identifier: Apache-2.0
"""Calibration against the rig that a recording was rendered with."""
import numpy as np
import pytest
from rig_faults import angle_between, inverted, moved, turned, with_K

from igs_ros.io.recordings.open import open_recording
from igs_ros.vision.calibrate import calibrated, change_lines
from igs_ros.vision.matches import MatchSettings, find_features
from igs_ros.vision.rig_check import check_features, check_rig
from igs_ros.vision.rig_pairs import Verdict

SETTINGS = MatchSettings(features=1500, width=480)


@pytest.fixture(scope='module')
def seen(workbench):
    """Cameras as they are, pictures of two frames, their features."""
    recording = open_recording(workbench)
    frames = [{name: picture.decode() for name, picture in one.pictures.items()}
              for one in recording.frame_sets(0, 16, step=15)]
    return dict(recording.cameras), frames, [
        {name: find_features(image, SETTINGS) for name, image in frame.items()}
        for frame in frames]


@pytest.mark.parametrize(('name', 'fault'), [
    ('cam00', lambda camera: turned(camera, 0.5, (1, 0, 0))),
    ('cam01', lambda camera: turned(camera, -0.5, (0, 1, 0))),
    ('cam03', lambda camera: moved(camera, (0.02, 0, 0))),
    ('cam02', lambda camera: moved(camera, (0, 0, -0.02)))])
def test_a_camera_comes_back_to_where_it_was(seen, name, fault):
    true, _, features = seen
    cameras = true | {name: fault(true[name])}
    found = calibrated(check_features(features, cameras), cameras)
    assert name in found.changed and found.verdict is Verdict.GOOD
    for other, camera in found.cameras.items():
        assert angle_between(camera, true[other]) < 0.05, other
        assert np.linalg.norm(camera.center - true[other].center) < 0.003, other
    assert all(pair.after_px < 0.3 for pair in found.pairs)
    assert any(line.startswith(f'{name}: turned by') for line in change_lines(found))


def test_a_rig_that_fits_stays_as_it_is(seen):
    true, _, features = seen
    found = calibrated(check_features(features, true), true)
    assert found.changed == () and found.verdict is Verdict.GOOD
    assert all(found.cameras[name] is camera for name, camera in true.items())


def test_a_focal_length_comes_back_where_it_may(seen):
    true, _, features = seen
    cameras = true | {'cam01': with_K(true['cam01'], focal=1.02)}
    found = calibrated(check_features(features, cameras), cameras, focals=True)
    assert found.cameras['cam01'].K[0, 0] == pytest.approx(true['cam01'].K[0, 0], rel=0.004)


def test_a_mistake_is_not_refined(seen):
    true, _, features = seen
    cameras = {name: inverted(camera) for name, camera in true.items()}
    found = calibrated(check_features(features, cameras), cameras)
    assert found.changed == () and found.verdict is Verdict.WRONG
    assert 'camera-to-world' in found.lines[0]


def test_what_is_far_off_is_not_refined(seen):
    true, _, features = seen
    cameras = true | {'cam01': turned(true['cam01'], 12, (0, 0, 1))}
    found = calibrated(check_features(features, cameras), cameras)
    assert found.changed == () and found.verdict is not Verdict.GOOD


def shuffled_blocks(image, rng):
    """The same blocks of 24 px, in another order."""
    side = 24
    rows, columns = image.shape[0] // side, image.shape[1] // side
    blocks = image[:rows * side, :columns * side].reshape(rows, side, columns, side, 3)
    blocks = blocks.transpose(0, 2, 1, 3, 4).reshape(-1, side, side, 3)[
        rng.permutation(rows * columns)]
    return blocks.reshape(rows, columns, side, side, 3).transpose(0, 2, 1, 3, 4).reshape(
        rows * side, columns * side, 3)


def of_other_cameras(frame, rng):
    names = list(frame)
    return {name: frame[other] for name, other in zip(names, names[1:] + names[:1], strict=True)}


def of_parts(frame, rng):
    return {name: np.ascontiguousarray(np.pad(shuffled_blocks(image, rng), (
        (0, image.shape[0] - image.shape[0] // 24 * 24), (0, 0), (0, 0))))
        for name, image in frame.items()}


@pytest.mark.parametrize('shuffle', [of_other_cameras, of_parts])
def test_shuffled_pictures_change_nothing(seen, shuffle):
    """Pictures of other cameras, and pictures whose parts are elsewhere in each."""
    true, frames, _ = seen
    rng = np.random.default_rng(0)
    cameras = true | {'cam01': turned(true['cam01'], 0.5, (1, 0, 0))}
    for rig in true, cameras:
        check = check_rig([shuffle(frame, rng) for frame in frames], rig, SETTINGS)
        found = calibrated(check, rig)
        assert check.verdict is not Verdict.GOOD
        assert found.changed == ()
        assert all(found.cameras[name] is camera for name, camera in rig.items())
