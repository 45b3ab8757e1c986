# SPDX-License-Identifier: Apache-2.0
"""Quality of the first scene against time: PSNR of unseen and seen views as the seconds go by.

Times are CPU seconds of this process, one thread, without the scoring itself, as on a machine
where `igs bench raster` gives 33 ms for 20k Gaussians at 320x240: that benchmark is taken again
at every point of the curve, so a machine that gets slower meanwhile (a shared one) is seen.
"""
from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from igs_ros.apps.bench.quality_table import REFERENCE_MS
from igs_ros.apps.bench.raster import reference_ms
from igs_ros.core.camera import Camera
from igs_ros.core.config import BootstrapConfig, Config
from igs_ros.core.frames import FrameSet
from igs_ros.core.machine import machine
from igs_ros.core.scene import GaussianScene
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import require_still, test_view, train_views
from igs_ros.render.choose import make_rasterizer
from igs_ros.render.rasterizer import Rasterizer, render_view
from igs_ros.stages.bootstrap.first_scene import first_scene
from igs_ros.vision.metrics import mean, psnr
from igs_ros.vision.preparer import Preparer


@dataclass(frozen=True)
class BootstrapPlan:
    """What is measured."""

    recordings: Sequence[Path]
    seeds: Sequence[int]
    seconds: Sequence[float]  # scaled CPU seconds at which the scene is scored, ascending
    config: Config
    frame: int = 0  # of the first scene


@dataclass(frozen=True, eq=False)
class _Views:
    """Pictures to score on."""

    cameras: Mapping[str, Camera]
    images: Mapping[str, np.ndarray]  # uint8 RGB [H, W, 3]
    test: str | None

    def psnr(self, rasterizer: Rasterizer, scene: GaussianScene) -> tuple[float | None, float]:
        """PSNR in dB of the test view (None without one), and the mean of the others."""
        scores = {}
        for name, image in self.images.items():
            drawn = render_view(rasterizer, scene, self.cameras[name]).rgb
            scores[name] = psnr(image, drawn)
        return scores.pop(self.test, None), float(np.mean(list(scores.values())))


@dataclass(eq=False)
class _Curve:
    """Scores a scene that is being fitted whenever a point of time has passed."""

    views: _Views
    rasterizer: Rasterizer
    waiting: list[float]  # scaled s
    points: list[dict] = field(default_factory=list)
    _paused: float = 0.0  # CPU s that do not count
    _measured: float = 0.0  # raw CPU s up to the last measurement of the machine's speed
    _scaled: float = 0.0  # the same, scaled
    _reference: float = field(default_factory=reference_ms)
    _since: float = field(default_factory=time.process_time)  # the last field: made last

    def clock(self) -> float:
        """Scaled CPU seconds so far."""
        return self._scaled + (self._raw() - self._measured) * REFERENCE_MS / self._reference

    def watch(self, iteration: int, scene) -> None:
        """To be called after every iteration; `scene()` is the scene as it stands."""
        mark = None
        while self.waiting and self.clock() >= self.waiting[0]:
            mark = self.waiting.pop(0)
        if mark is not None:
            self.score(iteration, scene(), mark)

    def score(self, iteration: int, scene: GaussianScene, mark: float | None = None) -> None:
        """Add a point to the curve; mark: the point of time that has passed."""
        raw, paused_at = self._raw(), time.process_time()
        now = reference_ms()
        speed = (now + self._reference) / 2  # of the time since the last point
        self._scaled += (raw - self._measured) * REFERENCE_MS / speed
        self._measured, self._reference = raw, now
        test, train = self.views.psnr(self.rasterizer, scene)
        self.points.append({
            'mark': mark, 'seconds': self._scaled, 'cpu_s': raw, 'raster_reference_ms': now,
            'iterations': iteration, 'gaussians': len(scene), 'psnr_test': test,
            'psnr_train': train, 'gap': None if test is None else train - test})
        self._paused += time.process_time() - paused_at

    def _raw(self) -> float:
        return time.process_time() - self._since - self._paused


