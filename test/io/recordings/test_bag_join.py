# SPDX-License-Identifier: Apache-2.0
"""Which pictures belong together, against all other ways to put them together."""
from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from igs_ros.io.recordings.bag_join import joined


def cost(sets, spread):
    return sum(spread + 1 + max(one.values()) - min(one.values()) for one in sets)


def best(pictures, spread):
    """The least cost of all partitions into sets of neighbors in time, tried one by one."""
    @cache
    def of(first):
        if first == len(pictures):
            return 0
        costs = []
        for last in range(first + 1, len(pictures) + 1):
            part = pictures[first:last]
            wide = part[-1][0] - part[0][0]
            if len({name for _, name in part}) == len(part) and wide <= spread:
                costs.append(spread + 1 + wide + of(last))
        return min(costs)
    return of(0)


@given(st.dictionaries(st.sampled_from('abcd'), st.lists(st.integers(0, 60), max_size=6)),
       st.integers(0, 25))
def test_no_other_way_costs_less(stamps, spread):
    sets = joined(stamps, spread)
    pictures = sorted((stamp, name) for name, own in stamps.items() for stamp in set(own))
    assert sorted((stamp, name) for one in sets for name, stamp in one.items()) == pictures
    assert all(max(one.values()) - min(one.values()) <= spread for one in sets)
    assert cost(sets, spread) == best(tuple(pictures), spread)
    assert [min(one.values()) for one in sets] == sorted(min(one.values()) for one in sets)


def test_a_lost_picture_costs_one_picture():
    period = 33
    stamps = {'a': range(0, 330, period), 'b': [t + 2 for t in range(0, 330, period) if t != 99]}
    sets = joined(stamps, 30)
    assert len(sets) == 10 and [one.get('b', 0) - one['a'] for one in sets] == [2] * 3 + [-99] \
        + [2] * 6


def test_cameras_that_run_freely_are_joined_with_their_nearest():
    """20 ms ahead of one picture is 13 ms behind the next one."""
    sets = joined({'a': range(0, 3300, 33), 'b': range(20, 3300, 33)}, 25)
    assert sum(one.get('a', 0) - one.get('b', 0) == 13 for one in sets) >= 98


def test_the_spread_is_a_bound():
    assert joined({'a': [0], 'b': [30]}, 30) == [{'a': 0, 'b': 30}]
    assert joined({'a': [0], 'b': [31]}, 30) == [{'a': 0}, {'b': 31}]
    assert joined({'a': [0], 'b': [0]}, 0) == [{'a': 0, 'b': 0}] and joined({}, 5) == []
