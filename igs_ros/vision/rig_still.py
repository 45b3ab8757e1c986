# SPDX-License-Identifier: Apache-2.0
"""Cameras that were bumped: from some frame on, all of their picture lies elsewhere."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.vision.matches import Features, matched
from igs_ros.vision.rig_pairs import limit_px

_LEAST = 40  # matches with the first frame
_TOGETHER = 0.3  # of them go by the same; without a bump what stands still is among the rest
_STILL = 0.2  # of them stay where they were, in a picture that only has much motion


@dataclass(frozen=True)
class Shift:
    """How a camera was moved."""

    frame: int  # the first one, of those looked at, that is elsewhere
    pixels: float  # by how much its picture moved, median

    def text(self, name: str, number: int) -> str:
        """In words; `number` is that of the frame in the recording."""
        return (f'{name} was moved while it recorded: in frame {number} its picture is '
                f'{self.pixels:.1f} px off; only what comes before was checked')


def moved_cameras(frames: Sequence[Mapping[str, Features]], cameras: Mapping[str, Camera]
                  ) -> dict[str, Shift]:
    """The cameras that were moved while they recorded, by name.

    Args:
        frames: features by camera, in order of time.
        cameras: of the rig, by name.
    """
    found = {}
    for name, camera in cameras.items():
        seen = [(number, frame[name]) for number, frame in enumerate(frames) if name in frame]
        for number, later in seen[1:]:
            shift = _shift(seen[0][1], later, limit_px(camera))
            if shift is not None:
                found[name] = Shift(number, shift)
                break
    return found


def _shift(first: Features, later: Features, limit: float) -> float | None:
    """By how many px the picture moved as a whole; None if it did not, or it cannot be told."""
    i, j = matched(first, later)
    if len(i) < _LEAST:
        return None
    moves = later.pixels[j] - first.pixels[i]
    middle = np.median(moves, 0)
    together = np.mean(np.linalg.norm(moves - middle, axis=1) < limit)
    still = np.mean(np.linalg.norm(moves, axis=1) < limit)
    size = float(np.linalg.norm(middle))
    return size if size > limit and together >= _TOGETHER and still < _STILL else None
