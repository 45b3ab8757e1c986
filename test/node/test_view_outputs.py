# SPDX-License-Identifier: Apache-2.0
"""Views over ROS: topics, frames, stamps; nothing is drawn for nobody, poses never queue."""
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from held_scene import CAMERA, Held, moved

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from geometry_msgs.msg import PoseStamped  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image  # noqa: E402

from igs_ros.core.config import BudgetConfig, Config  # noqa: E402
from igs_ros.core.logs import ThrottledWarnings  # noqa: E402
from igs_ros.core.snapshot import advanced  # noqa: E402
from igs_ros.core.timing import Drops  # noqa: E402
from igs_ros.node import convert  # noqa: E402
from igs_ros.node.params import NodeConfig  # noqa: E402
from igs_ros.node.tf_in import tf_message, tf_qos, transform_source  # noqa: E402
from igs_ros.node.tf_out import transform_message  # noqa: E402
from igs_ros.node.view_config import DEFAULT_VIEW, ViewConfig  # noqa: E402
from igs_ros.node.view_outputs import ViewOutputs  # noqa: E402


@pytest.fixture
def node(ros):
    made = ros.create_node('igs')
    yield made
    made.destroy_node()


class Shown:
    """Views at work on a scene that holds still."""

    def __init__(self, node, views, **options):
        self.drops, self.said = Drops(), []
        settings = NodeConfig(views=() if DEFAULT_VIEW in views else tuple(views))
        self.outputs = ViewOutputs(
            node, settings, Config(budget=BudgetConfig(view_hz=20.0)), views, {'cam': CAMERA},
            ThrottledWarnings(self.said.append, self.drops), self.drops, **options)
        self.held = Held()
        self.outputs.begin(self.held)
        self.outputs.thread.start()


@pytest.fixture
def show(node):
    made = []

    def begin(views=None, **options):
        made.append(Shown(node, views or {DEFAULT_VIEW: ViewConfig()}, **options))
        return made[-1]
    yield begin
    for one in made:
        one.outputs.thread.stop()


def at(x, frame_id=''):
    message = PoseStamped()
    message.header.frame_id = frame_id
    message.pose.orientation.w = 1.0
    message.pose.position.x = float(x)
    return message


def stamp(message):
    return convert.nanoseconds(message.header.stamp)


def test_views_are_rendered_for_subscribers_only_and_once(show, listener):
    shown = show()
    time.sleep(0.5)
    assert shown.held.rendered == 0
    images = listener.collect(Image, '/igs/view/image', 1)
    assert listener.until(lambda: len(images) >= 5)
    assert shown.held.rendered == 1  # shown again and again, rendered once
    shown.held.newest = advanced(shown.held.newest, moved(shown.held.newest.key, [1, 2], 20))
    shown.outputs.wake()
    assert listener.until(lambda: stamp(images[-1]) == 20)
    assert shown.held.rendered == 2


def test_confidence_and_known_depth_are_there_for_who_asks(show, listener):
    """Half of the Gaussians are known; `sure` asks for known depth only, `all` does not."""
    shown = show({'sure': ViewConfig(known_only=True), 'all': ViewConfig()})
    scene = shown.held.newest.scene
    left = scene.means[:, 0] < scene.means[:, 0].median()
    support = torch.where(left, 2, 0).to(torch.uint8)
    shown.held.newest = replace(shown.held.newest, scene=scene.replaced(support=support))
    depths = {name: listener.collect(Image, f'/igs/{name}/depth', 1) for name in ('sure', 'all')}
    assert listener.until(lambda: all(depths.values()))
    known, drawn = (np.isfinite(np.frombuffer(depths[name][-1].data, '<f4')).mean()
                    for name in ('sure', 'all'))
    assert 0 < known < drawn
    confidences = listener.collect(Image, '/igs/all/confidence', 1)
    assert listener.until(lambda: confidences and np.frombuffer(confidences[-1].data, 'u1').any())
    levels = np.frombuffer(confidences[-1].data, 'u1')
    assert confidences[-1].encoding == 'mono8' and levels.size == CAMERA.width * CAMERA.height
    assert (levels >= 128).mean() == pytest.approx(known, abs=0.02)


