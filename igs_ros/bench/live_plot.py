# SPDX-License-Identifier: Apache-2.0
"""The picture of `igs bench live`: memory, latency, pace and rungs over time."""
from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from igs_ros.files import replaced


def plot(results: dict, path: Path) -> None:
    """Draw the rows of `igs_ros.bench.live.run` to a PNG or SVG file."""
    def milli(seconds: float | None) -> float:
        return float('nan') if seconds is None else 1000 * seconds
    rows = results['rows']
    minutes = [row['at_s'] / 60 for row in rows]
    figure = Figure(figsize=(9, 8), layout='constrained')
    memory, ages, paces, rungs = figure.subplots(4, 1, sharex=True, height_ratios=(2, 2, 2, 1))
    memory.plot(minutes, [row['rss_mb'] for row in rows], marker='.', label='resident')
    if any(row['gpu_mb'] for row in rows):
        memory.plot(minutes, [row['gpu_mb'] for row in rows], marker='.', label='GPU')
        memory.legend()
    memory.set(ylabel='memory, MB')
    memory.set_title(f"{results['recording']} looped at {results['rate_hz']:.0f} Hz, "
                     f"{results['machine']}", parse_math=False)
    for name, label in (('age_p50_s', 'p50'), ('age_p95_s', 'p95'), ('age_max_s', 'max')):
        ages.plot(minutes, [milli(row[name]) for row in rows], marker='.', label=label)
    ages.set(ylabel='age when shown, ms')
    for name, label in (('updates_hz', 'scene updates'), ('views_hz', 'views')):
        paces.plot(minutes, [row[name] for row in rows], marker='.', label=label)
    paces.set(ylabel='per second')
    for clock in rows[0]['levels']:
        rungs.step(minutes, [row['levels'][clock] for row in rows], where='post', label=clock)
    rungs.set(ylabel='rungs down', xlabel='minutes')
    rungs.yaxis.get_major_locator().set_params(integer=True)
    for axes in (memory, ages, paces):
        axes.set_ylim(bottom=0)
    for axes in (ages, paces, rungs):
        axes.legend(loc='upper right', ncols=3)
    for axes in (memory, ages, paces, rungs):
        axes.grid(alpha=0.3)
    with replaced(path) as draft:
        figure.savefig(draft, dpi=110)
