# SPDX-License-Identifier: Apache-2.0
"""The figures of `igs bench live`: rows over time, trends, the table, and the file of rows."""
from __future__ import annotations

import json
import logging
import math
import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from igs_ros.core.errors import InputError, OutputError
from igs_ros.core.files import writing
from igs_ros.core.machine import heap_mb
from igs_ros.core.status import Status

log = logging.getLogger(__name__)
SETTLING = 1 / 3  # share of the run, at its beginning, that the trends leave out
TRENDS = ('rss_mb', 'heap_mb', 'age_p50_s', 'age_p95_s', 'updates_hz', 'psnr')


class Window:
    """Durations since the last sample; safe to use from several threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._ages: list[float] = []
        self._views: list[float] = []

    def age(self, seconds: float) -> None:
        """A scene was so old when it was shown."""
        with self._lock:
            self._ages.append(seconds)

    def view(self, seconds: float) -> None:
        """A view took so long."""
        with self._lock:
            self._views.append(seconds)

    def taken(self) -> tuple[list[float], list[float]]:
        """Ages and views since this was last asked."""
        with self._lock:
            taken = self._ages, self._views
            self._ages, self._views = [], []
        return taken


def line(row: dict) -> str:
    """A row in one line, for people."""
    text = (f"{row['at_s']:4.0f} s: {row['updates_hz']:.1f} updates/s, age p95 "
            f"{_ms(row['age_p95_s'])} ms, {row['rss_mb']:.0f} MB")
    return text if row['psnr'] is None else f"{text}, {row['psnr']:.2f} dB"


def row_of(before: Status, now: Status, seconds: float, ages: list[float],
           views: list[float]) -> dict:
    """One row: what happened between two statuses.

    Args:
        before: the status at the beginning.
        now: the status at the end.
        seconds: from `before` to `now`.
        ages: of the scenes in the moment that each was shown, s.
        views: how long each view took, s.
    """
    def percentile(values: list[float], share: float) -> float | None:
        return float(np.percentile(values, share)) if values else None
    heap, heap_free = (None if math.isnan(value) else value for value in heap_mb())
    return {
        'updates_hz': (now.frame_sets_processed - before.frame_sets_processed) / seconds,
        'age_p50_s': percentile(ages, 50), 'age_p95_s': percentile(ages, 95),
        'age_max_s': max(ages, default=None),
        'views_hz': len(views) / seconds, 'view_p50_s': percentile(views, 50),
        'view_p95_s': percentile(views, 95),
        'keys': now.keys_refined - before.keys_refined,
        'discarded': now.refinements_discarded - before.refinements_discarded,
        'gaussians': now.gaussians, 'levels': now.levels, 'reduced': now.reduced,
        'rss_mb': now.rss_mb, 'heap_mb': heap, 'heap_free_mb': heap_free, 'gpu_mb': now.gpu_mb,
        'queues': now.queues,
        'drops': {cause: count - before.drops.get(cause, 0) for cause, count
                  in now.drops.items() if count > before.drops.get(cause, 0)}}


def trend(rows: list[dict], name: str) -> float | None:
    """Least-squares change of a figure per minute, after settling; None for less than two."""
    settled = [row for row in rows[int(SETTLING * len(rows)):] if row[name] is not None]
    if len(settled) < 2:
        return None
    return float(np.polyfit([row['at_s'] / 60 for row in settled],
                            [row[name] for row in settled], 1)[0])


def summary(rows: list[dict], status: Status) -> dict:
    """Medians and trends of the rows, and the accounts of the whole run."""
    def known(name: str) -> list[float]:
        return [row[name] for row in rows if row[name] is not None]

    def middle(name: str) -> float | None:
        return float(np.median(known(name))) if known(name) else None
    return {
        'updates_hz': middle('updates_hz'), 'views_hz': middle('views_hz'),
        'age_p50_s': middle('age_p50_s'), 'age_p95_s': middle('age_p95_s'),
        'age_max_s': max(known('age_max_s'), default=None), 'view_p95_s': middle('view_p95_s'),
        'rss_mb': rows[-1]['rss_mb'], 'rss_mb_max': max(known('rss_mb')),
        'psnr': middle('psnr'), 'psnr_min': min(known('psnr'), default=None),
        **{f'{name}_per_min': trend(rows, name) for name in TRENDS},
        'frame_sets_offered': status.frame_sets_offered,
        'frame_sets_processed': status.frame_sets_processed, 'sets_lost': status.sets_lost,
        'first_scenes': status.first_scenes, 'drops': status.drops,
        'keys_refined': status.keys_refined,
        'refinements_discarded': status.refinements_discarded, 'polished': status.polished,
        'stages': {path: asdict(stage) for path, stage in status.stages.items()}}


def print_table(results: dict) -> None:
    """The figures of `run` as a readable table."""
    summary = results['summary']
    table = Table(title=escape(f"{results['recording']} looped at {results['rate_hz']:.0f} Hz, "
                               f"{results['machine']}"))
    for heading in ('s', 'updates/s', 'age p50 / p95 / max, ms', 'views/s', 'view p95, ms',
                    'keys', 'Gaussians', 'rungs m/r/v', 'MB', 'free', 'unseen, dB', 'dropped'):
        table.add_column(heading, justify='right')
    for row in results['rows']:
        ages = ' / '.join(_ms(row[f'age_{name}_s']) for name in ('p50', 'p95', 'max'))
        table.add_row(
            f"{row['at_s']:.0f}", f"{row['updates_hz']:.1f}", ages, f"{row['views_hz']:.1f}",
            _ms(row['view_p95_s']), f"{row['keys']}", f"{row['gaussians']}",
            '/'.join(map(str, row['levels'].values())), f"{row['rss_mb']:.0f}",
            _or_dash(row['heap_free_mb'], '.0f'), _or_dash(row['psnr'], '.2f'),
            ', '.join(f'{cause} {count}' for cause, count in row['drops'].items()) or 'nothing')
    console = Console()
    console.print(table)
    units = {'rss_mb': ('memory', 1, 'MB'), 'heap_mb': ('of it in use by malloc', 1, 'MB'),
             'age_p95_s': ('age p95', 1000, 'ms'), 'updates_hz': ('updates', 1, 'per s'),
             'psnr': ('unseen camera', 1, 'dB')}
    trends = [f"{label} {factor * summary[f'{name}_per_min']:+.2f} {unit}"
              for name, (label, factor, unit) in units.items()
              if summary[f'{name}_per_min'] is not None]
    if trends:
        console.print(f"per minute, after the first third: {', '.join(trends)}")
    console.print(
        f"{summary['frame_sets_offered']} frame sets offered = "
        f"{summary['frame_sets_processed']} processed + {summary['first_scenes']} first scene + "
        f"{summary['sets_lost']} dropped; {summary['keys_refined']} keys refined, "
        f"{summary['refinements_discarded']} discarded")


def _or_dash(value: float | None, form: str) -> str:
    return '-' if value is None else format(value, form)


def _ms(seconds: float | None) -> str:
    return '-' if seconds is None else f'{1000 * seconds:.0f}'


class RowFile:
    """Results line by line as they are known, so that a kill loses at most the row in hand.

    A file that cannot be written later is logged once, for the rows are held in memory as well.

    Raises:
        OutputError: the file cannot be begun.
    """

    def __init__(self, path: Path):
        self._path = path
        self._failed = False
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text('')

    def keep(self, piece: dict) -> None:
        """Append one piece (see `igs_ros.apps.bench.live.run`)."""
        try:
            with writing(self._path), self._path.open('a') as file:
                file.write(json.dumps(piece) + '\n')
        except OutputError as error:
            if not self._failed:
                log.warning('%s The run goes on without.', error)
            self._failed = True


def read_rows(path: Path) -> dict:
    """The results in a file of rows; of a run that was killed, what there is, without a summary.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        head, *pieces = (json.loads(text) for text in path.read_text().splitlines(keepends=True)
                         if text.endswith('\n'))
        done = [piece for piece in pieces if 'summary' in piece]
        rows = [piece for piece in pieces if 'at_s' in piece]
        return {**head, 'rows': rows, **(done[-1] if done else {})}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f'{path}: cannot be read ({error}); expected rows of `igs bench '
                         f'live`.') from error
