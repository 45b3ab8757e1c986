# SPDX-License-Identifier: Apache-2.0
"""`igs record` over the real middleware, read back by our reader and by rosbags."""
import signal
import time

import numpy as np
import pytest
import yaml

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy  # noqa: E402
from rosbags.rosbag2 import Reader  # noqa: E402
from rosbags.typesys import Stores, get_typestore  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage  # noqa: E402

from igs_ros.core.errors import InputError, OutputError  # noqa: E402
from igs_ros.io.recordings.bag_options import BagOptions  # noqa: E402
from igs_ros.io.recordings.bag_writer import BagWriter, definitions  # noqa: E402
from igs_ros.io.recordings.open import open_recording  # noqa: E402
from igs_ros.msg import GaussianUpdate, SceneStatus  # noqa: E402
from igs_ros.node import convert  # noqa: E402
from igs_ros.node.options import RecordOptions  # noqa: E402
from igs_ros.node.record import Recorder, asked, await_node, definition, record  # noqa: E402

MODULE = 'igs_ros.apps.cli.main'


@pytest.fixture(scope='module')
def stand_in(ros):
    """A node `/rec/igs` with two inputs and an output: what the recorder asks the graph for."""
    node = ros.create_node('igs', namespace='/rec')
    for kind, topic in ((CompressedImage, '/rec/cam00/image_raw/compressed'),
                        (CameraInfo, '/rec/cam00/camera_info'),
                        (CompressedImage, '/rec/cam01/image_raw/compressed')):
        node.create_subscription(kind, topic, lambda _: None, 10)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.status = node.create_publisher(SceneStatus, '/rec/igs/status', latched)
    yield node
    node.destroy_node()


