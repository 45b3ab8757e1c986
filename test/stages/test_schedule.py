# SPDX-License-Identifier: Apache-2.0
"""The key schedule: by interval, or written out."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igs_ros.core.errors import InputError
from igs_ros.core.frames import FrameSet
from igs_ros.stages.plausibility import Change
from igs_ros.stages.schedule import KeySchedule


def keys(schedule, last=20):
    return [number for number in range(1, last + 1) if schedule.due(number)]


def test_every_so_many():
    assert keys(KeySchedule(5)) == [5, 10, 15, 20]
    assert keys(KeySchedule(1), 3) == [1, 2, 3]
    assert keys(KeySchedule(0)) == []


@given(st.sets(st.integers(1, 20), min_size=1), st.sampled_from([' ', ',', ', ']))
def test_a_written_schedule_wins(numbers, between):
    assert keys(KeySchedule(5, between.join(map(str, numbers)))) == sorted(numbers)


@pytest.mark.parametrize('text', ['0', '-1', '5 x', '1.5', '3:5'])
def test_other_texts_are_refused(text):
    with pytest.raises(InputError, match=f"key_frames '{text}': expected numbers"):
        KeySchedule(5, text)


def gray(level, right=None):
    """A set of one picture; `right`: level of its right half, if that is another one."""
    image = np.full((40, 80, 3), level, np.uint8)
    image[:, 40:] = level if right is None else right
    return FrameSet(0, {'a': image})


@pytest.mark.parametrize('share, after, expected', [
    (0.0, gray(200), False),  # off
    (0.99, gray(200), True), (1.0, gray(200), False),  # more than that share
    (0.45, gray(100, 200), True), (0.55, gray(100, 200), False),
    (0.01, gray(107), False), (0.01, gray(109), True)])
def test_a_key_comes_at_once_when_more_than_a_share_of_the_pixels_changed(share, after, expected):
    assert KeySchedule(0, early=share).sudden(after, gray(100)) == expected


@pytest.mark.parametrize('interval, explicit, expected', [
    (5, '', True), (1, '', True), (0, '3', True), (0, '', False)])
@pytest.mark.parametrize('change', [Change.RESUMED, Change.NEW, Change.BACK])
def test_after_a_hold_a_key_comes_unless_there_are_to_be_none(interval, explicit, expected,
                                                             change):
    schedule = KeySchedule(interval, explicit)
    assert schedule.sudden(gray(100), gray(100), change) == expected
    assert not schedule.sudden(gray(100), gray(100))
