# SPDX-License-Identifier: Apache-2.0
"""Cameras alone, of whatever holds some."""
import shutil

import numpy as np
import pytest

from igs_ros.core.errors import InputError
from igs_ros.io.recordings.open import open_recording, read_cameras


def same(one, other):
    assert list(one) == list(other)
    for name, camera in one.items():
        assert np.array_equal(camera.camera_from_world, other[name].camera_from_world)
        assert np.array_equal(camera.K, other[name].K)


def test_a_rig_file_and_its_folder(workbench, tmp_path):
    expected = open_recording(workbench).cameras
    same(read_cameras(workbench), expected)
    same(read_cameras(workbench / 'rig.json'), expected)
    shutil.copy(workbench / 'rig.json', tmp_path)
    same(read_cameras(tmp_path), expected)  # no pictures there


def test_what_is_nothing(tmp_path):
    with pytest.raises(InputError, match='no recording that can be read here'):
        read_cameras(tmp_path)
    with pytest.raises(InputError, match='cannot be read'):
        read_cameras(tmp_path / ('x' * 300))
