# SPDX-License-Identifier: Apache-2.0
"""True depth and things, which synthetic recordings carry in `gt/depth_CAMERA_FRAME.npz`."""
from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from igs_ros.core.errors import InputError, error_line
from igs_ros.core.untrusted import read_arrays

MAX_BYTES = 100_000_000  # unpacked; a picture of 3840x2160 takes 41 MB
_NAME = re.compile(r'depth_(.+)_(\d+)\.npz')


@dataclass(frozen=True, eq=False)
class DepthTruth:
    """What a camera sees in one frame: how far, and of which thing."""

    camera: str
    frame: int
    depth: np.ndarray  # [H, W] float32 m along the optical axis, at pixel centers
    thing: np.ndarray  # [H, W] uint8, number of the thing, of the recording's own


def depth_files(recording: str | Path) -> dict[int, tuple[Path, ...]]:
    """Files of true depth below the folder of a recording, by frame, ascending; maybe none."""
    found: dict[int, list[Path]] = {}
    for path in sorted(Path(recording).glob('gt/depth_*.npz')):
        if match := _NAME.fullmatch(path.name):
            found.setdefault(int(match[2]), []).append(path)
    return {frame: tuple(found[frame]) for frame in sorted(found)}


def read_depth(path: str | Path) -> DepthTruth:
    """One of `depth_files`.

    Raises:
        InputError: it does not hold what it should.
    """
    path = Path(path)
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise InputError(f'{path}: not a file of true depth; expected depth_CAMERA_FRAME.npz.')
    expected = 'an npz file of true depth with depth and object'
    arrays = read_arrays(path, MAX_BYTES, expected)
    try:
        depth, thing = arrays['depth'], arrays['object']
    except KeyError as error:
        raise InputError(f'{path}: cannot be read ({error_line(error)}); expected '
                         f'{expected}.') from error
    if depth.ndim != 2 or depth.shape != thing.shape or thing.dtype != np.uint8 \
            or not np.issubdtype(depth.dtype, np.floating):
        raise InputError(f'{path}: depth is {depth.dtype} {list(depth.shape)} and object '
                         f'{thing.dtype} {list(thing.shape)}; expected float [H, W] and uint8 '
                         f'[H, W].')
    return DepthTruth(match[1], int(match[2]), depth.astype(np.float32, copy=False), thing)