def test_a_pose_renders_anew_with_the_same_stamp(show, listener, node, ros):
    """What a paused scene shows is as old as it was, wherever it is seen from."""
    shown = show()
    images = listener.collect(Image, '/igs/view/image', 1)
    assert listener.until(lambda: images)
    listener.publish('/igs/view/pose', at(0.3))

    def steered():
        ros.spin_once(node, timeout_sec=0.01)
        return shown.held.rendered == 2
    assert listener.until(steered)
    start = len(images)
    assert listener.until(lambda: len(images) > start + 1)
    assert stamp(images[-1]) == 10
    assert images[0].data != images[-1].data


def test_an_error_while_rendering_does_not_end_the_views(show, listener, monkeypatch):
    shown = show()
    images = listener.collect(Image, '/igs/view/image', 1)
    assert listener.until(lambda: images)
    with monkeypatch.context() as broken:
        broken.setattr(shown.held, 'view', lambda *_: 1 / 0)
        shown.held.advance(20)
        assert listener.until(lambda: shown.drops.snapshot().get('view_error:view'))
    assert any('ZeroDivisionError' in line for line in shown.said)
    assert listener.until(lambda: stamp(images[-1]) == 20)


def test_several_views_each_with_topics_of_its_own(show, listener, node, ros):
    told = []
    shown = show({'left': ViewConfig(), 'top': ViewConfig(width=64, height=32, fov_deg=90.0,
                                                          pose='0 0 1 0 0 0 1')},
                 on_view=lambda view, frame: told.append((frame, view.stamp_ns)))
    kinds = {'image': Image, 'image/compressed': CompressedImage, 'depth': Image,
             'camera_info': CameraInfo}
    got = {(name, topic): listener.collect(kind, f'/igs/{name}/{topic}', 1)
           for name in ('left', 'top') for topic, kind in kinds.items()}
    assert listener.until(lambda: all(got.values()))
    for (name, topic), messages in got.items():
        assert messages[0].header.frame_id == f'igs_{name}_optical_frame', topic
        assert stamp(messages[0]) == 10
    info = got['top', 'camera_info'][0]
    assert (info.width, info.height) == (64, 32)
    assert info.k.tolist() == pytest.approx([32, 0, 31.5, 0, 32, 15.5, 0, 0, 1])
    assert (got['top', 'image'][0].width, got['left', 'image'][0].width) == (64, 32)
    assert got['top', 'depth'][0].encoding == '32FC1'
    assert set(told) == {('igs_left_optical_frame', 10), ('igs_top_optical_frame', 10)}
    assert {name for name, _ in node.get_topic_names_and_types()
            if name.startswith('/igs/')} >= {'/igs/left/pose', '/igs/top/pose'}
    # each is moved by its own topic
    listener.publish('/igs/top/pose', at(7))

    def top_moved():
        ros.spin_once(node, timeout_sec=0.01)
        return shown.outputs.cameras['top'].camera.center[0] == 7
    assert listener.until(top_moved)
    assert shown.outputs.cameras['left'].camera.center[0] == 0


