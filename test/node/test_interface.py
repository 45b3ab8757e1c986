# SPDX-License-Identifier: Apache-2.0
"""docs/interface.md is what the code has: parameters, and the topics and services of a node."""
import re
from pathlib import Path

import pytest

from igs_ros.node import interface, params

ROOT = Path(__file__).resolve().parents[2]
AGAIN = 'python -m igs_ros.node.interface > docs/interface.md'
RIG = ['-p', f'rig_file:={ROOT}/recordings/workbench/rig.json']
TF = ['-p', 'cameras:=[cam00,cam01]', '-p', 'transport:=raw']
# settings under which a topic is there: together they have all
SETTINGS = {
    'rig': [*RIG, '-p', 'depth_topic:=/{camera}/depth'],
    'pair': [*RIG, '-p', 'views:=[pair]', '-p', 'pair.baseline:=0.06'],
    'tf': [*TF, '-p', 'depth_topic:=/{camera}/depth/compressedDepth'],
}


def test_the_page_is_current():
    assert (ROOT / 'docs' / 'interface.md').read_text() == interface.page(), f'run {AGAIN}'


def test_every_parameter_has_one_row():
    rows = re.findall(r'^\| `([\w.{}]+)` \| (?:bool|integer|double|string)', interface.page(),
                      re.M)
    expected = [*params.parameters(), *params.view_parameters('{view}')]
    assert rows == [parameter.name for parameter in expected]
    assert len(set(rows)) == len(rows) > 50


@pytest.fixture(scope='module')
def graph(ros):
    """Topics in, topics out and services of nodes, by name; those of every node left out."""
    from rclpy.node import Node

    from igs_ros.node.reconstruct import ReconstructNode
    plain = Node('plain')
    usual = {one.topic_name for one in plain.publishers}
    found = {'in': {}, 'out': {}, 'services': {}}
    for arguments in SETTINGS.values():
        node = ReconstructNode(cli_args=['--ros-args', *arguments])
        try:
            node.start()
            for kind, endpoints in ('in', node.subscriptions), ('out', node.publishers):
                found[kind].update({named(one.topic_name): one for one in endpoints
                                    if one.topic_name not in usual})
            found['services'].update({
                named(one.service_name): one for one in node.services
                if one.service_name.replace('/igs/', '/plain/')
                not in {service.service_name for service in plain.services}})
        finally:
            node.close()
            node.destroy_node()
    plain.destroy_node()
    return found


def named(topic):
    """A topic of a node as the page has it."""
    for pattern, name in ((r'^/cam\d\d/', '{camera}/'), (r'^/igs/view/', '~/{view}/'),
                          (r'^/igs/pair/(left/|right/)?', '~/{view}/'), (r'^/igs/', '~/')):
        topic = re.sub(pattern, name, topic)
    return topic


def kind_of(cls):
    return '/'.join([cls.__module__.split('.')[0], cls.__module__.split('.')[1], cls.__name__])


def described(endpoint):
    """What the page says of a publisher or subscription."""
    qos = endpoint.qos_profile
    return (kind_of(endpoint.msg_type), qos.reliability.name.lower(), qos.history.name.lower(),
            qos.durability.name.lower(), qos.depth)


def documented(topics):
    return {one.name: (one.kind, 'reliable', 'keep_last',
                       'transient_local' if one.transient else 'volatile', one.depth)
            for one in topics}


@pytest.mark.parametrize(('direction', 'topics'), [('in', interface.IN), ('out', interface.OUT)])
def test_topics_are_those_of_the_node(graph, direction, topics):
    assert len({one.name for one in topics}) == len(topics)
    found = {name: described(one) for name, one in graph[direction].items()}
    rows = documented(topics)
    if '~/splats' not in found:  # where gsplat_msgs is not installed
        rows.pop('~/splats', None)
    if '/tf' not in found:  # where tf2_msgs is not installed
        rows = {name: row for name, row in rows.items() if 'TFMessage' not in row[0]}
    assert found == rows, f'change {interface.__file__}, then run {AGAIN}'


def test_services_are_those_of_the_node(graph):
    found = {name: kind_of(one.srv_type) for name, one in graph['services'].items()}
    assert found == {one.name: one.kind for one in interface.SERVICES}
