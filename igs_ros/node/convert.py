# SPDX-License-Identifier: Apache-2.0
"""ROS messages <-> core types: times, pictures, cameras, poses, views.

Arrays go into a fresh message through `array.frombytes`: one copy. Assigning a numpy array to a
field of a message takes a thousand times longer (reference/ros_build.md B). CameraInfo has integer
pixel centers, `Camera.K` has them at +0.5: the half pixel is added and taken away here.
"""
from __future__ import annotations

import io
from array import array

import cv2
import numpy as np
import PIL.Image
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError, shown
from igs_ros.core.frames import Picture
from igs_ros.io.camera_info import camera_from_info as camera_from_info
from igs_ros.io.encodings import ENCODINGS, MAX_BITS, Layout, raw_image, transport_image
from igs_ros.node import bridge

# --- times -----------------------------------------------------------------------------------


def time_message(stamp_ns: int) -> Time:
    """Nanoseconds as a Time."""
    seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def nanoseconds(time: Time) -> int:
    """A Time as nanoseconds."""
    return time.sec * 1_000_000_000 + time.nanosec


def header(stamp_ns: int, frame_id: str) -> Header:
    """A header."""
    return Header(stamp=time_message(stamp_ns), frame_id=frame_id)


# --- arrays ----------------------------------------------------------------------------------


def fill(field: array, values: np.ndarray) -> None:
    """Append the bytes of `values` to `field`, an empty typed array of a fresh message."""
    if values.size:  # memoryview cannot cast an empty array
        field.frombytes(np.ascontiguousarray(values).data.cast('B'))


# --- pictures --------------------------------------------------------------------------------


def layout_of(message: Image) -> Layout:
    """The header of an Image and its bytes, without a copy."""
    return Layout(message.encoding, message.width, message.height, message.step,
                  bool(message.is_bigendian), message.data)


def picture_from_image(message: Image, topic: str, bits: int = MAX_BITS) -> Picture:
    """The picture of an Image, any row step and byte order. Nothing is converted yet.

    Args:
        message: of an encoding of `io.encodings`, or else one that cv_bridge converts.
        topic: for messages.
        bits: in use of 16-bit samples.

    Raises:
        InputError: naming `topic`, when the message cannot be a picture.
    """
    if message.encoding not in ENCODINGS and bridge.converts(message.encoding):
        return bridge.bridged_image(message, topic)
    return raw_image(layout_of(message), topic, bits)


def picture_from_compressed(message: CompressedImage, topic: str, bits: int = MAX_BITS
                            ) -> Picture:
    """The picture of a CompressedImage, not yet decoded; as `transport_image` makes it.

    Args:
        message: whose format says how it is compressed.
        topic: for messages.
        bits: in use of 16-bit samples.

    Raises:
        InputError: another codec than JPEG and PNG.
    """
    return transport_image(message.format, message.data.tobytes(), topic, bits)


def image_message(rgb: np.ndarray, head: Header) -> Image:
    """An rgb8 Image of uint8 pixels [H, W, 3]."""
    height, width, _ = rgb.shape
    message = Image(header=head, height=height, width=width, encoding='rgb8', step=3 * width)
    fill(message.data, rgb)
    return message


def depth_message(depth: np.ndarray, head: Header) -> Image:
    """A 32FC1 Image (REP-118) of depths [H, W] float32 in m, NaN = nothing there."""
    height, width = depth.shape
    message = Image(header=head, height=height, width=width, encoding='32FC1', step=4 * width)
    fill(message.data, depth.astype('<f4', copy=False))
    return message


def gray_message(levels: np.ndarray, head: Header) -> Image:
    """A mono8 Image of levels [H, W] 0..1."""
    height, width = levels.shape
    message = Image(header=head, height=height, width=width, encoding='mono8', step=width)
    fill(message.data, np.rint(levels * 255).astype(np.uint8))
    return message


def jpeg_bytes(rgb: np.ndarray, quality: int, full_color: bool = False) -> bytes:
    """A JPEG file.

    Args:
        rgb: uint8 pixels [H, W, 3].
        quality: 1..100.
        full_color: keeps the color at full resolution (4:4:4 instead of 4:2:0): a third larger,
            and 7 dB closer to sharp, colorful pictures at quality 95.
    """
    return jpeg_array(rgb, quality, full_color).tobytes()


