# SPDX-License-Identifier: Apache-2.0
"""What is missing is said once when it begins and once when it ends; time is the test's own."""
from dataclasses import replace

import pytest

from igs_ros.live.camera_watch import CameraReport, CameraState

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from igs_ros.node.watchdog import Watchdog  # noqa: E402

NAN = float('nan')


def report(name, state=CameraState.OK, message=''):
    return CameraReport(name, f'/lab/{name}', state, message, 0.1, 30.0, 0.0, 9, 9, 0, 0, 0, '',
                        NAN)


class Watched:
    def __init__(self):
        self.now, self.ns, self.lines = 100.0, None, []
        self.reports = {name: report(name) for name in 'abc'}
        self.dog = Watchdog(self, 2.0, lambda: self.ns, lambda: self.now)

    def info(self, text):
        self.lines.append(('info', text))

    def warning(self, text):
        self.lines.append(('warning', text))

    def run(self, seconds, sets=True, ticks=False):
        """Half-second looks; what was logged meanwhile."""
        self.lines = []
        for _ in range(round(2 * seconds)):
            self.now += 0.5
            self.ns = None if self.ns is None else self.ns + 500_000_000 * ticks
            if sets:
                self.dog.set_came()
            self.dog.look(self.reports)
        return self.lines

    def set(self, name, state, message=''):
        self.reports[name] = replace(self.reports[name], state=state, message=message)


@pytest.fixture
def watched():
    return Watched()


def test_no_frame_set_is_said_again_and_again_ever_more_rarely(watched):
    watched.set('a', CameraState.REFUSED, '/lab/a: h264')
    times = []
    for _ in range(400):
        if watched.run(0.5, sets=False):
            times.append(watched.now - 100)
    assert times == [2.5, 12.5, 32.5, 72.5, 132.5, 192.5]
    assert "no frame set for 200 s: camera 'a': /lab/a: h264; camera 'b': last picture on " \
        '/lab/b 0.1 s ago;' in watched.dog.missing
    assert watched.run(1) == [('info', 'frame sets are coming again')]
    assert watched.dog.missing == ''
    assert len(watched.run(5, sets=False)) == 1  # the next time it is said at once


def test_a_silent_camera_is_said_once_and_its_return_once(watched):
    assert watched.run(3) == []
    watched.set('b', CameraState.SILENT, 'last picture on /lab/b 2.1 s ago, stamp 5.000')
    (severity, text), = watched.run(30)
    assert severity == 'warning' and text.startswith("camera 'b': last picture on /lab/b 2.1 s")
    assert 'frame sets go on without it' in text
    watched.set('b', CameraState.OK)
    assert watched.run(30) == [('info', "camera 'b' is back on /lab/b")]


def test_one_that_was_never_seen_is_not_back(watched):
    watched.set('c', CameraState.NEVER_SEEN, 'never a picture on /lab/c')
    assert [severity for severity, _ in watched.run(3)] == ['warning']
    watched.set('c', CameraState.OK)
    assert watched.run(3) == [('info', "camera 'c': first picture on /lab/c")]


def test_one_that_comes_before_anything_was_said_needs_no_line(watched):
    watched.set('c', CameraState.NEVER_SEEN, 'never a picture on /lab/c')
    assert watched.run(1.5, sets=False) == []
    watched.set('c', CameraState.OK)
    assert watched.run(5) == []


def test_a_clock_that_is_off_is_said(watched):
    watched.run(3)
    watched.set('a', CameraState.OUT_OF_TIME, '/lab/a: stamps 2.000 s ahead')
    assert watched.run(9) == [('warning', "camera 'a': /lab/a: stamps 2.000 s ahead.")]
    watched.set('a', CameraState.OK)
    assert watched.run(9) == [('info', "camera 'a': its pictures can be used again")]


def test_what_its_own_complaint_tells_is_not_told_twice(watched):
    for state in (CameraState.REFUSED, CameraState.UNDECODABLE, CameraState.IMPLAUSIBLE):
        watched.set('a', state, 'm')
        assert watched.run(3) == []
        watched.set('a', CameraState.OK)
        assert watched.run(3) == [('info', "camera 'a': its pictures can be used again")]


def test_a_fault_that_comes_and_goes_does_not_flood_the_log(watched):
    watched.run(3)
    lines = []
    for _ in range(60):
        watched.set('b', CameraState.SILENT, 'm')
        lines += watched.run(0.5)
        watched.set('b', CameraState.OK)
        lines += watched.run(0.5)
    assert len(lines) == 2 * 6  # of a minute


def test_without_a_clock_it_says_so(watched):
    watched.ns = 0
    watched.dog.look(watched.reports)
    assert watched.run(4) == []
    (severity, text), = watched.run(10)
    assert severity == 'warning' and 'use_sim_time is set, but nothing new' in text
    assert '/clock for 14 s' in watched.dog.clock
    assert watched.run(1, ticks=True) == [('info', 'the clock of the node goes on')]
    assert watched.dog.clock == '' and watched.run(30, ticks=True) == []
    assert len(watched.run(30)) == 1  # it stops


def test_the_systems_clock_is_not_watched(watched):
    assert watched.run(60) == [] and watched.dog.clock == ''
