# SPDX-License-Identifier: Apache-2.0
"""What the pre-commit hook finds in files, and that these files have none of it."""
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tools'))
import check_files  # noqa: E402

LINE = f'# {check_files.SPDX}\n'


@pytest.mark.parametrize('name, text, words', [
    ('a.py', 'x = 1\n', ['1: no SPDX']), ('a.py', '\n\n\n' + LINE, ['1: no SPDX']),
    ('a.py', LINE + 'x = 1 \n', ['2: blanks']), ('a.md', 'x\n\ty\t\n', ['2: blanks']),
    ('a.md', 'x', ['1: expected one line break']), ('a.md', 'x\n\n', ['2: expected one line']),
    ('a.yaml', LINE + 'a: [1\n', ['1: no YAML']),
    ('a.py', LINE, []), ('a.md', '', []), ('a.yaml', LINE + 'a: [1]\n', [])])
def test_what_is_wrong_is_told_with_its_line(tmp_path, name, text, words, capsys):
    path = tmp_path / name
    path.write_text(text)
    assert check_files.main([str(path)]) == bool(words)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == len(words)
    assert all(line.startswith(f'{path}:{word}') for line, word in zip(told, words, strict=True))


def test_the_sources_have_nothing_of_it():
    paths = [path for folder in ('igs_ros', 'test', 'tools', 'launch', 'msg', 'config')
             for path in (ROOT / folder).rglob('*') if path.suffix in check_files.SOURCES]
    assert len(paths) > 300
    assert [f'{path}:{one}' for path in paths for one in check_files.problems(path)] == []
