# SPDX-License-Identifier: Apache-2.0
"""The command itself: readable help and the exit codes that it promises."""
import pytest

from igs_ros.cli import main as module


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
    for start in ('igs run DATA --out OUT ', 'igs play DATA ', 'igs demo --out OUT ',
                  'igs bench raster ', 'igs bench quality ', 'igs prepare DATA ',
                  'igs train --out OUT ', 'igs check ', '0  ', '1  ', '2  ',
                  '130  '):
        assert sum(line.startswith(start) for line in lines) == 1, start
    assert all(line.count('igs ') <= 1 for line in lines if line.startswith('igs '))


@pytest.mark.parametrize('outcome, code', [
    (0, 0), (None, 0), (1, 1), (module.InputError('camera left: no pictures'), 2),
    (KeyboardInterrupt(), 130)])
def test_exit_codes(monkeypatch, capsys, outcome, code):
    ended, err = called(monkeypatch, outcome, capsys)
    assert ended == code
    if code == 2:
        assert err.strip() == 'igs: camera left: no pictures'


def test_unknown_options_are_unusable_input(capsys):
    with pytest.raises(SystemExit) as ended:
        module.main(['check', '--no-such-flag'])
    captured = capsys.readouterr()
    assert ended.value.code == 2 and 'no-such-flag' in captured.out + captured.err
