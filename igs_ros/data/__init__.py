# SPDX-License-Identifier: Apache-2.0
"""Recordings on disk: `open_recording` picks the reader by what lies in the folder.

Layouts, in the order in which they are looked for (docs/recordings.md): `rig.json`, N3DV
(`poses_bounds.npy` and `camNN.mp4`), COLMAP (`sparse/0/cameras.bin` and `images`).
"""
from __future__ import annotations

from pathlib import Path

from igs_ros.data.points import Points
from igs_ros.data.recording import Recording, checked, test_view, train_views
from igs_ros.errors import InputError

__all__ = ['Points', 'Recording', 'open_recording', 'test_view', 'train_views']


def open_recording(path: str | Path) -> Recording:
    """The recording in the folder `path`, calibration read and first pictures tried.

    Raises `InputError` when no layout fits, the calibration cannot be used, or a camera's file
    is missing or cannot be decoded.
    """
    # imported here: readers need codec.ply, which needs the points of this package
    from igs_ros.data import colmap, n3dv, rig

    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f'{folder}: no such folder; expected a recording. Check the path.')
    for reader in (rig, n3dv, colmap):
        if (folder / reader.MARKER).is_file():
            return checked(reader.read(folder))
    raise InputError(f'{folder}: no recording that can be read here; looked for {rig.MARKER}, '
                     f'{n3dv.MARKER} (with camNN.mp4) and {colmap.MARKER} (with images/). Check '
                     f'the path, or write a rig.json as docs/recordings.md describes.')
