# SPDX-License-Identifier: Apache-2.0
"""Calibrations as a CameraInfo has them, live or in a bag; no ROS inside.

Any object with the fields of sensor_msgs/CameraInfo will do. It has integer pixel centers,
`Camera.K` has them at +0.5.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from igs_ros.core import lenses
from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError


def camera_from_info(message: Any, topic: str, name: str,
                     camera_from_world: np.ndarray) -> Camera:
    """A camera with the intrinsics of a CameraInfo.

    Distortion models: those of `core.lenses`, or '' with no or only zero coefficients.

    Args:
        message: with the fields of sensor_msgs/CameraInfo; integer pixel centers.
        topic: that it came from, for the message of an error.
        name: of the camera.
        camera_from_world: [4, 4] m, OpenCV axes (x right, y down, z forward).

    Raises:
        InputError: the calibration cannot be used.
    """
    K = np.array(message.k, dtype=np.float64).reshape(3, 3)
    if not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
        raise InputError(f'{topic}: intrinsics K = {[round(v, 3) for v in K.ravel().tolist()]}; '
                         f'expected finite values with positive focal lengths. Calibrate this '
                         f'camera, or make its driver load the calibration.')
    roi = message.roi
    cut = roi.x_offset or roi.y_offset or (roi.width, roi.height) not in (
        (0, 0), (message.width, message.height))
    if message.binning_x > 1 or message.binning_y > 1 or cut:
        raise InputError(f'{topic}: binning {message.binning_x}x{message.binning_y} or a region '
                         f'of interest {roi.width}x{roi.height}+{roi.x_offset}+{roi.y_offset}; '
                         f'expected whole pictures. Publish full frames with their calibration.')
    lens, distortion = lenses.from_ros(message.distortion_model, message.d, topic)
    try:
        return Camera.from_opencv_K(name, message.width, message.height, K, camera_from_world,
                                    distortion, lens)
    except InputError as error:
        raise InputError(f'{topic}: {error}') from error
