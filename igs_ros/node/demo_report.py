# SPDX-License-Identifier: Apache-2.0
"""What the demo leaves: views joined with the unseen camera's pictures by stamp, and scored."""
from __future__ import annotations

import json
import resource
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from igs_ros import __version__
from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.machine import machine
from igs_ros.core.snapshot import View
from igs_ros.io.recordings.recording import Recording
from igs_ros.io.run_files import RunFiles
from igs_ros.node.observer import Observer, Processed
from igs_ros.node.options import DemoOptions
from igs_ros.vision import metrics
from igs_ros.vision.preparer import Preparer


@dataclass(frozen=True, eq=False)
class DemoRun:
    """What was played and what was seen."""

    recording: Recording
    test: str  # the unseen camera
    train: tuple[str, ...]
    method: str  # of the first scene: points or images
    device: str  # of the node: cpu or cuda
    table: Path  # stamp -> frame, by the player
    observer: Observer
    wall_s: float


def report(run: DemoRun, demo: DemoOptions, files: RunFiles) -> float:
    """Write the files, print the table; the share of the frames after the first that scored.

    Args:
        run: what came of the demo.
        demo: its options.
        files: takes what is written.

    Raises:
        OutputError: something cannot be written, after the table.
    """
    table = json.loads(run.table.read_text())['frames']
    stamps = {row['index']: row['stamp_ns'] for row in table if not row['repeated']}
    files.rate_hz = _rate_hz(stamps.values()) or run.recording.rate_hz
    joined = _joined(run, stamps, files)
    results = _results(run, demo, joined)
    _print(results)
    files.finish(results, f'{run.recording.name} over ROS 2, unseen camera {run.test}')
    Console().print(f'See {demo.out}/video.mp4, contact.png, quality.png, results.json')
    return len(joined.rows) / max(1, run.recording.frames_total - 1)


@dataclass(frozen=True, eq=False)
class _Watched:
    """A view that can be scored."""

    rgb: np.ndarray  # [H, W, 3] uint8
    depth: np.ndarray | None  # [H, W] float32 m, NaN = nothing; None: the topic skipped this one
    latency_s: float  # arrival - stamp
    known: Processed


@dataclass(eq=False)
class _Joined:
    """The frames that were played, with what came of them."""

    scorer: metrics.Scorer
    first: metrics.Score  # of the first scene
    rows: list[dict]  # `frames` of results.json
    arrivals: list[dict]  # of the same frames: index, stamp_ns, latency_s
    unscored: list[dict]  # index, cause


def _joined(run: DemoRun, stamps: dict[int, int], files: RunFiles) -> _Joined:
    joined = _Joined(metrics.Scorer(), metrics.Score(), [], [], [])
    preparer = Preparer({run.test: run.recording.cameras[run.test]})
    for index, truth in enumerate(_truths(run, preparer)):
        stamp_ns = stamps.get(index)
        seen = _view_of(run.observer, stamp_ns, truth)
        score = joined.scorer.add(truth, None if isinstance(seen, str) else seen.rgb)
        if isinstance(seen, str):
            joined.unscored.append({'index': index, 'cause': seen})
            continue
        files.add(f'frame {index}', _view(seen, preparer.cameras[run.test]), truth)
        if index == 0:
            joined.first = score
            continue
        joined.rows.append(_row(index, score, seen.known))
        joined.arrivals.append({'index': index, 'stamp_ns': stamp_ns,
                                'latency_s': seen.latency_s})
    return joined


def _truths(run: DemoRun, preparer: Preparer) -> Iterator[np.ndarray | None]:
    for frame_set in run.recording.frame_sets(cameras=(run.test,)):
        yield preparer.prepare(frame_set).images.get(run.test)


def _view_of(observer: Observer, stamp_ns: int | None, truth: np.ndarray | None,
             ) -> _Watched | str:
    """The first view with that stamp, or why there is none to score."""
    if stamp_ns is None:
        return 'not played'
    if truth is None:
        return 'the unseen camera has no picture of it'
    seen, known = observer.views.get(stamp_ns), observer.about(stamp_ns)
    if seen is None or seen.rgb is None or seen.latency_s is None:
        return 'processed, but a newer scene came before its view was published' \
            if stamp_ns in observer.processed \
            else 'not processed: superseded by a newer frame set, or incomplete'
    if known is None:
        return 'no status came about it'
    return _Watched(seen.rgb, seen.depth, seen.latency_s, known)


def _view(seen: _Watched, camera: Camera) -> View:
    depth = seen.depth
    if depth is None:
        depth = np.full(seen.rgb.shape[:2], np.nan, np.float32)
    return View(seen.rgb.astype(np.float32) / 255, depth, np.isfinite(depth).astype(np.float32),
                camera, 0, seen.latency_s)


