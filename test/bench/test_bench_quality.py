# SPDX-License-Identifier: Apache-2.0
"""The comparison of motion models: one first scene for all, kept when asked for."""
import json

import pytest

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
