# SPDX-License-Identifier: Apache-2.0
"""The rig check on the recording that ships: right, and with each of the usual mistakes planted.

The oracle is the rig that the recording was rendered with.
"""
import cv2
import numpy as np
import pytest
from rig_faults import inverted, moved, opengl, turned, wall_pictures, with_K

from igs_ros.core.camera import Camera
from igs_ros.io.recordings.open import open_recording
from igs_ros.vision.calibrate import calibrated
from igs_ros.vision.matches import Features, MatchSettings, find_features, match_rig
from igs_ros.vision.rig_check import check_features, check_rig
from igs_ros.vision.rig_pairs import Verdict

SETTINGS = MatchSettings(features=1000, width=480)


@pytest.fixture(scope='module')
def seen(workbench):
    """Cameras as they are, and two frames of pictures."""
    recording = open_recording(workbench)
    frames = [{name: picture.decode() for name, picture in one.pictures.items()}
              for one in recording.frame_sets(0, 16, step=15)]
    return dict(recording.cameras), frames


@pytest.fixture(scope='module')
def features(seen):
    return [{name: find_features(image, SETTINGS) for name, image in frame.items()}
            for frame in seen[1]]


def text(check):
    return ' | '.join(check.lines)


def wrong(check):
    return [name for name, verdict in check.cameras.items() if verdict is Verdict.WRONG]


def test_the_right_rig_is_good(seen, features):
    check = check_features(features, seen[0])
    assert check.verdict is Verdict.GOOD and check.lines == () and check.mistake is None
    assert len(check.pairs) == 6
    assert all(pair.verdict is Verdict.GOOD and pair.error_px < 0.25 for pair in check.pairs)
    assert all(one.error_px < 1 for one in check.triples) and len(check.triples) == 4


@pytest.mark.parametrize('name', ['cam00', 'cam01'])
def test_a_camera_that_is_tilted_is_named_with_those_it_disagrees_with(seen, features, name):
    cameras = seen[0] | {name: turned(seen[0][name], 0.5, (1, 0, 0))}
    check = check_features(features, cameras)
    others = ', '.join(other for other in cameras if other != name)
    assert check.verdict is Verdict.WRONG and wrong(check) == [name]
    assert f'{name} disagrees by 3.' in text(check)
    assert f'px with {others}: its pose' in text(check)
    bad = [pair for pair in check.pairs if pair.verdict is Verdict.WRONG]
    assert len(bad) == 3 and all(name in pair.names for pair in bad)
    assert all(3.3 < pair.error_px < 4.1 for pair in bad)


@pytest.mark.parametrize('fault', [lambda camera: turned(camera, 0.5, (0, 1, 0)),
                                   lambda camera: moved(camera, (0.02, 0, 0))])
def test_what_no_pair_shows_three_cameras_do(seen, features, fault):
    """Turned in the plane of the cameras, and moved along the line that they stand on."""
    check = check_features(features, seen[0] | {'cam01': fault(seen[0]['cam01'])})
    assert all(pair.error_px < 1 for pair in check.pairs)
    assert check.verdict is Verdict.WRONG and wrong(check) == ['cam01']
    assert 'cam01 is off by' in text(check) and 'cam00, cam02, cam03' in text(check)


def test_a_tenth_of_that_is_good(seen, features):
    nearly = turned(seen[0]['cam01'], 0.05, (1, 0, 0))
    check = check_features(features, seen[0] | {'cam01': nearly})
    assert check.verdict is Verdict.GOOD
    assert max(pair.error_px for pair in check.pairs) > 0.3  # it is seen, but small


ALL = {
    'the poses are camera-to-world, expected': inverted,
    'the poses are for OpenGL axes': opengl,
    'the poses are camera-to-world for OpenGL axes': lambda camera: inverted(opengl(camera)),
    'of pictures of 240x180 px, and these have 480x360': lambda camera: with_K(camera, 0.5),
    'of pictures of 640x480 px': lambda camera: with_K(camera, 4 / 3)}


@pytest.mark.parametrize('words', ALL)
def test_a_mistake_in_all_cameras_is_named(seen, features, words):
    check = check_features(features, {n: ALL[words](camera) for n, camera in seen[0].items()})
    assert check.verdict is Verdict.WRONG and len(check.lines) == 1
    assert words in text(check)
    assert len(wrong(check)) == 4


def test_poses_of_body_axes_are_named(seen, features):
    body_from_optical = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    check = check_features(features, {
        name: camera.placed(body_from_optical @ camera.camera_from_world)
        for name, camera in seen[0].items()})
    assert 'ROS body axes' in text(check)


ONE = {
    'the pose of cam01 is camera-to-world': inverted,
    'the intrinsics of cam01 are of another resolution': lambda camera: with_K(camera, 0.75),
    'its focal length is wrong (0.95': lambda camera: with_K(camera, focal=1.05),
    'the principal point of cam01 is half a pixel too small':
        lambda camera: with_K(camera, shift=-0.5)}


@pytest.mark.parametrize('words', ONE)
def test_a_mistake_in_one_camera_is_named(seen, features, words):
    check = check_features(features, seen[0] | {'cam01': ONE[words](seen[0]['cam01'])})
    assert words in text(check) and wrong(check) == ['cam01']
    assert check.verdict is Verdict.WRONG


@pytest.mark.parametrize('names', [('cam00', 'cam02'), ('cam01', 'cam02')])
def test_swapped_cameras_are_named(seen, features, names):
    one, other = names
    cameras = seen[0] | {
        one: seen[0][one].placed(seen[0][other].camera_from_world),
        other: seen[0][other].placed(seen[0][one].camera_from_world)}
    check = check_features(features, cameras)
    assert f'{one} and {other} are swapped' in text(check) and wrong(check) == list(names)


