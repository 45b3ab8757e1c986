# SPDX-License-Identifier: Apache-2.0
"""Which reader a recording needs."""
from __future__ import annotations

from pathlib import Path

from igs_ros.core.errors import InputError
from igs_ros.io.recordings import colmap, n3dv, rig
from igs_ros.io.recordings.recording import Recording, checked


def open_recording(path: str | Path) -> Recording:
    """The recording in the folder `path`, calibration read and first pictures tried.

    Raises:
        InputError: no layout fits, the calibration cannot be used, or a camera's file is missing
            or cannot be decoded.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f'{folder}: no such folder; expected a recording. Check the path.')
    for reader in (rig, n3dv, colmap):
        if (folder / reader.MARKER).is_file():
            return checked(reader.read(folder))
    raise InputError(f'{folder}: no recording that can be read here; looked for {rig.MARKER}, '
                     f'{n3dv.MARKER} (with camNN.mp4) and {colmap.MARKER} (with images/). Check '
                     f'the path, or write a rig.json as docs/recordings.md describes.')
