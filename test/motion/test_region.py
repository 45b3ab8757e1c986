# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from igs_ros.errors import InputError
from igs_ros.motion.region import in_box, read_box

BOX = [[-4, -3, 8], [4, 3, 16]]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in (('one', {'room': BOX}), ('two', {'room': BOX, 'hall': BOX}),
                          ('bare', BOX), ('odd', {'room': [[1, 2], [3, 4]]})):
        (tmp_path / f'{name}.json').write_text(json.dumps(content))
    (tmp_path / 'broken.json').write_text('{')
    return tmp_path


@pytest.mark.parametrize('text', ['-4 -3 8 4 3 16', '-4, -3, 8, 4, 3, 16', 'one.json',
                                  'one.json:room', 'two.json:hall', 'bare.json'])
def test_boxes(folder, text):
    np.testing.assert_array_equal(read_box(text), BOX)


def test_no_box():
    assert read_box('') is None and read_box(' ') is None


@pytest.mark.parametrize('text, said', [
    ('1 2 3', 'six numbers'), ('4 0 0 1 1 1', 'no minimum above'),
    ('nan 0 0 1 1 1', 'six numbers'),
    ('nowhere.json', "no file 'nowhere.json'"), ('nowhere.json:room', "no file 'nowhere.json'"),
    ('two.json', 'one of hall, room'), ('two.json:attic', "no scene 'attic'"),
    ('odd.json', 'six numbers'), ('broken.json', 'no readable JSON')])
def test_bad_boxes(folder, text, said):
    with pytest.raises(InputError, match=said):
        read_box(text)


def test_faces_belong_to_the_box():
    points = np.array([[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 1, 1.0001], [-1e-6, 0, 0]])
    np.testing.assert_array_equal(in_box(points, np.array([[0, 0, 0], [1, 1, 1.0]])), [0, 1, 2])
    np.testing.assert_array_equal(in_box(points, None), np.arange(5))