@pytest.mark.parametrize(('factor', 'words'), [
    (1000, 'millimeters for meters'), (100, 'centimeters for meters'), (0.8, '0.8 times')])
def test_depth_cameras_tell_the_unit(seen, features, workbench, factor, words):
    """Depth as triangulation has it, of the rig as it is; the rig is then scaled."""
    true = seen[0]
    sparse = np.full((360, 480), np.nan, np.float32)
    for pair in match_rig(features[:1]):
        if pair.one == 'cam00':
            one, other = true['cam00'], true[pair.other]
            for a, b in zip(pair.pixels, pair.other_pixels, strict=True):
                rows = [camera.K[:2] @ camera.camera_from_world[:3] - (place * np.array([1, 1]))[
                    :, None] * camera.camera_from_world[2]
                    for camera, place in ((one, a), (other, b))]
                point = np.linalg.svd(np.concatenate(rows))[2][-1]
                depth = one.to_camera(point[None, :3] / point[3])[0, 2]
                sparse[int(a[1]), int(a[0])] = depth
    def scaled(camera):
        pose = camera.camera_from_world.copy()
        pose[:3, 3] *= factor
        return camera.placed(pose)
    depths = {'cam00': sparse}
    right = check_features(features, true, depths=depths)
    assert right.verdict is Verdict.GOOD and right.mistake is None
    check = check_features(features, {n: scaled(c) for n, c in true.items()}, depths=depths)
    assert words in text(check) and check.verdict is Verdict.WRONG


def test_two_cameras_cannot_tell_which_of_them_is_wrong(seen, features):
    cameras = {'cam00': seen[0]['cam00'], 'cam01': turned(seen[0]['cam01'], 0.5, (1, 0, 0))}
    frames = [{name: frame[name] for name in cameras} for frame in features]
    check = check_features(frames, cameras)
    assert check.verdict is Verdict.WRONG
    assert 'cam00 and cam01 disagree by 3.' in text(check)
    assert 'cannot be told whose' in text(check)


def test_a_camera_that_was_bumped_is_named_with_the_frame(seen):
    cameras, frames = seen
    shifted = np.roll(frames[1]['cam02'], 5, 1)
    check = check_rig([frames[0], frames[1] | {'cam02': shifted}], cameras, SETTINGS, (0, 15))
    assert 'cam02 was moved while it recorded: in frame 15' in text(check)
    assert 'its picture is 5.0 px off' in text(check)
    assert wrong(check) == ['cam02']


def three_before_a_wall():
    K = np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])
    cameras = {}
    for number in range(3):
        pose = np.eye(4)
        pose[:3, 3] = 0.3 * (1 - number), 0.02 * number, 2.0
        cameras[f'cam{number}'] = turned(Camera(f'cam{number}', 320, 240, K, pose),
                                         3 * (number - 1), (0, 1, 0))
    return cameras


def noise(seed, size):
    rng = np.random.default_rng(seed)
    rough = rng.integers(0, 256, (size // 4, size // 4, 3), np.uint8)
    return cv2.GaussianBlur(cv2.resize(rough, (size, size), interpolation=cv2.INTER_CUBIC),
                            (3, 3), 0)


WALLS = {'blank': np.full((400, 400, 3), 128, np.uint8),
         'noise of the cameras alone': None,
         'tiles': np.tile(noise(1, 80), (10, 10, 1)),
         'stripes': np.tile(np.repeat([[[40] * 3], [[200] * 3]], 40, 0).reshape(1, 80, 3)
                            .astype(np.uint8), (800, 10, 1))}


@pytest.mark.parametrize('wall', WALLS)
def test_a_wall_that_says_nothing_cannot_tell_and_changes_nothing(wall):
    """Even where the rig is wrong: nothing there can say how."""
    true = three_before_a_wall()
    texture = WALLS[wall]
    frames = [wall_pictures(true, WALLS['blank'] if texture is None else texture, 4.0)]
    rng = np.random.default_rng(0)
    spread = 12 if texture is None else 1
    frames = [{name: np.clip(image + rng.normal(0, spread, image.shape), 0, 255).astype(np.uint8)
               for name, image in frame.items()} for frame in frames]
    cameras = true | {'cam1': turned(true['cam1'], 1.0, (1, 0, 0))}
    check = check_rig(frames, cameras)
    assert check.verdict is Verdict.UNKNOWN and 'cannot tell' in text(check)
    found = calibrated(check, cameras)
    assert found.changed == () and found.verdict is Verdict.UNKNOWN


def test_a_wall_with_a_picture_on_it_tells(seen):
    """The other side of the test above."""
    true = three_before_a_wall()
    frames = [wall_pictures(true, noise(3, 800), 4.0)]
    assert check_rig(frames, true).verdict is Verdict.GOOD
    check = check_rig(frames, true | {'cam1': turned(true['cam1'], 1.0, (1, 0, 0))})
    assert wrong(check) == ['cam1']


def test_no_pictures_and_no_features():
    cameras = three_before_a_wall()
    assert check_rig([], cameras).verdict is Verdict.UNKNOWN
    nothing = Features(np.zeros((0, 2)), np.zeros((0, 128), np.float32), np.zeros(0, np.float32))
    check = check_features([dict.fromkeys(cameras, nothing)], cameras)
    assert check.verdict is Verdict.UNKNOWN and len(check.pairs) == 3
    one = {'cam0': cameras['cam0']}
    assert 'no other camera' in text(check_features([{'cam0': nothing}], one))
