# SPDX-License-Identifier: Apache-2.0
"""A recording through the pipeline, with scores: what `igs run` does.

The same pipeline object as in the node, so every number measured here is a number of the node.
"""
from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from igs_ros import __version__
from igs_ros.apps.evaluation.detail import detail_summary, frame_detail
from igs_ros.apps.evaluation.motion_error import MotionScorer
from igs_ros.apps.evaluation.sessions import (
    LiveSession,
    LockstepSession,
    Playlist,
    Shown,
    Skipped,
    Unscored,
)
from igs_ros.core.camera import Camera
from igs_ros.core.config import Config
from igs_ros.core.errors import OutputError
from igs_ros.core.files import checked_file
from igs_ros.core.frames import RawFrameSet
from igs_ros.core.machine import machine, peak_rss_mb
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import Snapshot
from igs_ros.core.timing import Spent, Timings, spans_to, spending
from igs_ros.core.trace import Trace
from igs_ros.io.codec.state import key_arrays, serialized_size, update_arrays
from igs_ros.io.recordings.bag_options import BagOptions
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import Recording, test_view, train_views
from igs_ros.io.run_files import RunFiles
from igs_ros.render.rasterizer import Rasterizer, render_view
from igs_ros.stages.bootstrap.first_scene import BootstrapReport
from igs_ros.stages.motion import choose as motion
from igs_ros.vision import metrics
from igs_ros.vision.preparer import Preparer

log = logging.getLogger(__name__)
WORLD_FRAME = 'map'  # only its length counts here: it is part of the serialized message


@dataclass(frozen=True)
class Request:
    """What to run."""

    data: Path
    out: Path | None  # None: nothing is written
    config: Config
    test_view: str | None = None
    train_views: tuple[str, ...] | None = None
    first: int = 0  # frame of the first scene
    last: int | None = None  # half-open
    live: bool = False
    profile: Path | None = None  # file for a trace of what every thread did when
    bag: BagOptions | None = None  # what a bag does not say itself


def run(request: Request) -> dict:
    """Run and write everything below `request.out`; returns results.json.

    Raises:
        InputError: recording and options do not fit together.
        OutputError: a file cannot be written: what can be told before the work, then; else when
            all others are written and the scores are logged.
    """
    recording = open_recording(request.data, request.bag)
    if request.profile:
        checked_file(request.profile)
    files = RunFiles(request.out, recording.rate_hz) if request.out else None
    trace = Trace() if request.profile else None
    try:
        try:
            results, scene = _results(request, recording, files, trace)
        except BaseException:
            if files:
                files.abandon()
            raise
        if files:
            _finish(files, results, scene)
    finally:
        if trace and request.profile:
            trace.write(request.profile)
    return results


def _finish(files: RunFiles, results: dict, scene: GaussianScene) -> None:
    title = (f"{results['scene']}, {results['motion']} motion, key interval "
             f"{results['config']['key_interval']}")
    try:
        files.finish(results, title, scene)
    except OutputError:
        log.warning('%s', summary_text(results))
        raise


def _results(request: Request, recording: Recording, files: RunFiles | None, trace: Trace | None,
             ) -> tuple[dict, GaussianScene]:
    """results.json, and the last scene."""
    started = time.perf_counter()
    test = test_view(recording, request.test_view)
    train = train_views(recording, test, request.train_views)
    watched = test or train[0]
    playlist = Playlist(recording, train, (watched,), request.first, request.last)
    session_type = LiveSession if request.live else LockstepSession
    timings = Timings()
    with session_type(playlist, request.config, trace) as session, _progress() as progress, \
            spans_to(timings, *([trace] if trace else ())):
        evaluator = Evaluator(recording.cameras[watched], test is not None, request.config.width,
                              session.rasterizer, files)
        moving = recording.poses(request.first) if recording.poses else {}
        still = {name: c for name, c in recording.cameras.items() if name not in moving}
        working = Preparer(still, request.config.width or None).cameras
        motion_scorer = MotionScorer(request.data, working, session.rasterizer)
        made, frame_set = session.begin(progress)
        motion_scorer.add(request.first, session.snapshot)
        bootstrap = evaluator.first(made, session.snapshot, frame_set)
        rows, skipped, unscored = [], [], []
        for frame in session.frames(progress):
            if isinstance(frame, Skipped):
                evaluator.skip(frame)
                skipped.append(frame.index)
            elif isinstance(frame, Unscored):
                unscored.append(frame.index)
            else:
                rows.append(evaluator.frame(frame))
                if not request.live:
                    motion_scorer.add(frame.index, frame.snapshot)
    results = {
        'scene': recording.name, 'version': __version__,
        'device': session.rasterizer.device.type, 'machine': machine(),
        'threads': request.config.threads, 'seed': request.config.seed, 'test_view': test,
        'train_views': list(train), 'motion': motion.resolved_name(
            request.config.motion, request.config.motion_model, session.rasterizer.device),
        'config': {**asdict(request.config), 'live': request.live},
        'bootstrap': bootstrap, 'frames': rows,
        'summary': metrics.summary(rows, evaluator.scorer, peak_rss_mb(),
                                   time.perf_counter() - started)}
    if not request.live:
        results['detail'] = _detail(rows, evaluator, motion_scorer, timings)
    if isinstance(session, LiveSession):
        results['live'] = {'skipped': skipped, 'unscored': unscored, **session.figures()}
    return results, session.snapshot.scene


def _detail(rows: list[dict], evaluator: Evaluator, motion_scorer: MotionScorer,
            timings: Timings) -> dict:
    """What a run in lockstep knows beyond the contract."""
    stages = {path: asdict(stage) for path, stage in timings.snapshot().items()}
    summary = detail_summary(rows, evaluator.details, evaluator.scorer, motion_scorer.summary())
    return {'summary': summary, 'frames': evaluator.details, 'stages': stages}


