# SPDX-License-Identifier: Apache-2.0
"""Messages into a bag (MCAP), as `ros2 bag record` writes it; written by a thread.

Whoever puts messages never waits: the queue is bounded in bytes, the newest messages win, and what
is lost is counted. Every second what came is a whole chunk on the disk, so that a process that is
killed costs the last second (`bag_cut.py` reads such files).
"""
from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path

from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from igs_ros.core.errors import InputError, OutputError, error_line
from igs_ros.core.files import writing

MAX_BYTES = 256_000_000  # that wait to be written
_FLUSH_S = 1.0
_VERSION = 9  # of metadata.yaml


class BagWriter:
    """A bag in the making.

    Args:
        folder: must not be there yet.
        max_bytes: of messages that wait.

    Raises:
        OutputError: the folder is there, or cannot be written.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES):
        if folder.exists():
            raise OutputError(f'{folder}: is there already; expected a new folder for the bag. '
                              f'Name another.')
        self.folder = folder
        self.written, self.dropped = Counter(), Counter()  # messages by topic
        self.bytes_written = 0
        self.error: Exception | None = None  # that ended the writing
        self._max_bytes, self._waiting_bytes = max_bytes, 0
        self._connections: dict[str, Connection] = {}
        self._waiting: deque[tuple[str, int, bytes]] = deque()
        self._changed = threading.Condition()
        self._writer_lock = threading.Lock()
        self._ending = False
        with writing(folder):
            self._writer = Writer(folder, version=_VERSION, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        self._thread = threading.Thread(target=self._run, name='bag', daemon=True)
        self._thread.start()

    def add(self, topic: str, kind: str, types: Typestore, qos: Sequence[Qos]) -> None:
        """Take messages of a topic from now on.

        Args:
            topic: its name.
            kind: 'package/msg/Name', which `types` know.
            types: as `definitions` finds them.
            qos: of its publishers.
        """
        with self._writer_lock:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=types, offered_qos_profiles=qos)

    def put(self, topic: str, log_ns: int, data: bytes) -> None:
        """Take one message, or drop the oldest ones that wait for it.

        Args:
            topic: added before.
            log_ns: time of reception, ns; never earlier than that of the message before.
            data: CDR.
        """
        with self._changed:
            self._waiting.append((topic, log_ns, data))
            self._waiting_bytes += len(data)
            while self._waiting_bytes > self._max_bytes:
                lost, _, content = self._waiting.popleft()
                self._waiting_bytes -= len(content)
                self.dropped[lost] += 1
            self._changed.notify()

    def close(self) -> None:
        """Write what waits, and the index.

        Raises:
            OutputError: something could not be written, now or before.
        """
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join()
        with writing(self.folder):
            if self.error is not None:
                self._writer.abort()
                raise self.error
            self._writer.close()

    def _run(self) -> None:
        try:
            flushed_s = time.monotonic()
            while not self._ending or self._waiting:
                with self._changed:
                    self._changed.wait_for(lambda: self._ending or self._waiting, _FLUSH_S)
                    taken, self._waiting = self._waiting, deque()
                    self._waiting_bytes = 0
                for topic, log_ns, data in taken:
                    self._write(topic, log_ns, data)
                if time.monotonic() - flushed_s > _FLUSH_S:
                    self._flush()
                    flushed_s = time.monotonic()
        except Exception as error:  # a full disk, mostly; `close` raises it
            self.error = error

    def _write(self, topic: str, log_ns: int, data: bytes) -> None:
        with self._writer_lock:
            self._writer.write(self._connections[topic], log_ns, data)
        self.written[topic] += 1
        self.bytes_written += len(data)

    def _flush(self) -> None:
        """Make a chunk of what the writer holds back, and hand it to the system."""
        with self._writer_lock:
            storage = self._writer.storage
            if isinstance(storage, McapWriter):
                if storage.chunk.msgs:
                    storage.close_chunk()
                storage.bio.flush()


def definitions(kind: str, find: Callable[[str], str | None]) -> Typestore:
    """The message types that `kind` is made of.

    Args:
        kind: 'package/msg/Name'.
        find: the text of the .msg file of a type; None where there is none.

    Raises:
        InputError: a definition is missing, or cannot be read.
    """
    types = get_typestore(Stores.ROS2_KILTED)
    wanted, seen = [kind], set()
    while wanted:
        name = wanted.pop()
        if name in types.types or name in seen:
            continue
        seen.add(name)
        text = find(name)
        if text is None:
            raise InputError(f'{name}: no message definition is installed; expected '
                             f'{name.rpartition("/")[2]}.msg in the share folder of its package. '
                             f'Source the workspace that has it.')
        try:
            found = get_types_from_msg(text, name)
            types.register(found)
        except Exception as error:  # of its parser
            raise InputError(f'{name}: a message definition that cannot be read '
                             f'({error_line(error)}).') from error
        wanted += _parts(found)
    return types


def _parts(found: object) -> list[str]:
    """Names of the types that a parsed definition mentions."""
    if isinstance(found, str):
        return [found] if found.count('/msg/') == 1 else []
    if isinstance(found, dict):
        found = list(found.values())
    return [name for part in found for name in _parts(part)] \
        if isinstance(found, list | tuple) else []
