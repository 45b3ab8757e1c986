# SPDX-License-Identifier: Apache-2.0
"""Colored points in the world: what structure from motion or a depth camera leaves."""
from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from igs_ros.core.errors import InputError
from igs_ros.core.scene import MAX_POSITION

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Points:
    """N colored points of the first frame."""

    xyz: np.ndarray  # [N, 3] float32, world frame, m
    rgb: np.ndarray  # [N, 3] uint8, sRGB

    def __post_init__(self):
        assert self.xyz.shape == self.rgb.shape == (len(self.xyz), 3), \
            (self.xyz.shape, self.rgb.shape)
        assert self.xyz.dtype == np.float32 and self.rgb.dtype == np.uint8

    def __len__(self) -> int:
        return len(self.xyz)


def checked_points(points: Points, origin: str) -> Points:
    """`points` if every position is finite.

    Those too far away to be used are left out, which is logged.

    Args:
        points: in the world, m.
        origin: the file or topic they came from, for the message.

    Raises:
        InputError: positions are NaN or infinite.
    """
    bad = int((~np.isfinite(points.xyz)).any(1).sum())
    if bad:
        raise InputError(f'{origin}: {bad} of {len(points)} points hold NaN or infinite '
                         f'positions; expected finite ones. Export the points again.')
    near = (np.abs(points.xyz) <= MAX_POSITION).all(1)
    if not near.all():  # structure from motion puts false matches there
        log.warning('%s: leaving out %d of %d points, which lie more than %g m from the origin',
                    origin, (~near).sum(), len(points), MAX_POSITION)
        points = Points(points.xyz[near], points.rgb[near])
    return points
