# SPDX-License-Identifier: Apache-2.0
"""Depth topics of bags: which of them belong to a color camera, and which picture to which."""
import re
from dataclasses import replace

import numpy as np
import pytest
from bag_files import (
    FRAME_NS,
    MCAP,
    SQLITE,
    START_NS,
    camera_messages,
    compressed_depth,
    depth_image,
    info,
    raw,
    stamped,
    static_transforms,
    write_bag,
)
from recording_files import HEIGHT, WIDTH, K, frame_picture, pose, rig_entry, write_rig
from rosbags.typesys import get_types_from_msg

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.io.recordings.bag_options import BagOptions
from igs_ros.io.recordings.open import open_recording
from igs_ros.vision.preparer import Preparer

CAMERAS = {f'cam{n:02d}': Camera(f'cam{n:02d}', WIDTH, HEIGHT, np.array(K), pose(n))
           for n in range(2)}
MS = 1_000_000


def units(frame):
    """[H, W] uint16 mm, other ones in each frame, not known in a corner."""
    depth = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) + 1000 * (frame + 1)
    depth[0, 0] = 0
    return depth


def colors(frames=4):
    pictures = [(name, START_NS + frame * FRAME_NS, frame_picture(n, frame))
                for frame in range(frames) for n, name in enumerate(CAMERAS)]
    return [static_transforms(CAMERAS), *camera_messages(CAMERAS, pictures, make=raw)]


def depths(frames=range(4), late_ns=1 * MS, topic='/cam01/aligned/image_raw', make=depth_image,
           frame_id='cam01_optical_frame', camera=CAMERAS['cam01'], infos=True):
    """What a driver that aligns depth to color publishes."""
    namespace = topic.removesuffix('/compressedDepth').rpartition('/')[0]
    for frame in frames:
        stamp_ns = START_NS + frame * FRAME_NS + late_ns
        head = stamped(stamp_ns, frame_id)
        yield topic, stamp_ns + 9 * MS, make(units(frame), head)
        if infos:
            yield f'{namespace}/camera_info', stamp_ns + 9 * MS, info(camera, head)


def in_meters(depth, head):
    return depth_image(depth.astype(np.float32) * np.float32(0.001), head)


def said(caplog, words):
    return [line for line in caplog.messages if words in line]


@pytest.mark.parametrize('storage, make, suffix', [
    (MCAP, depth_image, ''), (SQLITE, in_meters, ''),
    (MCAP, compressed_depth, '/compressedDepth')])
def test_depth_joins_the_pictures_of_its_camera(tmp_path, caplog, storage, make, suffix):
    """Frame 1 has none; that of frame 3 is 20 ms late, which is near enough."""
    topic = f'/cam01/aligned/image_raw{suffix}'
    bag = write_bag(tmp_path / 'bag', [
        *colors(), *depths((0, 2), topic=topic, make=make),
        *depths((3,), 20 * MS, topic=topic, make=make)], storage)
    with caplog.at_level('INFO'):
        recording = open_recording(bag)
    sets = list(recording.frame_sets())
    assert [sorted(one.depths) for one in sets] == [['cam01'], [], ['cam01'], ['cam01']]
    for frame in (0, 2, 3):
        picture = sets[frame].depths['cam01']
        assert picture.size() == (WIDTH, HEIGHT)
        depth, true = picture.decode(), units(frame) * np.float32(0.001)
        assert np.isnan(depth[0, 0]) and np.allclose(depth.ravel()[1:], true.ravel()[1:])
    assert len(said(caplog, f'depth of cam01 is read from {topic}, for 3 of the frame sets')) == 1
    assert not said(caplog, 'is not read')
    prepared = Preparer(recording.cameras, 32).prepare(sets[2])
    assert prepared.depths['cam01'].decode().shape == (24, 32)
    thinned = list(open_recording(bag, BagOptions(frame_step=2)).frame_sets())
    assert [sorted(one.depths) for one in thinned] == [['cam01'], ['cam01']]
    assert thinned[1].depths['cam01'].decode()[5, 5] == sets[2].depths['cam01'].decode()[5, 5]


