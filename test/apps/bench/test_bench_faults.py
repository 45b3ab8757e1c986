# SPDX-License-Identifier: Apache-2.0
"""Faults that are injected, and what the table says of them."""
import json

import numpy as np
import pytest

from igs_ros.apps.bench import fault_kinds, faults
from igs_ros.apps.cli.main import main
from igs_ros.core.config import Config
from igs_ros.core.errors import InputError

FLAGS = ('--width 96 --max-gaussians 1500 --bootstrap-iterations 20 --refine-iterations 5 '
         '--key-interval 2 --frames 0:7').split()
PICTURES = {name: np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
            for number, name in enumerate('abc')}
BEFORE = {name: image[::-1] for name, image in PICTURES.items()}


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(faults, 'SHORT', 3)
    monkeypatch.setattr(faults, 'LATER', 6)
    monkeypatch.setattr(faults, 'LONG_S', 0.5)


def bench(workbench, tmp_path, capsys, *flags):
    with pytest.raises(SystemExit) as ended:
        main(['bench', 'faults', str(workbench), *FLAGS, '--keep', str(tmp_path), *flags])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_a_fault_is_measured_against_the_run_without_it(workbench, tmp_path, capsys, short):
    results = json.loads(bench(workbench, tmp_path, capsys, '--faults', 'rotated', 'covered',
                               'scene-10s', '--json'))
    rotated, covered, scene = results['rows']
    for row in results['rows']:
        assert row['noticed_at'] == 0 and row['false_alarms'] == row['alarms_outside'] == 0
        assert row['before_db'] == 0.0 and row['two_keys_db'] is not None
    assert rotated['held'] == rotated['faulty_frames'] == 3
    assert rotated['named'] == ['cam00', 'cam01', 'cam03'] and rotated['during_db'] < 0
    assert covered['held'] == 0 and covered['named'] == ['cam00']
    # whole loops of 12 frames, at least half a second
    assert scene['held'] == scene['faulty_frames'] == 24
    assert len(scene['psnr']) == len(rotated['psnr']) + 21


def test_the_table_shows_what_believing_everything_costs(workbench, tmp_path, capsys, short):
    text = bench(workbench, tmp_path, capsys, '--faults', 'dark', '--set', 'hold_s=0')
    assert 'all pictures dark' in text and '2 keys' in text
    row = next(line for line in text.splitlines() if 'workbench' in line and '│' in line)
    assert row.split('│')[8].strip() == '-'  # noticed by nobody


def test_what_cannot_be_measured_is_said(workbench):
    with pytest.raises(InputError, match="fault 'flood' is unknown; expected dark"):
        faults.measure(faults.FaultPlan([workbench], Config(), ['flood']))
    with pytest.raises(InputError, match='at least 2 frames'):
        faults.measure(faults.FaultPlan([workbench], Config(), last=1))


@pytest.mark.parametrize(('name', 'changed'), [
    ('dark', 'abc'), ('dark-one', 'a'), ('scene', 'abc'), ('swapped', 'ab'), ('rotated', 'abc'),
    ('covered', 'a'), ('half', 'a'), ('light', 'abc'), ('frozen', 'a')])
def test_a_fault_changes_the_cameras_that_it_says(name, changed):
    fault = fault_kinds.faults()[name]
    after = fault.apply(PICTURES, BEFORE, 7)
    assert {n for n in PICTURES if not np.array_equal(after[n], PICTURES[n])} == set(changed)
    assert (fault.faulty(tuple(PICTURES)) or set(PICTURES)) == set(changed)
    assert all(image.dtype == np.uint8 and image.shape == (12, 16, 3) for image in after.values())
    again = fault.apply(PICTURES, BEFORE, 7)
    assert all(np.array_equal(again[n], after[n]) for n in PICTURES)


def test_swapped_and_rotated_and_frozen_pictures_are_those_of_others():
    known = fault_kinds.faults()
    assert known['swapped'].apply(PICTURES, BEFORE, 0)['a'] is PICTURES['b']
    assert known['rotated'].apply(PICTURES, BEFORE, 0)['c'] is PICTURES['a']
    assert known['frozen'].apply(PICTURES, BEFORE, 0)['a'] is BEFORE['a']


def test_another_recording_can_be_the_other_scene(workbench):
    strange = faults._strange(workbench)
    shown = fault_kinds.faults(strange)['scene'].apply(PICTURES, BEFORE, 40)
    assert all(np.array_equal(image, strange(2, (16, 12))) for image in shown.values())
