# SPDX-License-Identifier: Apache-2.0
"""Encodings that this package does not know, by cv_bridge where that is installed."""
from __future__ import annotations

import functools
import importlib
from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from igs_ros.core.errors import InputError, error_line
from igs_ros.io.encodings import Layout, check_layout

_MAX_NAME = 32  # characters of an encoding's name: others are not asked for
_SIDE = 4  # px of the picture that it is asked with


@functools.cache
def _cv_bridge() -> Any | None:  # of another ROS package
    """A `CvBridge`; None where that package is missing, or was built for another NumPy."""
    try:
        return importlib.import_module('cv_bridge').CvBridge()
    except Exception:
        return None


@functools.lru_cache(maxsize=64)
def converts(encoding: str) -> bool:
    """Whether cv_bridge is there and makes RGB of pictures of `encoding`: it is asked to, once."""
    if _cv_bridge() is None or not 0 < len(encoding) <= _MAX_NAME or not encoding.isprintable():
        return False
    try:
        row = _SIDE * _pixel_bytes(encoding)
        probe = Image(width=_SIDE, height=_SIDE, encoding=encoding, step=row,
                      data=array('B', bytes(_SIDE * row)))
        return _converted(probe).shape == (_SIDE, _SIDE, 3)
    except Exception:  # whatever it raises, it cannot
        return False


def _pixel_bytes(encoding: str) -> int:
    bridge = _cv_bridge()
    assert bridge is not None
    kind, channels = bridge.encoding_to_dtype_with_channels(encoding)
    return np.dtype(kind).itemsize * channels


def _converted(message: Image) -> np.ndarray:
    bridge = _cv_bridge()
    assert bridge is not None
    return np.ascontiguousarray(bridge.imgmsg_to_cv2(message, 'rgb8'), np.uint8)


@dataclass(frozen=True, eq=False)
class BridgedImage:
    """A raw picture that cv_bridge converts when it is needed; made by `bridged_image`."""

    message: Image
    topic: str

    def size(self) -> tuple[int, int]:
        """Width and height in px."""
        return self.message.width, self.message.height

    def decode(self) -> np.ndarray:
        """uint8 RGB [H, W, 3].

        Raises:
            InputError: cv_bridge fails.
        """
        try:
            return _converted(self.message)
        except Exception as error:
            raise InputError(f'{self.topic}: cv_bridge cannot convert an {self.message.encoding} '
                             f'image of {self.message.width}x{self.message.height} px '
                             f'({error_line(error)}); expected rgb8 of it. Set the driver to '
                             f'another encoding.') from error


def bridged_image(message: Image, topic: str) -> BridgedImage:
    """The picture of an encoding that cv_bridge `converts`.

    Raises:
        InputError: a header that does not fit its bytes; names `topic`.
    """
    layout = Layout(message.encoding, message.width, message.height, message.step,
                    bool(message.is_bigendian), message.data)
    # cv_bridge wants the last row whole, too
    check_layout(layout, message.width * _pixel_bytes(message.encoding), message.height, topic)
    if len(message.data) < message.step * message.height:
        raise InputError(f'{topic}: {layout.described}; expected {message.step * message.height} '
                         f'bytes. Check the camera driver.')
    return BridgedImage(message, topic)
