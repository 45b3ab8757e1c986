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
from igs_ros.apps.evaluation.detail import detail_summary
from igs_ros.apps.evaluation.evaluator import Evaluator
from igs_ros.apps.evaluation.motion_error import MotionScorer
from igs_ros.apps.evaluation.sessions import (
    LiveSession,
    LockstepSession,
    Playlist,
    Skipped,
    Unscored,
)
from igs_ros.core.config import Config
from igs_ros.core.errors import OutputError
from igs_ros.core.files import checked_file
from igs_ros.core.frames import RawFrameSet
from igs_ros.core.machine import machine, peak_rss_mb
from igs_ros.core.scene import GaussianScene
from igs_ros.core.timing import Timings, spans_to
from igs_ros.core.trace import Trace
from igs_ros.io.recordings.bag_options import BagOptions
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import Recording, test_views, train_views
from igs_ros.io.rig_recording import calibrated_recording
from igs_ros.io.run_files import RunFiles
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.stages.bootstrap.first_scene import BootstrapReport
from igs_ros.stages.bootstrap.left_out import LeftOut, left_out_score
from igs_ros.stages.knowledge import doubt
from igs_ros.stages.motion import choose as motion
from igs_ros.vision import metrics
from igs_ros.vision.preparer import Preparer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What to run."""

    data: Path
    out: Path | None  # None: nothing is written
    config: Config
    test_view: str | tuple[str, ...] | None = None  # one or several; None: all held out
    train_views: tuple[str, ...] | None = None
    first: int = 0  # frame of the first scene
    last: int | None = None  # half-open
    live: bool = False
    profile: Path | None = None  # file for a trace of what every thread did when
    bag: BagOptions | None = None  # what a bag does not say itself
    confidence: bool = False  # pictures of it beside the renders
    left_out: bool = False  # score a short first scene without one of the cameras, too
    calibrate: bool = False  # the cameras, by what they see, first


def run(request: Request) -> dict:
    """Run and write everything below `request.out`; returns results.json.

    Raises:
        InputError: recording and options do not fit together.
        OutputError: a file cannot be written: what can be told before the work, then; else when
            all others are written and the scores are logged.
    """
    recording = open_recording(request.data, request.bag)
    if request.calibrate:
        recording = calibrated_recording(recording)
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
    tests = test_views(recording, request.test_view, request.train_views)
    train = train_views(recording, tests, request.train_views)
    watched = tests or train[:1]
    playlist = Playlist(recording, train, watched, request.first, request.last)
    session_type = LiveSession if request.live else LockstepSession
    timings = Timings()
    with session_type(playlist, request.config, trace) as session, _progress() as progress, \
            spans_to(timings, *([trace] if trace else ())):
        preparer = Preparer(recording.cameras, request.config.width or None)
        evaluator = Evaluator(preparer, watched, bool(tests), session.rasterizer, files,
                              request.confidence)
        moving = recording.poses(request.first) if recording.poses else {}
        working = {name: c for name, c in preparer.cameras.items() if name not in moving}
        motion_scorer = MotionScorer(request.data, working, session.rasterizer)
        made, frame_set = session.begin(progress)
        motion_scorer.add(request.first, session.snapshot)
        bootstrap = {**evaluator.first(made, session.snapshot, frame_set),
                     'index': request.first}
        left_out = _left_out(request, playlist, preparer, frame_set, session.rasterizer)
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
        'threads': request.config.threads, 'seed': request.config.seed,
        'test_view': tests[0] if tests else None, 'test_views': list(tests),
        'train_views': list(train), 'motion': motion.resolved_name(
            request.config.motion, request.config.motion_model, session.rasterizer.device),
        'config': {**asdict(request.config), 'live': request.live},
        'bootstrap': bootstrap, 'frames': rows,
        'summary': metrics.summary(rows, evaluator.scorers, peak_rss_mb(),
                                   time.perf_counter() - started),
        'confidence': _confidence(made, session.confirmed_share, left_out)}
    if not request.live:
        results['detail'] = _detail(rows, evaluator, motion_scorer, timings)
    if isinstance(session, LiveSession):
        results['live'] = {'skipped': skipped, 'unscored': unscored, **session.figures()}
    return results, session.snapshot.scene


def _left_out(request: Request, playlist: Playlist, preparer: Preparer, frame_set: RawFrameSet,
              rasterizer: Rasterizer) -> LeftOut | None:
    if not request.left_out:
        return None
    shown = preparer.prepare(frame_set.only(playlist.train))
    cameras = shown.in_place({name: preparer.cameras[name] for name in playlist.train})
    return left_out_score(shown, cameras, playlist.points(request.config), rasterizer,
                          request.config)


def _confidence(made: BootstrapReport, last: float, left_out: LeftOut | None) -> dict:
    """The `confidence` of results.json (docs/confidence.md)."""
    share = float(np.mean(list(made.confirmed.values()))) if made.confirmed else None
    return {'confirmed': share, 'confirmed_last': last, 'cameras': dict(made.confirmed),
            'warning': doubt(share) or None if share is not None else None,
            'left_out': None if left_out is None else asdict(left_out)}


def _detail(rows: list[dict], evaluator: Evaluator, motion_scorer: MotionScorer,
            timings: Timings) -> dict:
    """What a run in lockstep knows beyond the contract."""
    stages = {path: asdict(stage) for path, stage in timings.snapshot().items()}
    summary = detail_summary(rows, evaluator.details, evaluator.scorers, motion_scorer.summary())
    return {'summary': summary, 'frames': evaluator.details, 'stages': stages}


def _progress() -> Progress:
    return Progress(TextColumn('{task.description:>16}'), BarColumn(),
                    TextColumn('{task.percentage:>3.0f} %'), TimeElapsedColumn(),
                    console=Console(stderr=True))


def summary_text(results: dict) -> str:
    """The scores of `results`, and how far they can be believed, in two to four lines."""
    def decibels(value):
        return 'none' if value is None or not np.isfinite(value) else f'{value:.2f} dB'
    first, summary = results['bootstrap'], results['summary']
    text = (f"{results['scene']}: first scene {decibels(first['psnr_test'])} test "
            f"({decibels(first['psnr_test_fitted'])} fitted), {decibels(first['psnr_train'])} "
            f"train, {first['gaussians']} Gaussians, {first['cpu_s']:.0f} CPU s, stopped by "
            f"{first['stopped_by']}")
    known = results['confidence']
    if known['confirmed'] is not None:
        text += f"\n{known['confirmed']:.0%} of the pictures confirmed by a second camera"
        if (out := known['left_out']) is not None:
            text += (f"; {out['camera']}, left out of a short first scene: "
                     f"{decibels(out['psnr'])} ({decibels(out['psnr_fitted'])} fitted)")
    if known['warning']:
        text += f"\nwarning: {known['warning']}"
    if results['frames']:
        text += (f"\n{summary['frames_scored']} frames scored: psnr {decibels(summary['psnr'])} "
                 f"({decibels(summary['psnr_fitted'])} fitted), moving "
                 f"{decibels(summary['psnr_moving'])}, keys "
                 f"{decibels(summary['psnr_keys'])}, step {summary['step_s']['mean']:.2f} s")
    return text
