# SPDX-License-Identifier: Apache-2.0
"""Poses for cameras and pictures: what stands, what moves, what waits, what is lost."""
from types import SimpleNamespace

import numpy as np
import pytest

from igs_ros.core.camera import Camera
from igs_ros.core.frames import Frame
from igs_ros.core.transforms import Transform, TransformBuffer, TransformError
from igs_ros.live.placing import Placing

S = 1_000_000_000


def at(x):
    """camera_from_world of a camera at (x, 0, 0), axes as the world's."""
    pose = np.eye(4)
    pose[0, 3] = -x
    return pose


@pytest.fixture
def rig():
    """Camera 'still' at (1, 0, 0), 'head' on a frame that moves along x at 1 m/s; wait 0.1 s."""
    made = SimpleNamespace(source=TransformBuffer(), lost=[], now=0.0)
    made.placing = Placing(made.source, 'map', ['still', 'head'], 0.1, 3,
                           lambda *told: made.lost.append(told), lambda: made.now)
    made.source.add(Transform('map', 'still_optical', 0, (1, 0, 0), (1, 0, 0, 0)), static=True)
    made.source.add(Transform('neck', 'head_optical', 0, (0, 0, 0), (1, 0, 0, 0)), static=True)
    made.placing.heard('still', 'still_optical')
    made.placing.heard('head', '/head_optical')

    def neck(stamp_s, x=None):
        made.source.add(Transform('map', 'neck', round(stamp_s * S),
                                  (stamp_s if x is None else x, 0, 0), (1, 0, 0, 0)), static=False)
    made.neck = neck
    return made


def picture(name, stamp_s):
    return Frame(name, round(stamp_s * S), object())


def camera(name):
    return Camera(name, 32, 24, np.array([[30.0, 0, 16], [0, 30, 12], [0, 0, 1]]), np.eye(4))


def both():
    return {name: camera(name) for name in ('still', 'head')}


def test_cameras_are_placed_once_all_is_known(rig):
    assert rig.placing.lacking() == {'head': "no transform from 'map' to 'head_optical': they are "
                                             "in two trees, below 'map' and below 'neck'"}
    with pytest.raises(TransformError):
        rig.placing.place(both())
    rig.neck(2.0)
    rig.neck(3.0)
    assert rig.placing.lacking() == {}
    placed = rig.placing.place(both())
    assert np.array_equal(placed['still'].camera_from_world, at(1))
    assert np.array_equal(placed['head'].camera_from_world, at(3))  # where it stood last
    assert rig.placing.told() == "poses of 2 cameras in 'map' from TF, looked up for every " \
                                 "picture of 'head'"


def test_cameras_without_a_frame_are_named(rig):
    placing = Placing(rig.source, 'map', ['x'], 0.1, 3, print)
    assert "camera 'x': neither its pictures nor its CameraInfo name a frame" in \
        placing.lacking()['x']
    assert placing.heard('x', '') == ''
    assert placing.heard('x', 'still_optical') == ''
    assert placing.lacking() == {} and placing.frames() == {'x': 'still_optical'}
    assert "'other', it was 'still_optical', which stays" in placing.heard('x', 'other')
    assert placing.heard('x', '') == ''


def test_frames_that_are_not_called_optical_are_doubted(rig):
    rig.source.add(Transform('map', 'base_cam', 0, (0, 0, 0), (1, 0, 0, 0)), static=True)
    placing = Placing(rig.source, 'map', ['x'], 0.1, 3, print)
    placing.heard('x', 'base_cam')
    placing.place({'x': camera('x')})
    assert "all static; 'base_cam' must have optical axes" in placing.told()


def test_pictures_of_a_still_camera_go_on_as_they_are(rig):
    frame = picture('still', 5.0)
    assert rig.placing.add(frame) == [frame]  # the same object: nothing is attached
    rig.neck(1.0)
    rig.placing.place(both())
    assert rig.placing.add(frame) == [frame]


def test_pictures_of_a_moving_camera_carry_their_pose(rig):
    rig.neck(2.0)
    rig.neck(3.0)
    rig.placing.place(both())
    one, = rig.placing.add(picture('head', 2.25))
    assert one.stamp_ns == 2.25 * S and np.allclose(one.camera_from_world, at(2.25))
    last, = rig.placing.add(picture('head', 3.0))  # also where it is as it was placed
    assert np.array_equal(last.camera_from_world, at(3))


