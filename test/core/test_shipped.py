# SPDX-License-Identifier: Apache-2.0
"""Where shipped files are found."""
import sys

import pytest

from igs_ros.core import shipped
from igs_ros.core.errors import InputError


def test_checkout_wins(workbench):
    assert shipped.workbench() == workbench


def test_installed_copy_is_found_without_a_checkout(tmp_path, monkeypatch):
    place = tmp_path / 'share' / 'igs_ros' / 'recordings' / 'workbench'
    place.mkdir(parents=True)
    monkeypatch.setattr(shipped, '__file__', str(tmp_path / 'lib' / 'igs_ros' / 'shipped.py'))
    monkeypatch.setattr(sys, 'prefix', '/nowhere')
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/opt/other:{tmp_path}')
    assert shipped.workbench() == place


def test_nowhere_lists_the_places():
    with pytest.raises(InputError, match='no/such/file is in none of'):
        shipped.shipped('no/such/file')
