# SPDX-License-Identifier: Apache-2.0
"""`igs bench node`: what the ROS side of the node costs, beside its engine.

The node runs in a process of its own (`bench_meter`); this one is its cameras, and subscribes to
all of its outputs. Here messages stay serialized, so that two cores do for 21 cameras.
"""
from __future__ import annotations

import importlib
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rclpy
import torch
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import serialize_message
from rich.console import Console
from rich.table import Table

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.machine import machine
from igs_ros.core.points import Points
from igs_ros.core.scene import SH_C0, GaussianScene
from igs_ros.io.codec.ply import save_ply
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import Recording, test_view, train_views
from igs_ros.node import convert
from igs_ros.node.demo import own_middleware

_STAMP = slice(4, 12)  # of a serialized message that begins with a header: sec, nanosec
_QUALITY, _FRAMES = 90, 8  # of the JPEG files; so many are played again and again
_START_S = 180.0  # until a node shows its first scene, compiled kernels included


@dataclass(frozen=True)
class NodePlan:
    """What to measure.

    Args:
        recording: gives pictures and points; cameras beyond its own repeat them.
        cameras: sizes of the rigs.
        seconds: of each measurement, after `warm_up` s that are not measured.
        warm_up: s.
        rate_hz: of the cameras.
        gaussians: of the scene.
        engine: 'light' follows every frame set without moving anything, as an engine on a fast
            machine has the ROS side do the most; 'default' is the engine as it is.
    """

    recording: Path
    cameras: tuple[int, ...] = (1, 3, 12, 21)
    seconds: float = 20.0
    warm_up: float = 5.0
    rate_hz: float = 30.0
    gaussians: int = 20000
    engine: Literal['light', 'default'] = 'light'


_LIGHT = {'motion': 'static', 'key_interval': 0, 'motion_model.adjust_iterations': 0,
          'hold_s': 0.0}


def run(plan: NodePlan, say: Callable[[str], object] = lambda text: None) -> dict[str, Any]:
    """Measure one node after the other.

    Raises:
        InputError: a recording without points, or a node that does not come to work.
    """
    recording = open_recording(plan.recording)
    points = recording.points()
    if points is None:
        raise InputError(f'{recording.path}: no points3d.ply; expected a recording with points, '
                         f'of which the scene is made.')
    own_middleware()
    rows = []
    with tempfile.TemporaryDirectory(prefix='igs_bench_') as name:
        folder = Path(name)
        save_ply(_scene(points, plan.gaussians), folder / 'scene.ply')
        rclpy.init(args=[])
        try:
            for count in plan.cameras:
                say(f'{count} cameras ...')
                rows.append({'cameras': count, **_measured(plan, recording, count, folder)})
        finally:
            rclpy.try_shutdown()
    return {'machine': machine(), 'recording': recording.name, 'rate_hz': plan.rate_hz,
            'gaussians': plan.gaussians, 'engine': plan.engine, 'rigs': rows}


def _scene(points: Points, count: int) -> GaussianScene:
    """So many Gaussians around `points`: what they show does not matter here, how many does."""
    random = np.random.default_rng(0)
    chosen = random.integers(0, len(points), count)
    means = points.xyz[chosen] + random.normal(0, 0.02, (count, 3))
    colors = (points.rgb[chosen] / 255 - 0.5) / SH_C0

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(values, np.float32))
    return GaussianScene(tensor(means), tensor(np.tile([1.0, 0, 0, 0], (count, 1))),
                         tensor(np.full((count, 3), 0.01)), tensor(np.full(count, 0.7)),
                         tensor(colors[:, None]))


class _World(Node):
    """The cameras of the node under test, and the subscriber of its outputs."""

    def __init__(self, cameras: dict[str, Camera], frames: list[dict[str, bytes]]):
        super().__init__('igs_bench')
        from sensor_msgs.msg import CameraInfo, CompressedImage
        head = {name: convert.header(1, f'{name}_optical_frame') for name in cameras}
        self._messages = [
            [(self.create_publisher(CameraInfo, f'/{name}/camera_info', 4),
              [serialize_message(convert.info_message(camera, head[name]))]),
             (self.create_publisher(CompressedImage, f'/{name}/image_raw/compressed', 4),
              [serialize_message(convert.jpeg_message(frame[name], head[name]))
               for frame in frames])]
            for name, camera in cameras.items()]
        self.outputs: Counter[str] = Counter()
        self._known: set[str] = set()
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def publish(self, number: int) -> None:
        """One picture and CameraInfo of every camera, stamped now."""
        now_ns = time.time_ns()
        stamp = np.array(divmod(now_ns, 1_000_000_000), '<u4').tobytes()
        for publisher, contents in itertools.chain.from_iterable(self._messages):
            content = contents[number % len(contents)]
            publisher.publish(content[:4] + stamp + content[12:])

    def listen(self) -> None:
        """Subscribe to what the node publishes, as far as it is not yet."""
        if ('igs', '/') not in self.get_node_names_and_namespaces():
            return
        for topic, kinds in self.get_publisher_names_and_types_by_node('igs', '/'):
            if topic in self._known or topic in ('/rosout', '/parameter_events'):
                continue
            self._known.add(topic)
            package, _, name = kinds[0].partition('/msg/')
            kind = getattr(importlib.import_module(f'{package}.msg'), name)
            self.create_subscription(kind, topic, partial(self._count, topic), 10, raw=True)

    def _count(self, topic: str, message: Any) -> None:
        self.outputs[topic] += 1

    def spin(self, until_s: float) -> None:
        """Take what comes until then, s monotonic."""
        while (left := until_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)


