# SPDX-License-Identifier: Apache-2.0
"""How far each view sees at one instant, and where its picture contradicts the scene."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from igs_ros.core.camera import Camera, pixel_grid
from igs_ros.core.scene import GaussianScene
from igs_ros.vision.visibility import Visibility, count_votes, majority

_EDGE = 0.04  # relative range of depth in 3x3 px: beyond it, two surfaces may be mixed
_WRONG_SHARE = 0.6  # of the views that see a Gaussian must contradict it, and two where two see it


@dataclass(frozen=True, eq=False)
class Sight:
    """What one view knows; maps are [H, W] of `camera`."""

    camera: Camera  # without distortion
    depth: np.ndarray  # float32 m along the optical axis, to the surface; NaN = not known
    drawn: np.ndarray  # float32 m, the same of the scene alone, believed or not
    wrong: np.ndarray  # bool: the picture is not what the scene looks like

    def nearest(self) -> np.ndarray:
        """[H, W] float32 m: least depth around each pixel, 0 where some of it is not known."""
        known = np.nan_to_num(self.depth, nan=0.0)
        return cv2.erode(known, np.ones((3, 3), np.uint8))

    def surface(self) -> tuple[np.ndarray, np.ndarray]:
        """Points [P, 3] float64 m, world, of the surface, and the area [P] m2 each stands for.

        Pixels at edges, where depths of two surfaces may be mixed, are left out.
        """
        nearest, depth = self.nearest(), np.nan_to_num(self.depth, nan=0.0)
        farthest = cv2.dilate(depth, np.ones((3, 3), np.uint8))
        flat = (nearest > 0) & (farthest - nearest < _EDGE * nearest)
        z = self.depth[flat].astype(np.float64)
        return (self.camera.unproject(pixel_grid(self.camera)[flat], z),
                np.square(z) / (self.camera.K[0, 0] * self.camera.K[1, 1]))


def believed(scene: GaussianScene, sights: Mapping[str, Sight]) -> np.ndarray:
    """[N] bool: Gaussians that some view sees, and that the pictures do not contradict.

    Where the views that see a Gaussian show something else (it went away, or motion lost it), it
    is not believed; nor is what all views have behind a surface. Without a view, nothing is.
    """
    if not sights:
        return np.zeros(len(scene), bool)
    visible = {name: Visibility.of(scene, one.camera, one.drawn) for name, one in sights.items()}
    hits, votes = count_votes({name: one.wrong for name, one in sights.items()}, visible)
    return (votes > 0) & ~majority(hits, votes, _WRONG_SHARE)
