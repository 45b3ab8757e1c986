# SPDX-License-Identifier: Apache-2.0
"""The overlays of camera drivers: each makes the subscriptions that its driver's topics want."""
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from igs_ros.core.camera import Camera

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from rclpy.qos import ReliabilityPolicy  # noqa: E402

from igs_ros.io.camera_info import is_rectified  # noqa: E402
from igs_ros.node import params  # noqa: E402
from igs_ros.node.depths import Depths  # noqa: E402
from igs_ros.node.inputs import Inputs  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'config' / 'rigs'
# pictures, calibration and depth as the drivers' sources name them
TOPICS = {
    'realsense': ('/camera/left/color/image_raw/compressed', '/camera/left/color/camera_info',
                  '/camera/left/aligned_depth_to_color/image_raw'),
    'oak': ('/left/rgb/image_raw/compressed', '/left/rgb/camera_info', '/left/stereo/image_raw'),
    'azure_kinect': ('/left/rgb/image_raw/compressed', '/left/rgb/camera_info',
                     '/left/depth_to_rgb/image_raw'),
    'zed': ('/left/zed_node/rgb/color/rect/image/compressed',
            '/left/zed_node/rgb/color/rect/camera_info',
            '/left/zed_node/depth/depth_registered'),
    'usb_cam': ('/left/image_raw/compressed', '/left/camera_info'),
    'v4l2_camera': ('/left/image_raw/compressed', '/left/camera_info'),
    'basler': ('/left/pylon_ros2_camera_node/image_raw',
               '/left/pylon_ros2_camera_node/camera_info'),
}


@pytest.mark.parametrize('name', TOPICS)
def test_an_overlay_subscribes_to_its_drivers_topics(name, ros):
    from rclpy.node import Node
    node = Node('igs', cli_args=['--ros-args', '--params-file', str(ROOT / 'config' / 'igs.yaml'),
                                 '--params-file', str(FOLDER / f'{name}.yaml')])
    settings, _ = params.declare(node)
    rig = {'left': Camera('left', 32, 24, np.array([[30.0, 0, 16], [0, 30, 12], [0, 0, 1]]),
                          np.eye(4))}
    Inputs(node, settings, rig, lambda _: None).start()
    if settings.depth_topic:
        Depths(node, settings, rig, lambda _: None, lambda: True).start()
    made = {s.topic_name: s.qos_profile.reliability for s in node.subscriptions}
    assert set(TOPICS[name]) <= set(made)
    for topic in TOPICS[name]:
        assert made[topic] == ReliabilityPolicy.RELIABLE
        assert len(node.get_subscriptions_info_by_topic(topic)) == 1
    assert is_rectified(TOPICS[name][0]) is (name == 'zed')
    node.destroy_node()


def test_every_overlay_is_here_cites_its_driver_and_says_that_it_was_not_run():
    assert {path.stem for path in FOLDER.glob('*.yaml')} == set(TOPICS)
    for name in TOPICS:
        text = (FOLDER / f'{name}.yaml').read_text()
        assert re.search(r'\(github\.com/[\w-]+/[\w-]+', text), name
        assert 'Not run with real' in text and f'config/rigs/{name}.yaml' in text
        given = yaml.safe_load(text)['/**']['ros__parameters']
        assert {'image_topic', 'camera_info_topic', 'input_reliability'} <= set(given)
