# SPDX-License-Identifier: Apache-2.0
"""A recording, looped for minutes into the live pipeline: do memory and latency hold?

JPEG pictures at the recording's rate, forth and back, so that neither pictures nor stamps jump;
with `loop_s` as a bag that loops into the node, whose stamps jump back at every loop. Beside
it, views are drawn at their rate, and once a minute some scenes are compared with what the
held-out camera saw. What happened is sampled every few seconds. Latency is the age of a scene in
the moment that it is shown: what has passed since its frame set was due.
"""
from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2

from igs_ros.apps.bench.live_figures import Window, line, row_of, summary
from igs_ros.apps.bench.live_unseen import UNSCORED, UnseenView
from igs_ros.apps.evaluation.sessions import PlayClock
from igs_ros.core.camera import Camera
from igs_ros.core.config import Config
from igs_ros.core.errors import InputError
from igs_ros.core.frames import RawFrameSet
from igs_ros.core.machine import machine
from igs_ros.core.snapshot import Snapshot
from igs_ros.core.status import State
from igs_ros.io.pictures import EncodedPicture
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import require_still, test_view, train_views
from igs_ros.live.pipeline import LivePipeline
from igs_ros.live.threads import PeriodicThread

_JPEG_QUALITY = 95
_KNOWN = 1000  # stamps: a scene is shown long before so many more came


@dataclass(frozen=True)
class LivePlan:
    """What to run."""

    recording: Path
    config: Config
    minutes: float
    every_s: float = 10.0  # between samples
    first: int = 0
    last: int | None = None  # half-open
    rate_hz: float = 0.0  # frame sets per second, 0 = as recorded
    loop_s: float = 0.0  # least length of a loop, at whose end the stamps jump; 0 = as all of it


class Loops:
    """Frame sets over and over at a rate, and when each was due. `play` is for one thread.

    Args:
        sets: what is played, in order, with rising stamps; at least one.
        offer: takes each frame set when it is due.
        period_s: from one frame set to the next; asked for each of them.
    """

    def __init__(self, sets: Sequence[RawFrameSet], offer: Callable[[RawFrameSet], None],
                 period_s: Callable[[], float]):
        self.clock = PlayClock(sets[0].stamp_ns)
        self._sets = sets
        self._offer = offer
        self._period_s = period_s
        self._next = 0
        self._due_next_s = 0.0
        self._due_s: dict[int, float] = {}  # by stamp: of the newest ones

    def play(self, seconds: float) -> int:
        """Offer for so long; how many there were. Those missed are not made up for."""
        end_s, count = time.monotonic() + seconds, 0
        due_s = max(self._due_next_s, time.monotonic())
        while due_s < end_s:
            time.sleep(max(0.0, due_s - time.monotonic()))
            frame_set = self._sets[self._next]
            self._next = (self._next + 1) % len(self._sets)
            self._due_s.pop(frame_set.stamp_ns, None)
            self._due_s[frame_set.stamp_ns] = due_s
            if len(self._due_s) > _KNOWN:
                del self._due_s[next(iter(self._due_s))]
            self.clock.reached(frame_set.stamp_ns)
            self._offer(frame_set)
            count += 1
            due_s = max(due_s + self._period_s(), time.monotonic())
        self._due_next_s = due_s  # also across calls the next one is a period away
        time.sleep(max(0.0, end_s - time.monotonic()))
        return count

    def age_s(self, stamp_ns: int) -> float:
        """What has passed since the frame set of that stamp was due; NaN before the first."""
        due_s = self._due_s.get(stamp_ns)
        return float('nan') if due_s is None else time.monotonic() - due_s


def as_cameras_send(frame_sets: Iterable[RawFrameSet]) -> list[RawFrameSet]:
    """Frame sets with JPEG pictures, as they come over a network."""
    return [RawFrameSet(frame_set.stamp_ns, {name: _jpeg(picture, name) for name, picture
                                             in frame_set.pictures.items()}, frame_set.missing)
            for frame_set in frame_sets]


def loop_order(count: int, period_s: float, seconds: float) -> list[tuple[int, int]]:
    """Stamps of a loop, forth and back, each with the frame that is shown then.

    It ends where it begins: the stamps jump at its end, the pictures do not. (A cut three times
    a minute costs the unseen view 1 dB at once and 0.2 dB more in 100 frames.)

    Args:
        count: of frames to loop.
        period_s: between stamps.
        seconds: least length of the loop.

    Returns:
        Stamps, ns, rising from 0, each with a number of 0 .. `count` - 1.
    """
    there_and_back = [*range(count), *range(count - 2, 0, -1)]
    rounds = max(1, math.ceil(round(seconds / period_s, 6) / len(there_and_back)))
    return [(round(step * period_s * 1e9), frame)
            for step, frame in enumerate(there_and_back * rounds)]


