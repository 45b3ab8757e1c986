# SPDX-License-Identifier: Apache-2.0
"""The range coder and what is built on it: everything comes back, at the price of its entropy."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igs_ros.io.stream import near, octree, symbols

few = settings(max_examples=60, deadline=None)
numbers = st.one_of(st.integers(-3, 3), st.integers(-40, 40),
                    st.integers(-symbols.MAX_MAGNITUDE, symbols.MAX_MAGNITUDE))


def around(rows, seed=0):
    return near.nearest_before(np.random.default_rng(seed).integers(-999, 999, (rows, 3)))


@few
@given(st.lists(st.tuples(numbers, numbers), max_size=60), st.integers(0, 9))
def test_tables_come_back(rows, seed):
    table = np.array(rows, np.int32).reshape(len(rows), 2)
    data = symbols.encode_table(table, around(len(rows), seed))
    decoded, whole = symbols.decode_table(data, around(len(rows), seed), 2)
    assert whole and np.array_equal(decoded, table)


@few
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), max_size=200))
def test_flags_come_back(rows):
    flags, before = np.array(rows, np.uint8).reshape(len(rows), 2).T.copy()
    data = symbols.encode_flags(flags, around(len(rows)), before)
    assert np.array_equal(symbols.decode_flags(data, around(len(rows)), before), flags)


@few
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 255), st.integers(0, 1)),
                max_size=100))
def test_trees_come_back(rows):
    rows = np.array(rows, np.int64).reshape(len(rows), 3)
    bits = np.repeat(rows[:, :1], 3, 1)
    table = np.repeat(rows[:, 1:2], 3, 1) & ((1 << bits) - 1)
    data = symbols.encode_trees(table, bits, rows[:, 2].copy())
    assert np.array_equal(symbols.decode_trees(data, bits, rows[:, 2].copy()), table)


@pytest.mark.parametrize('chance', [0.01, 0.1, 0.5])
def test_bits_cost_their_entropy(chance):
    flags = (np.random.default_rng(0).random(60_000) < chance).astype(np.uint8)
    nobody = np.full((len(flags), 3), -1, np.int32)
    size = 8 * len(symbols.encode_flags(flags, nobody, np.full(len(flags), 2, np.uint8)))
    share = flags.mean()
    entropy = -len(flags) * (share * np.log2(share) + (1 - share) * np.log2(1 - share))
    assert 0.99 * entropy < size < 1.05 * entropy + 400


def test_numbers_cost_their_entropy():
    table = np.rint(np.random.default_rng(0).laplace(0, 2.0, (20_000, 3))).astype(np.int32)
    size = 8 * len(symbols.encode_table(table, np.full((len(table), 3), -1, np.int32)))
    counts = np.unique(table, return_counts=True)[1] / table.size
    entropy = -table.size * (counts * np.log2(counts)).sum()
    assert 0.99 * entropy < size < 1.05 * entropy


@few
@given(st.lists(st.tuples(*3 * [st.one_of(st.integers(0, 3),
                                          st.integers(0, 2 ** octree.BITS - 1))]), max_size=80))
def test_positions_come_back_in_morton_order(cells):
    cells = np.array(cells, np.int64).reshape(len(cells), 3)
    codes = np.sort(octree.morton(cells))
    assert np.array_equal(np.unique(octree.cells_of(codes), axis=0), np.unique(cells, axis=0))
    by_hand = sorted(sum((int(cell[axis]) >> bit & 1) << (3 * bit + axis)
                         for bit in range(octree.BITS) for axis in range(3)) for cell in cells)
    assert codes.tolist() == by_hand
    decoded, whole = octree.decode_octree(octree.encode_octree(codes), len(codes))
    assert not len(codes) or whole and np.array_equal(decoded, codes)


def test_an_octree_of_a_surface_costs_less_than_its_coordinates():
    rng = np.random.default_rng(0)
    flat = rng.integers(0, 512, (5000, 3))
    flat[:, 2] = flat[:, 0] // 2
    size = 8 * len(octree.encode_octree(np.sort(octree.morton(flat)))) / len(flat)
    assert 7 < size < 12  # 18 bits of two coordinates, less the log2(5000!) / 5000 of their order


def test_more_positions_than_were_said_are_refused():
    data = octree.encode_octree(np.sort(octree.morton(np.arange(90).reshape(30, 3) * 99)))
    assert not octree.decode_octree(data, 20)[1] and not octree.decode_octree(data, 31)[1]


def test_near_rows_are_the_nearest():
    rng = np.random.default_rng(3)
    positions, colors = rng.integers(-500, 500, (200, 3)), rng.integers(-90, 90, (200, 3))
    found, alike = near.nearest_before(positions), near.alike_before(positions, colors)
    for row in range(200):
        for got, window, weights in ((found[row], near.WINDOW, (1, 0)),
                                     (alike[row], near.ALIKE_WINDOW, (5, 1))):
            others = np.arange(max(0, row - window), row)
            apart = weights[0] * ((positions[others] - positions[row]) ** 2).sum(1) \
                + weights[1] * ((colors[others] - colors[row]) ** 2).sum(1)
            best = others[np.argsort(apart, kind='stable')][:len(got)]
            assert got[:len(best)].tolist() == best.tolist()
            assert (got[len(best):] == -1).all()
