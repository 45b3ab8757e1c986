# SPDX-License-Identifier: Apache-2.0
"""The cameras of views, as their parameters have them."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.config import Config
from igs_ros.core.errors import InputError, shown
from igs_ros.node import convert
from igs_ros.node.params import NodeConfig
from igs_ros.node.view_config import ViewConfig


def frame_of(settings: NodeConfig, name: str, pair: bool) -> str:
    """The frame_id of a view.

    Args:
        settings: those of the node.
        name: of the view.
        pair: it is a stereo pair: both have the left one's (image_geometry and RViz want that).
    """
    return settings.view_frame.replace('{view}', f'{name}_left' if pair else name)


def camera_of(name: str, view: ViewConfig, settings: NodeConfig, config: Config,
              rig: Mapping[str, Camera]) -> Camera:
    """A view as the parameters have it.

    Args:
        name: of the view.
        view: its own settings.
        settings: those of the node, which count where `view` says nothing.
        config: those of the pipeline.
        rig: the cameras of the rig file, or those in use once they are calibrated.

    Returns:
        A camera without distortion; of a pair, the left one.

    Raises:
        InputError: naming the parameter that cannot work.
    """
    chosen, said_by = (view.camera, f'{name}.camera') if view.camera \
        else (settings.view_camera, 'view_camera')
    chosen = chosen or (settings.cameras or tuple(rig))[0]
    if chosen not in rig:
        raise InputError(f"parameter {said_by} is '{chosen}'; expected a camera of "
                         f"{settings.rig_file or 'the parameter cameras'}: {', '.join(rig)}.")
    camera = rig[chosen].undistorted()
    camera = camera.resized(view.width or settings.view_width or config.width or camera.width)
    camera = _with_lens(camera, name, view)
    if view.pose:
        return camera.placed(_pose(view.pose, f'{name}.pose'))
    if settings.view_pose:
        return camera.placed(_pose(settings.view_pose, 'view_pose'))
    return camera


def _with_lens(camera: Camera, name: str, view: ViewConfig) -> Camera:
    """`camera` in the height and with the intrinsics that `view` asks for."""
    if view.k and view.fov_deg:
        raise InputError(f"parameters {name}.k ('{view.k}') and {name}.fov_deg ({view.fov_deg:g}) "
                         f'are both set; expected one of them.')
    if view.k and not (view.width and view.height):
        raise InputError(f"parameter {name}.k is '{view.k}', but {name}.width or {name}.height is "
                         f'0; expected the size that these intrinsics are about.')
    height = view.height or camera.height
    K, said_by = camera.K.copy(), f'{name}.height'
    K[1, 2] += (height - camera.height) / 2
    if view.fov_deg:
        said_by = f'{name}.fov_deg'
        K = intrinsics(camera.width, height, view.fov_deg)
    elif view.k:
        said_by = f'{name}.k'
        fx, fy, cx, cy = _numbers(view.k, 4, said_by, "'fx fy cx cy' (px)")
        K = np.array([[fx, 0, cx + 0.5], [0, fy, cy + 0.5], [0, 0, 1]])  # see core/camera.py
    try:
        return replace(camera, height=height, K=K)
    except InputError as error:
        raise InputError(f'parameter {said_by}: {error}') from error


def intrinsics(width: int, height: int, fov_deg: float) -> np.ndarray:
    """K [3, 3] px, pixel centers at +0.5, of a camera that looks straight ahead.

    Args:
        width: px.
        height: px.
        fov_deg: from the left to the right edge; pixels are square.
    """
    focal = width / 2 / np.tan(np.deg2rad(fov_deg) / 2)
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])


def _numbers(text: str, count: int, parameter: str, form: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split()]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        words = {4: 'four', 7: 'seven'}
        raise InputError(f'parameter {parameter} is {shown(text)}; expected {words[count]} '
                         f'numbers {form}.')
    return numbers


def _pose(text: str, parameter: str) -> np.ndarray:
    """camera_from_world [4, 4] of a pose as parameters have it."""
    numbers = _numbers(text, 7, parameter, "'x y z qx qy qz qw' (m, optical axes, world frame)")
    try:
        return convert.camera_from_world(numbers[:3], numbers[3:])
    except InputError as error:
        raise InputError(f'parameter {parameter}: {error}') from error
