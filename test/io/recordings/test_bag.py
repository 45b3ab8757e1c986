# SPDX-License-Identifier: Apache-2.0
"""ROS 2 bags as recordings: written by rosbags, read back."""
import shutil
from dataclasses import replace

import numpy as np
import pytest
from bag_files import (
    FRAME_NS,
    MCAP,
    SQLITE,
    START_NS,
    camera_messages,
    info,
    png,
    raw,
    stamped,
    static_transforms,
    tf,
    transform,
    write_bag,
)
from recording_files import HEIGHT, WIDTH, K, frame_picture, pose, rig_entry, told, write_rig
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Writer
from rosbags.typesys import get_types_from_msg

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.io.recordings.bag_cameras import BagOptions
from igs_ros.io.recordings.open import open_recording
from igs_ros.vision.preparer import Preparer

CAMERAS = {f'cam{n:02d}': Camera(f'cam{n:02d}', WIDTH, HEIGHT, np.array(K), pose(n))
           for n in range(3)}


def seen(frames=4, cameras=range(3), jitter_ns=1_000_000):
    """(name, stamp, rgb) of a rig whose cameras are triggered a little apart."""
    return [(f'cam{n:02d}', START_NS + frame * FRAME_NS + n * jitter_ns, frame_picture(n, frame))
            for frame in range(frames) for n in cameras]


def rig_beside(folder, count=3):
    write_rig(folder, [rig_entry(n) for n in range(count)])


@pytest.mark.parametrize('storage', [MCAP, SQLITE])
@pytest.mark.parametrize('make', [png, raw])
def test_a_bag_is_a_recording(tmp_path, storage, make):
    bag = write_bag(tmp_path / 'bag', camera_messages(CAMERAS, seen(), make=make), storage)
    rig_beside(bag)
    recording = open_recording(bag)
    assert recording.name == 'bag' and list(recording.cameras) == list(CAMERAS)
    assert recording.frames_total == 4 and abs(recording.rate_hz - 30) < 1e-4
    assert [recording.stamp_ns(i) for i in range(4)] == [
        START_NS + i * FRAME_NS + 1_000_000 for i in range(4)]
    for name, camera in recording.cameras.items():
        assert np.array_equal(camera.K, CAMERAS[name].K)
        assert np.array_equal(camera.camera_from_world, CAMERAS[name].camera_from_world)
    for frame, frame_set in enumerate(recording.frame_sets()):
        assert frame_set.stamp_ns == recording.stamp_ns(frame) and not frame_set.missing
        for n, name in enumerate(CAMERAS):
            assert np.array_equal(frame_set.pictures[name].decode(), frame_picture(n, frame))
    # any frame, without those before it
    second, = recording.frame_sets(2, 3, ['cam01'])
    assert told(second.pictures['cam01'].decode()) == (1, 2)
    assert [told(s.pictures['cam02'].decode())[1] for s in recording.frame_sets(1, 4, step=2)] \
        == [1, 3]


@pytest.mark.parametrize('pattern', ['*.mcap', '*.db3'])
def test_a_lone_file_is_a_bag(tmp_path, pattern):
    storage = MCAP if pattern == '*.mcap' else SQLITE
    bag = write_bag(tmp_path / 'bag', [static_transforms(CAMERAS),
                                       *camera_messages(CAMERAS, seen())], storage)
    file, = bag.glob(pattern)
    assert [told(s.pictures['cam01'].decode()) for s in open_recording(file).frame_sets()] == [
        (1, frame) for frame in range(4)]
    (bag / 'metadata.yaml').unlink()  # as a recorder that was killed leaves it
    assert open_recording(bag).path == file
    shutil.copy(file, bag / f'second{file.suffix}')
    with pytest.raises(InputError, match=r'bag: 2 bag files without metadata.yaml; .*reindex'):
        open_recording(bag)


@pytest.mark.parametrize('storage, mode', [(MCAP, 'STORAGE'), (MCAP, 'MESSAGE'),
                                           (SQLITE, 'MESSAGE'), (SQLITE, 'FILE')])
