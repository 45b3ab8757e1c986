# SPDX-License-Identifier: Apache-2.0
"""~/splats: the bytes that a subscriber gets are the scene; nothing is made for nobody, or twice.

A message of another type stands in for gsplat_msgs where that is not installed: who subscribes to
raw bytes gets what was published.
"""
import importlib.util
import sys
from types import SimpleNamespace

import pytest
import torch

from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import first_snapshot
from igs_ros.io.codec.splat_array import SPLAT_ARRAY_FIELDS, SPLAT_FIELDS, splat_array_bytes

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from std_msgs.msg import UInt8MultiArray  # noqa: E402

from igs_ros.node import outputs, splats  # noqa: E402
from igs_ros.node.params import NodeConfig  # noqa: E402

LATCHED = outputs.newest(outputs.DurabilityPolicy.TRANSIENT_LOCAL)
INSTALLED = importlib.util.find_spec('gsplat_msgs') is not None


def scene(seed=0):
    random = torch.Generator().manual_seed(seed)
    quats = torch.nn.functional.normalize(torch.randn((20, 4), generator=random), dim=1)
    return GaussianScene(torch.rand((20, 3), generator=random), quats, torch.full((20, 3), 0.1),
                         torch.full((20,), 0.9), torch.rand((20, 4, 3), generator=random))


class Held:
    def __init__(self):
        self.newest = None

    def snapshot(self):
        return self.newest


@pytest.fixture
def node(ros):
    made = ros.create_node('igs')
    yield made
    made.destroy_node()


def test_the_newest_scene_is_published_to_whoever_listens(node, listener, monkeypatch):
    made = splats.SplatOutput(node, NodeConfig(world_frame='lab'), UInt8MultiArray)
    written = []
    monkeypatch.setattr(splats, 'splat_array_bytes', lambda *arguments: written.append(
        splat_array_bytes(*arguments)) or written[-1])
    held = Held()
    assert made._run_once() == 1.0
    made.begin(held)
    assert made._run_once() == 1.0
    held.newest = first_snapshot(scene(), 10)
    assert made._run_once() == 1.0 and not written  # nobody listens

    got = []
    listener.node.create_subscription(UInt8MultiArray, '/igs/splats', got.append, LATCHED,
                                      raw=True)
    assert listener.until(lambda: made._run_once() and got)
    assert got == written == [splat_array_bytes(scene(), 10, 'lab')]
    held.newest = first_snapshot(scene(1), 20)
    assert listener.until(lambda: made._run_once() and len(got) == 2)
    assert got[1] == written[1] == splat_array_bytes(scene(1), 20, 'lab')
    made._run_once()
    listener.spin(0.1)
    assert len(got) == len(written) == 2  # nothing new


def test_only_where_it_is_installed(node, monkeypatch):
    monkeypatch.setitem(sys.modules, 'gsplat_msgs.msg', None)
    assert splats.splat_output(node, NodeConfig()) is None


@pytest.mark.parametrize('changed', ['splats', 'opacity'])
def test_another_definition_is_refused(node, monkeypatch, changed):
    said = []
    monkeypatch.setattr(node.get_logger(), 'warning', said.append)
    of_array, of_splat = dict(SPLAT_ARRAY_FIELDS), dict(SPLAT_FIELDS)
    (of_array if changed in of_array else of_splat)[changed] = 'float'
    messages = SimpleNamespace(**{
        name: SimpleNamespace(get_fields_and_field_types=lambda fields=fields: fields)
        for name, fields in (('SplatArray', of_array), ('Splat', of_splat))})
    monkeypatch.setitem(sys.modules, 'gsplat_msgs.msg', messages)
    assert splats.splat_output(node, NodeConfig()) is None
    assert len(said) == 1 and '~/splats is not published' in said[0] and 'float' in said[0]


@pytest.mark.skipif(not INSTALLED, reason='gsplat_msgs is not installed (no wheel)')
def test_ros_reads_what_is_published(node, listener):
    from gsplat_msgs.msg import SplatArray
    made, held = splats.splat_output(node, NodeConfig()), Held()
    made.begin(held)
    held.newest = first_snapshot(scene(), 5_000_000_007)
    got = listener.collect(SplatArray, '/igs/splats', LATCHED)
    assert listener.until(lambda: made._run_once() and got)
    assert len(got[0].splats) == 20
    for splat, mean, harmonics in zip(got[0].splats, scene().means, scene().sh, strict=True):
        head, place = splat.pose.header, splat.pose.pose.pose.position
        assert (head.stamp.sec, head.stamp.nanosec, head.frame_id) == (5, 7, 'map')
        assert [place.x, place.y, place.z] == mean.double().tolist()
        assert (splat.opacity, splat.harmonics_deg) == (230, 1)
        assert splat.pose.pose.covariance[0] == pytest.approx(0.01)
        assert splat.spherical_harmonics.tolist() == harmonics.reshape(-1).tolist()
