# SPDX-License-Identifier: Apache-2.0
"""A recording, looped for minutes into the live pipeline: do memory and latency hold?

As a bag that loops into the node: JPEG pictures at the recording's rate, and stamps that jump
back at every loop. A short recording is played forth and back until a loop is long enough. Beside
it, views are drawn at their rate. What happened is sampled every few seconds. Latency is the age
of a scene in the moment that it is shown: what has passed since its frame set was due.
"""
from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from igs_ros.config import Config
from igs_ros.data import open_recording, test_view, train_views
from igs_ros.errors import InputError
from igs_ros.frames import EncodedPicture, FrameSet
from igs_ros.live import LivePipeline, Loop
from igs_ros.machine import machine
from igs_ros.sessions import PlayClock
from igs_ros.snapshot import Snapshot
from igs_ros.status import State, Status

_JPEG_QUALITY = 95
_SETTLING = 0.2  # share of the run, at its beginning, that the trends leave out


@dataclass(frozen=True)
class Plan:
    """What to run."""

    recording: Path
    config: Config
    minutes: float
    every_s: float = 10.0  # between samples
    first: int = 0
    last: int | None = None  # half-open
    rate_hz: float = 0.0  # frame sets per second, 0 = as recorded
    loop_s: float = 20.0  # least length of a loop


class Loops:
    """Frame sets over and over at a rate, and when each was due.

    offer: takes each frame set; period_s: asked before each one. `play` is for one thread.
    """

    def __init__(self, sets: Sequence[FrameSet], offer: Callable[[FrameSet], None],
                 period_s: Callable[[], float]):
        self.clock = PlayClock(sets[0].stamp_ns)
        self._sets = sets
        self._offer = offer
        self._period_s = period_s
        self._next = 0
        self._due_s: dict[int, float] = {}  # by stamp: of the newest loop

    def play(self, seconds: float) -> int:
        """Offer for so long; how many there were. Those missed are not made up for."""
        due_s = time.monotonic()
        end_s, count = due_s + seconds, 0
        while due_s < end_s:
            time.sleep(max(0.0, due_s - time.monotonic()))
            frame_set = self._sets[self._next]
            self._next = (self._next + 1) % len(self._sets)
            self._due_s[frame_set.stamp_ns] = due_s
            self.clock.reached(frame_set.stamp_ns)
            self._offer(frame_set)
            count += 1
            due_s = max(due_s + self._period_s(), time.monotonic())
        return count

    def age_s(self, stamp_ns: int) -> float:
        """What has passed since the frame set of that stamp was due; NaN before the first."""
        due_s = self._due_s.get(stamp_ns)
        return float('nan') if due_s is None else time.monotonic() - due_s


def as_cameras_send(frame_sets) -> list[FrameSet]:
    """Frame sets with JPEG pictures, as they come over a network."""
    return [FrameSet(frame_set.stamp_ns, {name: _jpeg(picture, name) for name, picture
                                          in frame_set.images.items()}, frame_set.missing)
            for frame_set in frame_sets]


def forth_and_back(sets: Sequence[FrameSet], period_s: float, seconds: float) -> list[FrameSet]:
    """A loop of at least `seconds` from a few frame sets, with new, rising stamps."""
    there_and_back = [*sets, *sets[-2:0:-1]]
    count = max(len(sets), math.ceil(seconds / period_s))
    return [replace(there_and_back[number % len(there_and_back)],
                    stamp_ns=round(number * period_s * 1e9)) for number in range(count)]


