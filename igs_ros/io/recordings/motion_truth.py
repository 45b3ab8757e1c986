# SPDX-License-Identifier: Apache-2.0
"""True motion of surfaces, which synthetic recordings carry in `gt/flow_CAMERA_FRAME.npz`."""
from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from igs_ros.core.errors import InputError, error_line
from igs_ros.core.untrusted import read_arrays

MAX_BYTES = 200_000_000  # unpacked; a picture of 3840x2160 takes 110 MB
_NAME = re.compile(r'flow_(.+)_(\d+)\.npz')


@dataclass(frozen=True, eq=False)
class MotionTruth:
    """Where the surface that a camera sees in one frame is in the next frame."""

    camera: str
    frame: int
    motion: np.ndarray  # [H, W, 3] float32 m, world axes; NaN where the surface vanishes
    moving: np.ndarray  # [H, W] bool: the surface belongs to something that moves


def motion_files(recording: str | Path) -> dict[int, tuple[Path, ...]]:
    """Files of true motion below the folder of a recording, by frame, ascending; maybe none."""
    found: dict[int, list[Path]] = {}
    for path in sorted(Path(recording).glob('gt/flow_*.npz')):
        if match := _NAME.fullmatch(path.name):
            found.setdefault(int(match[2]), []).append(path)
    return {frame: tuple(found[frame]) for frame in sorted(found)}


def read_motion(path: str | Path) -> MotionTruth:
    """One of `motion_files`.

    Raises:
        InputError: it does not hold what it should.
    """
    path = Path(path)
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise InputError(f'{path}: not a file of true motion; expected flow_CAMERA_FRAME.npz.')
    camera, frame = match[1], int(match[2])
    expected = 'an npz file of true motion with flow3d, moving, frame and next_frame'
    arrays = read_arrays(path, MAX_BYTES, expected)
    try:
        motion, moving = arrays['flow3d'], arrays['moving']
        frames = int(arrays['frame']), int(arrays['next_frame'])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f'{path}: cannot be read ({error_line(error)}); expected '
                         f'{expected}.') from error
    if motion.shape != (*moving.shape, 3) or moving.ndim != 2 or moving.dtype != bool \
            or not np.issubdtype(motion.dtype, np.floating):
        raise InputError(f'{path}: flow3d is {motion.dtype} {list(motion.shape)} and moving '
                         f'{moving.dtype} {list(moving.shape)}; expected float [H, W, 3] and '
                         f'bool [H, W].')
    if frames != (frame, frame + 1):
        raise InputError(f'{path}: holds motion from frame {frames[0]} to {frames[1]}; its name '
                         f'says {frame} to {frame + 1}.')
    return MotionTruth(camera, frame, motion.astype(np.float32, copy=False), moving)
