# SPDX-License-Identifier: Apache-2.0
"""Which reader a recording needs."""
from __future__ import annotations

import os
from pathlib import Path

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.io.recordings import bag, colmap, kalibr, n3dv, rig
from igs_ros.io.recordings.bag_file import METADATA, SUFFIXES, bag_at
from igs_ros.io.recordings.bag_options import BagOptions
from igs_ros.io.recordings.recording import Recording, checked
from igs_ros.io.recordings.timing import arranged


def open_recording(path: str | Path, options: BagOptions | None = None) -> Recording:
    """The recording at `path`, calibration read and first pictures tried.

    Args:
        path: its folder; of a ROS 2 bag also one of its files.
        options: what it does not say itself, of its times or, a bag, of its cameras.

    Raises:
        InputError: no layout fits, the calibration cannot be used, or a camera's file is
            missing or cannot be decoded.
    """
    place = Path(path)
    if not os.path.exists(place):  # Path.exists raises for names that are too long
        raise InputError(f'{place}: no such folder; expected a recording. Check the path.')
    if place.is_dir() and not (place / METADATA).is_file():
        for reader in (rig, n3dv, colmap):
            if (place / reader.MARKER).is_file():
                return arranged(checked(reader.read(place)), options)
    found = bag_at(place)
    if found is not None:
        return arranged(checked(bag.read(found, options)), options)
    raise InputError(f'{place}: no recording that can be read here; looked for {rig.MARKER}, '
                     f'{n3dv.MARKER} (with camNN.mp4), {colmap.MARKER} (with images/) and '
                     f'{METADATA} or one .mcap or .db3 of a ROS 2 bag. Check the path, or write '
                     f'a rig.json as docs/recordings.md describes.')


def read_cameras(path: str | Path) -> dict[str, Camera]:
    """The calibrated cameras in `path`, by name.

    It is a rig.json, a camchain of Kalibr (YAML), or the folder of a recording. Pictures are
    looked for only where there is no calibration without them.

    Raises:
        InputError: there is no such thing, or it cannot be used.
    """
    place = Path(path)
    if place.suffix in kalibr.SUFFIXES:
        return kalibr.read_cameras(place)
    # Path.is_dir raises for names that are too long
    if not os.path.isdir(place) and place.suffix not in SUFFIXES:
        return rig.read_rig(place)
    if (place / rig.MARKER).is_file():
        return rig.read_rig(place / rig.MARKER)
    if (place / colmap.MARKER).is_file() and not (place / n3dv.MARKER).is_file():
        return colmap.read_cameras(place)
    return dict(open_recording(place).cameras)
