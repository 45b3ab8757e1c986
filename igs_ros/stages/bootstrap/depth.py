# SPDX-License-Identifier: Apache-2.0
"""Depth pictures of the rig as depth maps to seed from."""
from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.frames import DepthPicture
from igs_ros.vision.stereo import DepthMap

_JUMP = 0.05  # relative step to a neighboring pixel beyond which a depth is of an edge


def depth_maps(depths: Mapping[str, DepthPicture], cameras: Mapping[str, Camera]
               ) -> dict[str, DepthMap]:
    """The depth maps of the working `cameras` that have a depth picture (prepared), by name.

    Pixels at steps of depth are left out: depth cameras mix foreground and background there.
    All others are equally sure.

    Raises:
        InputError: a picture cannot be decoded.
    """
    maps = {}
    for name, picture in depths.items():
        if name in cameras:
            maps[name] = DepthMap.of_depth(_without_edges(picture.decode()), cameras[name])
    return maps


def _without_edges(depth: np.ndarray) -> np.ndarray:
    known = np.isfinite(depth) & (depth > 0)
    near = cv2.erode(np.where(known, depth, np.float32(np.inf)), np.ones((3, 3), np.uint8))
    far = cv2.dilate(np.where(known, depth, np.float32(0)), np.ones((3, 3), np.uint8))
    return np.where(known & (far - near <= _JUMP * near), depth, np.float32(np.nan))
