# SPDX-License-Identifier: Apache-2.0
"""Every camera that is silent, refused, undecodable, late or off in time is named."""
import math

import numpy as np
import pytest

from igs_ros.core.frames import Frame
from igs_ros.core.status import Decoding
from igs_ros.live.assemble import FrameSetAssembler
from igs_ros.live.camera_watch import CameraState, CameraWatch, Judged

NAMES = ('a', 'b', 'c', 'd')
P = 1 / 30


class Rig:
    """Four cameras into the assembler, beside the watch, in time that a test moves."""

    def __init__(self, limit_s=2.0):
        self.now = 1000.0
        self.watch = CameraWatch({name: f'/{name}/image' for name in NAMES}, limit_s,
                                 lambda: self.now)
        self.assembler = FrameSetAssembler(NAMES, 0.02, 0.1, 2, now=lambda: self.now)
        self.extra = {}  # of `Judged`

    def run(self, seconds, off=None, late=None, silent=(), refused=()):
        """Pictures of all cameras for `seconds`; a report every half second."""
        off, late = off or {}, late or {}
        events = sorted((self.now + k * P + 0.004 + late.get(name, 0), k, name, self.now + k * P)
                        for k in range(round(seconds / P)) for name in NAMES)
        for number, (arrival, _, name, exposed) in enumerate(events):
            self.now = arrival
            if name in silent:
                continue
            if name in refused:
                self.watch.refused(name, f'/{name}/image: h264')
                continue
            stamp_ns = round((exposed + off.get(name, 0)) * 1e9)
            self.watch.came(name, stamp_ns)
            self.assembler.add(Frame(name, stamp_ns, None))
            if number % 60 == 0:
                self.report()
        return self.report()

    def report(self):
        return self.watch.report(Judged(*self.assembler.fates(), **self.extra))


def states(reports):
    return {name: report.state for name, report in reports.items()
            if report.state != CameraState.OK}


def test_sound_cameras_are_sound():
    rig = Rig()
    assert states(rig.report()) == dict.fromkeys(NAMES, CameraState.NEVER_SEEN)
    reports = rig.run(5)
    assert states(reports) == {} and list(reports) == list(NAMES)
    one = reports['b']
    assert (one.topic, one.message, one.last_error) == ('/b/image', '', '')
    assert one.received == 150 and one.used >= 149 and (one.refused, one.unmatched) == (0, 0)
    assert one.rate_hz == pytest.approx(30, rel=0.02) and abs(one.offset_s) < 1e-3
    assert 0 <= one.age_s < 0.1 and math.isnan(one.last_error_age_s)


def test_a_camera_that_was_never_seen_and_one_that_fell_silent():
    rig = Rig()
    rig.run(3, silent='b')
    reports = rig.run(3, silent='bc')
    assert states(reports) == {'b': CameraState.NEVER_SEEN, 'c': CameraState.SILENT}
    assert reports['b'].message == 'never a picture on /b/image'
    assert math.isnan(reports['b'].age_s) and math.isnan(reports['b'].rate_hz)
    assert reports['c'].age_s == pytest.approx(3, abs=0.1)
    assert 'last picture on /c/image 3.0 s ago, stamp 100' in reports['c'].message
    assert math.isnan(reports['c'].offset_s)
    assert states(rig.run(1)) == {}


def test_one_that_comes_back_is_given_time_to_be_used():
    """Its first picture comes when nobody waits for it any more."""
    rig = Rig()
    rig.run(3)
    rig.run(3, silent='c')
    late = rig.now * 1e9 - 5e8
    rig.watch.came('c', round(late))
    rig.assembler.add(Frame('c', round(late), None))
    report = rig.report()['c']
    assert (report.state, report.unmatched) == (CameraState.OK, 1)


def test_refused_messages_are_a_fault_when_they_do_not_stop():
    rig = Rig()
    rig.run(1)
    rig.watch.refused('a', 'once')
    reports = rig.run(0.2)
    assert states(reports) == {}
    assert (reports['a'].refused, reports['a'].last_error) == (1, 'once')
    reports = rig.run(1, refused='a')
    assert states(reports) == {'a': CameraState.REFUSED}
    assert reports['a'].message == reports['a'].last_error == '/a/image: h264'
    assert reports['a'].refused == 31 and reports['a'].last_error_age_s < 0.1
    assert reports['a'].received == 30 + 6 + 31  # age and count go on
    reports = rig.run(1)
    assert states(reports) == {} and reports['a'].last_error == '/a/image: h264'
    assert reports['a'].last_error_age_s == pytest.approx(1, abs=0.1)


