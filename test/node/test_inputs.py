# SPDX-License-Identifier: Apache-2.0
"""Which calibration counts, and what is said of one that comes late or changes."""
from types import SimpleNamespace

import numpy as np
import pytest

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from igs_ros.node import convert, reconstruct  # noqa: E402
from igs_ros.node.inputs import Inputs, topic_of  # noqa: E402
from igs_ros.node.params import NodeConfig  # noqa: E402

PIXELS = np.zeros((24, 32, 3), np.uint8)


def camera(name, focal=30.0):
    return Camera(name, 32, 24, np.array([[focal, 0, 16], [0, focal, 12], [0, 0, 1.0]]),
                  np.eye(4))


def info(focal, width=32):
    return convert.info_message(camera('any', focal).resized(width), convert.header(1, ''))


@pytest.fixture
def inputs(ros):
    """Two cameras; waiting for CameraInfo is over with the first picture."""
    node = ros.create_node('igs_inputs')
    sets = []
    made = Inputs(node, NodeConfig(calibration_wait_s=0.0, transport='raw'),
                  {name: camera(name) for name in 'ab'}, sets.append)
    made.sets = sets
    yield made
    node.destroy_node()


def picture(inputs, name, stamp_ns):
    inputs._on_picture(name, convert.image_message(PIXELS, convert.header(stamp_ns, '')))


def test_pictures_become_frame_sets(inputs):
    assert inputs.cameras() is None  # no picture yet: CameraInfo may come
    for name in 'ab':
        picture(inputs, name, 1000)
    made, = inputs.sets
    assert made.stamp_ns == 1000 and set(made.pictures) == {'a', 'b'}


def test_camera_info_wins_over_the_rig_file_and_stays(inputs):
    inputs._on_info('a', info(40.0))
    picture(inputs, 'a', 1000)
    used = inputs.cameras()
    assert used['a'].K[0, 0] == 40 and used['b'].K[0, 0] == 30
    for focal in (40.0, 50.0, 50.0):
        inputs._on_info('a', info(focal))
    assert inputs.cameras()['a'].K[0, 0] == 40
    assert inputs.drops() == {'changed_camera_info:a': 1}  # said once


def test_camera_info_of_another_size_is_refused(inputs):
    for _ in range(3):
        inputs._on_info('a', info(30.0, width=64))
    picture(inputs, 'a', 1000)
    used = inputs.cameras()
    assert (used['a'].width, used['a'].K[0, 0]) == (32, 30)
    assert inputs.drops() == {'bad_camera_info:a': 3}
    inputs._on_info('a', info(30.0))  # once in use, a right one is compared as any other
    assert inputs.drops() == {'bad_camera_info:a': 3}


def test_camera_info_comes_again_right(inputs):
    inputs._on_info('a', info(30.0, width=64))
    inputs._on_info('a', info(31.0))
    picture(inputs, 'a', 1000)
    assert inputs.cameras()['a'].K[0, 0] == 31


def test_camera_info_far_from_the_rig_file_is_taken_and_told_once(inputs, monkeypatch):
    told = []
    monkeypatch.setattr(inputs, '_log', SimpleNamespace(warning=told.append))
    for _ in range(3):
        inputs._on_info('a', info(40.0))
        inputs._on_info('b', info(32.0))
    line, = told
    assert line.startswith('/a/camera_info: focal lengths [40.0, 40.0] px')
    assert '[30.0, 30.0]' in line
    picture(inputs, 'a', 1000)
    assert inputs.cameras()['a'].K[0, 0] == 40


def test_camera_info_that_comes_too_late_is_compared_with_what_is_in_use(inputs):
    picture(inputs, 'a', 1000)
    assert inputs.cameras()['b'].K[0, 0] == 30
    inputs._on_info('a', info(30.0))  # late, but the same
    assert inputs.drops() == {}
    for _ in range(3):
        inputs._on_info('b', info(40.0))
    assert inputs.drops() == {'changed_camera_info:b': 1}
    assert inputs.cameras()['b'].K[0, 0] == 30


