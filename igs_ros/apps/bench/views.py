# SPDX-License-Identifier: Apache-2.0
"""From a head pose to the picture of it: what several virtual cameras take, beside a live scene.

Poses come at a high rate to every view, while the scene is moved and refined, and then while it
is held. Drawn by the classes that the node uses (live/virtual_cameras.py); a picture is out when
its JPEG is made, without the way over DDS. The latency of a pose runs until a picture of it, or
of a newer one, is out: poses that were never drawn count as well.
"""
from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from igs_ros.apps.bench.live import Loops, as_cameras_send, forth_and_back
from igs_ros.core.camera import Camera
from igs_ros.core.config import Config
from igs_ros.core.errors import InputError
from igs_ros.core.machine import machine
from igs_ros.core.snapshot import View
from igs_ros.core.status import State
from igs_ros.core.timing import Drops, spending
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import test_view, train_views
from igs_ros.live.pipeline import LivePipeline
from igs_ros.live.threads import PeriodicThread
from igs_ros.live.virtual_cameras import ViewLoop, VirtualCamera

_QUALITY = 90  # of the JPEG pictures, as the node's
_SWAY_M = 0.02  # how far the head goes to and fro, once a second
_SETTLE_S = 2.0  # after the start, before anything counts


@dataclass(frozen=True)
class ViewsPlan:
    """What to run."""

    recording: Path
    config: Config
    views: tuple[int, ...] = (1, 2, 4)
    poses_hz: float = 100.0  # to each view, which may draw as often
    seconds: float = 10.0  # of each number of views
    first: int = 0
    last: int | None = None  # half-open