def test_compressed_bags(tmp_path, monkeypatch, storage, mode):
    opened = Writer.open

    def compressing(writer):
        writer.set_compression(CompressionMode[mode], CompressionFormat.ZSTD)
        opened(writer)
    monkeypatch.setattr(Writer, 'open', compressing)
    bag = write_bag(tmp_path / 'bag', [static_transforms(CAMERAS),
                                       *camera_messages(CAMERAS, seen(make_frames := 3))], storage)
    sets = list(open_recording(bag).frame_sets())
    assert len(sets) == make_frames
    assert [told(one.pictures['cam02'].decode()) for one in sets] == [(2, 0), (2, 1), (2, 2)]


def test_poses_come_from_the_tree_of_transforms(tmp_path):
    """world -> base -> mast -> camera, of which one joint is on /tf, but never moves."""
    base, mast = pose(4), pose(5)
    transforms = [transform('world', 'base', base), transform('base', 'mast', mast)]
    for name, camera in CAMERAS.items():
        optical = np.linalg.inv(base @ mast) @ np.linalg.inv(camera.camera_from_world)
        transforms.append(transform('mast', f'{name}_optical_frame', optical))
    joints = [('/tf', START_NS + t * 10_000_000, tf(transform(
        'base', 'mast', mast, START_NS + t * 10_000_000))) for t in range(-1, 30)]
    pictures = [*camera_messages(CAMERAS, seen())]
    bag = write_bag(tmp_path / 'static', [('/tf_static', START_NS, tf(*transforms)), *pictures])
    timed = write_bag(tmp_path / 'timed', [
        ('/tf_static', START_NS, tf(transforms[0], *transforms[2:])), *joints, *pictures])
    for path in bag, timed:
        recording = open_recording(path)
        assert recording.poses is None
        for name, camera in recording.cameras.items():
            assert np.allclose(camera.camera_from_world, CAMERAS[name].camera_from_world,
                               atol=1e-12)
    seen_from = open_recording(bag, BagOptions(world_frame='mast')).cameras['cam01']
    assert np.allclose(seen_from.camera_from_world,
                       CAMERAS['cam01'].camera_from_world @ base @ mast, atol=1e-12)


def test_a_camera_that_moves_has_a_pose_for_every_picture(tmp_path):
    """cam01 slides along x at 1 m/s, told at 50 Hz; the last picture comes after the last pose."""
    def slid(stamp_ns):
        moved = np.linalg.inv(CAMERAS['cam01'].camera_from_world)
        moved[0, 3] += (stamp_ns - START_NS) * 1e-9
        return moved
    still = {name: CAMERAS[name] for name in ('cam00', 'cam02')}
    poses = [('/tf', at, tf(transform('map', 'cam01_optical_frame', slid(at), at)))
             for at in range(START_NS - 20_000_000, START_NS + 100_000_000, 20_000_000)]
    bag = write_bag(tmp_path / 'bag', [static_transforms(still), *poses,
                                       *camera_messages(CAMERAS, seen(4, jitter_ns=0))])
    recording = open_recording(bag)
    sets = list(recording.frame_sets())
    assert [sorted(one.poses) for one in sets] == [['cam01']] * 4
    for one in sets[:3]:
        assert np.allclose(one.poses['cam01'], np.linalg.inv(slid(one.stamp_ns)), atol=1e-9)
    assert np.isnan(sets[3].poses['cam01']).all()  # the preparer leaves out this picture
    assert np.array_equal(recording.cameras['cam01'].camera_from_world, sets[0].poses['cam01'])
    prepared = Preparer(recording.cameras, None).prepare(sets[3])
    assert sorted(prepared.images) == ['cam00', 'cam02'] and len(prepared.problems) == 1


