# SPDX-License-Identifier: Apache-2.0
"""ROS for the tests of the edge: a domain of their own, processes, and a client."""
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Before rclpy is imported, and inherited by processes. Ids above 101 collide with other ports.
os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 50)  # demos have one from 60 on
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ.setdefault('ROS_PYTHON_CHECK_FIELDS', '1')
os.environ['RCUTILS_COLORIZED_OUTPUT'] = '0'

ROOT = Path(__file__).resolve().parents[2]


PATIENCE_S = 120.0  # with anything that comes sooner or later: no test asks how fast a machine is


class Process:
    """A module of igs_ros, or a script, running as a process; its output is kept in a file."""

    def __init__(self, log: Path, program: str, *arguments):
        self.log = log
        started = [program] if program.endswith('.py') else ['-m', program]
        with log.open('w') as output:
            self._process = subprocess.Popen(
                [sys.executable, *started, *map(str, arguments)], cwd=ROOT, stdout=output,
                stderr=subprocess.STDOUT)

    def lines(self, pattern: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if re.search(pattern, line)]

    def alive(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> int:
        return self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Interrupt it; its exit code."""
        if self.alive():
            self._process.send_signal(signal.SIGINT)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise


@pytest.fixture(scope='module')
def processes(tmp_path_factory):
    """start(program, *arguments) -> Process; whatever still runs at the end is interrupted."""
    running = []

    def start(program, *arguments):
        log = tmp_path_factory.mktemp('process') / 'log.txt'
        running.append(Process(log, program, *arguments))
        return running[-1]
    yield start
    for process in running:
        process.stop()


@pytest.fixture(scope='session')
def ros():
    """rclpy, initialized."""
    rclpy = pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    rclpy.init()
    yield rclpy
    rclpy.try_shutdown()


class Client:
    """A node with whatever publishers and subscriptions a test asks for."""

    def __init__(self, ros):
        from rclpy.executors import SingleThreadedExecutor
        self.node = ros.create_node('test_client')
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._publishers = {}

    def publish(self, topic, message, depth=10):
        """Publish once somebody listens."""
        if topic not in self._publishers:
            self._publishers[topic] = self.node.create_publisher(type(message), topic, depth)
        publisher = self._publishers[topic]
        assert self.until(lambda: publisher.get_subscription_count() > 0), topic
        publisher.publish(message)

    def collect(self, kind, topic, qos=10):
        """The list that messages of `topic` go into while spinning."""
        messages = []
        self.node.create_subscription(kind, topic, messages.append, qos)
        return messages

    def spin(self, seconds, until=lambda: False) -> bool:
        """Take messages for `seconds`, or less when `until` comes true; whether it did."""
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                return False
            self._executor.spin_once(timeout_sec=0.02)
        return True

    def until(self, condition) -> bool:
        """Take messages until `condition` comes true; False when it does not, however long."""
        return self.spin(PATIENCE_S, condition)


@pytest.fixture(scope='module')
def client(ros):
    """One client for all tests of a file; its subscriptions stay."""
    made = Client(ros)
    yield made
    made.node.destroy_node()


@pytest.fixture
def listener(ros):
    """A client of this test alone: nothing is subscribed before it asks."""
    made = Client(ros)
    yield made
    made.node.destroy_node()


def latched():
    """The QoS of what late subscribers get."""
    from rclpy.qos import DurabilityPolicy, QoSProfile
    return QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Line:
    """A running node, a client beside it, and the recording that feeds it."""

    def __init__(self, process, client, recording, cameras):
        from igs_ros.msg import SceneStatus
        self.process, self.client, self.recording = process, client, recording
        self.cameras = cameras
        self.frames = [{name: picture.decode() for name, picture in s.pictures.items()}
                       for s in recording.frame_sets(0, 6)]
        self.status = client.collect(SceneStatus, '/igs/status', latched())

    def publish(self, index=0, cameras=None, stamp_ns=None, data=None):
        """Pictures of one instant on the camera topics; their stamp."""
        from igs_ros.node import convert
        stamp_ns = stamp_ns or time.time_ns()
        for name in cameras or self.cameras:
            head = convert.header(stamp_ns, name)
            jpeg = convert.jpeg_bytes(self.frames[index][name], 90) if data is None else data
            self.client.publish(f'/{name}/image_raw/compressed', convert.jpeg_message(jpeg, head))
        return stamp_ns

    def shows(self, stamp_ns):
        from igs_ros.node import convert_scene
        shown = convert_scene.shown_stamp_ns(self.status[-1]) if self.status else None
        return shown is not None and abs(shown - stamp_ns) < 1_000_000

    def drops(self):
        return dict(zip(self.status[-1].drop_causes, self.status[-1].drop_counts, strict=True))

    def step(self, index=0, **options):
        """Publish a frame set and wait until the scene shows it."""
        stamp_ns = self.publish(index, **options)
        assert self.client.until(lambda: self.shows(stamp_ns)), self.process.log.read_text()
        return stamp_ns


@pytest.fixture(scope='session')
def line_class():
    return Line
