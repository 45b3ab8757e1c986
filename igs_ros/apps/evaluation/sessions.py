# SPDX-License-Identifier: Apache-2.0
"""Playing a recording into a pipeline: in lockstep, or live at the recording's own rate."""
from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from rich.progress import Progress

from igs_ros.core.camera import Camera
from igs_ros.core.config import Config
from igs_ros.core.errors import InputError
from igs_ros.core.frames import RawFrameSet
from igs_ros.core.points import Points
from igs_ros.core.snapshot import Snapshot
from igs_ros.core.status import State
from igs_ros.core.timing import Spent
from igs_ros.core.trace import Trace
from igs_ros.io.recordings.recording import Recording
from igs_ros.live.pipeline import LivePipeline
from igs_ros.pipeline import Pipeline
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.stages.bootstrap.first_scene import BootstrapReport, takes_points
from igs_ros.stages.refine.refiner import Refined

log = logging.getLogger(__name__)
KEPT_GAUSSIANS = 40_000_000  # in all snapshots kept for scoring; some 2 GB
KEPT_PIXELS = 700_000_000  # in all pictures kept beside them; some 2 GB, decoded


@dataclass(frozen=True)
class Playlist:
    """Which frames of a recording go into the scene."""

    recording: Recording
    train: tuple[str, ...]  # cameras that feed the scene
    also: tuple[str, ...]  # cameras read besides, for scoring
    first: int  # frame of the first scene
    last: int | None  # half-open

    @property
    def cameras(self) -> dict[str, Camera]:
        """The calibrated cameras that feed the scene."""
        return {name: self.recording.cameras[name] for name in self.train}

    def frame_sets(self) -> Iterator[RawFrameSet]:
        """Frame sets of all cameras read."""
        return self.recording.frame_sets(self.first, self.last,
                                         cameras=dict.fromkeys((*self.train, *self.also)))

    def points(self, config: Config) -> Points | None:
        """The recording's points, read only if the first scene may want them."""
        return self.recording.points() if takes_points(config.bootstrap.method) else None

    @property
    def steps(self) -> int:
        """Frames after the first scene."""
        total = self.recording.frames_total
        return min(total, self.last or total) - self.first - 1


@dataclass(frozen=True, eq=False)
class Shown:
    """One frame as it was shown, ready to be scored."""

    index: int  # in the recording
    kind: str  # 'key' or 'candidate'
    snapshot: Snapshot
    motion: Spent
    refinement: Spent
    frame_set: RawFrameSet  # of the cameras that are scored
    refined: Refined | None = None  # in lockstep: what refinement did
    background: bool = False  # whether refinement ran beside the frames, none of which waited

    @property
    def step(self) -> Spent:
        """What the frame waited for."""
        if self.background:
            return self.motion
        return Spent(self.motion.wall_s + self.refinement.wall_s,
                     self.motion.cpu_s + self.refinement.cpu_s)


@dataclass(frozen=True, eq=False)
class Skipped:
    """One frame that was played but never shown: superseded by a newer one."""

    index: int  # in the recording
    frame_set: RawFrameSet  # of the cameras that are scored


@dataclass(frozen=True)
class Unscored:
    """One frame that was shown, but could not be kept until it is scored."""

    index: int  # in the recording


