# SPDX-License-Identifier: Apache-2.0
"""Messages of ROS 2 bags (MCAP, SQLite), read by rosbags; what it finds wrong is an `InputError`.

Nothing of ROS is needed: the types that are decoded here are the same in every ROS 2.
"""
from __future__ import annotations

import logging
import struct
import threading
import weakref
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import Reader
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from igs_ros.core.errors import InputError, error_line, shown
from igs_ros.core.files import read_text
from igs_ros.core.logs import log_once
from igs_ros.io.recordings.bag_cut import MAGIC, CutMcap, is_cut

log = logging.getLogger(__name__)
METADATA = 'metadata.yaml'
SUFFIXES = ('.mcap', '.db3')
ROS1 = b'#ROSBAG V'
_MAX_LISTS = 20_000  # begun in metadata.yaml: five of a topic; nested, they take long to read
_HEADS = {'.mcap': MAGIC, '.db3': b'SQLite format 3\0'}

Place = tuple[int, int]  # of a message in its topic: time of recording and stamp, ns


@dataclass(frozen=True)
class Topic:
    """What a bag says of one topic."""

    name: str
    type: str
    count: int


class BagFile:
    """A bag: a folder with metadata.yaml, or one of its files. Open as long as it is in use.

    Raises:
        InputError: it cannot be read or holds no messages; names it.
    """

    def __init__(self, path: Path):
        _check_head(path)
        self.path = path
        self._lock = threading.Lock()  # of the reader: streams may be taken from several threads
        self._reader = _open(path)
        weakref.finalize(self, self._reader.close)
        with _named(path):
            self.topics = {str(name): Topic(str(name), info.msgtype or '', info.msgcount)
                           for name, info in self._reader.topics.items()}
            self.duration_ns = self._reader.duration
            # rosbags reads MCAP files without an index in one go, from one place in the file
            self._one_stream = any(isinstance(part, McapReader) and not part.chunks
                                   for part in _parts(self._reader))
        if not any(topic.count for topic in self.topics.values()):
            raise InputError(f'{path}: a bag without messages; expected recorded cameras. Check '
                             f'that the drivers ran, and with which QoS the topics were recorded.')

    def messages(self, topics: Iterable[str], start_ns: int | None = None,
                 stop_ns: int | None = None) -> Generator[tuple[str, int, bytes]]:
        """Topic, time of recording in ns, and CDR bytes of messages, by time of recording.

        Several may be under way.

        Args:
            topics: names; those that are not in the bag have no messages.
            start_ns: first time of recording; None = from the beginning.
            stop_ns: before this one; None = to the end.

        Raises:
            InputError: naming the bag, where it cannot be read (any further).
        """
        wanted = set(topics)
        reader = _open(self.path) if self._one_stream else self._reader
        # of the files: where metadata.yaml tells another QoS, rosbags would not find its topics
        connections = [c for part in _parts(reader) for c in part.connections
                       if c.topic in wanted]
        # without connections, rosbags would take all
        stream = reader.messages(connections, start_ns, stop_ns) if connections else _nothing()
        try:
            while True:
                with _named(self.path), self._lock:
                    found = next(stream, None)
                if found is None:
                    return
                connection, log_ns, data = found
                yield connection.topic, log_ns, data
        finally:
            stream.close()
            if reader is not self._reader:
                reader.close()

    def first(self, topic: str) -> tuple[int, bytes] | None:
        """Time of recording in ns and bytes of the first message; None where there is none.

        Raises:
            InputError: the bag cannot be read.
        """
        with closing(self.messages((topic,))) as messages:
            found = next(messages, None)
        return None if found is None else found[1:]

    def decoded(self, topic: str, data: bytes) -> Any:  # of rosbags' own classes
        """The message in `data`, fields as ROS has them.

        Raises:
            InputError: other bytes than those of such a message; names the topic.
        """
        try:
            return typestore().deserialize_cdr(data, self.topics[topic].type)
        except Exception as error:  # whatever its generated code comes upon
            raise InputError(f'{self.path}: {topic}: {len(data)} bytes that are no '
                             f'{self.topics[topic].type} ({error_line(error)}); expected CDR as '
                             f'ROS 2 writes it. Record the topic again.') from error


def _nothing() -> Generator[Any]:
    yield from ()


@cache
def typestore() -> Typestore:
    """The message types of ROS 2."""
    return get_typestore(Stores.ROS2_KILTED)


def stamp_of(data: bytes) -> int:
    """header.stamp in ns of a message that begins with a header; 0 where it is too short."""
    if len(data) < 12:
        return 0
    seconds, nanoseconds = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
    return seconds * 1_000_000_000 + nanoseconds


def bag_at(path: Path) -> Path | None:
    """What `BagFile` takes at `path`; None where there is no bag.

    A folder without metadata.yaml, which a recorder that was killed leaves, counts as its one
    file.

    Raises:
        InputError: a ROS 1 bag, or a folder that holds several files but no metadata.yaml.
    """
    if path.is_file():
        if path.suffix in SUFFIXES or path.name == METADATA:
            return path.parent if path.name == METADATA else path
        with path.open('rb') as file:
            if file.read(len(ROS1)) == ROS1:
                raise InputError(f'{path}: a ROS 1 bag; expected one of ROS 2. Convert it: '
                                 f'rosbags-convert --src {path.name} --dst {path.stem}')
        return None
    if (path / METADATA).is_file():
        return path
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    if len(files) > 1:
        raise InputError(f'{path}: {len(files)} bag files without {METADATA}; expected what '
                         f'ros2 bag record writes. Run: ros2 bag reindex {path}')
    return files[0] if files else None


def _open(path: Path) -> Reader:
    with _named(path):
        place: Any = path
        if path.suffix == '.mcap' and path.is_file() and is_cut(path):
            place = CutMcap(path)
            log_once(log, logging.WARNING,
                     f'{path}: its end is missing: {place.end} of {path.stat().st_size} bytes are '
                     f'whole and are read; to have an index again: mcap recover')
        reader = Reader(place)
        reader.open()
    return reader


def _parts(reader: Reader) -> Sequence[Any]:
    """The readers that rosbags has of the files."""
    return getattr(reader.storage, 'storages', [reader.storage])


def _check_head(path: Path) -> None:
    """Refuse at once what is no bag, and metadata that would take long to say so."""
    if path.is_dir():
        text = read_text(path / METADATA, 'the metadata of a ROS 2 bag')
        if text.count('[') + text.count('{') > _MAX_LISTS:
            raise InputError(f'{path / METADATA}: more than {_MAX_LISTS} lists; expected the '
                             f'metadata of a ROS 2 bag. Run: ros2 bag reindex {path}')
        return
    head = _HEADS.get(path.suffix)
    if head is None:
        return
    with _named(path), path.open('rb') as file:
        came = file.read(len(head))
    if came != head:
        raise InputError(f'{path}: begins with {shown(came)}; expected a {path.suffix} file of '
                         f'ros2 bag record. Copy it again.')


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What rosbags and the system say against a bag is an `InputError` about `path`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of rosbags, apsw, zstd, lz4, struct, yaml, ...
        raise InputError(f'{path}: cannot be read ({_reason(error)}); expected a whole ROS 2 bag. '
                         f'{_remedy(path)}') from error


def _reason(error: Exception) -> str:
    text = error_line(error)
    return text if ' ' in text else f'{type(error).__name__}: {text}'


def _remedy(path: Path) -> str:
    if path.suffix == '.mcap':
        return f'Copy it again; if its end is missing: mcap recover {path.name} -o whole.mcap'
    return 'Copy it again; if its end is missing: ros2 bag reindex, or record it again.'
