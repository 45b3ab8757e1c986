# SPDX-License-Identifier: Apache-2.0
"""What the demo leaves: views joined with the unseen camera's pictures by stamp, and scored."""
from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from igs_ros import __version__, metrics
from igs_ros.cli.demo import Demo
from igs_ros.data import Recording
from igs_ros.frames import Preparer
from igs_ros.machine import machine
from igs_ros.node.observer import Observer, Seen
from igs_ros.run_files import RunFiles
from igs_ros.view import View


@dataclass(frozen=True, eq=False)
class DemoRun:
    """What was played and what was seen."""

    recording: Recording
    test: str  # the unseen camera
    train: tuple[str, ...]
    table: Path  # stamp -> frame, by the player
    observer: Observer
    wall_s: float


def report(run: DemoRun, demo: Demo) -> float:
    """Write the files, print the table; the share of the frames after the first that scored."""
    table = json.loads(run.table.read_text())['frames']
    stamps = {row['index']: row['stamp_ns'] for row in table if not row['repeated']}
    files = RunFiles(demo.out, _play_rate(stamps))
    rows, unscored, scorer, first = [], [], metrics.Scorer(), None
    preparer = Preparer({run.test: run.recording.cameras[run.test]})
    for index, truth in enumerate(_truths(run, preparer)):
        seen, cause = _view_of(run.observer, stamps.get(index))
        score = scorer.add(truth, None if seen is None else seen.rgb)
        if seen is None:
            unscored.append({'index': index, 'cause': cause})
            continue
        files.add(f'frame {index}', _view(seen, preparer.cameras[run.test]), truth)
        if index == 0:
            first = score
        else:
            rows.append(_row(index, score, seen, run.observer, stamps[index]))
    results = _results(run, demo, first, rows, unscored, scorer, stamps)
    files.pictures(rows, f'{run.recording.name} over ROS 2, unseen camera {run.test}')
    (demo.out / 'results.json').write_text(json.dumps(results, indent=1) + '\n')
    _print(results, demo.out)
    return len(rows) / max(1, run.recording.frames_total - 1)


def _truths(run: DemoRun, preparer: Preparer):
    for frame_set in run.recording.frame_sets(cameras=(run.test,)):
        yield preparer.prepare(frame_set).images.get(run.test)


def _view_of(observer: Observer, stamp_ns: int | None) -> tuple[Seen | None, str]:
    """The first view with that stamp, or why there is none."""
    if stamp_ns is None:
        return None, 'not played'
    seen = observer.views.get(stamp_ns)
    if seen is not None and seen.rgb is not None:
        return seen, ''
    return None, ('processed, but a newer scene came before its view was published'
                  if stamp_ns in observer.processed
                  else 'not processed: superseded by a newer frame set, or incomplete')


def _view(seen: Seen, camera) -> View:
    depth = seen.depth
    if depth is None:  # the depth topic skipped this one
        depth = np.full(seen.rgb.shape[:2], np.nan, np.float32)
    return View(seen.rgb.astype(np.float32) / 255, depth, np.isfinite(depth).astype(np.float32),
                camera, 0, seen.latency_s)


def _row(index: int, score: metrics.Score, seen: Seen, observer: Observer, stamp_ns: int) -> dict:
    processed = observer.processed.get(stamp_ns)
    return {'index': index, 'kind': processed.kind if processed else 'candidate',
            'psnr': score.psnr, 'ssim': score.ssim, 'psnr_moving': score.psnr_moving,
            'latency_s': seen.latency_s,
            'step_s': processed.motion_s if processed else None,
            'gaussians': processed.gaussians if processed else None}


def _play_rate(stamps: dict[int, int]) -> float:
    """Frames per second that were played, for a video at the speed at which it happened."""
    times = sorted(stamps.values())
    seconds = (times[-1] - times[0]) * 1e-9 if len(times) > 1 else 1.0
    return max(0.5, (len(times) - 1) / max(seconds, 1e-3))


def _results(run, demo, first, rows, unscored, scorer, stamps) -> dict:
    status = run.observer.status
    latencies = [row['latency_s'] for row in rows]
    flicker, flicker_truth = scorer.flicker()
    times = dict(zip(status.stage_names, map(float, status.stage_mean_s), strict=True))

    def mean(name):
        known = [row[name] for row in rows if row[name] is not None]
        return float(np.mean(known)) if known else None
    return {
        'scene': run.recording.name, 'version': __version__, 'machine': machine(),
        'threads': demo.threads, 'seed': demo.seed, 'test_view': run.test,
        'train_views': list(run.train),
        'config': {'max_gaussians': demo.max_gaussians, 'key_interval': demo.key_interval,
                   'bootstrap_iterations': demo.bootstrap_iterations,
                   'refine_iterations': demo.refine_iterations},
        'bootstrap': {'seconds': times.get('bootstrap'),
                      'psnr_test': first.psnr if first else None},
        'frames': rows, 'unscored': unscored,
        'summary': {
            'frames_scored': len(rows), 'frames_total': run.recording.frames_total - 1,
            **{name: mean(name) for name in metrics.SCORES},
            'flicker': flicker, 'flicker_truth': flicker_truth,
            'scene_updates_per_s': _play_rate({r['index']: stamps[r['index']] for r in rows}),
            'latency_s': metrics.times_summary(latencies), 'stages_mean_s': times,
            'keys_refined': status.keys_refined, 'gaussians': status.gaussians,
            'drops': dict(zip(status.drop_causes, map(int, status.drop_counts), strict=True)),
            'wall_s': run.wall_s}}


def _print(results: dict, out: Path) -> None:
    summary, latency = results['summary'], results['summary']['latency_s']
    table = Table(title=f"{results['scene']}: camera {results['test_view']}, which the "
                        f'reconstruction never saw', show_header=False)

    def value(number, unit, digits=2):
        return 'none' if number is None else f'{number:.{digits}f} {unit}'
    table.add_row('PSNR, mean over frames', value(summary['psnr'], 'dB'))
    table.add_row('PSNR, moving pixels', value(summary['psnr_moving'], 'dB'))
    table.add_row('PSNR, first scene', value(results['bootstrap']['psnr_test'], 'dB'))
    table.add_row('scene updates', value(summary['scene_updates_per_s'], 'per s'))
    table.add_row('latency stamp to view, p50 / p95',
                  f"{value(latency['p50'], 's')} / {value(latency['p95'], 's')}")
    table.add_row('frames scored', f"{summary['frames_scored']} of {summary['frames_total']}")
    table.add_row('drops by cause', ', '.join(f'{cause} {count}' for cause, count
                                              in summary['drops'].items()) or 'none')
    table.add_row('wall time', value(summary['wall_s'], 's', 0))
    console = Console()
    console.print(table)
    for cause, count in Counter(row['cause'] for row in results['unscored']).items():
        which = [row['index'] for row in results['unscored'] if row['cause'] == cause]
        console.print(f'not scored: {count} frames {which}: {cause}')
    console.print(f'See {out}/video.mp4, contact.png, quality.png, results.json')