def measure(plan: BootstrapPlan) -> dict:
    """One row per recording and seed, each with the points of its curve.

    `config.bootstrap.seconds`, if set, caps scaled CPU seconds here.

    Raises:
        InputError: a recording cannot be read.
    """
    torch.set_num_threads(1)
    rows = [_row(plan, recording, seed) for recording in plan.recordings for seed in plan.seeds]
    return {'machine': machine(), 'reference_ms': REFERENCE_MS, 'marks': list(plan.seconds),
            'rows': rows}


def _row(plan: BootstrapPlan, path: Path, seed: int) -> dict:
    recording = open_recording(path)
    require_still(recording, 'igs bench bootstrap')
    config = replace(plan.config, seed=seed, threads=1)
    test = test_view(recording)
    train = train_views(recording, test)
    preparer = Preparer(recording.cameras, config.width or None)
    names = [*train, test] if test else train
    frame_set = preparer.prepare(next(iter(
        recording.frame_sets(plan.frame, plan.frame + 1, names))))
    rasterizer = make_rasterizer(config.device, 1)
    points = recording.points() if plan.frame == 0 else None
    cameras = {name: preparer.cameras[name] for name in train}
    _rehearse(frame_set.only(train), cameras, rasterizer, config)
    curve = _Curve(_Views(preparer.cameras, frame_set.images, test), rasterizer,
                   sorted(plan.seconds))
    first = first_scene(config.bootstrap.method, frame_set.only(train), cameras, points,
                        rasterizer, config, watch=curve.watch, clock=curve.clock)
    curve.score(first.report.iterations, first.scene)
    return {'scene': recording.name, 'seed': seed, 'max_gaussians': config.max_gaussians,
            'method': first.report.method, 'iterations': first.report.iterations,
            'stopped_by': first.report.stopped_by, 'points': curve.points}


def _rehearse(frame_set: FrameSet, cameras, rasterizer: Rasterizer, config: Config) -> None:
    """A first scene of thumbnails: what numba compiles or loads must not count."""
    small = Preparer(cameras, 48)
    thumbnails = FrameSet(0, {name: cv2.resize(image, (small.cameras[name].width,
                                                       small.cameras[name].height))
                              for name, image in frame_set.images.items()})
    few = replace(config, max_gaussians=500, bootstrap=BootstrapConfig('images', iterations=2))
    first_scene('images', thumbnails, small.cameras, None, rasterizer, few)


def print_table(results: dict) -> None:
    """The curves, means over the seeds: one line per recording and point of time."""
    table = Table('scene', 'limit', 'seeds', 's', 'iterations', 'Gaussians', 'test dB',
                  'train dB', 'gap')
    rows = results['rows']
    for scene in dict.fromkeys(row['scene'] for row in rows):
        group = [row for row in rows if row['scene'] == scene]
        ends = [row['points'][-1] for row in group]
        lines = [(f'{mark:g}', [point for row in group for point in row['points']
                                if point['mark'] == mark]) for mark in results['marks']]
        for label, points in [*lines, (f"end, {mean(p['seconds'] for p in ends):.0f}", ends)]:
            if points:
                table.add_row(scene, str(group[0]['max_gaussians']), str(len(points)), label,
                              *(_mean_text(points, *column) for column in _COLUMNS))
    console = Console(width=110)
    console.print(table)
    speeds = [point['raster_reference_ms'] for row in rows for point in row['points']]
    console.print(f"{results['machine']}; one thread. s: CPU seconds without scoring, scaled to a "
                  f'machine where igs bench raster gives {REFERENCE_MS:.0f} ms at 20k 320x240; '
                  f'here it gave {min(speeds):.1f} to {max(speeds):.1f}. gap: train - test.',
                  highlight=False)


_COLUMNS = (('iterations', 0), ('gaussians', 0), ('psnr_test', 2), ('psnr_train', 2), ('gap', 2))


def _mean_text(points: Sequence[Mapping], name: str, digits: int) -> str:
    value = mean(point[name] for point in points)
    return '-' if value is None else f'{value:.{digits}f}'
