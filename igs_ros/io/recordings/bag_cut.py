# SPDX-License-Identifier: Apache-2.0
"""MCAP files whose end is missing: what a recorder that was killed, or a full disk, leaves.

An MCAP file is a row of records (its specification, "Records"): a byte for the kind, eight for the
length, the content. All that are whole can be read; what follows is taken for a file that ends
there, without an index.
"""
from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

MAGIC = b'\x89MCAP0\r\n'
_HEAD = 9  # bytes: kind, length
_FOOTER, _DATA_END = 0x02, 0x0f
_END = bytes([_FOOTER]) + (20).to_bytes(8, 'little') + bytes(20) + MAGIC  # there is no summary
_MAX_RECORDS = 10_000_000


def is_cut(path: Path) -> bool:
    """Whether the MCAP file `path` does not end as one."""
    with path.open('rb') as file:
        if file.read(len(MAGIC)) != MAGIC:
            return False  # it is none
        file.seek(max(len(MAGIC), file.seek(0, os.SEEK_END) - len(MAGIC)))
        return file.read() != MAGIC


def whole_bytes(path: Path) -> int:
    """Where the last whole record of the file ends."""
    size, end = path.stat().st_size, len(MAGIC)
    with path.open('rb') as file:
        for _ in range(_MAX_RECORDS):
            file.seek(end)
            head = file.read(_HEAD)
            after = end + _HEAD + int.from_bytes(head[1:], 'little')
            if len(head) < _HEAD or head[0] in (0, _FOOTER, _DATA_END) or after > size:
                break
            end = after
    return end


class CutMcap:
    """As much of a path as rosbags asks for; opened, it is a whole file."""

    def __init__(self, path: Path):
        self._path = path
        self.end = whole_bytes(path)
        self.suffix, self.name, self.stem = path.suffix, path.name, path.stem

    def __str__(self) -> str:
        return str(self._path)

    def exists(self) -> bool:
        """It was read already."""
        return True

    def is_dir(self) -> bool:
        """It is a file."""
        return False

    def open(self, mode: str = 'rb') -> BinaryIO:
        """The records that are whole, and an end."""
        assert mode == 'rb'
        raw: Any = _Ended(self._path, self.end)
        return io.BufferedReader(raw)

    def iterdir(self) -> Iterator[Path]:
        """Nothing."""
        yield from ()


class _Ended(io.RawIOBase):
    """The first bytes of a file, and the end of an MCAP file after them."""

    def __init__(self, path: Path, end: int):
        super().__init__()
        self._file = path.open('rb', buffering=0)
        self._end, self._at = end, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end + len(_END)}[whence]
        if base + offset < 0:
            raise OSError('a place before the beginning')
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at < self._end:
            self._file.seek(self._at)
            data = self._file.read(min(len(buffer), self._end - self._at)) or b''
        else:
            data = _END[self._at - self._end:][:len(buffer)]
        buffer[:len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
