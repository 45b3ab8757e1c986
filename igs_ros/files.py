# SPDX-License-Identifier: Apache-2.0
"""Files that are there completely or not at all, whenever the process is killed; JSON files."""
from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from igs_ros.errors import InputError


@contextmanager
def replaced(path: Path, synced: bool = True) -> Iterator[Path]:
    """A path to write to, beside `path`; at the end of the block it takes the place of `path`.

    Its suffix is that of `path`, whose folder is made if it is not there. When the block raises,
    `path` is as it was. Not `synced`, it survives a kill, but maybe no power cut: for many files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f'.{path.stem}.{os.getpid()}{path.suffix}')
    try:
        yield draft
        draft.chmod(0o644)  # safetensors makes its files private
        if synced:
            with open(draft, 'rb+') as file:
                os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def read_json(path: Path, expected: str):
    """The content of a JSON file; raises `InputError` that says what was `expected`."""
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror}); expected {expected}. Check '
                         f'the path.') from error
    except ValueError as error:
        raise InputError(f'{path}: no JSON ({error}); expected {expected}. Copy it '
                         f'again.') from error
