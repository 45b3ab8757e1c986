# SPDX-License-Identifier: Apache-2.0
"""An adaptive binary range coder, and signed integers through it; all in integers.

The coder is LZMA's (carry propagation, 32 bit range), with 16 bit probabilities that are the mean
of a fast and a slow estimate; docs/stream_format.md, part 4, states it bit by bit. Encoder and
decoder hold plain integers in a small array, so that numba compiles them into their callers.
"""
from __future__ import annotations

import numpy as np

from igs_ros.core.jit import njit

FAST, SLOW = 4, 7  # shifts: how quickly the two estimates of a probability follow
_BITS = 15  # of the probability that divides the range
_LEAST, _MOST = 32, 32736  # of 2^15: no bit costs more than 10
_TOP = 1 << 24
UNARY = 14  # magnitudes with a context each; larger ones are Exp-Golomb
_PREFIX = 20  # contexts of that prefix; a longer one is no number of ours
CONTEXTS = 2 + UNARY + _PREFIX  # of one signed integer: zero, sign, unary, prefix
MOST_BYTES = 48  # of one signed integer, at 10 bits for each of its own

LOW, RANGE, CACHE, PENDING, AT = range(5)  # of an encoder
CODE, SPAN, NEXT, BAD = range(4)  # of a decoder; BAD = 1: the bytes cannot be ours


@njit(cache=True, nogil=True)
def probabilities(count: int) -> np.ndarray:
    """[count, 2] int64: both estimates of each context, even."""
    made = np.empty((count, 2), np.int64)
    made[:] = 32768
    return made


@njit(cache=True, nogil=True)
def encoder() -> np.ndarray:
    """A new encoder: LOW, RANGE, CACHE, PENDING, AT."""
    state = np.zeros(5, np.int64)
    state[RANGE] = 0xFFFFFFFF
    state[PENDING] = 1
    return state


@njit(cache=True, nogil=True)
def _shift_out(state, out):
    if state[LOW] < 0xFF000000 or state[LOW] >= 0x100000000:
        carry = state[LOW] >> 32
        out[state[AT]] = (state[CACHE] + carry) & 0xFF
        state[AT] += 1
        for _ in range(state[PENDING] - 1):
            out[state[AT]] = (0xFF + carry) & 0xFF
            state[AT] += 1
        state[PENDING] = 0
        state[CACHE] = (state[LOW] >> 24) & 0xFF
    state[PENDING] += 1
    state[LOW] = (state[LOW] & 0x00FFFFFF) << 8


@njit(cache=True, nogil=True, inline='always')
def _bound(span, odds, context):
    chance = (odds[context, 0] + odds[context, 1]) >> 2
    return (span >> _BITS) * min(max(chance, _LEAST), _MOST)


@njit(cache=True, nogil=True, inline='always')
def _learn(odds, context, bit):
    if bit:
        odds[context, 0] -= odds[context, 0] >> FAST
        odds[context, 1] -= odds[context, 1] >> SLOW
    else:
        odds[context, 0] += (65535 - odds[context, 0]) >> FAST
        odds[context, 1] += (65535 - odds[context, 1]) >> SLOW


@njit(cache=True, nogil=True)
def encode_bit(state: np.ndarray, out: np.ndarray, odds: np.ndarray, context: int, bit: int
               ) -> None:
    """One bit, with the probability of its context.

    Args:
        state: of the encoder, changed in place.
        out: takes the bytes.
        odds: of all contexts, changed in place.
        context: of the bit.
        bit: 0 or 1.
    """
    bound = _bound(state[RANGE], odds, context)
    if bit == 0:
        state[RANGE] = bound
    else:
        state[LOW] += bound
        state[RANGE] -= bound
    _learn(odds, context, bit)
    while state[RANGE] < _TOP:
        state[RANGE] <<= 8
        _shift_out(state, out)


@njit(cache=True, nogil=True)
def encode_raw(state: np.ndarray, out: np.ndarray, value: int, bits: int) -> None:
    """`bits` bits of `value`, highest first, each as likely as not.

    Args:
        state: of the encoder, changed in place.
        out: takes the bytes.
        value: whose lowest bits they are.
        bits: how many.
    """
    for place in range(bits - 1, -1, -1):
        state[RANGE] >>= 1
        if (value >> place) & 1:
            state[LOW] += state[RANGE]
        while state[RANGE] < _TOP:
            state[RANGE] <<= 8
            _shift_out(state, out)


