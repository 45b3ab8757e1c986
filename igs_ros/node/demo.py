# SPDX-License-Identifier: Apache-2.0
"""The demo: starts player and node as processes, watches their topics, joins and scores."""
from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from igs_ros.cli.demo import Demo
from igs_ros.data import open_recording, test_view, train_views
from igs_ros.errors import InputError
from igs_ros.msg import SceneStatus
from igs_ros.node.demo_report import DemoRun, report
from igs_ros.node.observer import Observer
from igs_ros.shipped import shipped, workbench

log = logging.getLogger(__name__)
DOMAIN = '87'  # of its own, so that a demo and a robot in the same room do not meet
LEAST_SHARE_SCORED = 0.75
SETTLE_S = 1.5  # for views still on their way when the player has ended


def run(demo: Demo) -> int:
    """Run the demo as `demo` says; the exit code. Raises `InputError` when it cannot start."""
    recording = open_recording(demo.data or workbench())
    test = test_view(recording)
    if test is None:
        raise InputError(f'{recording.path}: no camera is held out; the demo needs one to compare '
                         f'with. Name it in rig.json as "held_out".')
    train = train_views(recording, test)
    demo.out.mkdir(parents=True, exist_ok=True)
    _middleware()
    rclpy.init(args=[])
    observer = Observer()
    executor = SingleThreadedExecutor()
    executor.add_node(observer)
    table = demo.out / 'stamps.json'
    table.unlink(missing_ok=True)
    started = time.monotonic()
    node = _start('reconstruct', *_node_arguments(demo, recording.path, train, test))
    player = _start('play', str(recording.path), '--cameras', *train, '--table', str(table))
    try:
        ended = _watch(executor, observer, node, player, demo, recording.frames_total)
    finally:
        _stop(player)
        _stop(node)
        observer.destroy_node()
        rclpy.try_shutdown()
    if not ended or not table.is_file():
        log.error('the demo did not finish; the lines above say why')
        return 1
    done = DemoRun(recording, test, train, table, observer, time.monotonic() - started)
    share = report(done, demo)
    return 0 if share >= LEAST_SHARE_SCORED else 1


def _middleware() -> None:
    """Settings for this process and the two that it starts; those already made stand."""
    # raw views in one piece; one name only, with both set Fast DDS refuses the file
    profiles = 'FASTRTPS_DEFAULT_PROFILES_FILE' if os.environ.get('ROS_DISTRO') == 'jazzy' \
        else 'FASTDDS_DEFAULT_PROFILES_FILE'
    for name, value in (('ROS_DOMAIN_ID', DOMAIN),
                        ('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST'),
                        (profiles, str(shipped('config/fastdds_shm_64mb.xml')))):
        os.environ.setdefault(name, value)


def _node_arguments(demo: Demo, data: Path, train: tuple[str, ...], test: str) -> list[str]:
    settings = {
        'rig_file': data / 'rig.json', 'cameras': f'[{", ".join(train)}]', 'view_camera': test,
        'max_gaussians': demo.max_gaussians, 'bootstrap.iterations': demo.bootstrap_iterations,
        'refine.iterations': demo.refine_iterations, 'key_interval': demo.key_interval,
        'threads': demo.threads, 'seed': demo.seed, 'view_rate_hz': 4.0}
    points = data / 'points3d.ply'
    if points.is_file():
        settings['points_file'] = points
    return ['--ros-args', *(part for name, value in settings.items()
                            for part in ('-p', f'{name}:={value}'))]


def _start(module: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, '-m', f'igs_ros.node.{module}', *arguments])


def _stop(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def _watch(executor, observer: Observer, node, player, demo: Demo, frames: int) -> bool:
    """Listen until the player has ended well; False when something died or time ran out."""
    deadline = time.monotonic() + demo.timeout
    with Progress(TextColumn('{task.description:>36}'), BarColumn(), TimeElapsedColumn(),
                  console=Console(stderr=True)) as progress:
        task = progress.add_task('starting', total=frames)
        while player.poll() is None:
            executor.spin_once(timeout_sec=0.1)
            _tell(progress, task, observer, frames)
            if node.poll() is not None or time.monotonic() > deadline:
                return False
        progress.update(task, description='done', completed=frames)
    end = time.monotonic() + SETTLE_S
    while time.monotonic() < end:
        executor.spin_once(timeout_sec=0.1)
    return player.returncode == 0


def _tell(progress: Progress, task, observer: Observer, frames: int) -> None:
    status = observer.status
    if status is None:
        return
    if status.state == SceneStatus.STREAMING:
        shown = min(status.frame_sets_processed, frames)
        progress.update(task, description=f'streaming, {status.gaussians} Gaussians',
                        completed=shown)
    else:
        progress.update(task, description=status.message[:36])