def test_inputs_and_outputs_of_a_node(workbench, processes, client, stand_in, tmp_path):
    recording = open_recording(workbench)
    camera = recording.cameras['cam00']
    bag = tmp_path / 'bag'
    status = SceneStatus(state=SceneStatus.STREAMING, message='all is well')
    stand_in.status.publish(status)  # before anybody listens: it is latched
    recorder = processes(MODULE, 'record', bag, '--node', '/rec/igs')
    assert client.until(lambda: recorder.lines('recording /rec/igs/status')), \
        recorder.log.read_text()
    sent = []
    for frame_set in recording.frame_sets(0, 3):
        head = convert.header(time.time_ns(), 'cam00_optical_frame')
        sent.append(convert.jpeg_bytes(frame_set.pictures['cam00'].decode(), 90))
        client.publish('/rec/cam00/camera_info', convert.info_message(camera, head))
        client.publish('/rec/cam00/image_raw/compressed', convert.jpeg_message(sent[-1], head))
        # the first pictures may come before the recorder has looked for new topics
        assert client.until(lambda: recorder.lines('recording /rec/cam00/image_raw/comp'))
    assert client.until(lambda: (bag / 'bag.mcap').exists())
    for _ in range(3):
        head = convert.header(time.time_ns(), 'cam00_optical_frame')
        client.publish('/rec/cam00/camera_info', convert.info_message(camera, head))
        client.publish('/rec/cam00/image_raw/compressed', convert.jpeg_message(sent[-1], head))
        client.spin(0.4)
    assert recorder.stop() == 0, recorder.log.read_text()
    assert recorder.lines(r'bag: \d+ messages of 3 topics, .* MB$'), recorder.log.read_text()

    back = open_recording(bag, BagOptions(topics=('cam00=/rec/cam00/image_raw/compressed',),
                                          rig_file=workbench / 'rig.json'))
    newest = list(back.frame_sets())[-1].pictures['cam00']
    assert newest.file.data == sent[-1]
    assert np.array_equal(back.cameras['cam00'].K, camera.K)
    types = get_typestore(Stores.ROS2_KILTED)
    with Reader(bag) as reader:
        found = {c.topic: c for c in reader.connections}
        raw = [data for c, _, data in reader.messages([found['/rec/igs/status']])]
        types.register(definitions('igs_ros/msg/SceneStatus', definition).fielddefs)
        assert types.deserialize_cdr(raw[0], 'igs_ros/msg/SceneStatus').message == 'all is well'
        assert 'string message' in found['/rec/igs/status'].msgdef.data
    said = yaml.safe_load((bag / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
    assert said['version'] == 9 and said['storage_identifier'] == 'mcap'
    qos = {t['topic_metadata']['name']: t['topic_metadata']['offered_qos_profiles'][0]
           for t in said['topics_with_message_count']}
    assert qos['/rec/igs/status']['durability'] == 'transient_local'
    assert qos['/rec/cam00/camera_info']['durability'] == 'volatile'
    assert qos['/rec/cam00/camera_info']['reliability'] == 'reliable'


def test_a_recorder_that_is_killed_leaves_what_it_wrote(workbench, processes, client, tmp_path,
                                                        caplog):
    camera = open_recording(workbench).cameras['cam00']
    jpeg = convert.jpeg_bytes(np.full((camera.height, camera.width, 3), 99, np.uint8), 90)
    bag = tmp_path / 'bag'
    recorder = processes(MODULE, 'record', bag, '--topics', '/kill/cam00/image_raw/compressed',
                         '/kill/cam00/camera_info')

    def publish():
        head = convert.header(time.time_ns(), 'cam00_optical_frame')
        client.publish('/kill/cam00/camera_info', convert.info_message(camera, head))
        client.publish('/kill/cam00/image_raw/compressed', convert.jpeg_message(jpeg, head))
        client.spin(0.2)
        return (bag / 'bag.mcap').exists() and (bag / 'bag.mcap').stat().st_size > 10 * len(jpeg)
    assert client.until(publish), recorder.log.read_text()
    recorder.kill()
    assert not (bag / 'metadata.yaml').exists()
    with caplog.at_level('WARNING'):
        recording = open_recording(bag, BagOptions(
            topics=('cam00=/kill/cam00/image_raw/compressed',),
            rig_file=workbench / 'rig.json'))
    assert [m for m in caplog.messages if 'bag.mcap: its end is missing' in m]
    pictures = [one.pictures['cam00'].file.data for one in recording.frame_sets()]
    assert len(pictures) >= 9 and set(pictures) == {jpeg}


def test_what_cannot_be_recorded_is_said_in_one_line(ros, tmp_path):
    with pytest.raises(OutputError, match='is there already; expected a new folder'):
        record(RecordOptions(tmp_path))
    nobody = RecordOptions(tmp_path / 'a', node='/none', timeout=0.3)
    recorder = Recorder(nobody)
    with pytest.raises(InputError, match='^/none: no such node within 0.3 s; expected the recons'):
        await_node(recorder, nobody, lambda: False)
    recorder.destroy_node()
    assert not (tmp_path / 'a').exists()


def test_qos_is_the_most_that_all_publishers_offer():
    reliable = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    assert asked([reliable]).durability == DurabilityPolicy.TRANSIENT_LOCAL
    both = asked([reliable, best_effort])
    assert both.reliability == ReliabilityPolicy.BEST_EFFORT
    assert both.durability == DurabilityPolicy.VOLATILE


def test_definitions_are_those_of_the_installed_types():
    """The hash of a type is part of what other tools match it by."""
    types = definitions('igs_ros/msg/GaussianUpdate', definition)
    text, _ = types.generate_msgdef('igs_ros/msg/GaussianUpdate', ros_version=2)
    assert 'std_msgs/Header' in text
    hashed = types.hash_rihs01('igs_ros/msg/GaussianUpdate')
    assert hashed.startswith('RIHS01_') and len(hashed) == 71
    kept = types.fielddefs['igs_ros/msg/GaussianUpdate'][1]
    assert [name for name, _ in kept] == list(GaussianUpdate.get_fields_and_field_types())


def test_a_writer_that_is_too_slow_drops_the_oldest(tmp_path, monkeypatch):
    types = get_typestore(Stores.ROS2_KILTED)
    writer = BagWriter(tmp_path / 'bag', max_bytes=1000)
    writer.add('/a', 'std_msgs/msg/String', types, [])
    with writer._writer_lock:  # the thread waits here, with what it has taken
        writer.put('/a', 0, b'0' * 400)
        while writer._waiting:
            time.sleep(0.01)
        for number in range(1, 6):
            writer.put('/a', number, b'%d' % number * 400)
    writer.close()
    assert writer.dropped == {'/a': 3} and writer.written == {'/a': 3}
    with Reader(tmp_path / 'bag') as reader:
        assert [at for _, at, _ in reader.messages()] == [0, 4, 5]


def test_a_full_disk_is_one_error(tmp_path, full_disk):
    types = get_typestore(Stores.ROS2_KILTED)
    writer = BagWriter(tmp_path / 'bag')
    writer.add('/a', 'std_msgs/msg/String', types, [])
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with full_disk(100_000):
            for number in range(10):
                writer.put('/a', number, bytes(300_000))
            with pytest.raises(OutputError, match='bag: cannot be written .*Make room there'):
                writer.close()
    finally:
        signal.signal(signal.SIGXFSZ, before)
