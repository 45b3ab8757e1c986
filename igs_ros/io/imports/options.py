# SPDX-License-Identifier: Apache-2.0
"""Options of `igs import`: what a file does not say, or says wrongly."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from igs_ros.io.recordings.bag_options import BagOptions


@dataclass(frozen=True)
class ImportOptions:
    """What a calibration does not say itself, or what is to be taken instead."""

    pictures: tuple[str, ...] = ()
    """Where the pictures are: folders to look in for videos and folders that are called like the
    cameras, or CAMERA=PATH of a video, a folder or a picture; default: beside the calibration."""
    units: str = ''
    """Lengths of the file: m, cm, mm, in, ft, or meters per unit; '' = as the format has it."""
    axes: Literal['', 'opencv', 'opengl'] = ''
    """Axes of the cameras: opencv (x right, y down, z forward) or opengl (x right, y up, z
    backward); '' = as the format has it."""
    poses: Literal['', 'world-to-camera', 'camera-to-world'] = ''
    """What the poses of the file map; '' = as the format has it."""
    pixel_center: float | None = None
    """Coordinates of the middle of the first pixel: 0 (OpenCV) or 0.5; default: as the format has
    it."""
    fps: float | None = None
    """Frames per second of pictures that have no video; default: 30, or what the file says."""
    held_out: tuple[str, ...] = ()
    """Cameras to keep from training."""
    ignore: tuple[str, ...] = ()
    """Unknown keys of the file that do not matter."""
    copy_pictures: bool = False
    """Copy pictures and videos into DIR; else they stay where they are and are read there."""


@dataclass(frozen=True)
class Request:
    """All that a reader may need."""

    options: ImportOptions = ImportOptions()
    bag: BagOptions = BagOptions()