def test_frames_without_a_camera(tmp_path):
    """cam02 comes late, loses picture 4 and ends early; picture 5 of cam00 cannot be one."""
    pictures = [(name, stamp, rgb) for name, stamp, rgb in seen(8)
                if name != 'cam02' or told(rgb)[1] in (2, 3, 5, 6)]
    messages = list(camera_messages(CAMERAS, pictures, make=raw))
    broken = next(m for topic, _, m in messages if topic == '/cam00/image_raw'
                  and m.header.stamp == stamped(START_NS + 5 * FRAME_NS).stamp)
    broken.step = 1
    bag = write_bag(tmp_path / 'bag', [static_transforms(CAMERAS), *messages])
    recording = open_recording(bag)
    sets = list(recording.frame_sets())
    assert recording.frames_total == 6  # frames 2 to 7: the first scene is made of all cameras
    assert [one.missing for one in sets] == [(), (), ('cam02',), (), (), ('cam02',)]
    assert told(sets[2].pictures['cam01'].decode()) == (1, 4)
    with pytest.raises(InputError, match=r'/cam00/image_raw: .*expected a step of at least 192'):
        sets[3].pictures['cam00'].decode()
    assert [told(one.pictures['cam02'].decode())[1] for one in sets if not one.missing] \
        == [2, 3, 5, 6]
    alone = list(recording.frame_sets(cameras=['cam02']))
    assert [len(one.pictures) for one in alone] == [1, 1, 0, 1, 1, 0]


@pytest.mark.parametrize('storage', [MCAP, SQLITE])
def test_metadata_that_tells_another_qos(tmp_path, storage):
    """As in bags of ros2/rosbag2's own tests, whose metadata is of another version."""
    bag = write_bag(tmp_path / 'bag', [static_transforms(CAMERAS),
                                       *camera_messages(CAMERAS, seen())], storage)
    text = (bag / 'metadata.yaml').read_text()
    assert 'depth: 10' in text
    (bag / 'metadata.yaml').write_text(text.replace('depth: 10', 'depth: 0'))
    assert open_recording(bag).frames_total == 4


def test_pictures_recorded_out_of_order(tmp_path):
    """Frame 1 of cam00 is recorded after frame 3."""
    messages = [(topic, log_ns + (3 * FRAME_NS if 'cam00/image' in topic
                                  and log_ns == START_NS + FRAME_NS + 5_000_000 else 0), content)
                for topic, log_ns, content in camera_messages(CAMERAS, seen(6, jitter_ns=0))]
    bag = write_bag(tmp_path / 'bag', [static_transforms(CAMERAS), *messages])
    found = [told(one.pictures['cam00'].decode())[1] for one in open_recording(bag).frame_sets()]
    assert found == list(range(6))


def test_topics_are_chosen_by_type_and_sibling_or_by_name(tmp_path, caplog):
    """Views, rectified and other pictures without a calibration of their own are no cameras."""
    bent = Camera('cam01', WIDTH, HEIGHT, np.array(K), pose(1), np.array([0.1, 0, 0, 0, 0]))
    pictures = seen(2, range(2))
    more = []
    for topic in ('/cam00/image_raw/compressed', '/cam00/image_color', '/lonely/image_raw',
                  '/igs/view/image', '/cam01/image_rect'):
        for name, stamp_ns, rgb in pictures:
            if name == 'cam00':
                make = png if topic.endswith('compressed') else raw
                more.append((topic, stamp_ns, make(rgb, stamped(stamp_ns, 'x'))))
    for name in ('cam01', 'igs/view'):
        more.append((f'/{name}/camera_info', START_NS, info(
            bent, stamped(START_NS, 'cam01_optical_frame'))))
    types = get_types_from_msg('std_msgs/Header header', 'igs_ros/msg/SceneStatus')
    status = [('/igs/status', START_NS, 'igs_ros/msg/SceneStatus', types)]
    cam00 = [m for m in camera_messages(CAMERAS, pictures, make=raw) if 'cam00' in m[0]]
    bag = write_bag(tmp_path / 'bag', [static_transforms(CAMERAS), *cam00, *more], extra=status)
    with caplog.at_level('INFO'):
        recording = open_recording(bag)
    assert {name: source.topic for name, source in recording.sources.items()} == {
        'cam00': '/cam00/image_raw'}
    said = [line for line in caplog.messages if 'is not read' in line]
    for words in ("/cam00/image_raw/compressed is not read: camera 'cam00' is read from",
                  "/cam00/image_color is not read: camera 'cam00' is read from",
                  '/lonely/image_raw: no CameraInfo on /lonely/camera_info',
                  '/igs/view/image is not read: a view that igs_ros rendered',
                  '/cam01/image_rect: rectified pictures'):
        assert sum(words in line for line in said) == 1, (words, said)
    asked = BagOptions(topics=('front=/cam00/image_color', '/cam00/image_raw/compressed'))
    chosen = open_recording(bag, asked)
    assert {name: source.topic for name, source in chosen.sources.items()} == {
        'front': '/cam00/image_color', 'cam00': '/cam00/image_raw/compressed'}


