# SPDX-License-Identifier: Apache-2.0
"""Where shipped files are found."""
import sys

import pytest

from igs_ros.core import files
from igs_ros.core.errors import InputError


def test_checkout_wins(workbench):
    assert files.workbench() == workbench


def test_installed_copy_is_found_without_a_checkout(tmp_path, monkeypatch):
    place = tmp_path / 'share' / 'igs_ros' / 'recordings' / 'workbench'
    place.mkdir(parents=True)
    monkeypatch.setattr(files, '__file__', '/nowhere/site/igs_ros/core/files.py')
    monkeypatch.setattr(sys, 'prefix', '/nowhere')
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/opt/other:{tmp_path}')
    assert files.workbench() == place


def test_the_prefix_of_this_very_package_comes_first(tmp_path, monkeypatch):
    for name in ('own', 'other'):
        (tmp_path / name / 'share' / 'igs_ros' / 'recordings' / 'workbench').mkdir(parents=True)
    monkeypatch.setattr(files, '__file__', str(
        tmp_path / 'own/lib/python3/site-packages/igs_ros/core/files.py'))
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path / 'other'))
    assert files.workbench() == tmp_path / 'own' / 'share/igs_ros/recordings/workbench'


def test_nowhere_lists_the_places():
    with pytest.raises(InputError, match='no/such/file is in none of'):
        files.shipped('no/such/file')