def _rig_file(folder: Path, cameras: dict[str, Camera]) -> Path:
    path = folder / 'rig.json'
    path.write_text(json.dumps({'cameras': [
        {'name': name, 'width': camera.width, 'height': camera.height, 'K': camera.K.tolist(),
         'dist': camera.distortion.tolist(), 'world_to_camera': camera.camera_from_world.tolist()}
        for name, camera in cameras.items()]}))
    return path


def _repeated(recording: Recording, count: int) -> tuple[dict[str, Camera], dict[str, str]]:
    """So many cameras: those that train, again and again; and whose pictures each one has."""
    own = train_views(recording, test_view(recording))
    source = {f'cam{i:02d}': own[i % len(own)] for i in range(count)}
    return {name: replace(recording.cameras[other], name=name)
            for name, other in source.items()}, source


def _measured(plan: NodePlan, recording: Recording, count: int, folder: Path) -> dict[str, Any]:
    """One node with `count` cameras."""
    cameras, source = _repeated(recording, count)
    files = [{name: convert.jpeg_bytes(picture.decode(), _QUALITY)
              for name, picture in frame_set.pictures.items()}
             for frame_set in recording.frame_sets(0, _FRAMES, sorted({*source.values()}))]
    frames = [{name: pictures[other] for name, other in source.items()} for pictures in files]
    settings = {'rig_file': _rig_file(folder, cameras), 'bootstrap.method': folder / 'scene.ply',
                'max_gaussians': plan.gaussians, **(_LIGHT if plan.engine == 'light' else {})}
    out = folder / f'{count}.json'
    world = _World(cameras, frames)
    node = subprocess.Popen([
        sys.executable, '-m', 'igs_ros.node.bench_meter', '--out', str(out),
        '--seconds', str(plan.seconds), '--warm-up', str(plan.warm_up), '--ros-args',
        '--log-level', 'warn', *(part for name, value in settings.items()
                                 for part in ('-p', f'{name}:={value}'))])
    try:
        sent_hz = _play(world, node, plan)
    finally:
        if node.poll() is None:
            node.kill()
        node.wait()
        world.destroy_node()
    if node.returncode or not out.is_file():
        raise InputError(f'{count} cameras: the node ended with code {node.returncode} and left '
                         f'no figures; its lines above say why.')
    bytes_per_picture = np.mean([len(data) for frame in frames for data in frame.values()])
    return {'sent_hz': sent_hz, 'picture_kb': bytes_per_picture / 1000,
            'outputs': dict(sorted(world.outputs.items())), **json.loads(out.read_text())}


def _play(world: _World, node: subprocess.Popen, plan: NodePlan) -> float:
    """Be the cameras until `node` has ended; the rate at which that was done, Hz."""
    begun_s = time.monotonic()
    end_s = begun_s + _START_S + plan.warm_up + plan.seconds
    for number in itertools.count():
        due_s = begun_s + number / plan.rate_hz
        world.spin(due_s)
        if node.poll() is not None or time.monotonic() > end_s:
            return number / (time.monotonic() - begun_s)
        world.publish(number)
        if number % 30 == 0:
            world.listen()
    raise AssertionError


def print_table(results: dict[str, Any]) -> None:
    """Shares of one core by rig, and the slowest callbacks."""
    console = Console()
    table = Table('cameras', 'sent, Hz', 'frame sets, Hz', 'all but the engine', 'executor',
                  'middleware', 'decoding', 'outputs', 'engine', 'slowest callback, p99',
                  title=f'Percent of one core, {results["engine"]} engine, {results["machine"]}')
    for row in results['rigs']:
        share = row['share_pct']
        name, slowest = max(row['callbacks'].items(), key=lambda one: one[1]['wall_p99_ms'])
        table.add_row(
            str(row['cameras']), f'{row["sent_hz"]:.1f}', f'{row["frame_sets_hz"]:.1f}',
            *(f'{share[key]:.1f}' for key in ('but_engine', 'executor', 'middleware', 'decoding',
                                              'outputs')),
            f'{sum(share["engine"].values()):.0f}',
            f'{name}: {slowest["wall_p99_ms"]:.2f} ms, CPU {slowest["cpu_p99_ms"]:.2f}')
    console.print(table)