def test_a_rig_file_stands_in_for_calibrations_and_transforms(tmp_path):
    bag = write_bag(tmp_path / 'bag', camera_messages(CAMERAS, seen(2), infos=False))
    rig_beside(tmp_path)
    recording = open_recording(bag, BagOptions(rig_file=tmp_path / 'rig.json'))
    assert np.array_equal(recording.cameras['cam02'].camera_from_world, pose(2))
    with pytest.raises(InputError, match=r'no CameraInfo on /cam00/camera_info; .*--rig-file'):
        open_recording(bag)
    write_rig(tmp_path, [rig_entry(0), rig_entry(1)])
    with pytest.raises(InputError, match="no camera 'cam02' in the rig file, which has cam00, ca"):
        open_recording(bag, BagOptions(('/cam02/image_raw/compressed',), tmp_path / 'rig.json'))


def edited(**changes):
    def edit(messages):
        for topic, log_ns, content in messages:
            kind = type(content).__name__
            for name, value in changes.items():
                if kind.endswith(name):
                    content = value(content)
            if content is not None:
                yield topic, log_ns, content
    return edit


def without_stamp(content):
    content.header.stamp.sec = content.header.stamp.nanosec = 0
    return content


@pytest.mark.parametrize('edit, words', [
    (edited(CameraInfo=lambda m: None),
     r'/cam00/image_raw/compressed: no CameraInfo on /cam00/camera_info; expected it beside'),
    (edited(TFMessage=lambda m: None),
     r"/cam00/camera_info: no transforms for frame 'cam00_optical_frame'; .*--rig-file"),
    (edited(CompressedImage=without_stamp),
     r'/cam00/image_raw/compressed: 2 pictures, all with stamp 0; expected the time of exposure'),
    (edited(CompressedImage=lambda m: None),
     r'no camera .topics of sensor_msgs/msg/CameraInfo, tf2_msgs/msg/TFMessage alone.; expected'),
    (edited(CompressedImage=lambda m: replace(m, format='h264')),
     r"/cam00/image_raw/compressed: compressed images of format 'h264'; expected jpeg or png"),
    (edited(CompressedImage=lambda m: replace(m, data=m.data[:100])),
     r'/cam00/image_raw/compressed: '),
    (edited(CameraInfo=lambda m: replace(m, k=np.zeros(9))),
     r'/cam00/camera_info: intrinsics K = '),
    (edited(CameraInfo=lambda m: replace(m, width=100)), r'64x48 px.*100x48'),
    (edited(TFMessage=lambda m: tf(transform('map', 'base', pose(0)))),
     r"/cam00/camera_info: no transform .*'cam00_optical_frame'.*--world-frame"),
    (lambda messages: [], 'a bag without messages; expected recorded cameras'),
])
def test_bags_that_cannot_be_read(tmp_path, edit, words):
    messages = [static_transforms(CAMERAS), *camera_messages(CAMERAS, seen(2))]
    bag = write_bag(tmp_path / 'bag', edit(messages))
    with pytest.raises(InputError, match=words) as caught:
        open_recording(bag)
    assert str(bag) in str(caught.value) and str(caught.value).isprintable()


