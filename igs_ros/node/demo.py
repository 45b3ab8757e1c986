# SPDX-License-Identifier: Apache-2.0
"""The demo: starts player and node as processes, watches their topics, joins and scores."""
from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from igs_ros.core.errors import InputError
from igs_ros.core.files import shipped, workbench
from igs_ros.io.codec.ply import read_points
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import test_view, train_views
from igs_ros.io.run_files import RunFiles
from igs_ros.msg import SceneStatus
from igs_ros.node.demo_report import DemoRun, report
from igs_ros.node.environment import own_wheels
from igs_ros.node.observer import Observer
from igs_ros.node.options import DemoOptions
from igs_ros.render.choose import make_rasterizer

log = logging.getLogger(__name__)
DOMAIN_VARIABLE = 'IGS_DEMO_DOMAIN'
MIN_SHARE_SCORED = 0.75
SETTLE_S = 1.5  # for views still on their way when the player has ended


def run(demo: DemoOptions) -> int:
    """Run the demo as `demo` says; the exit code.

    Raises:
        InputError: it cannot start.
    """
    recording = open_recording(demo.data or workbench())
    test = test_view(recording)
    if test is None:
        raise InputError(f'{recording.path}: no camera is held out; the demo needs one to compare '
                         f'with. Name it in rig.json as "held_out".')
    train = train_views(recording, test)
    points = recording.path / 'points3d.ply'
    if points.is_file():
        read_points(points)  # says now what is wrong with it; the node would go on without
    device = make_rasterizer(demo.config().device, demo.threads).device.type
    files = RunFiles(demo.out, recording.rate_hz)
    table = demo.out / 'stamps.json'
    table.unlink(missing_ok=True)
    own_middleware()
    started = time.monotonic()
    observer, problem = _played(demo, {
        'reconstruct': _node_arguments(demo, recording.path, train, test, device),
        'play': [str(recording.path), '--cameras', *train, '--table', str(table),
                 '--wait-for-keys', str(demo.key_interval)],
    }, recording.frames_total)
    problem = problem or _nothing_to_score(observer, table)
    if problem:
        log.error('the demo did not finish: %s', problem)
        return 1
    method = 'points' if points.is_file() else 'images'
    done = DemoRun(recording, test, train, method, device, table, observer,
                   time.monotonic() - started)
    share = report(done, demo, files)
    return 0 if share >= MIN_SHARE_SCORED else 1


def own_middleware() -> None:
    """Settings for this process and the two that it starts.

    The domain is the demo's own, whatever the shell exports: it must meet neither a robot in the
    same room nor a second demo. The other settings stand where they are made already.
    """
    # apart from the small ids that people use; above 101 ports would meet Linux's ephemeral ones
    os.environ['ROS_DOMAIN_ID'] = os.environ.get(DOMAIN_VARIABLE) or str(60 + os.getpid() % 40)
    # raw views in one piece; one name only, with both set Fast DDS refuses the file
    older = os.environ.get('ROS_DISTRO') == 'jazzy' and not own_wheels()
    profiles = 'FASTRTPS_DEFAULT_PROFILES_FILE' if older else 'FASTDDS_DEFAULT_PROFILES_FILE'
    for name, value in (('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST'),
                        (profiles, str(shipped('config/fastdds_shm_64mb.xml')))):
        os.environ.setdefault(name, value)


def _node_arguments(demo: DemoOptions, data: Path, train: tuple[str, ...], test: str, device: str,
                    ) -> list[str]:
    config = demo.config()
    settings = {
        'rig_file': data / 'rig.json', 'cameras': f'[{", ".join(train)}]', 'view_camera': test,
        'max_gaussians': config.max_gaussians, 'key_interval': config.key_interval,
        'bootstrap.iterations': config.bootstrap.iterations,
        'refine.iterations': config.refine.iterations, 'threads': config.threads,
        'seed': config.seed, 'device': device, 'budget.view_hz': 4.0}
    points = data / 'points3d.ply'
    if points.is_file():
        settings['points_file'] = points
    return ['--ros-args', *(part for name, value in settings.items()
                            for part in ('-p', f'{name}:={value}'))]


def _played(demo: DemoOptions, arguments: dict[str, list[str]], frames: int
            ) -> tuple[Observer, str]:
    """Run node and player until the player has ended; what was seen, and what went wrong.

    arguments: by module, `reconstruct` and `play`.
    """
    rclpy.init(args=[])
    observer = Observer()
    executor = SingleThreadedExecutor()
    executor.add_node(observer)
    processes = {}
    try:
        for module in arguments:
            processes[module] = subprocess.Popen(
                [sys.executable, '-m', f'igs_ros.node.{module}', *arguments[module]])
        return observer, _watch(executor, observer, processes, demo.timeout, frames)
    finally:
        for process in reversed(processes.values()):
            _stop(process)
        observer.destroy_node()
        rclpy.try_shutdown()


def _stop(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()  # unlike SIGINT, silent also while it is still importing
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _watch(executor, observer: Observer, processes: dict, timeout_s: float, frames: int) -> str:
    """Listen until the player has ended well: ''. Else who died, or that time ran out."""
    node, player = processes['reconstruct'], processes['play']
    deadline = time.monotonic() + timeout_s
    with Progress(TextColumn('{task.description:>46}'), BarColumn(20), TimeElapsedColumn(),
                  console=Console(stderr=True)) as progress:
        task = progress.add_task('starting the node and the player', total=None)
        while player.poll() is None:
            executor.spin_once(timeout_sec=0.1)
            _tell(progress, task, observer, frames)
            if node.poll() is not None:
                return f'the node ended with code {node.returncode} while the recording played; ' \
                       f'its lines above say why'
            if time.monotonic() > deadline:
                state = observer.status.message if observer.status else 'no status came'
                return f'not done after {timeout_s:.0f} s ({state}); see --timeout'
        if player.returncode != 0:
            return f'the player ended with code {player.returncode}; its lines above say why'
        progress.update(task, description='played', total=frames, completed=frames)
    end = time.monotonic() + SETTLE_S
    while time.monotonic() < end:
        executor.spin_once(timeout_sec=0.1)
    return ''


def _tell(progress: Progress, task, observer: Observer, frames: int) -> None:
    status = observer.status
    if status is None:
        return
    if not status.sequence:  # how far it is stands in the message; nothing is played yet
        progress.update(task, description=escape(status.message[:46]), total=None)
        return
    shown = min(status.frame_sets_processed, frames)
    streaming = f'streaming, {status.gaussians} Gaussians'
    progress.update(task, total=frames, completed=shown, description=streaming
                    if status.state == SceneStatus.STREAMING else escape(status.message[:46]))


def _nothing_to_score(observer: Observer, table: Path) -> str:
    """Why nothing can be scored although the player ended well, '' if something can."""
    domain = os.environ['ROS_DOMAIN_ID']
    if not table.is_file():
        return f'the player left no {table}'
    if not observer.processed:
        if observer.status is not None:
            return f'the node never said that it shows a scene ({observer.status.message})'
        return f'no message came on /igs/status in ROS domain {domain}; does the demo run twice ' \
               f'with one {DOMAIN_VARIABLE}, or is Fast DDS blocked?'
    if not any(seen.rgb is not None for seen in observer.views.values()):
        return f'no view came on /igs/view/image in ROS domain {domain}; the lines above may ' \
               f'say why'
    return ''