def test_a_pair_is_two_pictures_of_one_moment_in_the_left_frame(show, listener, node):
    shown = show({'head': ViewConfig(baseline=0.1)})
    got = {side: (listener.collect(Image, f'/igs/head/{side}/image', 1),
                  listener.collect(CameraInfo, f'/igs/head/{side}/camera_info', 1))
           for side in ('left', 'right')}
    assert listener.until(lambda: all(images and infos for images, infos in got.values()))
    left, right = (infos[0] for _, infos in got.values())
    assert left.header == right.header
    assert left.header.frame_id == 'igs_head_left_optical_frame'
    assert left.k.tolist() == right.k.tolist() and left.p[3] == 0
    assert right.p[3] == pytest.approx(-30 * 0.1)  # fx times the baseline
    assert got['left'][0][0].data != got['right'][0][0].data
    # only the left one has depth: the frame of the right one's camera_info is not where it is
    topics = dict(node.get_publisher_names_and_types_by_node('igs', '/'))
    assert '/igs/head/left/depth' in topics and '/igs/head/right/depth' not in topics
    # P of the right one takes points of the frame to where it draws them
    point = np.array([0.1, -0.05, 2.5, 1])
    u, v, w = right.p.reshape(3, 4) @ point
    camera = CAMERA.placed(np.array([[1, 0, 0, -0.1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    pixel, _ = camera.project(point[None, :3])
    assert (u / w, v / w) == pytest.approx(tuple(pixel[0] - 0.5))
    assert shown.held.expected == [40.0]


def test_a_flood_of_poses_is_bounded_by_the_rate_and_ends_at_the_newest(show, listener, node, ros):
    shown = show({'head': ViewConfig(rate_hz=10.0)})
    images = listener.collect(Image, '/igs/head/image', 1)
    assert listener.until(lambda: images)
    begun_s, before = time.monotonic(), shown.held.rendered
    outputs = shown.outputs
    for number in range(1, 301):
        outputs._on_pose('head', '/igs/head/pose', at(number / 1000))
        time.sleep(0.002)
    assert listener.until(
        lambda: shown.held.rendered + shown.drops.snapshot().get('superseded_pose:head', 0)
        == before + 300)
    drawn, spent_s = shown.held.rendered - before, time.monotonic() - begun_s
    assert 2 <= drawn <= 10 * spent_s + 1
    assert outputs.cameras['head'].camera.center[0] == pytest.approx(0.3)


def test_bad_poses_are_said_once_by_topic_and_change_nothing(show):
    shown = show({'left': ViewConfig(), 'top': ViewConfig()})
    for frame in ('odom', 'odom'):
        shown.outputs._on_pose('top', '/igs/top/pose', at(1, frame))
    line, = shown.said
    assert "/igs/top/pose: a pose in frame 'odom'; expected 'map'" in line
    assert shown.drops.snapshot() == {'bad_pose:top': 2}
    assert shown.outputs.cameras['top'].camera.center[0] == 0


def test_a_view_follows_a_frame_of_tf(show, listener, node, ros):
    """With the newest transform there is, and once there is one."""
    kind = tf_message()
    if kind is None:
        pytest.skip('tf2_msgs is not installed')
    shown = show({'left': ViewConfig(frame='head')},
                 transforms=transform_source(node, ThrottledWarnings(print, Drops())))
    assert '/igs/left/pose' not in dict(node.get_subscriber_names_and_types_by_node('igs', '/'))
    images = listener.collect(Image, '/igs/left/image', 1)
    assert listener.until(lambda: images)  # from where it is, while nothing is known
    line, = shown.said
    assert "view 'left' (parameter left.frame) stays where it is: no transform" in line
    pose, left = np.eye(4), shown.outputs.cameras['left']
    pose[0, 3] = 2.0
    for stamp_ns in (1_000_000_000, 2_000_000_000):
        listener.publish('/tf', kind(transforms=[
            transform_message('map', 'head', stamp_ns, pose)]), tf_qos(False))

        def followed():
            ros.spin_once(node, timeout_sec=0.01)
            return np.allclose(left.camera.world_from_camera, pose)
        assert listener.until(followed)
        pose[:3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
    assert stamp(images[-1]) == 10  # of the scene, not of the transform


def test_calibrations_keep_poses_that_somebody_gave(show):
    shown = show({'left': ViewConfig(), 'top': ViewConfig()})
    shown.outputs._on_pose('left', '/igs/left/pose', at(5))
    calibrated = {'cam': CAMERA.resized(64).placed(np.array(
        [[1, 0, 0, -3.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))}

    def centers():
        return [one.camera.center[0] for one in shown.outputs.cameras.values()]
    shown.outputs.calibrate(calibrated)
    assert centers() == [5, 0]
    assert all(one.camera.K[0, 0] == 60 for one in shown.outputs.cameras.values())
    shown.outputs.calibrate(calibrated, placed=True)
    assert centers() == [5, 3]
