# SPDX-License-Identifier: Apache-2.0
"""A rendered view of the scene."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from igs_ros.core.camera import Camera


@dataclass(frozen=True, eq=False)
class View:
    """What one camera sees of one scene."""

    rgb: np.ndarray  # [H, W, 3] float32, sRGB 0..1
    depth: np.ndarray  # [H, W] float32, m along the optical axis, NaN = nothing there
    alpha: np.ndarray  # [H, W] float32 0..1
    camera: Camera
    stamp_ns: int  # of the frame set that the scene shows
    age_s: float = 0.0  # of that frame set when the view was rendered, in seconds
