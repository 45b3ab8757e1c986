# SPDX-License-Identifier: Apache-2.0
"""tools/gpu.sh goes through all its steps, whatever they end with, and says which failed."""
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / 'tools' / 'gpu.sh'


def run(*arguments, python='true'):
    return subprocess.run([SCRIPT, *map(str, arguments)], capture_output=True, text=True,
                          env={'PATH': '/usr/bin:/bin', 'PYTHON': python}, check=False)


def test_a_step_that_fails_does_not_end_it(tmp_path):
    done = run('speed', tmp_path, python='false')
    assert done.returncode == 1
    steps = (tmp_path / 'steps.txt').read_text().splitlines()
    assert [line.split(':')[0] for line in steps] == [
        'refine', 'refine_small', 'motion', 'neighbors', 'live', 'quality']
    assert all('exit 1' in line for line in steps)


def test_it_is_content_when_all_is_well(tmp_path):
    done = run('speed', tmp_path)
    assert done.returncode == 0 and done.stdout.count('exit 0') == 6


def test_it_says_how_it_is_called(tmp_path):
    for arguments in ((), ('faster', tmp_path), ('check',)):
        done = run(*arguments)
        assert done.returncode == 2 and (done.stdout + done.stderr).strip()
