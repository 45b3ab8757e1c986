# SPDX-License-Identifier: Apache-2.0
"""What has become of Gaussians since a scene that both sides hold.

Which of them moved, and how: displacement, turn, scale, each predicted from those before that lie
near and have a like color. Which of them look different: opacity and color, at a key SH, too. What
is not flagged stays bit for bit as it was (docs/stream_format.md, part 10).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from igs_ros.io.stream import lattice
from igs_ros.io.stream.coded import CodedScene, Target, red_green_blue, unit_turns
from igs_ros.io.stream.intra import (
    Damaged,
    bounded_positions,
    on_lattice,
    snapped_colors,
    snapped_opacities,
    snapped_scales,
)
from igs_ros.io.stream.lattice import (
    LEAST,
    LOOKS,
    MAX_COLOR,
    MAX_TURN,
    MOST,
    OPACITIES,
    REACH,
)
from igs_ros.io.stream.near import alike_before, differences, nearest_before, summed_up
from igs_ros.io.stream.rotation import permuted, turned, turns_to
from igs_ros.io.stream.symbols import (
    MAX_MAGNITUDE,
    decode_flags,
    decode_table,
    encode_flags,
    encode_table,
)

PARTS = 6  # byte strings: who moved, displacements, turns, scales, who looks different, looks
_DEAD = 0.55  # of a step: what is less is not sent


@dataclass(frozen=True, eq=False)
class _Steps:
    """Of how Gaussians move: [M, 3] each, and of their scales."""

    moves: np.ndarray
    turns: np.ndarray
    scales: int

    @staticmethod
    def of(scene: CodedScene, rows: np.ndarray, quality: int) -> _Steps:
        steps = lattice.motion_steps(scene.scales[rows], scene.opacities[rows], quality)
        return _Steps(np.repeat(steps[:, :1], 3, 1), np.repeat(steps[:, 1:], 3, 1),
                      int(lattice.scale_step(quality)))


def encode_change(scene: CodedScene, rows: np.ndarray, target: Target, axes: np.ndarray,
                  quality: int, key: bool) -> tuple[list[bytes], CodedScene, np.ndarray]:
    """From `scene` to `target`.

    Args:
        scene: what the decoder holds, N Gaussians.
        rows: [M] ascending: the Gaussians that may have changed.
        target: what these should be.
        axes: [N, 3] which axes of the engine's Gaussians the axes of `scene` are.
        quality: of the lattice.
        key: SH beyond the first coefficient are sent, too, and all comes back to the lattice.

    Returns:
        PARTS byte strings, what a decoder makes of `scene` with them, and its `axes`.
    """
    near, made, axes = scene.near, scene.copy(), axes.copy()
    steps = _Steps.of(scene, rows, quality)
    moves = target.positions - scene.positions[rows]
    turns = turns_to(unit_turns(scene.quats[rows]), permuted(target.quats, axes[rows]))
    growth = np.take_along_axis(target.scales, axes[rows], 1) - scene.scales[rows]
    moving = (2 * np.abs(moves) > steps.moves).any(1) | (2 * np.abs(turns) > steps.turns).any(1) \
        | (np.abs(growth) > _DEAD * steps.scales).any(1)
    parts = [_encode_flags(made.moved, scene.moved, rows[moving], near)]
    parts += _encode_motion(made, rows[moving], moves[moving], turns[moving], growth[moving],
                            quality)
    _settle(made, axes, quality, key)

    sent = _looks_to_send(made, rows, target, quality, key)
    different = (sent != 0).any(1)
    parts.append(_encode_flags(made.changed, scene.changed, rows[different], near))
    rows, sent = rows[different], sent[different]
    _change_looks(made, rows, sent, quality, key)
    parts.append(encode_table(sent, nearest_before(made.positions[rows])).tobytes()
                 if len(rows) else b'')
    return parts, made, axes


def decode_change(parts: Sequence[np.ndarray], scene: CodedScene, quality: int, key: bool
                  ) -> CodedScene:
    """The inverse of `encode_change`.

    Args:
        parts: PARTS arrays of bytes.
        scene: what it is a change of.
        quality: of the lattice.
        key: as the encoder has it.

    Raises:
        Damaged: they are not what an encoder writes.
    """
    near, made = scene.near, scene.copy()
    made.moved[:] = decode_flags(parts[0], near, scene.moved)
    rows = np.flatnonzero(made.moved)
    if len(rows):
        alike = _alike(scene, rows)
        steps = _Steps.of(scene, rows, quality)
        moves, turns, growth = (_table(parts[part], alike, 3) for part in (1, 2, 3))
        _move(made, rows, summed_up(moves, alike, steps.moves),
              summed_up(turns, alike, steps.turns), growth, quality)
    _settle(made, None, quality, key)
    made.changed[:] = decode_flags(parts[4], near, scene.changed)
    rows = np.flatnonzero(made.changed)
    if len(rows):
        columns = 4 + (scene.rest.shape[1] if key else 0)
        _change_looks(made, rows, _table(parts[5], nearest_before(made.positions[rows]), columns),
                      quality, key)
    return made


def _encode_flags(flags: np.ndarray, before: np.ndarray, rows: np.ndarray, near: np.ndarray
                  ) -> bytes:
    flags[:] = 0
    flags[rows] = 1
    return encode_flags(flags, near, before).tobytes()


def _encode_motion(made: CodedScene, rows: np.ndarray, moves: np.ndarray, turns: np.ndarray,
                   growth: np.ndarray, quality: int) -> list[bytes]:
    if not len(rows):
        return [b'', b'', b'']
    alike, steps = _alike(made, rows), _Steps.of(made, rows, quality)
    moves = _multiples(moves, steps.moves)
    turns = _multiples(np.clip(turns, -MAX_TURN, MAX_TURN), steps.turns)
    sent = differences(moves, alike, steps.moves), differences(turns, alike, steps.turns), \
        _in_steps(growth, steps.scales)
    _move(made, rows, moves, turns, sent[2], quality)
    return [encode_table(one, alike).tobytes() for one in sent]


def _move(made: CodedScene, rows: np.ndarray, moves: np.ndarray, turns: np.ndarray,
          growth: np.ndarray, quality: int) -> None:
    """Both sides do it, on a copy of what was there."""
    step = int(lattice.position_step(quality))
    made.positions[rows] = bounded_positions(
        made.positions[rows] + np.clip(moves, -2 * REACH, 2 * REACH), step)
    made.quats[rows] = turned(made.quats[rows], turns)
    made.scales[rows] = snapped_scales(
        made.scales[rows] + growth.astype(np.int64) * int(lattice.scale_step(quality)), quality)
    made.loose[rows] = True


def _settle(made: CodedScene, axes: np.ndarray | None, quality: int, key: bool) -> None:
    """At a key, all that is off the lattice comes back to it; axes follow their names."""
    rows = np.flatnonzero(made.loose)
    if not key or not len(rows):
        return
    placed, order = on_lattice(made.select(rows), quality)
    for name in ('quats', 'scales', 'opacities', 'colors', 'rest'):
        getattr(made, name)[rows] = getattr(placed, name)
    made.loose[:] = False
    if axes is not None:
        axes[rows] = np.take_along_axis(axes[rows], order, 1)


def _looks_to_send(made: CodedScene, rows: np.ndarray, target: Target, quality: int, key: bool
                   ) -> np.ndarray:
    """[M, 4 or more] int32: opacity, Y, U, V, and at a key SH."""
    steps = lattice.opacity_steps(made.scales[rows], quality)
    sent = [_in_steps((target.opacities - made.opacities[rows])[:, None], OPACITIES * steps)]
    opacities = _dimmed(made.opacities[rows], sent[0][:, 0], steps[:, 0], key)
    look, more = _look_steps(made, rows, opacities, quality)
    sent.append(_in_steps(target.colors - _placed(made.colors[rows], look, key), LOOKS * look))
    if key:
        sent.append(_in_steps(target.rest - snapped_colors(made.rest[rows], more), LOOKS * more))
    return np.concatenate(sent, 1)


def _change_looks(made: CodedScene, rows: np.ndarray, sent: np.ndarray, quality: int, key: bool
                  ) -> None:
    """Both sides do it: opacities first, since the steps of colors follow from them."""
    if not len(rows):
        return
    sent = sent.astype(np.int64)
    steps = lattice.opacity_steps(made.scales[rows], quality)[:, 0]
    made.opacities[rows] = _dimmed(made.opacities[rows], sent[:, 0], steps, key)
    look, more = _look_steps(made, rows, made.opacities[rows], quality)
    made.colors[rows] = _placed(
        _placed(made.colors[rows], look, key) + LOOKS * look * sent[:, 1:4], look, key)
    if key:
        rest = snapped_colors(made.rest[rows], more) + LOOKS * more * sent[:, 4:]
        made.rest[rows] = snapped_colors(rest, more)
    else:
        made.loose[rows] = True


def _placed(colors: np.ndarray, steps: np.ndarray, key: bool) -> np.ndarray:
    """On the lattice at a key; else only bounded."""
    return snapped_colors(colors, steps) if key else np.clip(colors, -MAX_COLOR, MAX_COLOR)


def _dimmed(opacities: np.ndarray, sent: np.ndarray, steps: np.ndarray, key: bool) -> np.ndarray:
    if not key:
        return np.clip(opacities + OPACITIES * steps * sent, LEAST, MOST)
    before = np.where(opacities == LEAST, 0, opacities)
    return snapped_opacities(before + OPACITIES * steps * sent, steps)


def _look_steps(made: CodedScene, rows: np.ndarray, opacities: np.ndarray, quality: int
                ) -> tuple[np.ndarray, np.ndarray]:
    lumas = lattice.luma_steps(made.scales[rows], opacities, quality)
    return lattice.color_steps(lumas[:, 0], 1), \
        lattice.color_steps(lumas[:, 1], made.rest.shape[1] // 3)


def _alike(scene: CodedScene, rows: np.ndarray) -> np.ndarray:
    return alike_before(scene.positions[rows], red_green_blue(scene.colors[rows]))


def _table(data: np.ndarray, near: np.ndarray, columns: int) -> np.ndarray:
    table, whole = decode_table(data, near, columns)
    if not whole:
        raise Damaged('numbers')
    return table


def _multiples(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    return np.rint(values / steps).astype(np.int64) * steps


def _in_steps(values: np.ndarray, steps: np.ndarray | int) -> np.ndarray:
    """[.., D] int32: rounded, what is less than `_DEAD` of a step to 0."""
    sizes = np.abs(values) / steps
    counts = np.where(sizes < _DEAD, 0, np.floor(sizes + 0.5))
    return (np.sign(values) * np.minimum(counts, MAX_MAGNITUDE)).astype(np.int32)