@dataclass
class Head:
    """Poses of one view, and when pictures of them were out: an `Outlet`."""

    poses: deque[tuple[float, bytes]] = field(default_factory=deque)  # not yet seen, (s, matrix)
    latencies_s: list[float] = field(default_factory=list)  # of all poses
    shown_s: list[float] = field(default_factory=list)  # of those that were drawn
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wanted(self) -> bool:
        """Always."""
        return True

    def pose(self, camera_from_world: np.ndarray) -> None:
        """One is sent now."""
        with self.lock:
            self.poses.append((time.perf_counter(), camera_from_world.tobytes()))

    def send(self, views: tuple[View, ...]) -> None:
        """A picture: what was sent up to its pose has been seen now."""
        for view in views:
            cv2.imencode('.jpg', cv2.cvtColor(view.pixels(), cv2.COLOR_RGB2BGR),
                         [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        pose, now_s = views[0].camera.camera_from_world.tobytes(), time.perf_counter()
        with self.lock:
            if pose not in (sent for _, sent in self.poses):
                return  # the same picture again
            while self.poses:
                sent_s, sent = self.poses.popleft()
                self.latencies_s.append(now_s - sent_s)
                if sent == pose:
                    self.shown_s.append(now_s - sent_s)
                    return


def run(plan: ViewsPlan, say: Callable[[str], None] = lambda text: None) -> dict:
    """Measure; one row for each number of views, with a live scene and with one that is held.

    Args:
        plan: what to run.
        say: takes a line of text now and then.

    Raises:
        InputError: no first scene can be made of the recording.
    """
    recording = open_recording(plan.recording)
    test = test_view(recording, None)
    train = train_views(recording, test, None)
    sets = as_cameras_send(recording.frame_sets(plan.first, plan.last, train))
    if not sets:
        raise InputError(f'{plan.recording}: no frames to play; expected at least one.')
    period_s = 1 / recording.rate_hz
    sets = forth_and_back(sets, period_s, 10.0)
    live = LivePipeline(plan.config, {name: recording.cameras[name] for name in train},
                        points=recording.points(), now_ns=lambda: loops.clock())
    loops = Loops(sets, live.offer, lambda: period_s)
    watched = recording.cameras[test or train[0]].undistorted()
    camera = watched.resized(plan.config.width or watched.width)
    rows = []
    with live:
        say('first scene ...')
        _first_scene(live, loops)
        while live.status().frame_sets_processed <= plan.config.key_interval:
            loops.play(_SETTLE_S)  # motion and refinement compile their kernels
        for held in (False, True):
            for count in plan.views:
                rows.append(_measured(plan, live, loops, camera, count, held))
                say(f'{count} views: p95 {1000 * rows[-1]["pose_to_view_p95_s"]:.0f} ms')
    return {'recording': recording.name, 'machine': machine(), 'poses_hz': plan.poses_hz,
            'size': [camera.width, camera.height], 'config': asdict(plan.config), 'rows': rows}


def _first_scene(live: LivePipeline, loops: Loops) -> None:
    while (status := live.status()).state != State.STREAMING:
        if status.state == State.FAILED:
            raise InputError(status.message)
        loops.play(0.2)


def _measured(plan: ViewsPlan, live: LivePipeline, loops: Loops, camera: Camera, count: int,
              held: bool) -> dict:
    """One row: so many views, and a scene that is updated, or held."""
    heads, drops, errors = [Head() for _ in range(count)], Drops(), []
    cameras = [VirtualCamera(f'view{number}', camera, plan.poses_hz, head, every_scene=False,
                             drops=drops) for number, head in enumerate(heads)]
    loop = ViewLoop(cameras, errors.append)
    loop.begin(live)

    def move() -> float:
        angle = 2 * np.pi * time.monotonic()
        for number, (one, head) in enumerate(zip(cameras, heads, strict=True)):
            pose = camera.camera_from_world.copy()
            pose[0, 3] += _SWAY_M * np.sin(angle + number)
            head.pose(pose)
            one.place(pose)
        return 1 / plan.poses_hz
    poses = PeriodicThread('poses', move, errors.append)

    def play(seconds: float) -> None:
        if held:
            time.sleep(seconds)
        else:
            loops.play(seconds)
    loop.thread.start()
    poses.start()
    try:
        play(_SETTLE_S)
        for head in heads:
            with head.lock:
                head.latencies_s.clear()
                head.shown_s.clear()
        before = live.status()
        with spending() as spent:
            play(plan.seconds)
        now, spent_s = live.status(), spent().wall_s
    finally:
        poses.stop()
        loop.thread.stop()
    if errors:
        raise errors[0]
    latencies = [one for head in heads for one in head.latencies_s]
    shown = [one for head in heads for one in head.shown_s]
    if not shown:
        raise InputError(f'{count} views: no picture within {spent_s:.0f} s; expected some. '
                         f'Measure for longer (--seconds), or smaller pictures (--width).')
    return {'views': count, 'scene': 'held' if held else 'live',
            'pose_to_view_p50_s': float(np.percentile(latencies, 50)),
            'pose_to_view_p95_s': float(np.percentile(latencies, 95)),
            'shown_p50_s': float(np.percentile(shown, 50)),
            'shown_p95_s': float(np.percentile(shown, 95)),
            'poses': len(latencies), 'pictures_hz': len(shown) / spent_s / count,
            'cpu_cores': spent().cpu_s / spent_s,
            'updates_hz': (now.frame_sets_processed - before.frame_sets_processed) / spent_s,
            'keys': now.keys_refined - before.keys_refined, 'levels': now.levels,
            'gaussians': now.gaussians, 'load_1min': os.getloadavg()[0]}


def print_table(results: dict) -> None:
    """The figures of `run` as a readable table."""
    width, height = results['size']
    table = Table(title=f'{results["poses_hz"]:.0f} poses/s to each view of {width}x{height}, '
                        f'{results["recording"]}, {results["machine"]}')
    for heading in ('scene', 'views', 'pose to view p50 / p95, ms', 'of poses drawn, ms',
                    'pictures/s each', 'cores', 'updates/s', 'keys', 'rungs m/r/v', 'load'):
        table.add_column(heading, justify='right')
    for row in results['rows']:
        table.add_row(row['scene'], str(row['views']), _pair(row, 'pose_to_view'),
                      _pair(row, 'shown'), f'{row["pictures_hz"]:.1f}', f'{row["cpu_cores"]:.2f}',
                      f'{row["updates_hz"]:.1f}', str(row['keys']),
                      '/'.join(map(str, row['levels'].values())), f'{row["load_1min"]:.1f}')
    Console().print(table)


def _pair(row: dict, name: str) -> str:
    return f'{1000 * row[f"{name}_p50_s"]:.0f} / {1000 * row[f"{name}_p95_s"]:.0f}'
