# SPDX-License-Identifier: Apache-2.0
"""The comparison of motion models: one first scene for all, kept when asked for."""
import json
import shutil

import pytest

from igs_ros.bench import quality
from igs_ros.cli.main import main

FLAGS = ('--width 96 --max-gaussians 1500 --bootstrap-iterations 20 --refine-iterations 5 '
         '--key-interval 2 --frames 0:4 --seeds 3').split()


def test_motions_share_their_first_scene(workbench, tmp_path, capsys):
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(['bench', 'quality', str(workbench), *FLAGS, '--keep', str(tmp_path), '--json'])
        assert ended.value.code == 0
    rows = json.loads(capsys.readouterr().out.split('\n{')[-1].join(['{', '']))['rows']
    assert [row['motion'] for row in rows] == ['static', 'geometric']
    assert rows[0]['bootstrap'] == rows[1]['bootstrap']
    assert rows[0]['bootstrap']['iterations'] == 20
    assert len(list(tmp_path.iterdir())) == 1  # the second run took it from there
    assert [frame['kind'] for frame in rows[0]['frames']] == ['candidate', 'key', 'candidate']


def test_first_scenes_do_not_outlive_changes_of_the_code(tmp_path):
    copy = tmp_path / 'igs_ros'
    shutil.copytree(quality.PACKAGE, copy, ignore=shutil.ignore_patterns('__pycache__'))
    before = quality.sources_digest()
    assert quality.sources_digest(copy) == before
    for name in ('report.py', 'cli/main.py', 'motion/flow.py'):  # no part of a first scene
        (copy / name).write_text('changed')
    assert quality.sources_digest(copy) == before
    for name in ('bootstrap/seeds.py', 'raster/cpu.py', 'optimize.py', 'stereo.py', 'frames.py'):
        seen = quality.sources_digest(copy)
        (copy / name).write_text((copy / name).read_text() + '# changed')
        assert quality.sources_digest(copy) != seen, name


def test_the_table_keeps_test_and_train_apart(capsys):
    row = {'scene': 'desk', 'motion': 'static', 'seed': 0, 'frames': [],
           'bootstrap': {'psnr_test': None, 'psnr_train': 31.25},
           'summary': dict.fromkeys(quality.SUMMARY)}
    quality.print_means({'rows': [row]})
    lines = capsys.readouterr().out.splitlines()
    cells = next([cell.strip() for cell in line.split('│')] for line in lines if 'desk' in line)
    assert cells[4:6] == ['-', '31.25']
