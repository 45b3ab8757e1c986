# SPDX-License-Identifier: Apache-2.0
"""Offsets of cameras whose true offset is known, through ways of random length."""
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igs_ros.live.offsets import LEAST, UNKNOWN, offsets

P = 1 / 30


def seen(count, off=None, way=None, *, phase=None, period=P, pictures=32, jitter=0.003, seed=0,
         rate=1.0):
    """Arrivals and stamps; off, way: s by camera; rate: of stamps to arrivals."""
    random = np.random.default_rng(seed)
    made = {}
    for i in range(count):
        exposed = np.arange(pictures) * period + (phase[i] if phase is not None else 0)
        arrivals = 100 + exposed / rate + 0.01 + (way or {}).get(i, 0) \
            + random.uniform(0, jitter, pictures)
        made[i] = np.sort(arrivals), 1.7e9 + exposed + (off or {}).get(i, 0)
    return made


def milliseconds(found):
    return [round(1e3 * found[i].seconds, 1) for i in sorted(found)]


@pytest.mark.parametrize('count', [3, 4, 7, 21])
@pytest.mark.parametrize('off', [2.0, -2.0, 0.2, 0.03, -0.03, 0.01, -0.004])
def test_one_clock_that_is_off_is_found_among_those_that_are_not(count, off):
    found = offsets(seen(count, {1: off}))
    assert found[1].seconds == pytest.approx(off, abs=0.002)
    assert all(abs(found[i].seconds) < 1e-3 for i in found if i != 1)


def test_several_cameras_that_are_off_are_all_found():
    found = offsets(seen(7, {0: 0.03, 3: -2.0, 5: 0.5}))
    assert np.allclose(milliseconds(found), [30, 0, 0, -2000, 0, 500, 0], atol=2)


def test_of_two_cameras_each_is_off_to_the_other():
    assert np.allclose(milliseconds(offsets(seen(2, {1: 2.0}))), [-2000, 2000], atol=2)
    assert milliseconds(offsets(seen(2, {1: 0.03}))) == [-30, 30]


def test_a_longer_way_is_no_offset():
    for way in (0.01, 0.02, -0.008):
        assert milliseconds(offsets(seen(4, way={2: way}))) == [0, 0, 0, 0]


@pytest.mark.parametrize('off, way', [(0.0, P), (0.03, 0.012), (-0.03, -0.012), (P, 0.0)])
def test_what_stamps_and_arrivals_leave_open_is_not_told(off, way):
    found = offsets(seen(4, {1: off}, {1: way}))
    assert math.isnan(found[1].seconds)
    assert 'ms' in found[1].doubt and 'cannot be told' in found[1].doubt
    assert milliseconds({i: found[i] for i in (0, 2, 3)}) == [0, 0, 0]


def test_cameras_that_run_freely_are_at_most_half_a_period_apart():
    found = offsets(seen(6, phase=np.arange(6) * P / 6))
    assert all(abs(found[i].seconds) <= P / 2 + 1e-6 for i in found)
    assert len(set(milliseconds(found))) == 6


def test_a_bag_at_half_its_rate_changes_nothing():
    found = offsets(seen(4, {1: 2.0}, rate=0.5))
    assert np.allclose(milliseconds(found), [0, 2000, 0, 0], atol=5)


def test_different_rates():
    slow = seen(1, {0: 0.0}, period=3 * P, pictures=20)
    fast = {name + 1: one for name, one in seen(3, {1: 2.0}, pictures=60).items()}
    assert np.allclose(milliseconds(offsets({**slow, **fast})), [0, 0, 2000, 0], atol=3)


def test_nothing_to_compare_with():
    assert offsets({}) == {}
    assert offsets(seen(1)) == {0: UNKNOWN}
    assert offsets(seen(4, pictures=LEAST - 1)) == dict.fromkeys(range(4), UNKNOWN)
    frozen = {i: (np.arange(20.0), np.full(20, 5.0)) for i in range(3)}  # always the same stamp
    assert offsets(frozen) == dict.fromkeys(range(3), UNKNOWN)


@given(st.integers(2, 6), st.integers(0, 2 ** 32 - 1), st.floats(0, 0.1))
def test_any_arrivals_give_finite_offsets_or_none(count, seed, jitter):
    random = np.random.default_rng(seed)
    given_ = {i: (np.sort(random.uniform(0, 1, n)), random.choice([0, 1e9, 2e9]) + random.uniform(
        0, 1 + jitter, n)) for i, n in enumerate(random.integers(0, 40, count))}
    found = offsets(given_)
    assert set(found) == set(given_)
    for offset in found.values():
        assert math.isfinite(offset.seconds) or math.isnan(offset.seconds)
