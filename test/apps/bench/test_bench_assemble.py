# SPDX-License-Identifier: Apache-2.0
"""Targets of the assembler, in simulated time; CPU time is reported, not asserted."""
import json

import pytest

from igs_ros.apps.bench import assemble
from igs_ros.apps.cli.main import main
from igs_ros.core.errors import InputError


def rows(**plan):
    return assemble.run(assemble.AssemblePlan(**{'instants': 200, **plan}))['rows']


def test_what_is_possible_is_delivered():
    for row in rows(cameras=(3, 4, 7, 12, 21), losses=(0.0, 0.05)):
        if row['possible']:
            assert row['delivered'] >= 0.99 and row['mixed'] == 0, row
        else:
            assert (row['cameras'], row['dead'], row['delivered']) == (3, 2, None)


def test_a_dead_camera_adds_no_latency():
    """Today each set waits for it for the whole of max_wait_s."""
    for row in rows(cameras=(4, 7, 21), losses=(0.0,)):
        assert row['added_p50_ms'] == pytest.approx(0, abs=0.1), row


def test_the_simulation_tells_losses_apart():
    """All but one asked for, as once: few sets of 21 cameras are possible at 5 % loss.
    """
    row, = rows(cameras=(21,), losses=(0.05,), dead=(1,), min_cameras=20)
    assert row['possible'] < 0.5 * 140 and row['pictures_per_set'] == 20
    row, = rows(cameras=(21,), losses=(0.05,), dead=(1,), max_wait_s=0.0)
    assert row['mixed'] or row['delivered'] < 0.99  # nothing is waited for


def test_the_same_twice():
    def of(found):
        return [{k: v for k, v in row.items() if k != 'cpu_ms_per_message'} for row in found]
    plan = {'cameras': (7,), 'losses': (0.05,)}
    assert of(rows(**plan)) == of(rows(**plan))


def test_the_command(capsys):
    command = ['bench', 'assemble', '--cameras', '3', '--loss', '0.01', '--dead', '1']
    for more in (['--json'], []):
        with pytest.raises(SystemExit) as ended:
            main([*command, *more])
        assert ended.value.code == 0
        text = capsys.readouterr().out
        if more:
            row, = json.loads(text)['rows']
            assert (row['cameras'], row['dead'], row['min_cameras']) == (3, 1, 2)
            assert row['delivered'] == 1 and row['cpu_ms_per_message'] > 0
    assert 'Frame sets at 30 Hz' in text


@pytest.mark.parametrize('plan', [{'cameras': (0,)}, {'losses': (1.0,)}, {'dead': (-1,)}])
def test_plans_that_cannot_be_simulated(plan):
    with pytest.raises(InputError, match='igs bench assemble: expected'):
        rows(**plan)
