# SPDX-License-Identifier: Apache-2.0
"""Folders of strangers: COLMAP models, N3DV, videos, points, depth and true motion."""
import io
import json
import shutil
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from fuzzing import fuzzer
from hostile import FLOATS, INTEGERS, NAMES, bent, json_files, spoiled, written
from hypothesis import strategies as st

from igs_ros.io.recordings.colmap import read_points
from igs_ros.io.recordings.motion_truth import read_motion
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.rig import read_rig

sys.path.insert(0, str(Path(__file__).parents[1] / 'io' / 'recordings'))
from recording_files import (  # noqa: E402
    HEIGHT,
    WIDTH,
    frame_picture,
    pose,
    rig_entry,
    write_images,
    write_rig,
    write_video,
)

RIG = {'scene': 'room', 'pixel_center': 0.5, 'fps': 30, 'held_out': ['cam01'],
       'depth_scale': 0.001,
       'cameras': [rig_entry(0, images='cam00', depth='depth'), rig_entry(1, video='cam01.mp4')]}


def packed(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_lying(shape, kind='<f8', fortran=False, more=b'\0' * 400) -> bytes:
    """An .npy file whose header says what it likes."""
    header = f"{{'descr': {kind!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header + more


POSES = np.zeros((2, 17))
POSES[:, :15] = np.array([[0, 1, 0, 0.5, HEIGHT], [1, 0, 0, 0.1, WIDTH],
                          [0, 0, -1, 2, 50]]).ravel()
LIES = st.builds(npy_lying, st.sampled_from((
    '(1000000000000, 17)', '(2, 17)', '(0, 17)', '(2**70,)', '(-1, 17)', '(2, 17', '()',
    '(3e9, 17)', '(99999999999999999999, 17)',
    '(1,)*50', '((2, 17),)', '"a"', '(' * 2000, '4294967296, 17',
    '(' + '1,' * 60 + ')')), st.sampled_from(
    ('<f8', '|O', '<U0', 'V0', '<c16', '<M8[s]', 'f999', '|S1000000000', '\x00')))
MOTION = packed(flow3d=np.zeros((6, 8, 3), np.float32), moving=np.zeros((6, 8), bool),
                frame=np.array(3), next_frame=np.array(4))


@pytest.fixture(scope='module')
def recording(folder):
    """A whole recording in each layout; cases write over one of their files and put it back."""
    write_images(folder / 'cam00', 0, 1)
    write_video(folder / 'cam01.mp4', 1, 2)
    (folder / 'depth').mkdir()
    cv2.imwrite(str(folder / 'depth' / '0.png'), np.full((HEIGHT, WIDTH), 700, np.uint16))
    write_rig(folder, RIG['cameras'])
    n3dv = folder / 'n3dv'
    n3dv.mkdir()
    for name in ('cam00.mp4', 'cam01.mp4'):
        shutil.copy(folder / 'cam01.mp4', n3dv / name)
    (n3dv / 'poses_bounds.npy').write_bytes(npy(POSES))
    model = folder / 'colmap' / 'sparse' / '0'
    model.mkdir(parents=True)
    (folder / 'colmap' / 'images').mkdir()
    for name in ('a.png', 'b.png'):
        cv2.imwrite(str(folder / 'colmap' / 'images' / name), frame_picture(0, 0))
    for name, content in COLMAP.items():
        (model / name).write_bytes(content)
    for place in (folder, n3dv, folder / 'colmap'):
        open_recording(place)
    return folder


def colmap_images(names=('a.png', 'b.png'), quat=(1.0, 0, 0, 0), place=(0.0, 0, 1), features=2,
                  camera=1) -> bytes:
    data = struct.pack('<Q', len(names))
    for number, name in enumerate(names):
        data += struct.pack('<I7di', number, *quat, *place, camera)
        data += name.encode('utf-8', 'surrogatepass') + b'\0'
        data += struct.pack('<Q', features) + struct.pack('<2dq', 1.5, 2.5, 0) * 2
    return data


def colmap_cameras(model=1, width=WIDTH, height=HEIGHT, values=(50.0, 51.0, 31.0, 23.0),
                   count=1) -> bytes:
    return struct.pack('<QiiQQ4d', count, 1, model, width, height, *values)


def colmap_points(count=2, track=2, place=(1.0, 2, 3)) -> bytes:
    entry = struct.pack('<Q3d3BdQ4i', 7, *place, 10, 20, 30, 0.5, track, 0, 1, 1, 0)
    return struct.pack('<Q', count) + 2 * entry


COLMAP = {'cameras.bin': colmap_cameras(), 'images.bin': colmap_images(),
          'points3D.bin': colmap_points()}
FLOAT = st.one_of(st.just(1.0), st.floats(-2, 2), st.sampled_from(FLOATS))
COUNT = st.one_of(st.just(1), st.just(2), st.sampled_from([n for n in INTEGERS if n >= 0]))
COLMAP_FILES = st.one_of(
    *(st.tuples(st.just(name), spoiled(content)) for name, content in COLMAP.items()),
    st.tuples(st.just('images.bin'), st.builds(
        colmap_images, st.lists(st.sampled_from(('a.png', 'cam/a.png', *NAMES)), max_size=3),
        st.tuples(*4 * [FLOAT]), st.tuples(*3 * [FLOAT]), COUNT,
        st.sampled_from((1, 0, -1, 2 ** 31 - 1)))),
    st.tuples(st.just('cameras.bin'), st.builds(
        colmap_cameras, st.integers(-1, 12), COUNT, COUNT, st.tuples(*4 * [FLOAT]), COUNT)),
    st.tuples(st.just('points3D.bin'), st.builds(
        colmap_points, COUNT, COUNT, st.tuples(*3 * [FLOAT]))))


@fuzzer(content=st.one_of(json_files(RIG), json_files(RIG), bent(RIG['cameras'][0]).map(
    lambda entry: written({**RIG, 'cameras': [entry]}))))
def test_rig_json(recording, content):
    (recording / 'rig.json').write_bytes(content)
    for name in read_rig(recording / 'rig.json'):
        (recording / name).relative_to(recording)
        assert not {'/', '\\', '\0'} & set(name) and name not in ('', '.', '..')
    found = open_recording(recording)
    next(found.frame_sets())
    found.stamp_ns(10 ** 6)


@fuzzer(share=0.1, content=json_files(RIG))
def test_rig_json_leaves_no_file_behind(recording, content):
    before = sorted(recording.rglob('*'))
    (recording / 'rig.json').write_bytes(content)
    try:
        open_recording(recording)
    finally:
        assert sorted(recording.rglob('*')) == before


@fuzzer(changed=COLMAP_FILES)
def test_colmap(recording, changed):
    name, content = changed
    model = recording / 'colmap' / 'sparse' / '0'
    (model / name).write_bytes(content)
    try:
        found = open_recording(model.parents[1])
        next(found.frame_sets())
        found.points()
        read_points(model / 'points3D.bin')
    finally:
        (model / name).write_bytes(COLMAP[name])


@fuzzer(content=st.one_of(spoiled(npy(POSES)), LIES, spoiled(npy(np.array([[None]]))),
                          spoiled(MOTION), st.sampled_from([npy(POSES.astype(kind)) for kind in (
                              'f4', 'i4', 'c16', 'S8', 'U4', '?')])))
def test_n3dv_poses(recording, content):
    (recording / 'n3dv' / 'poses_bounds.npy').write_bytes(content)
    open_recording(recording / 'n3dv')


def video(fast: bool) -> bytes:
    import tempfile
    with tempfile.TemporaryDirectory() as place:
        write_video(Path(place) / 'v.mp4', 0, 2,
                    options={'movflags': 'faststart'} if fast else None)
        return (Path(place) / 'v.mp4').read_bytes()


@fuzzer(cases=60, share=0.2, content=st.one_of(spoiled(video(True)), spoiled(video(False)),
                                               st.sampled_from((
    b'#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n', b'ffconcat version 1.0\nfile /etc/passwd\n',
    b'v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 9 RTP/AVP 96\r\n'))))
def test_videos(recording, content):
    place = recording / 'n3dv'
    (place / 'poses_bounds.npy').write_bytes(npy(POSES))
    whole = (place / 'cam00.mp4').read_bytes()
    (place / 'cam01.mp4').write_bytes(content)
    try:
        for frame_set in open_recording(place).frame_sets():
            for picture in frame_set.pictures.values():
                picture.decode()
    finally:
        (place / 'cam01.mp4').write_bytes(whole)


@fuzzer(content=spoiled(cv2.imencode('.png', np.full((HEIGHT, WIDTH), 700, np.uint16))[1]
                        .tobytes()), scale=st.one_of(st.just(0.001), st.sampled_from(FLOATS)))
def test_depth_pictures(recording, content, scale):
    write_rig(recording, [RIG['cameras'][0]], depth_scale=scale)
    (recording / 'depth' / '0.png').write_bytes(content)
    next(open_recording(recording).frame_sets()).depths['cam00'].decode()


@fuzzer(content=st.one_of(
    spoiled(MOTION),
    st.builds(lambda lie: _zip(flow3d=lie), LIES),
    st.builds(lambda a, b: packed(flow3d=a, moving=b, frame=3, next_frame=4),
              st.sampled_from((np.zeros((6, 8, 3)), np.zeros((0, 0, 3), 'f2'), np.array('x'),
                               np.zeros((6, 8, 3), 'f4'), np.array([[[1j] * 3]]))),
              st.sampled_from((np.zeros((6, 8), bool), np.zeros((0, 0), bool), np.array(True)))),
    st.builds(lambda frame: packed(flow3d=np.zeros((6, 8, 3), 'f4'), moving=np.ones((6, 8), bool),
                                   frame=frame, next_frame=4),
              st.sampled_from((np.array('x'), np.array([3]), np.array(np.nan), np.array(np.inf),
                               np.array([3, 4]), np.array(1e300), np.array(2 ** 63, 'u8'))))))
def test_true_motion(folder, content):
    (folder / 'flow_cam00_003.npz').write_bytes(content)
    found = read_motion(folder / 'flow_cam00_003.npz')
    assert found.motion.shape == (*found.moving.shape, 3)


def _zip(**members) -> bytes:
    import zipfile
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f'{name}.npy', content)
        archive.writestr('moving.npy', npy(np.zeros((6, 8), bool)))
    return file.getvalue()


def test_the_base_files_are_taken(recording):
    (recording / 'rig.json').write_text(json.dumps(RIG))
    assert np.allclose(open_recording(recording).cameras['cam00'].camera_from_world, pose(0))
