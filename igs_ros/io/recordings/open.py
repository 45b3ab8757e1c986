# SPDX-License-Identifier: Apache-2.0
"""Which reader a recording needs."""
from __future__ import annotations

from pathlib import Path

from igs_ros.core.errors import InputError
from igs_ros.io.recordings import bag, colmap, n3dv, rig
from igs_ros.io.recordings.bag_file import METADATA, bag_at
from igs_ros.io.recordings.bag_options import BagOptions
from igs_ros.io.recordings.recording import Recording, checked


def open_recording(path: str | Path, options: BagOptions | None = None) -> Recording:
    """The recording at `path`, calibration read and first pictures tried.

    Args:
        path: its folder; of a ROS 2 bag also one of its files.
        options: of a bag: what it does not say itself.

    Raises:
        InputError: no layout fits, the calibration cannot be used, or a camera's file is
            missing or cannot be decoded.
    """
    place = Path(path)
    if not place.exists():
        raise InputError(f'{place}: no such folder; expected a recording. Check the path.')
    if place.is_dir() and not (place / METADATA).is_file():
        for reader in (rig, n3dv, colmap):
            if (place / reader.MARKER).is_file():
                return checked(reader.read(place))
    found = bag_at(place)
    if found is not None:
        return checked(bag.read(found, options))
    raise InputError(f'{place}: no recording that can be read here; looked for {rig.MARKER}, '
                     f'{n3dv.MARKER} (with camNN.mp4), {colmap.MARKER} (with images/) and '
                     f'{METADATA} or one .mcap or .db3 of a ROS 2 bag. Check the path, or write '
                     f'a rig.json as docs/recordings.md describes.')