def _row(index: int, score: metrics.Score, known: Processed) -> dict:
    """One of `frames`; null is what cannot be seen from outside the node."""
    return {'index': index, 'kind': known.kind, 'psnr': score.psnr, 'ssim': score.ssim,
            'psnr_moving': score.psnr_moving, 'motion_s': known.motion_s, 'motion_cpu_s': None,
            'refine_s': known.refine_s, 'refine_cpu_s': None, 'render_s': known.render_s,
            # refinement runs beside the steps and holds none of them up
            'step_s': known.motion_s, 'step_cpu_s': None, 'gaussians': known.gaussians,
            'moved': None, 'state_bytes': None,
            **{name: getattr(score, name) for name in metrics.FITTED}}


def _rate_hz(stamps_ns: Iterable[int]) -> float | None:
    """Events per second between the first and the last; None for less than two."""
    times = sorted(stamps_ns)
    if len(times) < 2 or times[-1] == times[0]:
        return None
    return (len(times) - 1) / ((times[-1] - times[0]) * 1e-9)


def _results(run: DemoRun, demo: DemoOptions, joined: _Joined) -> dict:
    """results.json, as every run has it (docs/metrics.md)."""
    observer, status, config = run.observer, run.observer.status, demo.config()
    if status is None:
        raise InputError('/igs/status: nothing came; expected what the node says of itself. Look '
                         'at its log.')
    times = dict(zip(status.stage_names, map(float, status.stage_mean_s), strict=True))
    # of the processes that have ended: node and player
    peak_rss_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {
        'scene': run.recording.name, 'version': __version__, 'device': run.device,
        'machine': machine(), 'threads': config.threads, 'seed': config.seed,
        'test_view': run.test, 'train_views': list(run.train),
        'config': {**asdict(config), 'live': True},
        'bootstrap': {
            'method': run.method, 'seconds': times['bootstrap'], 'cpu_s': None,
            'iterations': config.bootstrap.iterations,
            'stopped_by': 'iterations',  # the demo sets no cap of seconds
            'gaussians': min(observer.processed.items())[1].gaussians,
            'psnr_train': None, 'psnr_test': joined.first.psnr, 'index': 0,
            'psnr_test_fitted': joined.first.psnr_fitted},
        'frames': joined.rows,
        'summary': metrics.summary(joined.rows, joined.scorer, peak_rss_mb, run.wall_s),
        'live': {
            'frames_total': run.recording.frames_total - 1, 'unscored': joined.unscored,
            'latency_s': metrics.times_summary([a['latency_s'] for a in joined.arrivals]),
            'arrivals': joined.arrivals,
            'scene_updates_per_s': _rate_hz(a['stamp_ns'] for a in joined.arrivals),
            'stages_mean_s': times,
            'stages_p95_s': dict(zip(status.stage_names, map(float, status.stage_p95_s),
                                     strict=True)),
            'keys_refined': status.keys_refined,
            'drops': dict(zip(status.drop_causes, map(int, status.drop_counts), strict=True))}}


def _print(results: dict) -> None:
    summary, live = results['summary'], results['live']
    latency = live['latency_s']
    table = Table(title=escape(f"{results['scene']}: camera {results['test_view']}, which the "
                               f'reconstruction never saw'), show_header=False)

    def value(number: float | None, unit: str, digits: int = 2) -> str:
        return 'none' if number is None or not np.isfinite(number) \
            else f'{number:.{digits}f} {unit}'
    table.add_row('PSNR, mean over frames', value(summary['psnr'], 'dB'))
    table.add_row('PSNR, moving pixels', value(summary['psnr_moving'], 'dB'))
    table.add_row('PSNR, first scene', value(results['bootstrap']['psnr_test'], 'dB'))
    table.add_row('scene updates', value(live['scene_updates_per_s'], 'per s'))
    table.add_row('latency stamp to view, p50 / p95',
                  f"{value(latency['p50'], 's')} / {value(latency['p95'], 's')}")
    table.add_row('frames scored', f"{summary['frames_scored']} of {live['frames_total']}")
    table.add_row('drops by cause', escape(', '.join(
        f'{cause} {count}' for cause, count in live['drops'].items())) or 'none')
    table.add_row('wall time', value(summary['wall_s'], 's', 0))
    console = Console()
    console.print(table)
    for cause, count in Counter(row['cause'] for row in live['unscored']).items():
        which = [row['index'] for row in live['unscored'] if row['cause'] == cause]
        console.print(f'not scored: {count} frames {which}: {cause}')
