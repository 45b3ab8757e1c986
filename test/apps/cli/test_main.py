# SPDX-License-Identifier: Apache-2.0
"""The command itself: readable help and the exit codes that it promises."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from igs_ros import __version__
from igs_ros.apps.cli import main as module
from igs_ros.apps.cli.bench import bench_names
from igs_ros.core.errors import OutputError

ROOT = Path(__file__).resolve().parents[3]


def called(monkeypatch, outcome, capsys):
    """Exit code and stderr of `igs check` when the command ends with `outcome`."""
    def ending(self):
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome
    monkeypatch.setattr(module.Check, 'main', ending)
    with pytest.raises(SystemExit) as ended:
        module.main(['check'])
    return ended.value.code, capsys.readouterr().err


def test_help_has_one_line_per_command(capsys):
    with pytest.raises(SystemExit) as ended:
        module.main(['--help'])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert ended.value.code == 0
    for start in ('igs run DATA --out OUT ', 'igs play DATA ', 'igs record OUT ',
                  'igs demo --out OUT ',
                  'igs bench WHAT ', 'igs prepare DATA ', 'igs train --out OUT ', 'igs check ',
                  'igs --version', '0  ', '1  ', '2  ', '130  '):
        assert sum(line.startswith(start) for line in lines) == 1, start
    assert all(line.count('igs ') <= 1 for line in lines if line.startswith('igs '))


def test_both_helps_list_the_same_benches(capsys):
    with pytest.raises(SystemExit):
        module.main(['bench', '--help'])
    usage = re.search(r'\{([a-z,\s]+)\}', capsys.readouterr().out)[1]
    names = ''.join(usage.split()).split(',')
    assert len(names) >= 7 and tuple(names) == bench_names()
    with pytest.raises(SystemExit):
        module.main(['--help'])
    assert ', '.join(names) in ' '.join(capsys.readouterr().out.split())


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        module.main(['--version'])
    assert ended.value.code == 0 and capsys.readouterr().out == f'igs {__version__}\n'


@pytest.mark.parametrize('shell', ['bash', 'zsh'])
def test_completion_is_there(shell, capsys):
    with pytest.raises(SystemExit) as ended:
        module.main(['--tyro-print-completion', shell])
    assert not ended.value.code and 'bootstrap-iterations' in capsys.readouterr().out


@pytest.mark.parametrize('outcome, code', [
    (0, 0), (None, 0), (1, 1), (module.InputError('camera left: no pictures'), 2),
    (OutputError('out: no room'), 2), (OSError(28, 'No space left', '/x/y'), 2),
    (KeyboardInterrupt(), 130)])
def test_exit_codes(monkeypatch, capsys, outcome, code):
    ended, err = called(monkeypatch, outcome, capsys)
    assert ended == code
    said = {module.InputError: 'camera left: no pictures', OutputError: 'out: no room',
            OSError: '/x/y: No space left. Check the path, its permissions and the room on its '
                     'disk.', KeyboardInterrupt: 'interrupted'}
    if code > 1:
        assert err.strip() == f'igs: {said[type(outcome)]}'


def test_an_output_that_takes_nothing_is_one_line():
    with open('/dev/full', 'w') as full:
        done = subprocess.run([sys.executable, '-m', 'igs_ros.apps.cli.main', 'check'],
                              stdout=full, stderr=subprocess.PIPE, text=True, timeout=300,
                              env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith('igs: the standard output, or a file: ')


def test_unknown_options_are_unusable_input(capsys):
    with pytest.raises(SystemExit) as ended:
        module.main(['check', '--no-such-flag'])
    captured = capsys.readouterr()
    assert ended.value.code == 2 and 'no-such-flag' in captured.out + captured.err


def test_help_loads_no_torch():
    """Which takes seconds."""
    code = "import igs_ros.apps.cli.main, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT, timeout=300).returncode == 0