def test_pictures_that_cannot_be_decoded():
    rig = Rig()
    rig.run(3)
    rig.extra = {'decoding': {'c': Decoding(2, 2, 'broken', rig.now - 1)}}
    assert states(rig.report()) == {}
    rig.extra = {'decoding': {'c': Decoding(40, 3, 'broken', rig.now)}}
    reports = rig.report()
    assert states(reports) == {'c': CameraState.UNDECODABLE}
    assert (reports['c'].message, reports['c'].refused) == ('broken', 40)


@pytest.mark.parametrize('off', [2.0, -2.0, 0.03, -0.03])
def test_a_clock_that_is_off_is_named_with_its_offset(off):
    """Today's assembler joins 30 ms with the neighboring instant, and drops 2 s, in silence."""
    reports = Rig().run(5, off={'c': off})
    assert states(reports) == {'c': CameraState.OUT_OF_TIME}
    assert reports['c'].offset_s == pytest.approx(off, abs=0.002)
    side = 'ahead of' if off > 0 else 'behind'
    assert f'/c/image: stamps {abs(off):.3f} s {side}' in reports['c'].message
    assert all(abs(reports[name].offset_s) < 1e-3 for name in 'abd')
    if abs(off) > 1:
        assert reports['c'].unmatched > 100 and reports['c'].used < 5


def test_a_camera_whose_pictures_come_late_is_named():
    reports = Rig().run(5, late={'c': 0.5})
    assert states(reports) == {'c': CameraState.OUT_OF_TIME}
    assert 'its clock is off, or its pictures come late' in reports['c'].message
    assert reports['c'].offset_s == pytest.approx(-0.5, abs=0.01)


def test_stamps_that_agree_with_nobody_are_named_without_an_offset():
    """Too few pictures a second for an offset, and every one of them in vain."""
    rig = Rig()
    for _ in range(7):
        rig.now += 1.0
        for name in NAMES:
            stamp_ns = round((rig.now + (0.5 if name == 'd' else 0)) * 1e9)
            rig.watch.came(name, stamp_ns)
            rig.assembler.add(Frame(name, stamp_ns, None))
        rig.now += 0.2
        rig.assembler.poll()
        reports = rig.report()
    assert states(reports) == {'d': CameraState.OUT_OF_TIME}
    assert 'none of its pictures is used' in reports['d'].message
    assert 'max_spread_s' in reports['d'].message


def test_doubt_is_kept_as_the_last_error():
    reports = Rig().run(5, off={'c': P})
    assert states(reports) == {} and math.isnan(reports['c'].offset_s)
    assert 'cannot be told' in reports['c'].last_error


def test_what_is_not_believed_is_said():
    rig = Rig()
    rig.run(3)
    rig.extra = {'implausible': {'d': 'covered'}, 'not_believed': {'d': 7}}
    reports = rig.report()
    assert states(reports) == {'d': CameraState.IMPLAUSIBLE}
    assert (reports['d'].message, reports['d'].implausible) == ('covered', 7)
    rig.extra = {}
    rig.now += 1
    assert rig.report()['d'].last_error == 'covered'


def test_a_bag_that_loops_is_no_offset():
    rig = Rig()
    rig.run(5)
    assert states(rig.run(3, off=dict.fromkeys(NAMES, -60.0))) == {}


def test_memory_is_bounded():
    rig = Rig()
    rig.run(60)
    assert max(len(seen.pictures) for seen in rig.watch._seen.values()) <= 32
    assert np.isfinite([report.rate_hz for report in rig.report().values()]).all()


def test_jitter_is_the_deviation_of_the_steps_between_arrivals():
    """That of `ros2 topic hz`, which divides by the number of steps."""
    rig, steps = Rig(), [0.02, 0.05, 0.02, 0.07]
    for number, step in enumerate([0.0, *steps]):
        if number == 2:
            assert math.isnan(rig.report()['a'].jitter_s)
        rig.now += step
        rig.watch.came('a', round(rig.now * 1e9))
    rig.now += 0.5  # it is worked out twice a second
    mean = sum(steps) / 4
    expected = math.sqrt(sum((step - mean) ** 2 for step in steps) / 4)
    assert rig.report()['a'].jitter_s == pytest.approx(expected)
    assert math.isnan(rig.report()['b'].jitter_s)
    assert Rig().run(2)['a'].jitter_s < 1e-6
