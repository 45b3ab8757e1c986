# SPDX-License-Identifier: Apache-2.0
"""The cameras of views are those that the parameters say; what cannot work is one line."""
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from igs_ros.core.camera import Camera  # noqa: E402
from igs_ros.core.config import Config  # noqa: E402
from igs_ros.core.errors import InputError  # noqa: E402
from igs_ros.node import convert, params  # noqa: E402
from igs_ros.node.params import NodeConfig  # noqa: E402
from igs_ros.node.view_cameras import camera_of, frame_of  # noqa: E402
from igs_ros.node.view_config import ViewConfig  # noqa: E402

PLACED = np.array([[1, 0, 0, 1.0], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
RIG = {'cam00': Camera('cam00', 480, 360, np.array([[450, 0, 236.5], [0, 460, 181.5], [0, 0, 1]]),
                       PLACED, distortion=np.array([0.1, 0, 0, 0, 0])),
       'cam01': Camera('cam01', 480, 360, np.array([[400, 0, 240], [0, 400, 180], [0, 0, 1]]),
                       np.eye(4))}


def made(settings=None, **view):
    return camera_of('left', ViewConfig(**view), settings or NodeConfig(), Config(), RIG)


def k(camera):
    return camera.K[0, 0], camera.K[1, 1], camera.K[0, 2], camera.K[1, 2]


def test_a_view_sees_as_its_rig_camera_without_distortion():
    view = made()
    assert (view.width, view.height) == (480, 360) and k(view) == (450, 460, 236.5, 181.5)
    assert np.array_equal(view.camera_from_world, PLACED) and not view.distorted
    assert k(made(camera='cam01')) == (400, 400, 240, 180)
    assert k(made(width=240)) == (225, 230, 118.25, 90.75)
    narrow = NodeConfig(view_width=120, view_camera='cam01')
    assert k(made(narrow)) == (100, 100, 60, 45)
    assert k(made(narrow, width=240, camera='cam00')) == (225, 230, 118.25, 90.75)


def test_another_height_cuts_off_or_adds_above_and_below_alike():
    assert k(made(height=300)) == (450, 460, 236.5, 151.5)
    taller = made(camera='cam01', height=400)
    assert (taller.height, k(taller)) == (400, (400, 400, 240, 200))


@pytest.mark.parametrize('fov_deg, focal', [(90, 320.0), (60, 554.2562584220408),
                                            (106.26020470831196, 240.0)])
def test_the_field_of_view_is_between_the_outer_edges(fov_deg, focal):
    view = made(width=640, height=480, fov_deg=fov_deg)
    assert np.allclose(k(view), (focal, focal, 320, 240))
    # the left edge of the first pixel is half the angle from the middle
    ray = view.unproject(np.array([[0.0, 240.0]]), np.array([1.0]))[0] - view.center
    assert np.degrees(np.arctan2(-ray[0], ray[2])) == pytest.approx(fov_deg / 2)


def test_intrinsics_are_those_of_camera_info():
    view = made(width=320, height=200, k='300 310 159.5 90')
    info = convert.info_message(view, convert.header(5, 'left'))
    assert info.k.tolist() == [300, 0, 159.5, 0, 310, 90, 0, 0, 1]
    assert info.p.tolist() == [300, 0, 159.5, 0, 0, 310, 90, 0, 0, 0, 1, 0]
    assert (info.width, info.height) == (320, 200) and not any(info.d)


def test_the_right_of_a_pair_has_the_baseline_in_p():
    view = made(width=320, height=200, k='300 310 159.5 90')
    info = convert.info_message(view, convert.header(5, 'left'), 0.065)
    assert info.p.tolist() == [300, 0, 159.5, -19.5, 0, 310, 90, 0, 0, 0, 1, 0]
    assert info.k.tolist() == [300, 0, 159.5, 0, 310, 90, 0, 0, 1]


def test_a_pose_by_parameter():
    view = made(pose='1 2 3 0 0 0.70710678 0.70710678')
    assert np.allclose(view.center, [1, 2, 3])
    assert np.allclose(view.world_from_camera[:3, 0], [0, 1, 0])  # a quarter turn about z
    both = NodeConfig(view_pose='4 5 6 0 0 0 1')
    assert np.allclose(made(both).center, [4, 5, 6])
    assert np.allclose(made(both, pose='1 2 3 0 0 0 1').center, [1, 2, 3])


def test_calibrations_that_came_later_count():
    settings = NodeConfig(cameras=('cam01',), view_camera='cam00')
    calibrated = {**RIG, 'cam01': RIG['cam01'].resized(240)}
    assert camera_of('view', ViewConfig(), settings, Config(), calibrated).K[0, 0] == 450
    assert camera_of('view', ViewConfig(camera='cam01'), settings, Config(),
                     calibrated).K[0, 0] == 200


def test_frames_are_named_after_views():
    assert frame_of(NodeConfig(), 'view', pair=False) == 'igs_view_optical_frame'
    assert frame_of(NodeConfig(), 'head', pair=True) == 'igs_head_left_optical_frame'
    assert frame_of(NodeConfig(view_frame='eye'), 'view', pair=False) == 'eye'


SIZE = dict(width=480, height=360)


@pytest.mark.parametrize('view, words', [
    (dict(k='300 300 240 180', width=480), "left.k is '300 .*left.height is 0; expected the size"),
    (dict(camera='cam07'), "left.camera is 'cam07'; expected a camera of .*cam00, cam01"),
    (dict(pose='1 2 3'), "left.pose is '1 2 3'; expected seven numbers"),
    (dict(pose='0 0 0 0 0 0 0'), 'left.pose: a pose with position'),
    (dict(SIZE, k='300 300 160'), "left.k is '300 300 160'; expected four numbers"),
    (dict(SIZE, k='300 300 a b'), 'left.k is .*; expected four numbers'),
    (dict(SIZE, k='300 300 900 180'), 'left.k: .*principal point'),
    (dict(SIZE, k='nan 300 240 180'), 'left.k: .*intrinsics K'),
    (dict(SIZE, k='300 300 240 180', fov_deg=90.0), 'left.k .* and left.fov_deg .* are both set'),
    (dict(fov_deg=0.001), 'left.fov_deg: .*focal lengths'),
    (dict(width=9000, height=1), 'left.height: .*'),
])
def test_views_that_cannot_be_are_refused_in_one_line(view, words):
    with pytest.raises(InputError, match=words) as error:
        made(**view)
    assert '\n' not in str(error.value)


def configs(views, settings=None, **values):
    return params.view_configs_from(values, settings or NodeConfig(views=tuple(views)))


@pytest.mark.parametrize('names', [['a b'], ['a/b'], ['1st'], ['a__b'], ['_a'], ['a_'], ['ä'],
                                   ['budget'], ['motion_model'], ['qos_overrides'], ['a' * 65],
                                   ['a\n']])
def test_names_that_make_no_topic_are_refused(names):
    with pytest.raises(InputError, match='parameter views names .*Rename it') as error:
        configs(names)
    assert '\n' not in str(error.value)


def test_names_that_are_good():
    assert list(configs(['left', 'right', 'top_2', 'a1', 'view'])) == \
        ['left', 'right', 'top_2', 'a1', 'view']
    assert list(configs([])) == ['view']
    with pytest.raises(InputError, match='views names left twice'):
        configs(['left', 'top', 'left'])
    with pytest.raises(InputError, match="view_frame is 'eye'; expected {view}.* 2 views"):
        configs([], NodeConfig(views=('a', 'b'), view_frame='eye'))


@pytest.mark.parametrize('name, value, words', [
    ('width', -1, 'left.width is -1; expected 0 to 16384'),
    ('width', 'wide', "left.width is 'wide'; expected a value like 0"),
    ('fov_deg', 171.0, 'left.fov_deg is 171.0; expected 0 to 170'),
    ('rate_hz', float('nan'), 'left.rate_hz is nan'),
    ('baseline', -0.1, 'left.baseline is -0.1; expected 0 to 100'),
    ('k', 3.0, "left.k is 3.0; expected a value like ''")])
def test_values_out_of_range_are_refused(name, value, words):
    with pytest.raises(InputError, match=f'parameter {words}'):
        configs(['left'], **{f'left.{name}': value})
