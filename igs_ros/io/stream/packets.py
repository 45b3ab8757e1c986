# SPDX-License-Identifier: Apache-2.0
"""Packets: a small header, byte strings with their lengths, and a checksum over all of it.

docs/stream_format.md, part 2.
"""
from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from igs_ros.core.errors import InputError
from igs_ros.io.stream.lattice import QUALITIES

VERSION = 1
_HEADER = struct.Struct('<2sBBBBI')  # magic, version, kind, quality, SH degree, Gaussians
_MAGIC = b'GS'
_CHECKSUM = struct.Struct('<I')


class Kind(IntEnum):
    """What a packet is; the values are those of SceneStream.msg."""

    INTRA = 1  # everything: joins and seeks
    KEY = 2  # a key against the key before
    UPDATE = 3  # against its key, or (chained) against the update before


@dataclass(frozen=True, eq=False)
class Packet:
    """One packet, taken apart."""

    kind: Kind
    quality: int  # of `QUALITIES`
    degree: int  # of the spherical harmonics
    count: int  # Gaussians behind it
    parts: list[np.ndarray]  # uint8


def packed(kind: Kind, quality: int, degree: int, count: int, parts: Sequence[bytes]) -> bytes:
    """The bytes of a packet.

    Args:
        kind: what it is.
        quality: of `QUALITIES`.
        degree: of the spherical harmonics, 0..3.
        count: Gaussians that the scene has behind it.
        parts: what the coders made.
    """
    out = bytearray(_HEADER.pack(_MAGIC, VERSION, kind, quality, degree, count))
    for part in parts:
        length = len(part)
        while length > 127:
            out.append(length & 127 | 128)
            length >>= 7
        out.append(length)
        out += part
    return bytes(out + _CHECKSUM.pack(zlib.crc32(out)))


def unpacked(data: bytes | np.ndarray | memoryview, max_gaussians: int) -> Packet:
    """The parts of a packet.

    Args:
        data: what came.
        max_gaussians: more in a header are refused.

    Raises:
        InputError: it is cut, damaged, foreign, of another version or too large.
    """
    data = bytes(data)
    if len(data) < _HEADER.size + _CHECKSUM.size:
        raise InputError(f'a scene packet of {len(data)} bytes; expected at least '
                         f'{_HEADER.size + _CHECKSUM.size}. It was cut: wait for the next.')
    magic, version, kind, quality, degree, count = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise InputError(f'a scene packet that begins with {data[:2].hex()}; expected '
                         f'{_MAGIC.hex()}. Is this a topic or file of igs_ros?')
    if version != VERSION:
        raise InputError(f'a scene packet of version {version}; this igs_ros reads version '
                         f'{VERSION}. Use the same igs_ros on both sides.')
    body = len(data) - _CHECKSUM.size
    if zlib.crc32(data[:body]) != _CHECKSUM.unpack_from(data, body)[0]:
        raise InputError(f'a scene packet of {len(data)} bytes whose checksum is wrong; expected '
                         f'the bytes that were sent. It was damaged on its way: wait for the '
                         f'next.')
    if kind not in list(Kind) or quality not in QUALITIES or degree > 3:
        raise InputError(f'a scene packet of kind {kind}, quality {quality}, SH degree {degree}; '
                         f'expected 1..3, 0..{QUALITIES[-1]}, 0..3.')
    if count > max_gaussians:
        raise InputError(f'a scene packet of {count} Gaussians; expected at most '
                         f'{max_gaussians}. Raise the limit if you trust the sender.')
    return Packet(Kind(kind), quality, degree, count, _parts(data, body))


def _parts(data: bytes, end: int) -> list[np.ndarray]:
    at, parts = _HEADER.size, []
    whole = np.frombuffer(data, np.uint8)
    while at < end:
        length = shift = 0
        while True:
            if at == end or shift > 28:
                raise InputError('a scene packet whose parts do not fit in it; expected lengths '
                                 'that do. It is not from an igs_ros.')
            byte = data[at]
            at += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if length > end - at:
            raise InputError(f'a scene packet with a part of {length} bytes where {end - at} are '
                             f'left; expected fewer. It is not from an igs_ros.')
        parts.append(whole[at:at + length])
        at += length
    return parts
