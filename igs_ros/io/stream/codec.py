# SPDX-License-Identifier: Apache-2.0
"""Encoder and decoder of a stream of scenes.

I packets are everything, K packets a key against the key before, P packets a scene against its key
(so that the newest alone is enough) or, chained, against the scene before.
"""
from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import numpy as np

from igs_ros.core.errors import InputError
from igs_ros.io.stream import inter, intra
from igs_ros.io.stream.coded import CodedScene, Frame, Values, joined, target_of, values_of
from igs_ros.io.stream.intra import Damaged
from igs_ros.io.stream.lattice import QUALITIES
from igs_ros.io.stream.packets import Kind, Packet, packed, unpacked
from igs_ros.io.stream.symbols import decode_flags, encode_flags

QUALITY = 20
MAX_GAUSSIANS = 1_000_000
_FRAME = struct.Struct('<4f')  # L, origin
_TERMS = (0, 9, 24, 45)  # numbers of SH beyond the first coefficient, by degree
_ATTRIBUTES = ('means', 'quats', 'scales', 'opacities', 'sh')


@dataclass(eq=False)
class _Sent:
    """A scene that the decoder holds, and what it came from."""

    scene: CodedScene
    rows: np.ndarray  # [N] of the engine's scene
    axes: np.ndarray  # [N, 3] of the engine's Gaussians
    values: Values  # the engine's scene


