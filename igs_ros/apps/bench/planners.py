# SPDX-License-Identifier: Apache-2.0
"""What planners get of a recording, against its true depths and motion, frame by frame.

The recording is reconstructed in lockstep, one update per frame, and after each update all that
the node would publish for planners is made.
"""
from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from igs_ros.apps.evaluation.planner_truth import (
    TrueFrame,
    events,
    space_error,
    updates_until,
)
from igs_ros.apps.evaluation.velocity_error import Matched, matched
from igs_ros.core.config import Config
from igs_ros.core.errors import InputError
from igs_ros.core.machine import machine
from igs_ros.core.scene import GaussianScene
from igs_ros.io.recordings.depth_truth import DepthTruth, depth_files, read_depth
from igs_ros.io.recordings.motion_truth import motion_files, read_motion
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import train_views
from igs_ros.live.planning import Planning, PlanningConfig
from igs_ros.pipeline import Pipeline
from igs_ros.render.choose import make_rasterizer
from igs_ros.render.rasterizer import render_view
from igs_ros.stages.bootstrap.first_scene import takes_points
from igs_ros.vision.changes import difference
from igs_ros.vision.occupancy import OCCUPIED, Box

MIN_OPACITY = 0.3  # as points_min_opacity of the node


@dataclass(frozen=True)
class PlannerPlan:
    """What to run."""

    recording: Path
    config: Config
    planning: PlanningConfig = PlanningConfig()
    update_hz: float = 10.0  # what updates are counted in


@dataclass(frozen=True, eq=False)
class _Update:
    """What one update gave."""

    states: np.ndarray
    seconds: float  # CPU, of all that planners get


class _Bench:
    def __init__(self, plan: PlannerPlan):
        self.plan = plan
        self.recording = open_recording(plan.recording)
        held_out = next(iter(self.recording.held_out), None)
        self.names = train_views(self.recording, held_out)
        self.pipeline = Pipeline(plan.config, {n: self.recording.cameras[n] for n in self.names})
        self.rasterizer = make_rasterizer(plan.config.device, plan.config.threads)
        self.planning = Planning(plan.planning, self.pipeline.stages.cameras, self.rasterizer,
                                 MIN_OPACITY, plan.config.threads)
        truths = {frame: [read_depth(path) for path in paths]
                  for frame, paths in depth_files(plan.recording).items()}
        if not truths:
            raise InputError(f'{plan.recording}: no gt/depth_CAMERA_FRAME.npz; expected a '
                             f'recording with true depths.')
        self.truths = {frame: {one.camera: self._fitting(one) for one in found}
                       for frame, found in truths.items()}
        self.true = {frame: TrueFrame(found, {n: self.recording.cameras[n] for n in found})
                     for frame, found in self.truths.items()}
        self.motion = motion_files(plan.recording)
        self.moving: list[Matched] = []
        self.all: list[Matched] = []
        self.positions: list[np.ndarray] = []
        self.space: list[dict] = []
        self.box: Box | None = None

    def _fitting(self, truth: DepthTruth) -> DepthTruth:
        camera = self.recording.cameras.get(truth.camera)
        if camera is None or (camera.height, camera.width) != truth.depth.shape:
            raise InputError(f'{self.plan.recording}: true depth of {truth.camera} is '
                             f'{truth.depth.shape}; expected a camera of the rig, of its size.')
        return truth

    def updates(self) -> Iterator[_Update]:
        """One per frame; errors are noted on the way."""
        points = self.recording.points() if takes_points(
            self.plan.config.bootstrap.method) else None
        sets = self.recording.frame_sets(cameras=self.names)
        before: GaussianScene | None = None
        for index, step in enumerate(self.pipeline.run(sets, points)):
            timeline = self.pipeline.timeline
            begun = time.process_time()
            scene = self.planning.look(step.snapshot, timeline.newest, timeline.step_s)
            states, columns = scene.states, scene.grid()
            decimated, moving = scene.points(scene.box.size), scene.moving()
            scene.occupied()
            seconds = time.process_time() - begun
            self.box = scene.box
            if index in self.true:
                self.positions.append(self.true[index].distances(decimated.positions))
                self.space.append(asdict(space_error(
                    states, columns, self.true[index].free(scene.box),
                    self.true[index].occupied(scene.box))))
            if before is not None and step.snapshot.scene.velocities is not None:
                for path in self.motion.get(index - 1, ()):
                    truth = read_motion(path)
                    camera = self.recording.cameras[truth.camera]
                    surface = render_view(self.rasterizer, before, camera).depth
                    for found, kept in ((moving, self.moving), (decimated, self.all)):
                        kept.append(matched(found, truth, camera, surface, timeline.step_s))
            before = step.snapshot.scene
            yield _Update(states, seconds)

    def changes(self) -> dict[int, np.ndarray]:
        """By frame: how much the pixels of each thing [256] differ from the frame before."""
        cameras = next(iter(self.truths.values()))
        seen: dict[int, np.ndarray] = {}
        last: Mapping[str, np.ndarray] = {}
        for index, raw in enumerate(self.recording.frame_sets(cameras=tuple(cameras))):
            images = {name: picture.decode() for name, picture in raw.pictures.items()}
            seen[index] = np.zeros(256)
            for name in last:
                apart = difference(images[name], last[name])
                for truths in self.truths.values():
                    thing = truths[name].thing.reshape(-1)
                    sums = np.bincount(thing, apart.reshape(-1), 256)
                    seen[index] += sums / np.maximum(np.bincount(thing, minlength=256), 1)
            last = images
        return seen