@njit(cache=True, nogil=True)
def encode_int(state: np.ndarray, out: np.ndarray, odds: np.ndarray, base: int, value: int
               ) -> None:
    """A signed integer below 2^20 in magnitude, with the CONTEXTS from `base` on.

    Args:
        state: of the encoder, changed in place.
        out: takes the bytes.
        odds: of all contexts, changed in place.
        base: first of its CONTEXTS contexts.
        value: below 2^20 in magnitude.
    """
    if value == 0:
        encode_bit(state, out, odds, base, 0)
        return
    encode_bit(state, out, odds, base, 1)
    encode_bit(state, out, odds, base + 1, 1 if value < 0 else 0)
    rest = abs(value) - 1
    for step in range(UNARY):
        if rest == step:
            encode_bit(state, out, odds, base + 2 + step, 0)
            return
        encode_bit(state, out, odds, base + 2 + step, 1)
    rest += 1 - UNARY
    length = 0
    while (rest >> (length + 1)) > 0:
        length += 1
    for step in range(length):
        encode_bit(state, out, odds, base + 2 + UNARY + step, 1)
    encode_bit(state, out, odds, base + 2 + UNARY + length, 0)
    encode_raw(state, out, rest & ((1 << length) - 1), length)


@njit(cache=True, nogil=True)
def finished(state: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The bytes: the roundest number of the interval, without the zeros that it ends in."""
    for bits in range(31, -1, -1):
        rounded = ((state[LOW] + state[RANGE] - 1) >> bits) << bits
        if rounded >= state[LOW]:
            state[LOW] = rounded
            break
    for _ in range(5):
        _shift_out(state, out)
    count = state[AT]
    while count > 1 and out[count - 1] == 0:
        count -= 1
    return out[1:count].copy()  # the first byte is what was pending before anything came: 0


@njit(cache=True, nogil=True)
def decoder(data: np.ndarray) -> np.ndarray:
    """A new decoder of `data` (uint8): CODE, SPAN, NEXT, BAD. Behind its end there are zeros."""
    state = np.zeros(4, np.int64)
    state[SPAN] = 0xFFFFFFFF
    for place in range(4):
        state[CODE] = (state[CODE] << 8) | (data[place] if place < len(data) else 0)
    state[NEXT] = 4
    return state


@njit(cache=True, nogil=True, inline='always')
def _shift_in(state, data):
    while state[SPAN] < _TOP:
        state[SPAN] <<= 8
        state[CODE] = (state[CODE] << 8) | (data[state[NEXT]] if state[NEXT] < len(data) else 0)
        state[NEXT] += 1


@njit(cache=True, nogil=True)
def decode_bit(state: np.ndarray, data: np.ndarray, odds: np.ndarray, context: int) -> int:
    """See `encode_bit`.

    Args:
        state: of the decoder, changed in place.
        data: uint8, what is decoded.
        odds: of all contexts, changed in place.
        context: of the bit.
    """
    bound = _bound(state[SPAN], odds, context)
    if state[CODE] < bound:
        state[SPAN] = bound
        bit = 0
    else:
        state[CODE] -= bound
        state[SPAN] -= bound
        bit = 1
    _learn(odds, context, bit)
    _shift_in(state, data)
    return bit


@njit(cache=True, nogil=True)
def decode_raw(state: np.ndarray, data: np.ndarray, bits: int) -> int:
    """See `encode_raw`.

    Args:
        state: of the decoder, changed in place.
        data: uint8, what is decoded.
        bits: how many.
    """
    value = 0
    for _ in range(bits):
        state[SPAN] >>= 1
        value <<= 1
        if state[CODE] >= state[SPAN]:
            state[CODE] -= state[SPAN]
            value |= 1
        _shift_in(state, data)
    return value


@njit(cache=True, nogil=True)
def decode_int(state: np.ndarray, data: np.ndarray, odds: np.ndarray, base: int) -> int:
    """See `encode_int`.

    Args:
        state: of the decoder, changed in place.
        data: uint8, what is decoded.
        odds: of all contexts, changed in place.
        base: first of its CONTEXTS contexts.
    """
    if decode_bit(state, data, odds, base) == 0:
        return 0
    negative = decode_bit(state, data, odds, base + 1)
    size = 0
    for step in range(UNARY):
        if decode_bit(state, data, odds, base + 2 + step) == 0:
            size = step + 1
            break
    if size == 0:
        length = 0
        while decode_bit(state, data, odds, base + 2 + UNARY + length) == 1:
            length += 1
            if length == _PREFIX:
                state[BAD] = 1
                return 0
        size = ((1 << length) | decode_raw(state, data, length)) + UNARY
    return -size if negative else size