def test_depth_too_far_in_time_and_stamps_of_a_camera_that_is_slow(tmp_path):
    """Depth of a driver has the clock of its camera, whatever that is."""
    bag = write_bag(tmp_path / 'bag', [*colors(1), *depths((0,), 20 * MS)])
    near, far = (open_recording(bag, BagOptions(max_spread_s=s)) for s in (0.020, 0.019))
    assert near.depths['cam01'].picture(0) and far.depths['cam01'].picture(0) is None
    late = [(t, at, replace(m, header=stamped(START_NS + 100 * MS, 'cam01_optical_frame')))
            if t == '/cam01/image_raw' else (t, at, m) for t, at, m in colors(1)]
    bag = write_bag(tmp_path / 'slow', [*late, *depths((0,), 104 * MS)])
    slow = open_recording(bag, BagOptions(max_spread_s=0.01, offset=('cam01=-0.1',)))
    only, = slow.frame_sets()
    assert not only.missing and sorted(only.depths) == ['cam01']


NARROW = replace(CAMERAS['cam01'], K=np.array(K) * [[1.01], [1], [1]])


@pytest.mark.parametrize('made, reason', [
    (depths(frame_id='depth_frame'), "depth in frame 'depth_frame', 64x48 px by /cam01/align"),
    (depths(camera=NARROW), "depth in frame 'cam01_optical_frame', 64x48 px .* expected frame, "),
    (depths(infos=False), 'depth without a CameraInfo on /cam01/aligned/camera_info; expected'),
    (depths(make=lambda d, h: depth_image(d[::2, ::2].copy(), h)), 'a picture of 32x24 px, but'),
    (depths(make=lambda d, h: replace(depth_image(d, h), step=3)), 'a step of 3 bytes|step'),
    (depths(late_ns=-START_NS, frames=(0,)), '1 pictures, all with stamp 0; expected'),
    (depths(topic='/cam01/aligned/x/compressedDepth', make=lambda d, h: replace(
        compressed_depth(d, h), data=compressed_depth(d, h).data[:150])), 'x/compressedDepth: ')])
def test_what_is_no_registered_depth_is_told_in_one_line(tmp_path, caplog, made, reason):
    made = [(topic, max(at, START_NS), content) for topic, at, content in made]
    bag = write_bag(tmp_path / 'bag', [*colors(), *made])
    with caplog.at_level('INFO'):
        recording = open_recording(bag)
    assert not recording.depths and list(recording.cameras) == list(CAMERAS)
    line, = said(caplog, 'is not read')
    assert re.search(reason, line) and '/cam01/aligned' in line and line.isprintable()


def test_one_topic_of_a_camera_and_no_depth_that_igs_ros_drew(tmp_path, caplog):
    types = get_types_from_msg('std_msgs/Header header', 'igs_ros/msg/SceneStatus')
    bag = write_bag(tmp_path / 'bag', [
        *colors(), *depths(topic='/igs/view/depth'),
        *depths(topic='/cam01/aligned/image_raw/compressedDepth', make=compressed_depth),
        *depths()], extra=[('/igs/status', START_NS, 'igs_ros/msg/SceneStatus', types)])
    with caplog.at_level('INFO'):
        recording = open_recording(bag)
    assert recording.depths['cam01'].topic == '/cam01/aligned/image_raw'
    assert len(said(caplog, "compressedDepth is not read: depth of camera 'cam01' is read")) == 1
    assert len(said(caplog, '/igs/view/depth is not read: a view that igs_ros rendered')) == 1


def test_depth_beside_a_rig_file(tmp_path):
    bag = write_bag(tmp_path / 'bag', [*colors(1)[1:], *depths((0,))])
    write_rig(bag, [rig_entry(n) for n in range(2)])
    assert sorted(open_recording(bag).depths) == ['cam01']


def test_a_message_that_is_damaged_later_names_its_topic(tmp_path):
    def cut(depth, head):
        made = compressed_depth(depth, head)
        return made if depth[1, 1] == units(0)[1, 1] else replace(made, data=made.data[:150])
    bag = write_bag(tmp_path / 'bag', [*colors(2), *depths(
        (0, 1), topic='/cam01/aligned/x/compressedDepth', make=cut)])
    first, second = open_recording(bag).frame_sets()
    assert first.depths['cam01'].decode()[5, 5] > 0
    with pytest.raises(InputError, match='bag: /cam01/aligned/x/compressedDepth: '):
        second.depths['cam01'].decode()
