# SPDX-License-Identifier: Apache-2.0
"""The layout of Neural 3D Video (N3DV): `poses_bounds.npy` and one `camNN.mp4` per camera.

Rows of the LLFF file are in the order of the file names; the first camera is held out.
"""
from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError, error_line, shown
from igs_ros.io.codec.ply import read_points
from igs_ros.io.recordings.recording import Recording
from igs_ros.io.recordings.sources import video_file

MARKER = 'poses_bounds.npy'
POINTS = 'points3d.ply'
VIDEO = re.compile(r'cam\d+\.mp4')


def read(folder: Path) -> Recording:
    """The recording in `folder`.

    Raises:
        InputError: a file is missing, cannot be read, or does not fit the others.
    """
    videos = sorted(f for f in folder.iterdir() if VIDEO.fullmatch(f.name))
    rows = _poses(folder / MARKER)
    if len(videos) != len(rows):
        raise InputError(f"{folder}: {len(rows)} cameras in {MARKER}, but {len(videos)} videos "
                         f"({', '.join(v.name for v in videos) or 'none'}); expected one camNN.mp4"
                         f' per row. Copy the recording completely.')
    sources = {video.stem: video_file(video) for video in videos}
    rate = next(iter(sources.values())).rate_hz
    if not rate:
        raise InputError(f'{videos[0]}: a video without a frame rate; expected one. Export it '
                         f'again with a frame rate, or write a rig.json with fps.')
    points = folder / POINTS
    return Recording(
        name=folder.resolve().name,
        path=folder,
        cameras={name: _camera(name, row, folder / MARKER)
                 for name, row in zip(sources, rows, strict=True)},
        sources=sources,
        rate_hz=rate,
        held_out=(videos[0].stem,),
        load_points=(lambda: read_points(points)) if points.is_file() else None,
    )


def _poses(path: Path) -> np.ndarray:
    """[C, 3, 5] LLFF: columns down, right, back, position (m), (height, width, focal) (px)."""
    try:
        # mapped: a shape that lies about the size of the file is refused before it is allocated
        rows = np.load(path, mmap_mode='r', allow_pickle=False)
        if not isinstance(rows, np.ndarray) or rows.dtype.kind not in 'fiu':
            raise ValueError('no array of real numbers')
    except Exception as error:  # of numpy, tokenize, ast, struct, zipfile, ...
        raise InputError(f'{path}: no readable NumPy array ({error_line(error)}); expected LLFF '
                         f'poses. Copy the recording again.') from error
    if rows.ndim != 2 or rows.shape[1] != 17 or not len(rows):
        raise InputError(f'{path}: array of shape {shown(list(rows.shape))}; expected '
                         f'[cameras, 17] (LLFF: 3x5 pose, near, far).')
    return rows[:, :15].reshape(-1, 3, 5).astype(np.float64)


def _camera(name: str, row: np.ndarray, origin: Path) -> Camera:
    """A camera with its principal point in the middle of the image."""
    down, right, back, position, (height, width, focal) = row.T
    world_from_camera = np.eye(4)
    world_from_camera[:3] = np.stack([right, down, -back, position], 1)
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    if not np.isfinite(row).all():
        raise InputError(f"{origin}: camera '{name}': NaN or infinite values in its row; expected "
                         f'a pose, an image size and a focal length. Calibrate again.')
    try:
        return Camera(name, int(width), int(height), K, np.linalg.inv(world_from_camera))
    except (InputError, np.linalg.LinAlgError) as error:
        raise InputError(f"{origin}: camera '{name}': {error}") from error
