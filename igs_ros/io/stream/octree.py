# SPDX-License-Identifier: Apache-2.0
"""Positions on a grid as an octree: which of its eight octants of each node hold any.

Contexts are how many of the three faces that an octant touches border on a node that holds some,
which octant it is, and how many of its siblings do (docs/stream_format.md, part 6). The order of
the positions is lost: they come back in Morton order.
"""
from __future__ import annotations

import numpy as np

from igs_ros.core.jit import njit
from igs_ros.io.stream.range_coder import (
    decode_bit,
    decoder,
    encode_bit,
    encoder,
    finished,
    probabilities,
)

BITS = 21  # per axis: three of them are an int64
_DENSE = 8  # positions per node below which the contexts are others
_SAME = 8  # contexts of how many more lie in one cell


@njit(cache=True, nogil=True)
def _spread(value):
    value = value & 0x1FFFFF
    value = (value | (value << 32)) & 0x1F00000000FFFF
    value = (value | (value << 16)) & 0x1F0000FF0000FF
    value = (value | (value << 8)) & 0x100F00F00F00F00F
    value = (value | (value << 4)) & 0x10C30C30C30C30C3
    return (value | (value << 2)) & 0x1249249249249249


@njit(cache=True, nogil=True)
def _compact(code):
    code = code & 0x1249249249249249
    code = (code | (code >> 2)) & 0x10C30C30C30C30C3
    code = (code | (code >> 4)) & 0x100F00F00F00F00F
    code = (code | (code >> 8)) & 0x1F0000FF0000FF
    code = (code | (code >> 16)) & 0x1F00000000FFFF
    return (code | (code >> 32)) & 0x1FFFFF


@njit(cache=True, nogil=True)
def morton(cells: np.ndarray) -> np.ndarray:
    """[M] int64 Morton codes of cells [M, 3], 0 .. 2^21 - 1; x is the lowest bit."""
    codes = np.empty(len(cells), np.int64)
    for row in range(len(cells)):
        codes[row] = _spread(cells[row, 0]) | (_spread(cells[row, 1]) << 1) \
            | (_spread(cells[row, 2]) << 2)
    return codes


@njit(cache=True, nogil=True)
def cells_of(codes: np.ndarray) -> np.ndarray:
    """The inverse of `morton`: [M, 3] int64."""
    cells = np.empty((len(codes), 3), np.int64)
    for row in range(len(codes)):
        for axis in range(3):
            cells[row, axis] = _compact(codes[row] >> axis)
    return cells


@njit(cache=True, nogil=True)
def _holds(nodes, code):
    low, high = 0, len(nodes)
    while low < high:
        middle = (low + high) >> 1
        if nodes[middle] < code:
            low = middle + 1
        else:
            high = middle
    return low < len(nodes) and nodes[low] == code


@njit(cache=True, nogil=True)
def _faces(nodes, code, size):
    """Bits: -x, +x, -y, +y, -z, +z neighbors of a node that hold any."""
    faces = 0
    for axis in range(3):
        at = _compact(code >> axis)
        rest = code - (_spread(at) << axis)
        if at > 0 and _holds(nodes, rest | (_spread(at - 1) << axis)):
            faces |= 1 << (2 * axis)
        if at + 1 < size and _holds(nodes, rest | (_spread(at + 1) << axis)):
            faces |= 2 << (2 * axis)
    return faces


@njit(cache=True, nogil=True, inline='always')
def _context(deep, faces, octant, siblings):
    near = ((faces >> (octant & 1)) & 1) + ((faces >> (2 + ((octant >> 1) & 1))) & 1) \
        + ((faces >> (4 + ((octant >> 2) & 1))) & 1)
    return ((deep * 4 + near) * 8 + octant) * 4 + min(siblings, 3)


@njit(cache=True, nogil=True)
def encode_octree(codes: np.ndarray) -> np.ndarray:
    """Sorted Morton codes, equal ones allowed, of BITS per axis -> bytes."""
    count = len(codes)
    out = np.empty(count * (BITS * 10 + 12) + 64, np.uint8)  # at worst
    state = encoder()
    odds = probabilities(256)
    more = probabilities(_SAME)
    nodes = np.zeros(1, np.int64)
    for level in range(BITS):
        shift = 3 * (BITS - level - 1)
        children = np.empty(count, np.int64)
        found = 0
        for row in range(count):
            code = codes[row] >> shift
            if found == 0 or children[found - 1] != code:
                children[found] = code
                found += 1
        at = 0
        deep = 1 if _DENSE * len(nodes) > count else 0
        for node in nodes:
            held = 0
            while at < found and (children[at] >> 3) == node:
                held |= 1 << (children[at] & 7)
                at += 1
            faces = _faces(nodes, node, 1 << level)
            siblings = 0
            for octant in range(8):
                bit = (held >> octant) & 1
                if octant == 7 and siblings == 0:
                    break  # it must be this one
                encode_bit(state, out, odds, _context(deep, faces, octant, siblings), bit)
                siblings += bit
        nodes = children[:found].copy()
    row = 0
    while row < count:
        same = 1
        while row + same < count and codes[row + same] == codes[row]:
            encode_bit(state, out, more, min(same - 1, _SAME - 1), 1)
            same += 1
        encode_bit(state, out, more, min(same - 1, _SAME - 1), 0)
        row += same
    return finished(state, out)


@njit(cache=True, nogil=True)
def decode_octree(data: np.ndarray, count: int) -> tuple[np.ndarray, bool]:
    """The inverse of `encode_octree`, and whether the bytes can hold `count` positions."""
    state = decoder(data)
    odds = probabilities(256)
    more = probabilities(_SAME)
    nodes = np.zeros(1, np.int64)
    codes = np.empty(count, np.int64)
    for level in range(BITS):
        children = np.empty(count, np.int64)
        found = 0
        deep = 1 if _DENSE * len(nodes) > count else 0
        for node in nodes:
            faces = _faces(nodes, node, 1 << level)
            siblings = 0
            for octant in range(8):
                bit = 1
                if octant < 7 or siblings > 0:
                    bit = decode_bit(state, data, odds,
                                     _context(deep, faces, octant, siblings))
                if bit:
                    if found == count:
                        return codes, False
                    children[found] = (node << 3) | octant
                    found += 1
                siblings += bit
        nodes = children[:found].copy()
    filled = 0
    for node in nodes:
        same = 0
        while True:
            if filled == count:
                return codes, False
            codes[filled] = node
            filled += 1
            if decode_bit(state, data, more, min(same, _SAME - 1)) == 0:
                break
            same += 1
    return codes, filled == count
