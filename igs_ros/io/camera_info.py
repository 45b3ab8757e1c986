# SPDX-License-Identifier: Apache-2.0
"""Calibrations as a CameraInfo has them, live or in a bag; no ROS inside.

Any object with the fields of sensor_msgs/CameraInfo will do. It has integer pixel centers,
`Camera.K` has them at +0.5. Its intrinsics, coefficients and region of interest belong to the
full, unbinned picture; the pictures are the region of interest, binned.
"""
from __future__ import annotations

import re
from typing import Any

import numpy as np

from igs_ros.core import lenses
from igs_ros.core.camera import ROUNDING, Camera
from igs_ros.core.errors import InputError, shown

# parts of the names that image_proc and drivers give rectified pictures
_RECTIFIED = re.compile(r'(image_)?rect(ified)?(_\w+)?')


def is_rectified(image_topic: str) -> bool:
    """Whether a topic's name says that its pictures are rectified: image_rect, rect/image, ..."""
    return any(_RECTIFIED.fullmatch(part) for part in image_topic.split('/'))


def camera_from_info(message: Any, topic: str, name: str, camera_from_world: np.ndarray, *,
                     rectified: bool = False) -> Camera:
    """The camera `name` with the intrinsics of `message`, of the pictures as they are sent.

    Args:
        message: distortion models are those of `core.lenses`, or '' or none with no or only zero
            coefficients; the region of interest and binning are applied.
        topic: for messages.
        name: of the camera.
        camera_from_world: [4, 4] m, OpenCV axes, of the camera as it is mounted.
        rectified: the pictures are: intrinsics are those of P, without distortion, and R turns
            the camera.

    Raises:
        InputError: naming `topic`, when the calibration cannot be used.
    """
    values = np.array(message.p, np.float64).reshape(3, 4)[:, :3] if rectified \
        else np.array(message.k, np.float64).reshape(3, 3)
    if not np.isfinite(values).all() or values[0, 0] <= 0 or values[1, 1] <= 0:
        what = 'rectified pictures with a projection P' if rectified else 'intrinsics K'
        raise InputError(f'{topic}: {what} = {[round(v, 3) for v in values.ravel().tolist()]}; '
                         f'expected finite values with positive focal lengths. Calibrate this '
                         f'camera, or make its driver load the calibration.')
    lens, distortion = (lenses.DEFAULT, None) if rectified \
        else lenses.from_ros(message.distortion_model, message.d, topic)
    turn = rectification(message, topic) if rectified else None
    try:
        return as_sent(Camera.from_opencv_K(
            name, message.width, message.height, values,
            camera_from_world if turn is None else turn @ camera_from_world, distortion, lens),
            message)
    except InputError as error:
        raise InputError(f'{topic}: {error}') from error


def rectification(message: Any, topic: str) -> np.ndarray | None:
    """rectified_from_camera [4, 4]: how R turns the camera of a stereo pair; None = it does not.

    Args:
        message: the CameraInfo; all zeros in R are none, as drivers of single cameras leave it.
        topic: for messages.

    Raises:
        InputError: an R that is no rotation.
    """
    turn = np.eye(4)
    turn[:3, :3] = np.array(message.r, np.float64).reshape(3, 3)
    if not turn[:3, :3].any() or np.allclose(turn, np.eye(4), rtol=0, atol=ROUNDING):
        return None
    if not (np.abs(turn) < 2).all() or np.linalg.det(turn) < 0 \
            or not np.allclose(turn @ turn.T, np.eye(4), atol=1e-3):
        raise InputError(f'{topic}: rectified pictures with R = {shown(list(message.r))}; '
                         f'expected a rotation. Calibrate this camera, or make its driver load '
                         f'the calibration.')
    return turn


def as_sent(camera: Camera, message: Any) -> Camera:
    """A camera of full pictures, cut and binned as `message` says; one of others as it is.

    Raises:
        InputError: a region of interest that is not inside the full picture.
    """
    roi = message.roi
    full = (message.width, message.height)
    cut = (roi.x_offset, roi.y_offset, roi.width, roi.height) not in ((0, 0, 0, 0), (0, 0, *full))
    binning = (max(1, message.binning_x), max(1, message.binning_y))
    if (not cut and binning == (1, 1)) or (camera.width, camera.height) != full:
        return camera
    return camera.cut((roi.x_offset, roi.y_offset), (roi.width, roi.height) if cut else full,
                      binning)


def rectified_line(message: Any, topic: str, image_topic: str) -> str:
    """What a person should know of rectified pictures, as one line.

    Args:
        message: the CameraInfo; its R [3, 3] is a rotation, or all zeros.
        topic: of the message.
        image_topic: of the pictures, which are rectified by its name.
    """
    turn = rectification(message, topic)
    line = f'{image_topic}: rectified by its name; intrinsics are those of P of {topic}'
    if turn is None:
        return line
    angle = float(np.degrees(np.arccos(np.clip((np.trace(turn) - 2) / 2, -1, 1))))
    return f'{line}, and the camera, which its pose tells as it is mounted, is turned by its R ' \
           f'({angle:.2f} degrees)'