def jpeg_array(rgb: np.ndarray, quality: int, full_color: bool = False) -> np.ndarray:
    """As `jpeg_bytes`, uint8 [B], without another copy.

    Args:
        rgb: uint8 pixels [H, W, 3].
        quality: 1..100.
        full_color: keeps the color at full resolution.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if full_color and not hasattr(cv2, 'IMWRITE_JPEG_SAMPLING_FACTOR'):
        return np.frombuffer(_full_color_jpeg(rgb, quality), np.uint8)
    if full_color:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode('.jpg', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    assert done, rgb.shape
    return data


def _full_color_jpeg(rgb: np.ndarray, quality: int) -> bytes:
    """As OpenCV makes it from 4.7 on: that of Ubuntu 24.04 always halves the color."""
    file = io.BytesIO()
    PIL.Image.fromarray(rgb).save(file, 'JPEG', quality=quality, subsampling='4:4:4')
    return file.getvalue()


def jpeg_message(data: bytes | memoryview, head: Header) -> CompressedImage:
    """A CompressedImage of a JPEG file of an rgb8 picture."""
    message = CompressedImage(header=head, format='rgb8; jpeg compressed bgr8')
    message.data.frombytes(data)
    return message


# --- cameras and poses -----------------------------------------------------------------------


def held_against(camera: Camera, rig_camera: Camera, topic: str) -> str:
    """What is doubtful about a camera, beside that of the rig file.

    Args:
        camera: calibrated by a topic.
        rig_camera: the same of the rig file.
        topic: of the calibration, for messages.

    Returns:
        '' where nothing is; one line where focal lengths differ by more than a tenth.

    Raises:
        InputError: pictures of another size; names `topic`.
    """
    came, expected = ((c.width, c.height) for c in (camera, rig_camera))
    if came != expected:
        raise InputError(f'{topic}: a calibration for pictures of {came[0]}x{came[1]} px, but the '
                         f"rig file's are {expected[0]}x{expected[1]}; the rig file's intrinsics "
                         f'stay. Set the driver to that size, or make a rig file of this one.')
    came, expected = (np.diag(c.K)[:2] for c in (camera, rig_camera))
    if (np.abs(came - expected) <= 0.1 * expected).all():
        return ''
    return (f"{topic}: focal lengths {came.round(2).tolist()} px differ from the rig file's "
            f'{expected.round(2).tolist()} by more than 10 %; those of the topic are taken. Check '
            f'which calibration belongs to this camera.')


def info_message(camera: Camera, head: Header, baseline: float = 0.0) -> CameraInfo:
    """The CameraInfo of a camera (rectification: none).

    Args:
        camera: what it is about.
        head: of the message; for the right camera of a pair, with the frame of the left one.
        baseline: of the right camera of a pair, m from the left one.
    """
    K = camera.opencv_K
    message = CameraInfo(header=head, height=camera.height, width=camera.width,
                         distortion_model=camera.lens)
    message.d = camera.distortion.tolist()
    message.k = K.ravel()
    message.r = np.eye(3).ravel()
    message.p = np.hstack([K, [[0.0 - K[0, 0] * baseline], [0], [0]]]).ravel()
    return message


def camera_from_world_of(message: PoseStamped, world_frame: str, topic: str) -> np.ndarray:
    """camera_from_world [4, 4] of the pose of an optical frame in the world frame.

    Args:
        message: the pose, in m; its frame '' stands for the world.
        world_frame: the frame that poses are expected in.
        topic: of the message.

    Raises:
        InputError: a pose in another frame (nothing is transformed here) or without a rotation;
            names `topic`.
    """
    if message.header.frame_id not in ('', world_frame):
        raise InputError(f'{topic}: a pose in frame {shown(message.header.frame_id)}; expected '
                         f"'{world_frame}' (parameter world_frame). Transform it before sending.")
    at, turn = message.pose.position, message.pose.orientation
    try:
        return camera_from_world((at.x, at.y, at.z), (turn.x, turn.y, turn.z, turn.w))
    except InputError as error:
        raise InputError(f'{topic}: {error}') from error


def camera_from_world(position: ArrayLike, quaternion: ArrayLike) -> np.ndarray:
    """[4, 4] inverse of a pose: position [3] m and quaternion [4] xyzw of any length but zero.

    Raises:
        InputError: values that are no pose.
    """
    position, quaternion = np.asarray(position, float), np.asarray(quaternion, float)
    length = np.linalg.norm(quaternion)
    if not np.isfinite(position).all() or not np.isfinite(length) or length < 1e-6:
        raise InputError(f'a pose with position {position.tolist()} and quaternion (xyzw) '
                         f'{quaternion.tolist()}; expected finite values and a quaternion of '
                         f'length 1. Check the sender.')
    inverse = np.eye(4)
    inverse[:3, :3] = Rotation.from_quat(quaternion).as_matrix().T
    inverse[:3, 3] = -inverse[:3, :3] @ position
    return inverse