def run(plan: PlannerPlan) -> dict:
    """All figures.

    Raises:
        InputError: a recording without true depths, or with some that do not fit its cameras.
    """
    bench = _Bench(plan)
    updates = list(bench.updates())
    assert bench.box is not None
    return {'machine': machine(), 'recording': str(plan.recording), 'frames': len(updates),
            'cameras': len(bench.names), 'key_interval': plan.config.key_interval,
            'voxel_m': plan.planning.voxel_m,
            'heights_m': [plan.planning.min_height, plan.planning.max_height],
            'voxels': list(bench.box.shape), 'update_hz': plan.update_hz,
            'cpu_s': float(np.median([one.seconds for one in updates])),
            'position_m': _quantiles(np.concatenate(bench.positions)),
            'space': {name: _mean([one[name] for one in bench.space])
                      for name in bench.space[0]},
            'velocity': _velocity(bench.moving, bench.all, plan.planning.min_speed),
            'events': list(_events(bench, updates))}


def _events(bench: _Bench, updates: list[_Update]) -> Iterator[dict]:
    assert bench.box is not None
    for event in events(bench.true, bench.box, bench.changes()):
        shares = {frame: float((one.states[event.voxels] == OCCUPIED).mean())
                  for frame, one in enumerate(updates)}
        count = updates_until(event, shares)
        yield {'thing': event.thing, 'came': event.came, 'frame': event.frame,
               'voxels': int(event.voxels.sum()), 'updates': count,
               'seconds': None if count is None else count / bench.plan.update_hz,
               'occupied': [round(share, 3) for share in shares.values()]}


def _velocity(moving: list[Matched], every: list[Matched], min_speed: float) -> dict:
    """Errors of ~/moving_points where something moves, and of all points where nothing does."""
    if not moving:
        return {}
    errors = np.concatenate([np.linalg.norm(one.errors[one.moving], axis=1) for one in moving])
    whitened = np.concatenate([np.zeros((0, 3)) if one.whitened is None
                               else one.whitened[one.moving] for one in moving])
    still = np.concatenate([np.linalg.norm(one.errors[~one.moving], axis=1) for one in every])
    return {'moving_m_s': _quantiles(errors), 'still_m_s': _quantiles(still),
            'still_called_moving': float((still > min_speed).mean()),
            'within_1_sigma': float((np.abs(whitened) < 1).mean()),
            'within_2_sigma': float((np.abs(whitened) < 2).mean())}


def _mean(values: list[float]) -> float | None:
    """Of those that are known; None where none is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else None


def _quantiles(values: np.ndarray) -> dict:
    if not len(values):
        return {'count': 0, 'median': None, 'p95': None}
    median, p95 = np.percentile(values, (50, 95))
    return {'count': len(values), 'median': float(median), 'p95': float(p95)}


def print_table(results: dict) -> None:
    """The figures of `run` as a readable table."""
    table = Table('what', 'median', 'p95', title=(
        f'{results["recording"]}: {results["cameras"]} cameras, key every '
        f'{results["key_interval"]}, voxels of {results["voxel_m"]:g} m'))
    velocity = results['velocity']
    for name, found in (('position, m', results['position_m']),
                        ('velocity where it moves, m/s', velocity.get('moving_m_s')),
                        ('velocity where it stands, m/s', velocity.get('still_m_s'))):
        if found and found['count']:
            table.add_row(name, f'{found["median"]:.3f}', f'{found["p95"]:.3f}')
    for name in ('still_called_moving', 'within_1_sigma', 'within_2_sigma'):
        if name in velocity:
            table.add_row(name, f'{100 * velocity[name]:.1f} %')
    for name, share in results['space'].items():
        table.add_row(name, '-' if share is None else f'{100 * share:.1f} %')
    for event in results['events']:
        seconds = '-' if event['seconds'] is None else f'{event["seconds"]:.1f} s'
        table.add_row(f'thing {event["thing"]} {"came" if event["came"] else "went"} in frame '
                      f'{event["frame"]}: {"there" if event["came"] else "gone"} after', seconds)
    table.add_row('CPU per update, s', f'{results["cpu_s"]:.3f}')
    Console().print(table)
