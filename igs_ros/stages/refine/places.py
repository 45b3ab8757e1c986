# SPDX-License-Identifier: Apache-2.0
"""From where cameras that move have seen the scene: what lies there is not to be forgotten."""
from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.vision.overlap import seen_share
from igs_ros.vision.visibility import in_picture

_KNOWN = 0.7  # share of a picture that one earlier place shows, from which it is no new place
_MOST = 32  # places; the oldest go


def remembered(places: tuple[Camera, ...], cameras: Iterable[Camera], points: np.ndarray,
               ) -> tuple[Camera, ...]:
    """The places, and those of the cameras that see something else; the newest of them.

    Args:
        places: remembered so far, oldest first.
        cameras: that may become places.
        points: [N, 3] m, of the scene; cameras that see none of them are no places.
    """
    for camera in cameras:
        pixels, depth = camera.project(points)
        inside = in_picture(pixels, depth, camera)
        if not inside.any():
            continue
        middle = np.median(depth[inside], keepdims=True)
        if all(seen_share(camera, place, middle)[0] < _KNOWN for place in places):
            places = (*places, camera)
    return places[-_MOST:]