class Evaluator:
    """Renders the watched camera's view of each frame, scores it and hands it to the files.

    Args:
        camera: the watched one, raw and calibrated.
        scored: whether it is a test view (a train view is only rendered).
        width: of the working pictures, px, 0 = as recorded.
        rasterizer: draws the views.
        files: where pictures go, None = nowhere.
    """

    def __init__(self, camera: Camera, scored: bool, width: int, rasterizer: Rasterizer,
                 files: RunFiles | None):
        self._preparer = Preparer({camera.name: camera}, width or None)
        self._camera = self._preparer.cameras[camera.name]
        self._scored = scored
        self._rasterizer = rasterizer
        self._files = files
        self.scorer = metrics.Scorer()
        self.details: list[dict] = []  # of the frames so far, see igs_ros.apps.evaluation.detail

    def first(self, made: BootstrapReport, snapshot: Snapshot, frame_set: RawFrameSet) -> dict:
        """The `bootstrap` of results.json; this frame also starts the comparisons in time.

        Args:
            made: how the first scene was made.
            snapshot: the first scene.
            frame_set: what it was made of, with the picture of the watched camera.
        """
        score, _ = self._look('first scene', snapshot, frame_set)
        return {'method': made.method, 'seconds': made.seconds, 'cpu_s': made.cpu_s,
                'iterations': made.iterations, 'stopped_by': made.stopped_by,
                'gaussians': made.gaussians, 'psnr_train': made.psnr_train,
                'psnr_test': score.psnr}

    def frame(self, shown: Shown) -> dict:
        """One entry of `frames` in results.json."""
        snapshot, motion, refinement = shown.snapshot, shown.motion, shown.refinement
        score, render = self._look(f'frame {shown.index}', snapshot, shown.frame_set,
                                   shown.kind == 'key')
        self.details.append(frame_detail(shown.index, self._psnr_copy(shown), shown.refined))
        return {
            'index': shown.index, 'kind': shown.kind, 'psnr': score.psnr, 'ssim': score.ssim,
            'psnr_moving': score.psnr_moving, 'motion_s': motion.wall_s,
            'motion_cpu_s': motion.cpu_s, 'refine_s': refinement.wall_s,
            'refine_cpu_s': refinement.cpu_s, 'render_s': render.wall_s,
            'step_s': shown.step.wall_s, 'step_cpu_s': shown.step.cpu_s,
            'gaussians': len(snapshot.scene), 'moved': len(snapshot.moved_rows),
            'state_bytes': state_bytes(snapshot, shown.kind)}

    def skip(self, frame: Skipped) -> None:
        """Note a frame that was never shown: its picture still says what moves."""
        if self._scored:
            self.scorer.add(self._truth(frame.frame_set), None)

    def _psnr_copy(self, shown: Shown) -> float | None:
        """PSNR of the key as it is, not moved to a candidate."""
        truth = self._truth(shown.frame_set)
        if not self._scored or shown.kind == 'key' or truth is None:
            return None
        view = render_view(self._rasterizer, shown.snapshot.key, self._place(shown.frame_set))
        return metrics.psnr(truth, view.rgb)

    def _truth(self, frame_set: RawFrameSet) -> np.ndarray | None:
        return self._preparer.prepare(frame_set).images.get(self._camera.name)

    def _place(self, frame_set: RawFrameSet) -> Camera:
        """The watched camera, where it was."""
        pose = frame_set.poses.get(self._camera.name)
        return self._camera if pose is None else self._camera.placed(pose)

    def _look(self, label: str, snapshot: Snapshot, frame_set: RawFrameSet, is_key: bool = False,
              ) -> tuple[metrics.Score, Spent]:
        with spending() as spent:
            view = render_view(self._rasterizer, snapshot.scene, self._place(frame_set),
                               snapshot.stamp_ns)
        truth = self._truth(frame_set)
        score = metrics.Score()
        if self._scored:
            score = self.scorer.add(truth, view.rgb, is_key)
        if self._files:
            self._files.add(label, view, truth)
        return score, spent()


def state_bytes(snapshot: Snapshot, kind: str) -> int:
    """Size of the serialized message of a frame: GaussianCloud at keys, else GaussianUpdate."""
    if kind == 'key':
        return serialized_size(key_arrays(snapshot.key), WORLD_FRAME)
    return serialized_size(update_arrays(snapshot.key, snapshot.scene), WORLD_FRAME)


def _progress() -> Progress:
    return Progress(TextColumn('{task.description:>16}'), BarColumn(),
                    TextColumn('{task.percentage:>3.0f} %'), TimeElapsedColumn(),
                    console=Console(stderr=True))


def summary_text(results: dict) -> str:
    """The scores of `results` in two lines."""
    def decibels(value):
        return 'none' if value is None or not np.isfinite(value) else f'{value:.2f} dB'
    first, summary = results['bootstrap'], results['summary']
    text = (f"{results['scene']}: first scene {decibels(first['psnr_test'])} test, "
            f"{decibels(first['psnr_train'])} train, {first['gaussians']} Gaussians, "
            f"{first['cpu_s']:.0f} CPU s, stopped by {first['stopped_by']}")
    if results['frames']:
        text += (f"\n{summary['frames_scored']} frames scored: psnr {decibels(summary['psnr'])}, "
                 f"moving {decibels(summary['psnr_moving'])}, keys "
                 f"{decibels(summary['psnr_keys'])}, step {summary['step_s']['mean']:.2f} s")
    return text