def test_files_that_are_no_bags(tmp_path):
    ros1, other = tmp_path / 'old.bag', tmp_path / 'x.txt'
    ros1.write_bytes(b'#ROSBAG V2.0\n' + bytes(4096))
    other.write_text('hello')
    (tmp_path / 'e.mcap').write_bytes(b'')
    (tmp_path / 'e.db3').write_bytes(b'SQLite format 3\0')
    with pytest.raises(InputError, match='old.bag: a ROS 1 bag; expected .*rosbags-convert --src'):
        open_recording(ros1)
    with pytest.raises(InputError, match='x.txt: no recording that can be read here'):
        open_recording(other)
    with pytest.raises(InputError, match=r"e.mcap: begins with b''; expected a .mcap file"):
        open_recording(tmp_path / 'e.mcap')
    with pytest.raises(InputError, match=r'e.db3: cannot be read .*; expected a whole ROS 2 bag'):
        open_recording(tmp_path / 'e.db3')
    with pytest.raises(InputError, match='--max-spread-s -1.*expected 0 to 3600 s'):
        open_recording(write_bag(tmp_path / 'bag', []), BagOptions(max_spread_s=-1))


def test_pictures_that_never_belong_together(tmp_path):
    apart = [(name, stamp + 40_000_000 * int(name[-1]), rgb) for name, stamp, rgb in seen(1)]
    bag = write_bag(tmp_path / 'bag', [static_transforms(CAMERAS),
                                       *camera_messages(CAMERAS, apart)])
    with pytest.raises(InputError, match='no frame set of at least half of 3 cameras within 0.03'):
        open_recording(bag)
    assert open_recording(bag, BagOptions(max_spread_s=0.1)).frames_total == 1


@pytest.mark.parametrize('lost', [5, 300, 20_000])
def test_an_mcap_file_without_its_end(tmp_path, caplog, lost):
    """Chunks of a picture or two each: what is whole is read, also by several streams at once."""
    big = [(name, stamp, np.tile(rgb, (8, 8, 1))) for name, stamp, rgb in seen(8)]
    large = {name: Camera(name, 8 * WIDTH, 8 * HEIGHT, np.array(K) * [[8], [8], [1]], pose(n))
             for n, name in enumerate(CAMERAS)}
    bag = write_bag(tmp_path / 'bag', [static_transforms(large),
                                       *camera_messages(large, big, make=raw)])
    file = bag / 'bag.mcap'
    whole = open_recording(file)
    content = file.read_bytes()
    index = content.rindex(b'\x0f' + (4).to_bytes(8, 'little'))  # data ends here
    file.write_bytes(content[:-lost] if lost < 1000 else content[:index - lost])
    (bag / 'metadata.yaml').unlink()
    with caplog.at_level('WARNING'):
        cut = open_recording(bag)
    assert sum('bag.mcap: its end is missing' in line for line in caplog.messages) == 1
    assert cut.frames_total == (whole.frames_total if lost < 1000 else whole.frames_total - 1)
    for one, other in zip(cut.frame_sets(), whole.frame_sets(), strict=False):
        for name in one.pictures:
            assert np.array_equal(one.pictures[name].decode(), other.pictures[name].decode())


@pytest.mark.parametrize('storage, make', [(MCAP, raw), (SQLITE, png)])
def test_the_workbench_as_a_bag_is_the_workbench(tmp_path, workbench, storage, make):
    """All that `igs run` reads, bit for bit: so are its results."""
    folder = open_recording(workbench)
    sets = list(folder.frame_sets(0, 3))
    pictures = [(name, START_NS + one.stamp_ns, picture.decode())
                for one in sets for name, picture in one.pictures.items()]
    bag = write_bag(tmp_path / 'bag', camera_messages(folder.cameras, pictures, make=make),
                    storage)
    shutil.copy(workbench / 'rig.json', bag)
    again = open_recording(bag)
    for name, camera in folder.cameras.items():
        for what in ('K', 'camera_from_world', 'distortion'):
            assert np.array_equal(getattr(again.cameras[name], what), getattr(camera, what)), name
    for one, other in zip(again.frame_sets(), sets, strict=True):
        assert one.stamp_ns == START_NS + other.stamp_ns
        for name, picture in other.pictures.items():
            assert np.array_equal(one.pictures[name].decode(), picture.decode())
