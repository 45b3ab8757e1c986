# SPDX-License-Identifier: Apache-2.0
"""SPDX lines, ends of lines and of files, YAML that loads: python tools/check_files.py FILES..."""
from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

SPDX = 'SPDX-License-Identifier: Apache-2.0'
SOURCES = ('.py', '.sh', '.msg', '.yaml', '.toml', '.cmake')
YAML = ('.yaml', '.yml', '.rviz')


def problems(path: Path) -> Iterator[str]:
    """What is wrong with a text file."""
    text = path.read_text(encoding='utf-8')
    lines = text.splitlines()
    if path.suffix in SOURCES and not any(SPDX in line for line in lines[:3]):
        yield f'1: no {SPDX} in the first three lines'
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            yield f'{number}: blanks at the end of the line'
    if text and (not text.endswith('\n') or text.endswith('\n\n')):
        yield f'{len(lines)}: expected one line break at the end of the file'
    if path.suffix in YAML:
        try:
            list(yaml.safe_load_all(text))
        except yaml.YAMLError as error:
            yield f'1: no YAML ({" ".join(str(error).split())})'


def main(paths: list[str]) -> int:
    """Print what is wrong with some files; 1 where anything is."""
    found = [f'{path}:{problem}' for path in paths for problem in problems(Path(path))]
    print('\n'.join(found), end='\n' if found else '')
    return int(bool(found))


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
