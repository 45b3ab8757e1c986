# SPDX-License-Identifier: Apache-2.0
"""The check and the calibration of recordings."""
import logging
import re
from dataclasses import replace

import numpy as np
import pytest
from rig_faults import angle_between, inverted, turned

from igs_ros.core.errors import InputError
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.rig_recording import calibrated_recording, check_recording


def test_a_run_that_calibrates_gets_the_mended_rig(workbench, caplog):
    recording = open_recording(workbench)
    true = recording.cameras
    tilted = replace(recording, cameras={**true, 'cam03': turned(true['cam03'], 0.5, (1, 0, 0))})
    with caplog.at_level(logging.INFO):
        found = calibrated_recording(tilted)
    assert re.search(r'calibrating: cam03: turned by 0\.(49|50)', caplog.text)
    for name, camera in found.cameras.items():
        assert angle_between(camera, true[name]) < 0.05
        assert np.linalg.norm(camera.center - true[name].center) < 0.003


def test_a_mistake_is_told_and_the_rig_stays(workbench, caplog):
    recording = open_recording(workbench)
    wrong = replace(recording, cameras={n: inverted(c) for n, c in recording.cameras.items()})
    found = calibrated_recording(wrong)
    assert found.cameras == wrong.cameras
    assert 'nothing is changed' in caplog.text and 'camera-to-world' in caplog.text


def test_cameras_that_move_are_checked_where_they_were(workbench):
    recording = open_recording(workbench)
    elsewhere = {name: turned(camera, 20, (0, 1, 0)) for name, camera in recording.cameras.items()}
    poses = {name: camera.camera_from_world for name, camera in recording.cameras.items()}
    moving = replace(recording, cameras=elsewhere, poses=lambda frame: poses)
    checked = check_recording(moving)
    assert checked.numbers == (0,) and checked.check.verdict.value == 'good'
    with pytest.raises(InputError, match='its cameras move'):
        calibrated_recording(moving)