class LockstepSession:
    """Frame by frame, deterministic. A context manager, as `LiveSession` is.

    Args:
        playlist: what is played.
        config: of the pipeline.
        trace: takes the numbers that are no spans; None = nobody wants to know.
    """

    def __init__(self, playlist: Playlist, config: Config, trace: Trace | None = None):
        self._playlist = playlist
        self._trace = trace
        self._sets = playlist.frame_sets()
        self._points = playlist.points(config)
        self._pipeline = Pipeline(config, playlist.cameras)

    def __enter__(self) -> LockstepSession:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing runs in the background."""

    @property
    def rasterizer(self) -> Rasterizer:
        """The rasterizer of the pipeline."""
        return self._pipeline.stages.rasterizer

    @property
    def snapshot(self) -> Snapshot:
        """The newest scene."""
        return self._pipeline.timeline.snapshot

    @property
    def confirmed_share(self) -> float:
        """Of the pictures of the newest key, 0..1."""
        return self._pipeline.confirmed_share

    def begin(self, progress: Progress) -> tuple[BootstrapReport, RawFrameSet]:
        """Make the first scene; what it took, and the frame set it shows."""
        frame_set = next(self._sets)
        task = progress.add_task('first scene', total=1.0)
        first = self._pipeline.start(
            frame_set.only(self._playlist.train), self._points,
            lambda stage, done: progress.update(task, description=stage, completed=done))
        progress.update(task, description='first scene', completed=1.0)
        return first.report, frame_set

    def frames(self, progress: Progress) -> Iterator[Shown]:
        """The other frames, each processed when it is asked for."""
        task = progress.add_task('frames', total=self._playlist.steps)
        for index, frame_set in enumerate(self._sets, self._playlist.first + 1):
            step = self._pipeline.step(frame_set.only(self._playlist.train))
            for problem in step.problems:
                log.warning('frame %d: %s', index, problem)
            progress.advance(task)
            if self._trace is not None:
                self._trace.gauge('Gaussians', {'count': len(step.snapshot.scene)})
            yield Shown(index, step.kind, step.snapshot, step.motion, step.refinement, frame_set,
                        step.refined)


class PlayClock:
    """The time of the recording while it plays: the last stamp, and what has passed since."""

    def __init__(self, stamp_ns: int):
        self._last = (stamp_ns, time.monotonic_ns())

    def reached(self, stamp_ns: int) -> None:
        """The frame of that stamp is played now."""
        self._last = (stamp_ns, time.monotonic_ns())

    def __call__(self) -> int:
        """Now, in ns."""
        stamp_ns, at_ns = self._last
        return stamp_ns + time.monotonic_ns() - at_ns


class LiveSession:
    """At the recording's own rate into a live pipeline: what is too slow is superseded.

    Use it as a context manager: leaving it ends the pipeline's threads. Threads run side by side,
    so CPU seconds cannot be told apart by stage: they are NaN. `motion` holds the wall time of the
    motion stage; the frame that was shown when a refined key came in counts as key, shows that
    key, and has the wall time of its refinement.

    Scoring would take time from the pipeline, so snapshots and scored pictures are kept until all
    is played, `KEPT_GAUSSIANS` and `KEPT_PIXELS` at most: what is shown after that is not scored
    (`Unscored`).

    Args:
        playlist: what is played.
        config: of the pipeline.
        trace: takes what the pipeline's threads do when; None = nobody wants to know.
    """

    def __init__(self, playlist: Playlist, config: Config, trace: Trace | None = None):
        self._playlist = playlist
        self._shown: dict[int, Shown | None] = {}  # by stamp; what is missing is filled in later
        self._kept = 0  # Gaussians
        self._kept_pixels = 0
        self._said = False  # that no more are kept
        self._clock = PlayClock(playlist.recording.stamp_ns(playlist.first))
        self._live = LivePipeline(config, playlist.cameras, points=playlist.points(config),
                                  now_ns=self._clock, listeners=[self._note], trace=trace)

    def __enter__(self) -> LiveSession:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @property
    def rasterizer(self) -> Rasterizer:
        """The rasterizer of views."""
        return self._live.rasterizer

    @property
    def snapshot(self) -> Snapshot:
        """The newest scene.

        Raises:
            RuntimeError: there is none yet.
        """
        snapshot = self._live.snapshot()
        if snapshot is None:
            raise RuntimeError('there is no scene yet: call begin first')
        return snapshot

    @property
    def confirmed_share(self) -> float:
        """Of the pictures of the newest key, 0..1."""
        return self._live.status().confirmed

    def begin(self, progress: Progress) -> tuple[BootstrapReport, RawFrameSet]:
        """Offer the first frame set until it has become the first scene; its report, and the set.

        Raises:
            InputError: no scene can be made of it.
        """
        self._sets = self._playlist.frame_sets()
        frame_set = next(self._sets)
        task = progress.add_task('first scene', total=1.0)
        self._live.start()
        while (status := self._live.status()).state != State.STREAMING:
            progress.update(task, completed=status.progress)
            if status.state == State.FAILED:
                raise InputError(status.message)
            if 'no_picture' in status.drops:
                raise InputError(f'{self._playlist.recording.path}: frame {self._playlist.first} '
                                 f'has no usable picture; start at another one with --frames.')
            if status.state == State.WAITING:
                self._live.offer(frame_set.only(self._playlist.train))
            time.sleep(0.1)
        progress.update(task, completed=1.0)
        report = self._live.first_report
        if report is None:
            raise RuntimeError('the scene streams, but nothing is known of its beginning')
        return report, frame_set

    def frames(self, progress: Progress) -> Iterator[Shown | Skipped | Unscored]:
        """Play everything, then yield the frames in order, with the scene as it was shown."""
        task = progress.add_task('playing', total=self._playlist.steps)
        started, first_ns = time.monotonic(), None
        played: list[RawFrameSet] = []
        for frame_set in self._sets:
            first_ns = frame_set.stamp_ns if first_ns is None else first_ns
            due = started + 1e-9 * (frame_set.stamp_ns - first_ns)
            time.sleep(max(0.0, due - time.monotonic()))
            self._clock.reached(frame_set.stamp_ns)
            self._live.offer(frame_set.only(self._playlist.train))
            played.append(frame_set.only(self._playlist.also if self._keeps() else ()))
            sizes = [self._playlist.recording.cameras[name] for name in played[-1].pictures]
            self._kept_pixels += sum(camera.width * camera.height for camera in sizes)
            progress.advance(task)
        self._drain()
        self._live.stop()
        for index, frame_set in enumerate(played, self._playlist.first + 1):
            if frame_set.stamp_ns not in self._shown:
                yield Skipped(index, frame_set)
            elif (shown := self._shown[frame_set.stamp_ns]) is None:
                yield Unscored(index)
            else:
                yield replace(shown, index=index, frame_set=frame_set)

    def figures(self) -> dict:
        """The `live` of results.json (docs/metrics.md)."""
        status = self._live.status()
        return {
            'drops': status.drops, 'frame_sets_offered': status.frame_sets_offered,
            'frame_sets_processed': status.frame_sets_processed,
            'keys_refined': status.keys_refined,
            'refinements_discarded': status.refinements_discarded, 'polished': status.polished,
            'levels': status.levels, 'reduced': status.reduced, 'rss_mb': status.rss_mb,
            'gpu_mb': status.gpu_mb,
            'stages': {path: asdict(stage) for path, stage in status.stages.items()}}

    def _note(self, snapshot: Snapshot) -> None:
        """Keep a snapshot; called in the motion thread."""
        known = self._shown.get(snapshot.stamp_ns)
        if known is None and not self._keeps():
            if snapshot.stamp_ns not in self._shown and not self._said:
                self._said = True
                log.warning('%d frames with %d Gaussians and %.0f Mpx are kept for scoring, the '
                            'most that may be: later frames are not scored', len(self._shown),
                            self._kept, self._kept_pixels / 1e6)
            self._shown[snapshot.stamp_ns] = None
            return
        motion = Spent(self._live.last_s('update/motion'), math.nan)
        is_key = snapshot.is_new_key and snapshot.key_sequence > 1
        if is_key or known is None:
            self._kept += len(snapshot.scene)
            self._shown[snapshot.stamp_ns] = Shown(
                -1, 'key' if is_key else 'candidate', snapshot, known.motion if known else motion,
                Spent(self._live.last_s('refine') if is_key else 0.0, math.nan),
                RawFrameSet(snapshot.stamp_ns, {}), background=True)

    def _keeps(self) -> bool:
        return self._kept < KEPT_GAUSSIANS and self._kept_pixels < KEPT_PIXELS

    def _drain(self, patience_s: float = 60.0) -> None:
        """Wait until the last frame set, which is never superseded, and the last key are shown."""
        deadline = time.monotonic() + patience_s
        while not self._live.idle and time.monotonic() < deadline:
            time.sleep(0.02)