def test_a_late_transform_is_waited_for(rig):
    rig.neck(2.0)
    rig.placing.place(both())
    assert rig.placing.add(picture('head', 2.1)) == []
    assert rig.placing.add(picture('head', 2.2)) == []
    rig.now = 0.099
    assert rig.placing.poll() == [] and rig.placing.waiting() == 2
    rig.neck(2.15)
    assert [f.stamp_ns for f in rig.placing.poll()] == [2.1 * S]
    rig.neck(2.3)
    one, = rig.placing.poll()
    assert np.allclose(one.camera_from_world, at(2.2)) and rig.lost == []


def test_what_does_not_come_in_time_is_lost_and_told(rig):
    rig.neck(2.0)
    rig.placing.place(both())
    rig.placing.add(picture('head', 2.5))
    rig.now = 0.1
    assert rig.placing.poll() == [] and rig.placing.waiting() == 0
    (name, text), = rig.lost
    assert name == 'head' and text.startswith("camera 'head': no transform from 'map' to "
                                              "'head_optical' at 2.500000 s: that of 'neck'")


def test_a_picture_from_before_what_is_known_is_lost_at_once(rig):
    rig.neck(2.0)
    rig.placing.place(both())
    assert rig.placing.add(picture('head', 1.0)) == []
    assert rig.placing.waiting() == 0 and len(rig.lost) == 1


def test_the_queue_keeps_the_first_and_the_newest(rig):
    rig.neck(2.0)
    for stamp_s in (2.1, 2.2, 2.3, 2.4, 2.5):
        rig.placing.add(picture('head', stamp_s))
    assert rig.placing.waiting() == 3 and len(rig.lost) == 2
    assert 'more than 3 pictures wait' in rig.lost[0][1]
    rig.neck(3.0)
    assert [f.stamp_ns / S for f in rig.placing.poll()] == [2.1, 2.4, 2.5]


def test_cameras_do_not_wait_for_each_other(rig):
    rig.neck(2.0)
    assert rig.placing.add(picture('head', 2.1)) == []
    assert len(rig.placing.add(picture('still', 2.1))) == 1


def test_a_static_transform_that_changes_is_followed(rig):
    rig.neck(2.0)
    rig.placing.place(both())
    rig.source.add(Transform('map', 'still_optical', 0, (4, 0, 0), (1, 0, 0, 0)), static=True)
    one, = rig.placing.add(picture('still', 9.0))
    assert np.array_equal(one.camera_from_world, at(4))


def test_a_loop_later_on_loses_pictures_and_heals(rig):
    rig.neck(2.0)
    rig.placing.place(both())
    rig.source.add(Transform('still_optical', 'map', 0, (0, 0, 0), (1, 0, 0, 0)), static=True)
    assert rig.placing.add(picture('still', 2.0)) == []
    rig.now = 1.0
    rig.placing.poll()
    assert "in a loop of frames: 'map' in 'still_optical' in 'map'" in rig.lost[0][1]
    rig.source.add(Transform('earth', 'map', 0, (0, 0, 0), (1, 0, 0, 0)), static=True)
    assert len(rig.placing.add(picture('still', 2.0))) == 1


def test_after_a_jump_back_the_new_times_count(rig):
    rig.neck(100.0)
    rig.placing.place(both())
    rig.placing.clear()
    assert rig.placing.add(picture('head', 1.0)) == []  # it waits: nothing is known now
    rig.neck(0.9, 7)
    rig.neck(1.1, 9)
    one, = rig.placing.poll()
    assert np.allclose(one.camera_from_world, at(8)) and rig.lost == []


def test_a_camera_of_rectified_pictures_is_turned_in_its_frame(rig):
    turn = np.diag([-1.0, -1, 1, 1])
    for name in both():
        rig.placing.turn(name, turn)
    rig.neck(2.0)
    rig.neck(3.0)
    placed = rig.placing.place(both())
    np.testing.assert_array_equal(placed['still'].camera_from_world, turn @ at(1.0))
    np.testing.assert_array_equal(placed['head'].camera_from_world, turn @ at(3.0))
    frame, = rig.placing.add(picture('head', 2.5))
    np.testing.assert_allclose(frame.camera_from_world, turn @ at(2.5))
    frame, = rig.placing.add(picture('still', 2.5))
    assert frame.camera_from_world is None, 'where it was placed'
