# SPDX-License-Identifier: Apache-2.0
"""Tables of integers through the range coder: each number's context is what stands around it.

Rows are Gaussians in coding order; `near` [M, K] int32 are rows before, -1 = none (near.py).
docs/stream_format.md, part 5.
"""
from __future__ import annotations

import numpy as np

from igs_ros.core.jit import njit
from igs_ros.io.stream.range_coder import (
    BAD,
    CONTEXTS,
    MOST_BYTES,
    decode_bit,
    decode_int,
    decoder,
    encode_bit,
    encode_int,
    encoder,
    finished,
    probabilities,
)

_CLASSES = 6  # of the magnitudes of the neighbors
MAX_MAGNITUDE = (1 << 20) - 1  # of a number in a table
_MAX_TREE = 8  # bits of a number in `encode_trees`


@njit(cache=True, nogil=True, inline='always')
def _class(total, count):
    """Of `count` neighbors with magnitudes that sum up to `total`."""
    if count == 0:
        return 3
    if total == 0:
        return 0
    twice = (2 * total) // count
    if twice < 1:
        return 1
    if twice < 2:
        return 2
    if twice < 5:
        return 3
    return 4 if twice < 12 else 5


@njit(cache=True, nogil=True, inline='always')
def _base(table, near, row, column):
    total = count = 0
    for place in range(near.shape[1]):
        other = near[row, place]
        if other >= 0:
            total += abs(table[other, column])
            count += 1
    before = 0
    if column > 0:
        before = 2 if table[row, column - 1] else 1
    return ((column * _CLASSES + _class(total, count)) * 3 + before) * CONTEXTS


@njit(cache=True, nogil=True)
def encode_table(table: np.ndarray, near: np.ndarray) -> np.ndarray:
    """[M, D] int32, magnitudes up to MAX_MAGNITUDE -> bytes."""
    rows, columns = table.shape
    odds = probabilities(columns * _CLASSES * 3 * CONTEXTS)
    out = np.empty(rows * columns * MOST_BYTES + 64, np.uint8)
    state = encoder()
    for row in range(rows):
        for column in range(columns):
            encode_int(state, out, odds, _base(table, near, row, column), table[row, column])
    return finished(state, out)


@njit(cache=True, nogil=True)
def decode_table(data: np.ndarray, near: np.ndarray, columns: int) -> tuple[np.ndarray, bool]:
    """The inverse of `encode_table`, and whether the bytes can be one.

    Args:
        data: uint8.
        near: [M, K] int32 rows before, -1 = none.
        columns: D.
    """
    rows = len(near)
    table = np.zeros((rows, columns), np.int32)
    odds = probabilities(columns * _CLASSES * 3 * CONTEXTS)
    state = decoder(data)
    for row in range(rows):
        for column in range(columns):
            table[row, column] = decode_int(state, data, odds, _base(table, near, row, column))
        if state[BAD]:
            break
    return table, state[BAD] == 0


@njit(cache=True, nogil=True, inline='always')
def _flag_context(flags, near, before, last, row):
    total = count = 0
    for place in range(near.shape[1]):
        other = near[row, place]
        if other >= 0:
            total += flags[other]
            count += 1
    return (((count * (near.shape[1] + 1) + total) * 3) + before[row]) * 2 + last


@njit(cache=True, nogil=True)
def encode_flags(flags: np.ndarray, near: np.ndarray, before: np.ndarray) -> np.ndarray:
    """[M] flags -> bytes.

    Args:
        flags: [M] uint8 of 0 and 1.
        near: [M, K] int32 rows before, -1 = none.
        before: [M] uint8 what they were last time, 2 = nobody knows.
    """
    odds = probabilities((near.shape[1] + 1) ** 2 * 6)
    out = np.empty(len(flags) * 2 + 64, np.uint8)
    state = encoder()
    last = 0
    for row in range(len(flags)):
        encode_bit(state, out, odds, _flag_context(flags, near, before, last, row), flags[row])
        last = flags[row]
    return finished(state, out)


@njit(cache=True, nogil=True)
def decode_flags(data: np.ndarray, near: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The inverse of `encode_flags`.

    Args:
        data: uint8.
        near: [M, K] int32 rows before, -1 = none.
        before: [M] uint8 as the encoder has it.
    """
    odds = probabilities((near.shape[1] + 1) ** 2 * 6)
    flags = np.zeros(len(near), np.uint8)
    state = decoder(data)
    last = 0
    for row in range(len(near)):
        flags[row] = decode_bit(state, data, odds, _flag_context(flags, near, before, last, row))
        last = flags[row]
    return flags


@njit(cache=True, nogil=True)
def encode_trees(table: np.ndarray, bits: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Numbers of a few bits each, highest first -> bytes.

    Args:
        table: [M, D] numbers.
        bits: [M, D] of each, 0..8.
        kinds: [M] 0 or 1, their contexts.
    """
    rows, columns = table.shape
    odds = probabilities(2 * columns * (_MAX_TREE + 1) * 256)
    out = np.empty(rows * columns * 10 + 64, np.uint8)
    state = encoder()
    for row in range(rows):
        for column in range(columns):
            count = bits[row, column]
            base = ((kinds[row] * columns + column) * (_MAX_TREE + 1) + count) * 256
            node = 1
            for place in range(count - 1, -1, -1):
                bit = (table[row, column] >> place) & 1
                encode_bit(state, out, odds, base + node, bit)
                node = 2 * node + bit
    return finished(state, out)


@njit(cache=True, nogil=True)
def decode_trees(data: np.ndarray, bits: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """The inverse of `encode_trees`.

    Args:
        data: uint8.
        bits: [M, D] of each number, 0..8.
        kinds: [M] 0 or 1.
    """
    rows, columns = bits.shape
    odds = probabilities(2 * columns * (_MAX_TREE + 1) * 256)
    table = np.zeros((rows, columns), np.int32)
    state = decoder(data)
    for row in range(rows):
        for column in range(columns):
            count = bits[row, column]
            base = ((kinds[row] * columns + column) * (_MAX_TREE + 1) + count) * 256
            node = 1
            for _ in range(count):
                node = 2 * node + decode_bit(state, data, odds, base + node)
            table[row, column] = node - (1 << count)
    return table
