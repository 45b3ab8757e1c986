# SPDX-License-Identifier: Apache-2.0
"""Whole Gaussians: all of a scene that somebody joins, and those that are born at a key.

A decoded scene lies on a lattice of its own (`snapped`): the steps of each number follow from
those before it. So a packet of whole Gaussians is exact: whoever joins holds what everybody holds.
Positions go as an octree; then scales, rotations, opacities, colors and SH
(docs/stream_format.md, part 9).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from igs_ros.io.stream import lattice
from igs_ros.io.stream.coded import CodedScene, Target
from igs_ros.io.stream.lattice import LEAST, MAX_COLOR, MAX_U, MOST, REACH
from igs_ros.io.stream.near import differences, nearest_before, summed_up
from igs_ros.io.stream.octree import (
    BITS,
    cells_of,
    decode_octree,
    encode_octree,
    morton,
)
from igs_ros.io.stream.rotation import cells_for, renamed, rotations_of, whole_quaternions
from igs_ros.io.stream.symbols import (
    decode_table,
    decode_trees,
    encode_table,
    encode_trees,
)

PARTS = 6  # byte strings: positions, scales, rotations, opacities, colors, rest
_MIDDLE = 1 << (BITS - 1)  # the cell of the origin


class Damaged(Exception):
    """These bytes are no packet of ours."""


def snapped(target: Target, quality: int) -> tuple[CodedScene, np.ndarray, np.ndarray]:
    """`target` on the lattice, in coding order.

    Args:
        target: M Gaussians.
        quality: of `lattice.QUALITIES`.

    Returns:
        The scene; [M] the rows of `target` in that order; [M, 3] the axes of `target` that its
        first, second and third axes are.
    """
    step = int(lattice.position_step(quality))
    positions = bounded_positions(np.rint(target.positions / step).astype(np.int64) * step, step)
    rows = np.argsort(_codes(positions, step), kind='stable')
    width = int(lattice.scale_step(quality))
    scales = np.rint(target.scales[rows] / width).astype(np.int64) * width
    count, terms = len(rows), target.rest.shape[1]
    unknown = np.full(count, 2, np.uint8)
    made = CodedScene(positions[rows], _bounded_scales(scales, width),
                      whole_quaternions(target.quats[rows]),
                      np.rint(target.opacities[rows]).astype(np.int64),
                      np.rint(target.colors[rows]).astype(np.int64),
                      np.rint(target.rest[rows]).astype(np.int64).reshape(count, terms), unknown,
                      unknown.copy(), np.zeros(count, bool))
    made, axes = on_lattice(made, quality)
    return made, rows, axes


def on_lattice(scene: CodedScene, quality: int) -> tuple[CodedScene, np.ndarray]:
    """`scene`, whose positions and scales are on the lattice, with everything else on it, too.

    What is on it already stays as it is.

    Args:
        scene: N Gaussians.
        quality: of `lattice.QUALITIES`.

    Returns:
        That, and [N, 3] which of the axes its first, second and third axes were.
    """
    quats, scales, axes = renamed(scene.quats, scene.scales)
    bits, needles = lattice.rotation_bits(scales, quality)
    quats = rotations_of(cells_for(quats, bits, needles), bits, needles)
    opacities = snapped_opacities(scene.opacities, lattice.opacity_steps(scales, quality)[:, 0])
    lumas = lattice.luma_steps(scales, opacities, quality)
    return replace(
        scene, quats=quats, scales=scales, opacities=opacities,
        colors=snapped_colors(scene.colors, lattice.color_steps(lumas[:, 0], 1)),
        rest=snapped_colors(scene.rest, lattice.color_steps(lumas[:, 1],
                                                            scene.rest.shape[1] // 3))), axes


def in_order(scene: CodedScene, quality: int) -> np.ndarray:
    """[N]: the rows along the Morton curve, of those in one cell the first first."""
    return np.argsort(_codes(scene.positions, int(lattice.position_step(quality))), kind='stable')


def encode_whole(scene: CodedScene, quality: int) -> list[bytes]:
    """PARTS byte strings.

    Args:
        scene: on the lattice, in coding order.
        quality: of the lattice.
    """
    if not len(scene):
        return [b''] * PARTS
    near = scene.near
    bits, needles = lattice.rotation_bits(scene.scales, quality)

    def table(values: np.ndarray, steps: np.ndarray, around: np.ndarray) -> bytes:
        return encode_table(differences(values, around, steps), near).tobytes()
    lumas = lattice.luma_steps(scene.scales, scene.opacities, quality)
    return [
        encode_octree(_codes(scene.positions, int(lattice.position_step(quality)))).tobytes(),
        table(scene.scales, _scale_steps(len(scene), quality), near),
        encode_trees(cells_for(scene.quats, bits, needles), bits, needles).tobytes(),
        table(_as_steps(scene.opacities), lattice.opacity_steps(scene.scales, quality), near),
        table(scene.colors, lattice.color_steps(lumas[:, 0], 1), near),
        table(scene.rest, lattice.color_steps(lumas[:, 1], scene.rest.shape[1] // 3),
              np.full((len(scene), 0), -1, np.int32))]


def decode_whole(parts: Sequence[np.ndarray], count: int, terms: int, quality: int
                 ) -> CodedScene:
    """The inverse of `encode_whole`.

    Args:
        parts: PARTS arrays of bytes.
        count: N.
        terms: 3 (K - 1) numbers of SH beyond the first coefficient.
        quality: of `lattice.QUALITIES`.

    Raises:
        Damaged: they are not what an encoder writes.
    """
    unknown = np.full(count, 2, np.uint8)
    if not count:
        none = np.zeros((0, 3), np.int64)
        return CodedScene(none, none, np.zeros((0, 4), np.int64), np.zeros(0, np.int64), none,
                          np.zeros((0, terms), np.int64), unknown, unknown, np.zeros(0, bool))
    codes, whole = decode_octree(parts[0], count)
    if not whole:
        raise Damaged('positions')
    positions = (cells_of(codes) - _MIDDLE) * int(lattice.position_step(quality))
    near = nearest_before(positions)

    def table(part: int, steps: np.ndarray, around: np.ndarray) -> np.ndarray:
        sent, whole = decode_table(parts[part], near, steps.shape[1])
        values = summed_up(sent, around, steps)
        if not whole or np.abs(values).max(initial=0) > 8 * MAX_COLOR:
            raise Damaged('numbers')
        return values
    scales = np.clip(table(1, _scale_steps(count, quality), near), 1, MAX_U)
    bits, needles = lattice.rotation_bits(scales, quality)
    quats = rotations_of(decode_trees(parts[2], bits, needles), bits, needles)
    opacities = np.clip(table(3, lattice.opacity_steps(scales, quality), near)[:, 0], LEAST, MOST)
    lumas = lattice.luma_steps(scales, opacities, quality)
    colors = table(4, lattice.color_steps(lumas[:, 0], 1), near)
    rest = table(5, lattice.color_steps(lumas[:, 1], terms // 3),
                 np.full((count, 0), -1, np.int32))
    return CodedScene(positions, scales, quats, opacities, colors, rest, unknown, unknown.copy(),
                      np.zeros(count, bool))


def bounded_positions(positions: np.ndarray, step: int) -> np.ndarray:
    """Within the cells that there are; positions are multiples of `step` already."""
    most = min(REACH // step, _MIDDLE) - 1
    return np.clip(positions, -most * step, most * step)


def snapped_opacities(opacities: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """[M]: the nearest multiples of `steps` [M] between LEAST and MOST, or LEAST itself.

    LEAST stands for 0 where a step is more than twice that.
    """
    least = np.where(steps <= 2 * LEAST, 1, 0)
    counts = np.clip((2 * opacities + steps) // (2 * steps), least, MOST // steps)
    return np.maximum(counts * steps, LEAST)


def snapped_colors(colors: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """[M, D]: the nearest multiples of `steps` [M, D]."""
    return (2 * np.clip(colors, -MAX_COLOR, MAX_COLOR) + steps) // (2 * steps) * steps


def snapped_scales(scales: np.ndarray, quality: int) -> np.ndarray:
    """[M, 3] u within their bounds; they are multiples of the step already."""
    return _bounded_scales(scales, int(lattice.scale_step(quality)))


def _bounded_scales(scales: np.ndarray, step: int) -> np.ndarray:
    return np.clip(scales, step, MAX_U // step * step)


def _as_steps(opacities: np.ndarray) -> np.ndarray:
    """[N, 1]: LEAST as the multiple that it stands for."""
    return np.where(opacities == LEAST, 0, opacities)[:, None]


def _scale_steps(count: int, quality: int) -> np.ndarray:
    return np.full((count, 3), int(lattice.scale_step(quality)))


def _codes(positions: np.ndarray, step: int) -> np.ndarray:
    return morton(positions // step + _MIDDLE)