def _jpeg(picture, name: str) -> EncodedPicture:
    if isinstance(picture, EncodedPicture):
        return picture
    done, data = cv2.imencode('.jpg', cv2.cvtColor(picture.decode(), cv2.COLOR_RGB2BGR),
                              [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert done, name
    return EncodedPicture(data.tobytes(), name)


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


def run(plan: Plan, say: Callable[[str], None] = lambda text: None) -> dict:
    """Measure; one row per sample, and a summary. say: takes a line of text after each sample.

    Raises `InputError` when no first scene can be made of the recording.
    """
    recording = open_recording(plan.recording)
    test = test_view(recording, None)
    train = train_views(recording, test, None)
    sets = as_cameras_send(recording.frame_sets(plan.first, plan.last, train))
    if len(sets) < 2:
        raise InputError(f'{plan.recording}: {len(sets)} frame to loop; expected at least 2.')
    period_s = 1 / (plan.rate_hz or recording.rate_hz)
    sets = forth_and_back(sets, period_s, plan.loop_s)
    window = Window()

    def on_snapshot(snapshot: Snapshot) -> None:
        window.age(loops.age_s(snapshot.stamp_ns))
    live = LivePipeline(plan.config, {name: recording.cameras[name] for name in train},
                        points=recording.points(), now_ns=lambda: loops.clock(),
                        on_snapshot=on_snapshot)
    loops = Loops(sets, live.offer, lambda: period_s)
    watched = recording.cameras[test or train[0]].undistorted()
    camera = watched.resized(plan.config.width or watched.width)

    def view() -> float:
        begun_s = time.perf_counter()
        if live.view(camera) is not None:
            window.view(time.perf_counter() - begun_s)
        return 1 / plan.config.budget.view_hz
    views = Loop('views', view, lambda error: say(f'no view: {error!r}'))
    live.start()
    try:
        _begin(live, sets[0])
        views.start()
        rows = _sampled(plan, live, loops, window, say)
    finally:
        views.stop()
        live.stop()
    return {'recording': recording.name, 'machine': machine(), 'rate_hz': 1 / period_s,
            'cameras': list(train), 'config': asdict(plan.config), 'rows': rows,
            'summary': _summary(rows, live.status())}


def _begin(live: LivePipeline, frame_set: FrameSet) -> None:
    live.offer(frame_set)
    while (status := live.status()).state != State.STREAMING:
        if status.state == State.FAILED:
            raise InputError(status.message)
        time.sleep(0.05)


def _sampled(plan: Plan, live: LivePipeline, loops: Loops, window: Window, say) -> list[dict]:
    rows = []
    begun_s, before, before_s = time.monotonic(), live.status(), time.monotonic()
    every_s = min(plan.every_s, 60 * plan.minutes)
    window.taken()
    for _ in range(round(60 * plan.minutes / every_s)):
        loops.play(every_s)
        now, now_s = live.status(), time.monotonic()
        row = _row(before, now, now_s - before_s, *window.taken())
        rows.append({'at_s': now_s - begun_s, **row})
        say(f"{rows[-1]['at_s']:4.0f} s: {row['updates_hz']:.1f} updates/s, age p95 "
            f"{_ms(row['age_p95_s'])} ms, {row['rss_mb']:.0f} MB")
        before, before_s = now, now_s
    return rows


def _row(before: Status, now: Status, seconds: float, ages, views) -> dict:
    def percentile(values, share) -> float | None:
        return float(np.percentile(values, share)) if values else None
    return {
        'updates_hz': (now.frame_sets_processed - before.frame_sets_processed) / seconds,
        'age_p50_s': percentile(ages, 50), 'age_p95_s': percentile(ages, 95),
        'age_max_s': max(ages, default=None),
        'views_hz': len(views) / seconds, 'view_p50_s': percentile(views, 50),
        'view_p95_s': percentile(views, 95),
        'keys': now.keys_refined - before.keys_refined,
        'discarded': now.refinements_discarded - before.refinements_discarded,
        'gaussians': now.gaussians, 'levels': now.levels, 'reduced': now.reduced,
        'rss_mb': now.rss_mb, 'gpu_mb': now.gpu_mb, 'queues': now.queues,
        'drops': {cause: count - before.drops.get(cause, 0) for cause, count
                  in now.drops.items() if count > before.drops.get(cause, 0)}}


def _summary(rows: list[dict], status: Status) -> dict:
    def known(name: str) -> list[float]:
        return [row[name] for row in rows if row[name] is not None]

    def trend(name: str) -> float | None:
        """Least-squares change per minute, after settling."""
        settled = [row for row in rows[int(_SETTLING * len(rows)):] if row[name] is not None]
        if len(settled) < 2:
            return None
        return float(np.polyfit([row['at_s'] / 60 for row in settled],
                                [row[name] for row in settled], 1)[0])

    def middle(name: str) -> float | None:
        return float(np.median(known(name))) if known(name) else None
    return {
        'updates_hz': middle('updates_hz'), 'views_hz': middle('views_hz'),
        'age_p50_s': middle('age_p50_s'), 'age_p95_s': middle('age_p95_s'),
        'age_max_s': max(known('age_max_s'), default=None), 'view_p95_s': middle('view_p95_s'),
        'rss_mb': rows[-1]['rss_mb'], 'rss_mb_per_min': trend('rss_mb'),
        'age_p95_s_per_min': trend('age_p95_s'),
        'frame_sets_offered': status.frame_sets_offered,
        'frame_sets_processed': status.frame_sets_processed, 'sets_lost': status.sets_lost,
        'first_scenes': status.first_scenes, 'drops': status.drops,
        'keys_refined': status.keys_refined,
        'refinements_discarded': status.refinements_discarded, 'polished': status.polished,
        'stages': {path: asdict(stage) for path, stage in status.stages.items()}}


def print_table(results: dict) -> None:
    """The figures of `run`, for people."""
    summary = results['summary']
    table = Table(title=escape(f"{results['recording']} looped at {results['rate_hz']:.0f} Hz, "
                               f"{results['machine']}"))
    for heading in ('s', 'updates/s', 'age p50 / p95 / max, ms', 'views/s', 'view p95, ms',
                    'keys', 'Gaussians', 'rungs m/r/v', 'MB', 'dropped'):
        table.add_column(heading, justify='right')
    for row in results['rows']:
        ages = ' / '.join(_ms(row[f'age_{name}_s']) for name in ('p50', 'p95', 'max'))
        table.add_row(
            f"{row['at_s']:.0f}", f"{row['updates_hz']:.1f}", ages, f"{row['views_hz']:.1f}",
            _ms(row['view_p95_s']), f"{row['keys']}", f"{row['gaussians']}",
            '/'.join(map(str, row['levels'].values())), f"{row['rss_mb']:.0f}",
            ', '.join(f'{cause} {count}' for cause, count in row['drops'].items()) or 'nothing')
    console = Console()
    console.print(table)
    if summary['rss_mb_per_min'] is not None and summary['age_p95_s_per_min'] is not None:
        console.print(
            f"memory {summary['rss_mb']:.0f} MB, {summary['rss_mb_per_min']:+.2f} MB per minute; "
            f"age p95 {1000 * summary['age_p95_s_per_min']:+.1f} ms per minute (after settling)")
    console.print(
        f"{summary['frame_sets_offered']} frame sets offered = "
        f"{summary['frame_sets_processed']} processed + {summary['first_scenes']} first scene + "
        f"{summary['sets_lost']} dropped; {summary['keys_refined']} keys refined, "
        f"{summary['refinements_discarded']} discarded")


def _ms(seconds: float | None) -> str:
    return '-' if seconds is None else f'{1000 * seconds:.0f}'
