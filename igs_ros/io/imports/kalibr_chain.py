# SPDX-License-Identifier: Apache-2.0
"""Kalibr's camchain, with the time shifts that kalibr_calibrate_imu_camera adds."""
from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from igs_ros.core.errors import InputError
from igs_ros.io.imports.found import Convention, FoundCamera, FoundRig, check_keys, vector
from igs_ros.io.imports.options import Request
from igs_ros.io.recordings import kalibr

_KEYS = ('cam_overlaps', 'camera_model', 'distortion_coeffs', 'distortion_model', 'intrinsics',
         'resolution', 'rostopic', 'T_cn_cnm1', 'T_cam_imu', 'timeshift_cam_imu',
         'line_delay')
_GENERAL = re.compile('image(_(raw|color|mono|rect))*|compressed')


def read(path: Path, request: Request, convention: Convention) -> FoundRig:
    """The rig of a camchain; its world is cam0.

    Args:
        path: of the file.
        request: what to ignore.
        convention: of the tool.

    Raises:
        InputError: naming the file and the camera that cannot be used.
    """
    known = kalibr.read_cameras(path)
    entries = kalibr.parsed(path)
    shifts = {name: _shift(entries[name], f"{path}: camera '{name}'", request) for name in known}
    told = [shift for shift in shifts.values() if shift is not None]
    if told and len(told) < len(shifts):
        raise InputError(f'{path}: timeshift_cam_imu of some cameras only; expected it of all, or '
                         f'of none. Calibrate them together.')
    first = told[0] if told else 0.0
    said = [f'time shifts against cam0 are taken as offsets: {_words(shifts, first)}'] \
        if any(shift != first for shift in told) else []
    cameras = [FoundCamera(
        name, camera.opencv_K, camera.camera_from_world, (camera.width, camera.height),
        camera.lens, camera.distortion, other_names=_names(entries[name]),
        offset_s=(shifts[name] or 0.0) - first) for name, camera in known.items()]
    return FoundRig(path, cameras, convention.overridden(request.options), said)


def _shift(entry: Mapping, who: str, request: Request) -> float | None:
    """Seconds to add to the camera's stamps to have the IMU's."""
    check_keys(entry, _KEYS, who, request.options.ignore)
    if 'timeshift_cam_imu' not in entry:
        return None
    return float(vector(entry['timeshift_cam_imu'], 1, f'{who}: timeshift_cam_imu')[0])


def _words(shifts: Mapping[str, float | None], first: float) -> str:
    return ', '.join(f'{name} {(shift or 0.0) - first:+.4f} s' for name, shift in shifts.items())


def _names(entry: Mapping) -> tuple[str, ...]:
    """What else its pictures may be called: by its topic, /left/image_raw."""
    topic = entry.get('rostopic')
    if not isinstance(topic, str) or not topic.isprintable():
        return ()
    parts = [part for part in topic.split('/') if part and not _GENERAL.fullmatch(part)]
    return ('_'.join(parts), parts[-1]) if len(parts) > 1 else tuple(parts)
