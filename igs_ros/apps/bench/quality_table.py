# SPDX-License-Identifier: Apache-2.0
"""The table of `igs bench quality`: one line per recording and arm, means over the seeds."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from igs_ros.vision.metrics import mean

REFERENCE_MS = 33.0  # CPU-ms of `igs bench raster` on the machine that targets are stated for
_Row = Mapping[str, Any]  # of results.json
COLUMNS: Mapping[str, tuple[int, Callable[[_Row], float | None]]] = {
    'iter.': (0, lambda row: row['iterations']),
    'first': (2, lambda row: row['bootstrap']['psnr_test']),
    'psnr': (2, lambda row: row['summary']['psnr']),
    'ssim': (3, lambda row: row['summary']['ssim']),
    'moving': (2, lambda row: row['summary']['psnr_moving']),
    'keys': (2, lambda row: row['summary']['psnr_keys']),
    'least': (2, lambda row: row['detail']['summary']['psnr_least']),
    'dB/frame': (3, lambda row: row['detail']['summary']['psnr_per_frame']),
    'gain': (2, lambda row: row['detail']['summary']['psnr_gain_over_copy']),
    'flicker': (2, lambda row: row['summary']['flicker']),
    'at keys': (2, lambda row: row['detail']['summary']['flicker_at_keys']),
    'truth': (2, lambda row: row['summary']['flicker_truth']),
    'mm': (1, lambda row: _millimeters(row, 'median')),
    'mm p90': (1, lambda row: _millimeters(row, 'p90')),
    's/frame': (2, lambda row: row['summary']['step_cpu_s_mean']),
    'motion': (2, lambda row: row['detail']['summary']['motion_cpu_s_mean']),
    's/key': (2, lambda row: _key_time(row)),
    'stereo': (2, lambda row: row['detail']['summary']['key_cpu_s'].get('stereo')),
    'time': (2, lambda row: row['time_share']),
    'most': (0, lambda row: row['detail']['summary']['gaussians_most']),
}
"""Digits and value of every column."""


def _key_time(row: _Row) -> float | None:
    parts = row['detail']['summary']['key_cpu_s'].values()
    return sum(parts) if parts else None


def _millimeters(row: _Row, which: str) -> float | None:
    meters = row['detail']['summary'][f'motion_error_{which}_m']
    return None if meters is None else 1000 * meters


def means(results: dict) -> list[dict]:
    """Means over the seeds: one entry per recording and arm, by column."""
    rows = results['rows']
    found = []
    for scene, arm in dict.fromkeys((row['scene'], row['arm']) for row in rows):
        group = [row for row in rows if (row['scene'], row['arm']) == (scene, arm)]
        found.append({'scene': scene, 'arm': arm, 'seeds': len(group)} | {
            name: mean(value(row) for row in group) for name, (_, value) in COLUMNS.items()})
    return found


def print_means(results: dict) -> None:
    """The table, and what its columns and arms mean."""
    table = Table('scene', 'arm', 'seeds', *COLUMNS, padding=(0, 0))
    for entry in means(results):
        table.add_row(entry['scene'], entry['arm'], str(entry['seeds']), *(
            _text(entry[name], digits) for name, (digits, _) in COLUMNS.items()))
    console = Console(width=190)
    console.print(table)
    console.print(LEGEND)
    for name, meaning in results['arms'].items():
        console.print(f'  {name}: {meaning}', highlight=False)
    speed = results['raster_reference_ms']
    console.print(f"{results['machine']}; igs bench raster's 20k 320x240 took "
                  f'{speed[0]:.1f} CPU-ms before and {speed[1]:.1f} after: times are those of '
                  f'this machine; for one of {REFERENCE_MS:.0f} ms multiply by '
                  f'{REFERENCE_MS / fmean(speed):.2f}.', highlight=False)


def _text(value: float | None, digits: int) -> str:
    return '-' if value is None else f'{value:.{digits}f}'


LEGEND = ("first: the first scene's test view; keys: at key frames; least: worst frame; gain: of "
          'frames between keys over a copy of the key; at keys: flicker of steps to key frames; '
          'mm, mm p90: median and 90th percentile of the error of 3-D motion; '
          's/..: CPU seconds; stereo: of s/key; time: CPU time per frame over that of the arm it '
          'is compared with; most: Gaussians')