def forth_and_back(sets: Sequence[RawFrameSet], period_s: float, seconds: float
                   ) -> list[RawFrameSet]:
    """A loop from a few frame sets, with the stamps of `loop_order`.

    Args:
        sets: the frames to loop; their own stamps do not count.
        period_s: between stamps.
        seconds: least length of the loop.
    """
    return [replace(sets[frame], stamp_ns=stamp_ns)
            for stamp_ns, frame in loop_order(len(sets), period_s, seconds)]


def _jpeg(picture, name: str) -> EncodedPicture:
    if isinstance(picture, EncodedPicture):
        return picture
    done, data = cv2.imencode('.jpg', cv2.cvtColor(picture.decode(), cv2.COLOR_RGB2BGR),
                              [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert done, name
    return EncodedPicture(data.tobytes(), name)


def run(plan: LivePlan, say: Callable[[str], None] = lambda text: None,
        keep: Callable[[dict], None] = lambda line: None) -> dict:
    """Measure; one row per sample, and a summary. Interrupted, it ends with the rows so far.

    Args:
        plan: what to run.
        say: takes a line of text after each sample.
        keep: takes the results piece by piece, in the moment that they are known: the head, each
            row, the summary.

    Raises:
        InputError: no first scene can be made of the recording.
    """
    recording = open_recording(plan.recording)
    require_still(recording, 'igs bench live')
    test = test_view(recording, None)
    train = train_views(recording, test, None)
    sets = as_cameras_send(recording.frame_sets(plan.first, plan.last, train))
    frames = len(sets)
    if frames < 2:
        raise InputError(f'{plan.recording}: {frames} frame to loop; expected at least 2.')
    period_s = 1 / (plan.rate_hz or recording.rate_hz)
    loop_s = plan.loop_s or 60 * plan.minutes + plan.every_s
    sets = forth_and_back(sets, period_s, loop_s)
    window = Window()
    unseen = None if test is None else UnseenView(
        recording, test, plan.config, plan.first, dict(loop_order(frames, period_s, loop_s)))

    def on_snapshot(snapshot: Snapshot) -> None:
        window.age(loops.age_s(snapshot.stamp_ns))
        if unseen:
            unseen.shown(snapshot)
    live = LivePipeline(plan.config, {name: recording.cameras[name] for name in train},
                        points=recording.points(), now_ns=lambda: loops.clock(),
                        listeners=[on_snapshot])
    loops = Loops(sets, live.offer, lambda: period_s)
    watched = recording.cameras[test or train[0]].undistorted()
    camera = watched.resized(plan.config.width or watched.width)
    beside = [_views(live, camera, window, plan.config.budget.view_hz, say)]
    if unseen:
        beside.append(PeriodicThread('unseen', unseen.run_once,
                                     lambda error: say(f'no score: {error!r}')))
    head = {'recording': recording.name, 'machine': machine(), 'rate_hz': 1 / period_s,
            'cameras': list(train), 'test_view': test, 'config': asdict(plan.config)}
    keep(head)
    rows, interrupted = [], False
    live.start()
    try:
        _begin(live, sets[0])
        for loop in beside:
            loop.start()
        for row in _sampled(plan, live, loops, window, unseen):
            keep(row)
            rows.append(row)
            say(line(row))
    except KeyboardInterrupt:
        if not rows:
            raise
        interrupted = True
    finally:
        for loop in beside:
            loop.stop()
        live.stop()
    done = {'interrupted': interrupted, 'summary': summary(rows, live.status())}
    keep(done)
    return {**head, 'rows': rows, **done}


def _views(live: LivePipeline, camera: Camera, window: Window, rate_hz: float, say
           ) -> PeriodicThread:
    """Draws views at a rate, and notes how long they take."""
    def view() -> float:
        begun_s = time.perf_counter()
        if live.view(camera) is not None:
            window.view(time.perf_counter() - begun_s)
        return 1 / rate_hz
    return PeriodicThread('views', view, lambda error: say(f'no view: {error!r}'))


def _begin(live: LivePipeline, frame_set: RawFrameSet) -> None:
    live.offer(frame_set)
    while (status := live.status()).state != State.STREAMING:
        if status.state == State.FAILED:
            raise InputError(status.message)
        time.sleep(0.05)


def _sampled(plan: LivePlan, live: LivePipeline, loops: Loops, window: Window,
             unseen: UnseenView | None) -> Iterator[dict]:
    begun_s, before, before_s = time.monotonic(), live.status(), time.monotonic()
    every_s = min(plan.every_s, 60 * plan.minutes)
    count = round(60 * plan.minutes / every_s)
    scored = min(count, max(1, round(60 / every_s)))  # every so many rows
    window.taken()
    if unseen:
        unseen.begin(scored * every_s)
    for number in range(1, count + 1):
        loops.play(every_s)
        now, now_s = live.status(), time.monotonic()
        score = unseen.minute(scored * every_s) if unseen and number % scored == 0 else UNSCORED
        yield {'at_s': now_s - begun_s, **row_of(before, now, now_s - before_s, *window.taken()),
               **score}
        before, before_s = now, now_s
