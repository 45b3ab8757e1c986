# SPDX-License-Identifier: Apache-2.0
"""Files that are there completely or not at all; JSON files; files that ship with the package.

Completely or not at all: whenever the process is killed.
"""
from __future__ import annotations

import errno
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from igs_ros.core.errors import InputError, OutputError, error_line

MAX_TEXT = 16_000_000  # bytes of a text file: parsed, it takes up to 30 times as much
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DRAFT = re.compile(r'\..+\.(\d+)\.draft(\.[^.]+)?')


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within the block, what the system says against it becomes an error about `path`.

    Raises:
        OutputError: in place of any `OSError` of the block.
    """
    try:
        yield
    except OSError as error:
        remedy = 'Make room there' if error.errno in _FULL else 'Check path and permissions'
        raise OutputError(f'{path}: cannot be written ({error.strerror or error}). {remedy}, or '
                          f'write elsewhere.') from error


def draft_of(path: Path) -> Path:
    """Where this process writes what is to become `path`; `sweep` knows the name."""
    return path.with_name(f'.{path.stem}.{os.getpid()}.draft{path.suffix}')


@contextmanager
def replaced(path: Path, synced: bool = True) -> Iterator[Path]:
    """A path to write to, beside `path`; at the end of the block it takes the place of `path`.

    Its suffix is that of `path`, whose folder is made if it is not there. When the block raises,
    `path` is as it was. A device or a pipe is written to as it is.

    Args:
        path: of the file.
        synced: if not, it survives a kill, but maybe no power cut: for many files.

    Raises:
        OutputError: what the system says against it.
    """
    with writing(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            yield path
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = draft_of(path)
        try:
            yield draft
            draft.chmod(0o644)  # safetensors makes its files private
            if synced:
                with open(draft, 'rb+') as file:
                    os.fsync(file.fileno())
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)


def checked_folder(folder: Path) -> None:
    """Make `folder` and prove that it can be written to, before the work.

    Drafts that killed processes left in it are removed.

    Raises:
        OutputError: it cannot be made or written to, or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f'{folder}: is no folder; expected one to write to. Name another.')
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        probe = draft_of(folder / 'probe')
        try:
            probe.write_bytes(b'.')  # an empty file fits on a full disk
        finally:
            probe.unlink(missing_ok=True)


def checked_file(path: Path) -> None:
    """Prove that `replaced` can write `path`, before the work.

    Raises:
        OutputError: it is a folder, or its folder cannot be made or written to.
    """
    if path.is_dir():
        raise OutputError(f'{path}: is a folder; expected a file to write. Name a file in it.')
    if not path.exists() or path.is_file():
        checked_folder(path.parent)


def sweep(folder: Path) -> None:
    """Remove the drafts that processes which are gone left in `folder`, not below it.

    For the start of a process: what carries its own number is older than itself.
    """
    for path in folder.iterdir():
        draft = _DRAFT.fullmatch(path.name)
        if draft and not _may_write(int(draft[1])):
            path.unlink(missing_ok=True)


def _may_write(pid: int) -> bool:
    """Whether another process of ours has that number now."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # somebody else's, who knows
    try:
        command = Path(f'/proc/{pid}/cmdline').read_bytes()
    except OSError:
        return True
    return not command or b'python' in command or b'igs' in command


def read_json(path: Path, expected: str) -> Any:  # whatever the file holds
    """The content of a JSON file.

    Args:
        path: of the file.
        expected: what it should hold, for the message.

    Raises:
        InputError: it cannot be read or is no JSON.
    """
    text = read_text(path, expected)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number too long for an int
        raise InputError(f'{path}: no JSON ({error_line(error)}); expected {expected}. Copy it '
                         f'again.') from error


def read_text(path: Path, expected: str, limit: int = MAX_TEXT) -> str:
    """The content of a text file in UTF-8, a byte order mark left out.

    Args:
        path: of the file.
        expected: what it should hold, for the message.
        limit: bytes.

    Raises:
        InputError: when it cannot be read, is no text, or is longer than `limit`.
    """
    try:
        with open(path, 'rb') as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise InputError(f'{path}: longer than {limit / 1e6:g} MB; expected {expected}. Check '
                             f'the path.')
        return content.decode('utf-8-sig')
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror}); expected {expected}. Check '
                         f'the path.') from error
    except UnicodeDecodeError as error:
        raise InputError(f'{path}: no text in UTF-8 ({error.reason} at byte {error.start}); '
                         f'expected {expected}. Save it as UTF-8.') from error


def private_folder(name: str) -> Path | None:
    """A folder below the temporary one that only this user can write, the same in every process.

    None where there cannot be one. What somebody else may have put there first is not used.
    """
    try:
        parent = Path(tempfile.gettempdir())
        shared = parent.stat().st_mode
        if shared & (stat.S_IWGRP | stat.S_IWOTH) and not shared & stat.S_ISVTX:
            return None  # anybody may replace what lies there
        folder = parent / f'{name}-{os.geteuid()}'
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() \
                and not found.st_mode & 0o077:
            return folder
        return Path(tempfile.mkdtemp(prefix=f'{name}-'))  # 0700, and new
    except OSError:
        return None


def shipped(name: str) -> Path:
    """The shipped file or folder `name`: of the checkout, else where this package was installed.

    Raises:
        InputError: it is nowhere.
    """
    here = Path(__file__).resolve()
    # first the prefix that this very module lies in: another one may hold another version
    prefixes = [*here.parents[3:], Path(sys.prefix), *map(Path, filter(
        None, os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)))]
    places = [here.parents[2], *(prefix / 'share' / 'igs_ros' for prefix in prefixes)]
    for place in places:
        if (place / name).exists():
            return place / name
    looked_in = ', '.join(dict.fromkeys(map(str, places)))
    raise InputError(f'{name} is in none of {looked_in}; expected it beside the package. Install '
                     f'igs_ros again.')


def workbench() -> Path:
    """The folder of the demo recording."""
    return shipped('recordings/workbench')
