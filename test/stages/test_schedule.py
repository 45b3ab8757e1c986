# SPDX-License-Identifier: Apache-2.0
"""The key schedule: by interval, or written out."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igs_ros.core.errors import InputError
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