def test_a_region_of_interest_is_compared_with_the_full_picture_of_the_rig_file(inputs):
    """And with one that is no part of it, as before."""
    part = info(30.0)
    part.roi.x_offset, part.roi.y_offset, part.roi.width, part.roi.height = 8, 4, 16, 12
    part.binning_x = part.binning_y = 2
    inputs._on_info('a', part)
    outside = info(30.0)
    outside.roi.x_offset, outside.roi.width, outside.roi.height = 20, 16, 12
    inputs._on_info('b', outside)
    picture(inputs, 'a', 1000)
    used = inputs.cameras()
    assert (used['a'].width, used['a'].height) == (8, 6)
    assert (used['a'].K[0, 2], used['a'].K[0, 0]) == (4, 15)
    assert used['b'].width == 32 and inputs.drops() == {'bad_camera_info:b': 1}


def test_rectified_topics_take_p_and_say_so(ros, monkeypatch):
    node, said = ros.create_node('igs_rectified'), []
    made = Inputs(node, NodeConfig(calibration_wait_s=0.0, transport='raw',
                                   image_topic='/{camera}/image_rect'),
                  {'a': camera('a')}, lambda _: None)
    monkeypatch.setattr(made._log, 'info', said.append)
    message = info(30.0)
    message.p[0], message.d = 29.0, [-0.3, 0.1, 0.0, 0.0, 0.0]
    turn = np.diag([-1.0, -1, 1, 1])  # half a turn about the optical axis
    message.r = turn[:3, :3].ravel()
    for _ in range(2):
        made._on_info('a', message)
    picture(made, 'a', 1000)
    used = made.cameras()['a']
    assert used.K[0, 0] == 29 and not used.distorted and not made.drops()
    assert np.array_equal(used.camera_from_world, turn @ camera('a').camera_from_world)
    line, = said
    assert line.startswith('/a/image_rect: rectified by its name') and '/a/camera_info' in line
    node.destroy_node()


def test_topics_of_cameras():
    assert topic_of('/{camera}/image_raw', 'cam_0', 'here') == '/cam_0/image_raw'
    with pytest.raises(InputError, match="here: .*'/cam-0/x', which is no ROS topic.*Rename"):
        topic_of('/{camera}/x', 'cam-0', 'here')
    with pytest.raises(InputError, match='here: .*expected {camera} in it'):
        topic_of('/x', 'cam0', 'here')


def test_the_view_takes_the_intrinsics_in_use_and_keeps_its_pose(ros, tmp_path):
    """`ReconstructNode` sees CameraInfo of its view camera; the view was moved before."""
    rig = tmp_path / 'rig.json'
    rig.write_text("""{"pixel_center": 0.5, "cameras": [
        {"name": "a", "width": 32, "height": 24, "K": [[30,0,16],[0,30,12],[0,0,1]],
         "world_to_camera": [[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]}]}""")
    node = reconstruct.ReconstructNode(cli_args=[
        '--ros-args', '-p', f'rig_file:={rig}', '-p', 'view_width:=64', '-p', 'transport:=raw'])
    node.start()
    try:
        moved = np.eye(4)
        moved[0, 3] = 5.0
        node.work._views.cameras['view'].place(moved)
        node.work._inputs._on_info('a', info(40.0))
        picture(node.work._inputs, 'a', 1000)
        node.work._start_when_calibrated()
        view = node.work._views.cameras['view'].camera
        assert view.width == 64 and view.K[0, 0] == 80.0  # 40 at twice the width
        assert np.array_equal(view.camera_from_world, moved)
    finally:
        node.close()
        node.destroy_node()


def test_a_camera_info_that_says_the_same_is_not_looked_at_again(inputs, monkeypatch):
    from rclpy.serialization import serialize_message
    looked = []
    real = Inputs._on_info

    def look(self, name, message):
        looked.append((name, message.k[0]))
        return real(self, name, message)
    monkeypatch.setattr(Inputs, '_on_info', look)

    def send(focal, stamp_ns, frame='a', width=32):
        message = convert.info_message(camera('any', focal).resized(width),
                                       convert.header(stamp_ns, frame))
        inputs._on_info_bytes('a', serialize_message(message))
    for stamp_ns in (1, 2, 3_000_000_004):
        send(40.0, stamp_ns)
    assert looked == [('a', 40.0)]
    send(41.0, 5)  # another one is, and one whose frame changes
    send(41.0, 6, frame='b')
    assert len(looked) == 3
    assert inputs.drops()['changed_camera_info:a'] == 1
    for stamp_ns in (7, 8):  # what is refused is counted each time
        send(41.0, stamp_ns, width=16)
    assert inputs.drops()['bad_camera_info:a'] == 2
    send(41.0, 9, frame='b')
    assert len(looked) == 6
