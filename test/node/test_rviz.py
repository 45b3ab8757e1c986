# SPDX-License-Identifier: Apache-2.0
"""What RViz is told to show, in any namespace, against what the node publishes there."""
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from igs_ros.node import interface, params
from igs_ros.node.rviz import rviz_file, rviz_text

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / 'config' / 'rviz' / 'igs.rviz'
KINDS = {'PointCloud2': 'sensor_msgs/msg/PointCloud2', 'Image': 'sensor_msgs/msg/Image',
         'Map': 'nav_msgs/msg/OccupancyGrid', 'MarkerArray': 'visualization_msgs/msg/MarkerArray'}
NAMESPACES = {'': '/igs', '/': '/igs', 'lab': '/lab/igs', '/lab/left/': '/lab/left/igs'}


def shown(text):
    return yaml.safe_load(text)['Visualization Manager']


@pytest.mark.parametrize('namespace', NAMESPACES)
def test_every_topic_is_one_that_the_node_publishes(namespace):
    published = {one.name.replace('{view}', 'view'): one for one in interface.OUT}
    asked = [(display['Class'].split('/')[1], display['Topic'])
             for display in shown(rviz_text(TEMPLATE.read_text(), namespace))['Displays']
             if 'Topic' in display]
    for display, topic in asked:
        assert topic['Value'].startswith(f'{NAMESPACES[namespace]}/')
        offered = published['~' + topic['Value'].removeprefix(NAMESPACES[namespace])]
        assert offered.kind == KINDS[display]
        assert topic['Reliability Policy'] == 'Reliable' and topic['Depth'] == offered.depth
        assert topic['History Policy'] == 'Keep Last'
        assert topic['Durability Policy'] == ('Transient Local' if offered.transient
                                              else 'Volatile')
    assert {topic['Value'].removeprefix(NAMESPACES[namespace]) for _, topic in asked} == {
        '/points', '/moving_points', '/occupancy', '/cameras', '/view/image', '/view/depth'}
    assert len(asked) == 6


def test_points_have_their_color_and_their_speed():
    fields = {one.name: one.text for one in interface.OUT}
    displays = {display['Topic']['Value']: display
                for display in shown(TEMPLATE.read_text())['Displays'] if 'Topic' in display}
    assert displays['/igs/points']['Color Transformer'] == 'RGB8'
    moving = displays['/igs/moving_points']
    assert moving['Color Transformer'] == 'Intensity'
    assert f" {moving['Channel Name']}`" in fields['~/moving_points']
    assert {display['Class'] for display in shown(TEMPLATE.read_text())['Displays']} >= {
        'rviz_default_plugins/Grid', 'rviz_default_plugins/TF'}


def test_the_fixed_frame_is_the_world():
    text = TEMPLATE.read_text()
    assert shown(rviz_text(text))['Global Options']['Fixed Frame'] \
        == params.NodeConfig().world_frame
    assert shown(rviz_text(text, world_frame='odom'))['Global Options']['Fixed Frame'] == 'odom'


def test_without_a_namespace_nothing_changes():
    assert yaml.safe_load(rviz_text(TEMPLATE.read_text())) == yaml.safe_load(TEMPLATE.read_text())


def test_the_file_is_gone_with_its_process():
    code = ('from pathlib import Path; from igs_ros.node.rviz import rviz_file; '
            f'path = rviz_file(Path({str(TEMPLATE)!r}), "lab"); print(path); '
            'print(Path(path).read_text())')
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True,
                          check=True)
    path, _, text = done.stdout.partition('\n')
    assert shown(text)['Displays'][1]['Topic']['Value'] == '/lab/igs/points'
    assert path.endswith('.rviz') and not Path(path).exists()


def test_each_launch_has_a_file_of_its_own():
    assert rviz_file(TEMPLATE) != rviz_file(TEMPLATE)
