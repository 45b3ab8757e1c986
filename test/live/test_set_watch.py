# SPDX-License-Identifier: Apache-2.0
"""Frame sets are counted, timed and their spread told."""
import math

import pytest

from igs_ros.core.frames import RawFrameSet
from igs_ros.live.set_watch import SetWatch


def test_frame_sets_are_counted_and_timed():
    now = [50.0]
    watch = SetWatch(lambda: now[0])
    report = watch.report()
    assert (report.complete, report.partial) == (0, 0)
    assert math.isnan(report.age_s) and math.isnan(report.rate_hz)
    for number in range(5):
        now[0] += 0.1
        watch.came(RawFrameSet(number, {}, ('b',) if number == 3 else (), 2_000_000 * number))
    now[0] += 0.25
    report = watch.report()
    assert (report.complete, report.partial) == (4, 1)
    assert report.age_s == pytest.approx(0.25) and report.rate_hz == pytest.approx(10)
    assert report.spread_mean_s == pytest.approx(0.004)
    assert report.spread_max_s == pytest.approx(0.008)


def test_rate_and_spread_are_of_the_newest():
    now = [50.0]
    watch = SetWatch(lambda: now[0])
    watch.came(RawFrameSet(0, {}, (), 900_000_000))
    assert math.isnan(watch.report().rate_hz)
    for _ in range(32):
        now[0] += 0.05
        watch.came(RawFrameSet(0, {}, (), 1_000_000))
    report = watch.report()
    assert report.rate_hz == pytest.approx(20) and report.spread_max_s == pytest.approx(0.001)
    assert report.complete == 33
