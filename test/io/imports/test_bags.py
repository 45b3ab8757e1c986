# SPDX-License-Identifier: Apache-2.0
"""An imported bag shows what the bag shows: cameras, frame sets, stamps, pixels, poses."""
import json

import numpy as np
import pytest
from bag_files import (
    FRAME_NS,
    MCAP,
    SQLITE,
    START_NS,
    camera_messages,
    raw,
    static_transforms,
    tf,
    transform,
    write_bag,
)
from recording_files import HEIGHT, WIDTH, frame_picture, pose

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.io.imports.convert import imported
from igs_ros.io.imports.options import ImportOptions, Request
from igs_ros.io.imports.write import write
from igs_ros.io.recordings.bag_options import BagOptions
from igs_ros.io.recordings.open import open_recording

K = [[50.0, 0, 31.5], [0, 51, 23.5], [0, 0, 1]]
CAMERAS = {f'cam{n:02d}': Camera.from_opencv_K(f'cam{n:02d}', WIDTH, HEIGHT, K, pose(n),
                                               (0.1, -0.02, 0.001, 0, 0)) for n in range(3)}


def pictures(frames=4):
    """(camera, stamp, pixels); cam02 has none in frame 2, and each is 1 ms after the other."""
    for number, name in enumerate(CAMERAS):
        for frame in range(frames):
            if (name, frame) != ('cam02', 2):
                yield name, START_NS + frame * FRAME_NS + number * 1_000_000, \
                    frame_picture(number, frame)


def compared(bag, out, options=None):
    """The recordings of a bag and of what was imported from it."""
    found = imported(bag, None, Request(ImportOptions(), options or BagOptions()))
    assert found.format == 'bag'
    write(found.recording, out, 'bag', False)
    return open_recording(bag, options), open_recording(out)


def assert_same(first, second):
    assert tuple(first.cameras) == tuple(second.cameras)
    for name, camera in first.cameras.items():
        own = second.cameras[name]
        assert own.is_at(camera.camera_from_world) and own.lens == camera.lens
        np.testing.assert_allclose(own.K, camera.K)
        np.testing.assert_array_equal(own.distortion, camera.distortion)
    ours, theirs = list(second.frame_sets()), list(first.frame_sets())
    assert [one.stamp_ns for one in ours] == [one.stamp_ns for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert set(one.pictures) == set(other.pictures) and one.missing == other.missing
        for name, picture in one.pictures.items():
            np.testing.assert_array_equal(picture.decode(), other.pictures[name].decode())
        assert set(one.poses) == set(other.poses)
        for name, matrix in one.poses.items():
            np.testing.assert_allclose(matrix, other.poses[name], atol=1e-12)


@pytest.mark.parametrize('storage, make', [(MCAP, None), (SQLITE, raw)])
def test_an_imported_bag_shows_what_the_bag_shows(tmp_path, storage, make):
    made = {'make': make} if make else {}
    bag = write_bag(tmp_path / 'bag', [*camera_messages(CAMERAS, pictures(), **made),
                                       static_transforms(CAMERAS)], storage)
    first, second = compared(bag, tmp_path / 'out')
    assert_same(first, second)
    assert second.frames_total == 4 and len(next(second.frame_sets(2)).pictures) == 2


def test_a_camera_that_moves_keeps_its_poses(tmp_path):
    moves = {name: camera for name, camera in CAMERAS.items() if name != 'cam01'}
    messages = [*camera_messages(CAMERAS, pictures()), static_transforms(moves)]
    for frame in range(4):
        stamp = START_NS + frame * FRAME_NS + 1_000_000
        matrix = CAMERAS['cam01'].world_from_camera.copy()
        matrix[0, 3] += 0.1 * frame
        messages.append(('/tf', stamp, tf(transform('map', 'cam01_optical_frame', matrix,
                                                    stamp))))
    first, second = compared(write_bag(tmp_path / 'bag', messages), tmp_path / 'out')
    assert second.poses is not None
    assert_same(first, second)


def test_offsets_go_into_the_rig(tmp_path):
    late = [(name, stamp + 10 * FRAME_NS * (name == 'cam01'), pixels)
            for name, stamp, pixels in pictures()]
    bag = write_bag(tmp_path / 'bag', [*camera_messages(CAMERAS, late),
                                       static_transforms(CAMERAS)])
    offset = BagOptions(offset=(f'cam01={-10e-9 * FRAME_NS:.9f}',))
    _, second = compared(bag, tmp_path / 'out', offset)
    assert [len(one.pictures) for one in second.frame_sets()] == [3, 3, 2, 3]
    rig = json.loads((tmp_path / 'out' / 'rig.json').read_text())
    assert rig['cameras'][1]['offset_s'] == pytest.approx(-10e-9 * FRAME_NS)
    assert rig['max_spread_s'] == 0.03


def test_what_is_no_camera_is_refused(tmp_path):
    bag = write_bag(tmp_path / 'bag', [*camera_messages(CAMERAS, pictures(), infos=False)])
    with pytest.raises(InputError, match='no camera .*no CameraInfo'):
        imported(bag, 'bag', Request())
    with pytest.raises(InputError, match='stamps.*a bag has the stamps of its pictures'):
        imported(bag, None, Request(bag=BagOptions(stamps=('cam00=x',))))
