# SPDX-License-Identifier: Apache-2.0
"""Depth joins the frame sets of the first scene: by stamp, of some cameras, and never for long."""
import re
import struct

import cv2
import numpy as np
import pytest

from igs_ros.core.errors import InputError
from igs_ros.core.frames import RawFrameSet, RawPicture

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402

from igs_ros.node import convert  # noqa: E402
from igs_ros.node.depths import Depths  # noqa: E402
from igs_ros.node.params import NodeConfig  # noqa: E402

MS = 1_000_000
SETTINGS = {'depth_topic': '/{camera}/depth', 'max_wait_s': 0.1, 'calibration_wait_s': 2.0,
            'queue_size': 3, 'max_spread_s': 0.01}


class Line:
    """A `Depths` of cameras a, b, c with a clock that stands still."""

    def __init__(self, ros, monkeypatch, **changes):
        self.node, self.now, self.wanted, self.sets = ros.create_node('igs_depths'), 0.0, True, []
        self.warned = []
        self.publishers = {'/a/depth'}
        monkeypatch.setattr(self.node, 'count_publishers', lambda topic: topic in self.publishers)
        monkeypatch.setattr(self.node.get_logger(), 'warning', self.warned.append)
        self.depths = Depths(self.node, NodeConfig(**{**SETTINGS, **changes}), 'abc',
                             self.sets.append, lambda: self.wanted, now=lambda: self.now)
        self.depths._warnings._warn = self.warned.append
        self.depths.start()

    def take(self, ms, cameras='abc', size=(4, 3)):
        picture = RawPicture(np.zeros((size[1], size[0], 3), np.uint8))
        self.depths.take(RawFrameSet(ms * MS, dict.fromkeys(cameras, picture)))

    def depth(self, name, ms, size=(4, 3), encoding='16UC1', value=1):
        message = Image(header=convert.header(ms * MS, ''), width=size[0], height=size[1],
                        encoding=encoding, step=2 * size[0])
        message.data.frombytes(np.full(size, value, '<u2').tobytes())
        self.depths._on_depth(name, message)

    def pass_s(self, seconds):
        self.now += seconds
        self.depths._release()

    def given(self):
        """Stamps in ms of the sets handed over, with the values in mm of their depths."""
        return [(s.stamp_ns // MS, {name: round(1000 * float(d.decode()[0, 0]))
                                    for name, d in s.depths.items()}) for s in self.sets]


@pytest.fixture
def line(ros, monkeypatch):
    made = Line(ros, monkeypatch)
    yield made
    made.node.destroy_node()


def test_the_depth_nearest_in_time_is_taken(line):
    for ms, value in ((96, 1), (101, 2), (106, 3)):
        line.depth('a', ms, value=value)
    line.take(100)
    assert line.given() == [(100, {'a': 2})]


@pytest.mark.parametrize('off_ms, joined', [(10, True), (11, False), (-10, True), (-11, False)])
def test_depth_of_another_instant_is_left_out(line, off_ms, joined):
    line.depth('a', 100 + off_ms)
    line.take(100)
    line.pass_s(0.1)
    assert line.given() == [(100, {'a': 1} if joined else {})]


def test_frame_sets_wait_for_the_depth_of_cameras_that_have_some(line):
    line.depth('a', 50)
    line.take(100)
    line.pass_s(0.09)
    assert not line.sets
    line.depth('a', 100)
    assert line.given() == [(100, {'a': 1})]
    line.take(133, 'bc')  # without the picture of a, nothing to wait for
    assert line.given()[1:] == [(133, {})]
    line.take(166)
    line.pass_s(0.11)  # and not for long
    assert line.given()[2:] == [(166, {})]
    line.take(200)
    line.depth('a', 233)  # what is later says that nothing comes any more
    assert line.given()[3:] == [(200, {})]


def test_the_first_depth_is_waited_for_then_said_once(line):
    for ms in (100, 133, 166, 200):
        line.take(ms)
        line.pass_s(0.4)
    assert not line.sets and line.depths.drops() == {'before_depth': 1}  # the newest three wait
    line.pass_s(0.5)
    assert [s.stamp_ns // MS for s in line.sets] == [133, 166, 200]
    line.take(233)
    line.pass_s(0.2)
    warned, = line.warned
    assert 'no depth within 2.1 s' in warned and '/a/depth, /b/depth, /c/depth' in warned
    assert len(line.sets) == 4


def test_depth_that_somebody_publishes_is_waited_for_as_the_first_one_is(line):
    line.publishers = {'/a/depth', '/b/depth'}
    line.depth('a', 100)
    line.take(100)
    line.pass_s(1.9)
    assert not line.sets  # b has a publisher; c has none
    line.depth('b', 100, value=9)
    assert line.given() == [(100, {'a': 1, 'b': 9})] and not line.warned


def test_after_the_first_scene_nothing_waits_and_nothing_is_subscribed_to(line):
    line.take(100)
    line.wanted = False
    line.take(133)
    assert line.given() == [(100, {}), (133, {})] and not line.depths._subscriptions
    line.wanted = True  # ~/reset: as at the start
    line.take(166)
    assert len(line.depths._subscriptions) == 3 and len(line.sets) == 2
    line.depth('a', 166)
    assert line.given()[2:] == [(166, {'a': 1})]


@pytest.mark.parametrize('changes, words', [
    ({'encoding': 'mono16'}, "^/a/depth: depth with encoding 'mono16'; expected 16UC1"),
    ({'ms': 0}, '^/a/depth: depth with stamp 0; expected the time of exposure'),
    ({'size': (3, 4)}, '^/a/depth: depth of 3x4 px; expected 4x3, registered to')])
def test_depth_that_cannot_be_used_is_one_line_and_costs_the_depth(line, changes, words):
    line.depth('a', **{'ms': 100, **changes})
    line.take(100)
    line.pass_s(2.1)
    assert line.given() == [(100, {})] and line.depths.drops() == {'bad_depth:a': 1}
    assert re.search(words, line.warned[0]), line.warned


def test_patterns_that_make_no_topics(ros, monkeypatch):
    with pytest.raises(InputError, match="parameter depth_topic: topic '/depth': expected {camer"):
        Line(ros, monkeypatch, depth_topic='/depth')


def test_it_comes_over_topics(ros, client):
    """Real publishers of both kinds; camera c has no depth."""
    for topic in ('/joined/{camera}/depth', '/joined/{camera}/compressedDepth'):
        sets = []
        depths = Depths(client.node, NodeConfig(**{**SETTINGS, 'depth_topic': topic}), 'ac',
                        sets.append, lambda: True)
        depths.start()
        head = convert.header(100 * MS, 'a')
        if topic.endswith('compressedDepth'):
            png = cv2.imencode('.png', np.full((3, 4), 1500, np.uint16))[1].tobytes()
            message = CompressedImage(header=head, format='16UC1; compressedDepth png')
            message.data.frombytes(struct.pack('<iff', 0, 0, 0) + png)
        else:
            message = convert.depth_message(np.full((3, 4), 1.5, np.float32), head)
        client.publish(topic.replace('{camera}', 'a'), message)
        picture = RawPicture(np.zeros((3, 4, 3), np.uint8))
        depths.take(RawFrameSet(100 * MS, {'a': picture, 'c': picture}))
        assert client.until(lambda: sets)  # noqa: B023
        assert list(sets[0].depths) == ['a']
        np.testing.assert_allclose(sets[0].depths['a'].decode(), np.full((3, 4), 1.5), 1e-6)
        depths._end()
