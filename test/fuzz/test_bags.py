# SPDX-License-Identifier: Apache-2.0
"""Bags of strangers: both storages, spoiled and cut; the metadata beside them; single messages."""
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fuzzing import fuzzer
from hostile import spoiled
from hypothesis import strategies as st

from igs_ros.core.errors import InputError
from igs_ros.io.recordings.bag_join import joined
from igs_ros.io.recordings.open import open_recording

sys.path.insert(0, str(Path(__file__).parents[1] / 'io' / 'recordings'))
from bag_files import (  # noqa: E402
    MCAP,
    SQLITE,
    START_NS,
    camera_messages,
    png,
    raw,
    static_transforms,
    typestore,
    write_bag,
)
from recording_files import HEIGHT, WIDTH, K, frame_picture, pose  # noqa: E402

from igs_ros.core.camera import Camera  # noqa: E402

CAMERA = {'cam00': Camera('cam00', WIDTH, HEIGHT, np.array(K), pose(0))}
PICTURES = [('cam00', START_NS + n * 33_333_333, frame_picture(0, n)) for n in range(2)]
MESSAGES = [static_transforms(CAMERA), *camera_messages(CAMERA, PICTURES)]


@pytest.fixture(scope='module')
def bags(tmp_path_factory):
    """A whole bag of each storage; cases write over one of their files."""
    folder = tmp_path_factory.mktemp('bags')
    return {storage: write_bag(folder / name / 'bag', MESSAGES, storage)
            for storage, name in ((MCAP, 'mcap'), (SQLITE, 'sqlite'))}


def whole(storage):
    with tempfile.TemporaryDirectory() as folder:
        bag = write_bag(Path(folder) / 'bag', MESSAGES, storage)
        return {file.suffix: file.read_bytes() for file in bag.iterdir()}


FILES = {MCAP: whole(MCAP), SQLITE: whole(SQLITE)}


def look(path):
    """As `igs run` does, of few frames: what is wrong is found by then, or told by the picture."""
    recording = open_recording(path)
    for _, frame_set in zip(range(3), recording.frame_sets(), strict=False):
        for picture in frame_set.pictures.values():
            try:
                picture.size(), picture.decode()
            except InputError:
                pass


@fuzzer(cases=150, content=spoiled(FILES[MCAP]['.mcap']))
def test_mcap(bags, content):
    file = bags[MCAP].parent / 'spoiled.mcap'
    file.write_bytes(content)
    look(file)


@fuzzer(cases=100, content=spoiled(FILES[SQLITE]['.db3']))
def test_sqlite(bags, content):
    file = bags[MCAP].parent / 'spoiled.db3'
    file.write_bytes(content)
    look(file)


@fuzzer(cases=100, content=spoiled(FILES[MCAP]['.yaml']))
def test_metadata(bags, content):
    (bags[MCAP] / 'metadata.yaml').write_bytes(content)
    look(bags[MCAP])


@fuzzer(cases=60, share=0.2, place=st.floats(0, 1), storage=st.sampled_from((MCAP, SQLITE)))
def test_cut(bags, place, storage):
    suffix = '.mcap' if storage is MCAP else '.db3'
    content = FILES[storage][suffix]
    file = bags[MCAP].parent / f'cut{suffix}'
    file.write_bytes(content[:round(place * len(content))])
    look(file)


SERIALIZED = {topic: bytes(typestore().serialize_cdr(message, message.__msgtype__))
              for make in (png, raw) for topic, _, message in
              [*camera_messages(CAMERA, PICTURES[:1], make=make), static_transforms(CAMERA)]}
COUNTS = st.tuples(st.sampled_from(sorted(SERIALIZED)), st.integers(0, 60),
                   st.sampled_from((2 ** 32 - 1, 2 ** 31, 10 ** 8)))


@fuzzer(cases=100, change=st.one_of(
    st.sampled_from(sorted(SERIALIZED)).flatmap(
        lambda topic: st.tuples(st.just(topic), spoiled(SERIALIZED[topic]))), COUNTS))
def test_messages(bags, change):
    """One message of a whole bag is spoiled, or claims to hold a great many of something."""
    topic = change[0]
    if len(change) == 2:
        content = change[1]
    else:
        content = bytearray(SERIALIZED[topic])
        struct.pack_into('<I', content, 4 * (change[1] % (len(content) // 4)), change[2])
    make = raw if topic == '/cam00/image_raw' else png
    folder = bags[MCAP].parent / 'message'
    for file in folder.iterdir() if folder.exists() else ():
        file.unlink()
    if folder.exists():
        folder.rmdir()
    write_bag(folder, [static_transforms(CAMERA), *camera_messages(CAMERA, PICTURES, make=make)],
              instead={topic: bytes(content)})
    look(folder)


def test_the_base_files_are_taken(tmp_path):
    for storage, suffix in ((MCAP, '.mcap'), (SQLITE, '.db3')):
        file = tmp_path / f'whole{suffix}'
        file.write_bytes(FILES[storage][suffix])
        assert open_recording(file).frames_total == 2


@fuzzer(cases=50, stamps=st.dictionaries(st.sampled_from('abc'), st.lists(
    st.integers(-2 ** 63, 2 ** 63), max_size=30)), spread=st.integers(0, 2 ** 63))
def test_any_stamps_are_joined(stamps, spread):
    assert sum(map(len, joined(stamps, spread))) == sum(len(set(own)) for own in stamps.values())
