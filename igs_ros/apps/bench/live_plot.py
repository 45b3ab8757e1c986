# SPDX-License-Identifier: Apache-2.0
"""The picture of `igs bench live`: memory, latency, pace, quality and rungs over time."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from igs_ros.apps.bench.live_figures import SETTLING, trend
from igs_ros.core.files import replaced

_MARKED = 100  # rows, up to which each gets a marker


def plot(results: dict, path: Path) -> None:
    """Draw the rows of `bench.live.run` to a PNG or SVG file.

    Raises:
        OutputError: the file cannot be written.
    """
    rows = results['rows']
    minutes = [row['at_s'] / 60 for row in rows]
    scored = any(row['psnr'] is not None for row in rows)
    heights = (2, 2, 2, *((2,) if scored else ()), 1)
    figure = Figure(figsize=(9, 1.4 + 1.1 * sum(heights)), layout='constrained')
    memory, ages, paces, *quality, rungs = figure.subplots(len(heights), 1, sharex=True,
                                                           height_ratios=heights)
    memory.set_title(f"{results['recording']} looped at {results['rate_hz']:.0f} Hz, "
                     f"{results['machine']}", parse_math=False)
    _lines(memory, rows, {'rss_mb': 'resident', 'heap_mb': 'handed out by malloc',
                          'heap_free_mb': 'held free by malloc', 'gpu_mb': 'GPU'}, 'memory, MB')
    _trend(memory, rows, 'rss_mb', 'MB')
    _lines(ages, rows, {'age_p50_s': 'p50', 'age_p95_s': 'p95'}, 'age when shown, ms', 1000)
    _lines(paces, rows, {'updates_hz': 'scene updates', 'views_hz': 'views'}, 'per second')
    for axes in quality:
        _lines(axes, rows, {'psnr': f"camera {results['test_view']}, never seen"}, 'PSNR, dB')
        _trend(axes, rows, 'psnr', 'dB')
    for axes in (memory, ages, paces):
        highest = max((line.get_ydata().max() for line in axes.lines), default=1)
        axes.set_ylim(bottom=0, top=1.3 * highest)  # room for the legend
    for clock in rows[0]['levels']:
        rungs.step(minutes, [row['levels'][clock] for row in rows], where='post', label=clock)
    rungs.set(ylabel='rungs down', xlabel='minutes')
    rungs.set_ylim(top=1.6 * max(rungs.dataLim.y1, 2))
    rungs.yaxis.get_major_locator().set_params(integer=True)
    for axes in (memory, ages, paces, *quality, rungs):
        if axes.lines:
            legend = axes.legend(loc='upper right', ncols=4, fontsize='small')
            for text in legend.get_texts():
                text.set_parse_math(False)
        axes.grid(alpha=0.3)
        axes.margins(x=0.01)
    with replaced(path) as draft:
        figure.savefig(draft, dpi=110)


def _lines(axes: Axes, rows: list[dict], names: dict[str, str], label: str,
           factor: float = 1.0) -> None:
    """Lines of what is known; a figure that is nowhere, or everywhere 0, has none."""
    for name, what in names.items():
        known = [(row['at_s'] / 60, factor * row[name]) for row in rows if row[name] is not None]
        if any(value for _, value in known):
            axes.plot(*np.transpose(known), label=what,
                      marker='.' if len(known) <= _MARKED else None)
    axes.set_ylabel(label)


def _trend(axes: Axes, rows: list[dict], name: str, unit: str) -> None:
    """The line of which the summary gives the slope."""
    slope = trend(rows, name)
    if slope is None:
        return
    settled = [row for row in rows[int(SETTLING * len(rows)):] if row[name] is not None]
    times = np.array([row['at_s'] / 60 for row in settled])
    middle = np.mean([row[name] for row in settled])
    axes.plot(times, middle + slope * (times - times.mean()), color='black', linewidth=1,
              linestyle='--', label=f'{slope:+.3f} {unit} per minute')
