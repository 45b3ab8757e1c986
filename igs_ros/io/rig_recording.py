# SPDX-License-Identifier: Apache-2.0
"""The rig check, and the calibration, of a recording."""
from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.io.recordings.recording import Recording, require_still
from igs_ros.io.recordings.sources import ImageSource
from igs_ros.vision.calibrate import calibrated, change_lines
from igs_ros.vision.matches import MatchSettings
from igs_ros.vision.rig_check import RigCheck, check_rig
from igs_ros.vision.rig_pairs import Verdict

log = logging.getLogger(__name__)
CALIBRATION_FRAMES = 5
_FRAMES = 3
_SPAN = 150  # frames of a video that are decoded: what comes before a frame costs as much

Tell = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class CheckedRecording:
    """A check, and what it was made of."""

    check: RigCheck
    cameras: Mapping[str, Camera]  # where they were in the first of the frames
    numbers: tuple[int, ...]  # of the frames
    images: Mapping[str, np.ndarray]  # uint8 RGB [H, W, 3] of the first frame, by camera
    depths: Mapping[str, np.ndarray]  # float32 [H, W] m of that frame, of some cameras


def check_recording(recording: Recording, progress: Tell = lambda stage, done: None,
                    frames: int = _FRAMES) -> CheckedRecording:
    """Check the rig of a recording by a few of its frames.

    Where cameras move, only the first frame counts.

    Args:
        recording: that is looked at.
        progress: gets a stage and which share of it is done, 0..1.
        frames: how many are looked at, at most.
    """
    cameras = dict(recording.cameras)
    total = recording.frames_total
    if not all(isinstance(source, ImageSource) for source in recording.sources.values()):
        total = min(total, _SPAN)
    if recording.poses is not None:
        frames = 1
        cameras.update({name: cameras[name].placed(pose)
                        for name, pose in recording.poses(0).items()})
    step = max(1, (total - 1) // max(1, frames - 1))
    numbers, sets, depths = [], [], {}
    for index, frame_set in enumerate(recording.frame_sets(0, total, step=step)):
        if index == frames:
            break
        progress('pictures', index / frames)
        numbers.append(index * step)
        sets.append({})
        for name, picture in frame_set.pictures.items():
            try:
                sets[-1][name] = picture.decode()
            except InputError:
                continue  # damaged: a run says so, and goes on without it, too
        if not index:
            depths = {name: picture.decode() for name, picture in frame_set.depths.items()
                      if picture.size() == (cameras[name].width, cameras[name].height)}
    check = check_rig(sets, cameras, MatchSettings(), numbers, progress, depths)
    return CheckedRecording(check, cameras, tuple(numbers), sets[0], depths)


def calibrated_recording(recording: Recording) -> Recording:
    """A recording whose poses are adjusted to what its cameras see; the log says to what.

    Where nothing can be judged, or mended, it comes back as it is, with one warning.

    Raises:
        InputError: its cameras move.
    """
    require_still(recording, 'calibrating')
    checked = check_recording(recording, frames=CALIBRATION_FRAMES)
    found = calibrated(checked.check, checked.cameras)
    level = logging.INFO if found.verdict is Verdict.GOOD else logging.WARNING
    for line in change_lines(found):
        log.log(level, 'calibrating: %s', line)
    return replace(recording, cameras=found.cameras)
