# SPDX-License-Identifier: Apache-2.0
"""The figures of docs/planners.md, on a recording with truth and a tiny scene of it."""
import json

import pytest

from igs_ros.apps.bench import planners
from igs_ros.apps.cli.main import main
from igs_ros.core.config import Config
from igs_ros.core.errors import InputError

FLAGS = ('--width 240 --max-gaussians 6000 --bootstrap-iterations 150 --refine-iterations 10 '
         '--threads 1 --motion geometric --set motion_model.adjust_iterations=0 '
         'motion_model.anchors=300 --voxel 0.1 --heights 0.9 1.5').split()


@pytest.mark.slow
def test_all_figures_of_a_recording(test_data, capsys):
    with pytest.raises(SystemExit) as ended:
        main(['bench', 'planners', str(test_data / 'synthetic' / 'scene_C_small'), *FLAGS,
              '--json'])
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert (found['frames'], found['cameras']) == (20, 3)
    assert 0.005 < found['position_m']['median'] < 0.1 < found['position_m']['p95'] * 4
    space = found['space']
    assert 0 <= space['free_filled'] < 0.2 and space['free_known'] > 0.5
    assert space['missed'] < 0.5 and 0 <= space['missed_free'] < 0.3
    velocity = found['velocity']
    assert velocity['moving_m_s']['count'] > 0 and velocity['still_m_s']['median'] < 0.05
    assert 0.2 < velocity['within_1_sigma'] <= velocity['within_2_sigma'] <= 1
    came, went = found['events']  # the box and the cup of its README
    assert (came['came'], came['frame'], went['came'], went['frame']) == (True, 7, False, 13)
    assert max(came['occupied'][:7]) < 0.2 and min(went['occupied'][:10]) > 0.3
    planners.print_table(found)
    assert 'gone after' in capsys.readouterr().out


def test_a_recording_without_truth_is_refused(workbench):
    with pytest.raises(InputError, match='gt/depth_CAMERA_FRAME'):
        planners.run(planners.PlannerPlan(workbench, Config(width=96, threads=1)))