class SceneEncoder:
    """Scenes of one stream, in the order in which they come.

    Args:
        frame: where and how large the scene is; see `frame_for`.
        quality: 0 coarse .. 31 fine; 4 more halve the steps and cost some 30 % more bytes.
        chained: P packets are against the scene before, not against their key.
    """

    def __init__(self, frame: Frame, quality: int = QUALITY, chained: bool = False):
        assert quality in QUALITIES, quality
        self.frame = frame
        self._quality = quality
        self._chained = chained
        self._key: _Sent | None = None
        self._last: _Sent | None = None

    def intra(self, values: Values | None = None) -> bytes:
        """Everything.

        Args:
            values: a new first key; None = the key that was sent last, exactly as every receiver
                has it, for who joins now.
        """
        if values is not None:
            target = target_of(values, np.arange(len(values['means'])), self.frame)
            scene, rows, axes = intra.snapped(target, self._quality)
            self._key = self._last = _Sent(scene, rows, axes, values)
        assert self._key is not None, 'nothing has been sent'
        scene = self._key.scene
        parts = [_FRAME.pack(self.frame.length, *self.frame.origin),
                 *intra.encode_whole(scene, self._quality)]
        return packed(Kind.INTRA, self._quality, scene.degree, len(scene), parts)

    def key(self, values: Values, parents: np.ndarray) -> bytes:
        """A new key.

        Args:
            values: of the key, N Gaussians.
            parents: [N] int64 row of the key before that each comes from, -1 = newborn.
        """
        before = self._reference()
        first, survivor = _survivors(parents, len(before.rows))
        now = survivor[before.rows]  # rows of the new key, by coded row; -1 = dead
        alive = now >= 0
        parts = [_encode_alive(before.scene, alive)]
        kept = _Sent(before.scene.select(alive), before.rows[alive], before.axes[alive],
                     before.values)
        changed = _differ(kept.values, kept.rows, values, now[alive])
        rows = np.flatnonzero(changed)
        sent, scene, axes = inter.encode_change(
            kept.scene, rows, target_of(values, now[alive][rows], self.frame), kept.axes,
            self._quality, True)
        born = np.flatnonzero(~first)
        new, order, new_axes = intra.snapped(target_of(values, born, self.frame), self._quality)
        parts += [*sent, struct.pack('<I', len(born)), *intra.encode_whole(new, self._quality)]
        scene = joined(_settled(scene), new)
        order = np.concatenate([now[alive], born[order]]), np.concatenate([axes, new_axes])
        rows = intra.in_order(scene, self._quality)
        self._key = self._last = _Sent(scene.select(rows), order[0][rows], order[1][rows], values)
        return packed(Kind.KEY, self._quality, scene.degree, len(scene), parts)

    def update(self, values: Values, moved_rows: np.ndarray | None = None) -> bytes:
        """The key, moved.

        Args:
            values: the same rows as the key's.
            moved_rows: those that may differ from the key; None compares all.
        """
        assert self._key is not None, 'an update before any key'
        before = self._reference()
        if moved_rows is None or before is not self._key:
            changed = _differ(before.values, before.rows, values, before.rows)
        else:
            marked = np.zeros(len(before.rows), bool)
            marked[moved_rows] = True
            changed = marked[before.rows]
        rows = np.flatnonzero(changed)
        parts, scene, axes = inter.encode_change(
            before.scene, rows, target_of(values, before.rows[rows], self.frame),
            before.axes, self._quality, False)
        self._last = replace(before, scene=scene, axes=axes, values=values)
        return packed(Kind.UPDATE, self._quality, scene.degree, len(scene), parts)

    def decoded(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """What receivers show now, float32, and [N] the engine's rows."""
        assert self._last is not None, 'nothing has been sent'
        return values_of(self._last.scene, self.frame), self._last.rows

    def _reference(self) -> _Sent:
        reference = self._last if self._chained else self._key
        assert reference is not None, 'a key before any intra packet'
        return reference


class SceneDecoder:
    """The receiver's side; a packet that it refuses leaves what it holds as it was.

    Args:
        chained: as the encoder has it.
        max_gaussians: more are refused before any memory is asked for.
    """

    def __init__(self, chained: bool = False, max_gaussians: int = MAX_GAUSSIANS):
        self._chained = chained
        self._max_gaussians = max_gaussians
        self._frame: Frame | None = None
        self._quality = QUALITY
        self._key: CodedScene | None = None
        self._last: CodedScene | None = None

    def take(self, data: bytes | np.ndarray | memoryview) -> Kind:
        """Decode one packet.

        Args:
            data: the packet. A K needs the key before, a P its key: who keeps count of sequences
                sees to that.

        Raises:
            InputError: it is cut, damaged, foreign or too large, or does not follow from what is
                held.
        """
        packet = unpacked(data, self._max_gaussians)
        try:
            if packet.kind is Kind.INTRA:
                self._take_intra(packet)
            elif self._key is None or self._last is None:
                raise InputError(f'a scene packet of kind {packet.kind.name} before any of kind '
                                 f'INTRA; expected that first. Wait for it.')
            elif packet.quality != self._quality or packet.degree != self._key.degree:
                raise InputError(
                    f'a scene packet of quality {packet.quality} and SH degree {packet.degree}; '
                    f'expected {self._quality} and {self._key.degree}, as the key has. Is it of '
                    f'another stream?')
            elif packet.kind is Kind.KEY:
                self._key = self._last = self._keyed(packet, self._reference())
            else:
                _expect(len(packet.parts) == inter.PARTS)
                _expect(packet.count == len(self._key))
                self._last = inter.decode_change(packet.parts, self._reference(),
                                                 self._quality, False)
        except Damaged as error:
            raise InputError(f'a scene packet of kind {packet.kind.name} that does not follow '
                             f'from what is held ({error}); expected the one behind the key '
                             f'held. Wait for the next INTRA.') from error
        return packet.kind

    @property
    def scene(self) -> dict[str, np.ndarray] | None:
        """What to show: float32, by the names of `igs_ros.core.scene`; None before the first."""
        if self._last is None or self._frame is None:
            return None
        return values_of(self._last, self._frame)

    def _reference(self) -> CodedScene:
        reference = self._last if self._chained else self._key
        assert reference is not None
        return reference

    def _take_intra(self, packet: Packet) -> None:
        _expect(len(packet.parts) == 1 + intra.PARTS and len(packet.parts[0]) == _FRAME.size)
        length, x, y, z = _FRAME.unpack(packet.parts[0].tobytes())
        _expect(bool(np.isfinite([length, x, y, z]).all()) and length > 0)
        scene = intra.decode_whole(packet.parts[1:], packet.count, _TERMS[packet.degree],
                                   packet.quality)
        self._frame, self._quality = Frame(length, (x, y, z)), packet.quality
        self._key = self._last = scene

    def _keyed(self, packet: Packet, before: CodedScene) -> CodedScene:
        parts = packet.parts
        _expect(len(parts) == 2 + inter.PARTS + intra.PARTS and len(parts[1 + inter.PARTS]) == 4)
        alive = decode_flags(parts[0], before.near, np.full(len(before), 2, np.uint8))
        born, = struct.unpack('<I', parts[1 + inter.PARTS].tobytes())
        kept = before.select(alive.astype(bool))
        _expect(packet.count == len(kept) + born)
        scene = inter.decode_change(parts[1:1 + inter.PARTS], kept, self._quality, True)
        new = intra.decode_whole(parts[2 + inter.PARTS:], born, _TERMS[packet.degree],
                                 self._quality)
        scene = joined(_settled(scene), new)
        return scene.select(intra.in_order(scene, self._quality))


def frame_for(values: Values, pixel: float) -> Frame:
    """A frame for a scene.

    Args:
        values: of its first key.
        pixel: m that one picture element of a working image covers at the scene, the median over
            cameras and Gaussians.
    """
    middle = np.median(values['means'], 0) if len(values['means']) else np.zeros(3)
    x, y, z = middle.astype(np.float32).tolist()
    return Frame(float(np.float32(100 * pixel)), (x, y, z))


def _expect(holds: bool) -> None:
    if not holds:
        raise Damaged('parts')


def _encode_alive(scene: CodedScene, alive: np.ndarray) -> bytes:
    unknown = np.full(len(alive), 2, np.uint8)
    return encode_flags(alive.astype(np.uint8), scene.near, unknown).tobytes()


def _settled(scene: CodedScene) -> CodedScene:
    """A key as a joiner has it: nobody knows what moved before it."""
    unknown = np.full(len(scene), 2, np.uint8)
    return replace(scene, moved=unknown, changed=unknown.copy())


def _survivors(parents: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """[N] bool: the first of each parent's children; [count] their rows by parent, -1 = none."""
    first = np.zeros(len(parents), bool)
    first[np.unique(parents, return_index=True)[1]] = True
    first &= parents >= 0
    survivor = np.full(count, -1)
    survivor[parents[first]] = np.flatnonzero(first)
    return first, survivor


def _differ(before: Values, rows: np.ndarray, values: Values, now: np.ndarray) -> np.ndarray:
    """[M] bool: any bit differs between `rows` of one scene and `now` of another."""
    different = np.zeros(len(rows), bool)
    for name in _ATTRIBUTES:
        pair = before[name][rows], values[name][now]
        different |= (pair[0] != pair[1]).any(tuple(range(1, pair[0].ndim)))
    return different
