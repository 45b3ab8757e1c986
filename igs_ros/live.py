# SPDX-License-Identifier: Apache-2.0
"""The main path at its own pace: what the node runs.

Two threads besides the caller's. The motion thread takes the newest frame set from a mailbox of
one, moves the key scene to it, and swaps in refined keys. The refine thread works on a copy of a
moved scene. Views are rendered by whoever wants one, from the newest snapshot, without waiting.

What is shown never goes back in time: a refined key is first moved to the newest processed frame
set. Only when the stamps of the source itself jump back (a looping bag) does the scene follow.
"""
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from igs_ros.bootstrap import BootstrapReport
from igs_ros.camera import Camera
from igs_ros.config import Config
from igs_ros.errors import Cancelled, InputError
from igs_ros.frames import FrameSet
from igs_ros.pipeline import Stages
from igs_ros.raster import render_view
from igs_ros.scene import GaussianScene
from igs_ros.snapshot import Snapshot
from igs_ros.status import State, Status
from igs_ros.timeline import Timeline
from igs_ros.timing import Drops, Timings
from igs_ros.view import View

log = logging.getLogger(__name__)
_WARN_EVERY_S = 5.0


@dataclass(frozen=True, eq=False)
class _Job:
    """A key frame on its way through the refine thread."""

    timeline: Timeline
    jumps: int  # of the timeline; a result from before a reset or a jump in time is void
    number: int
    scene: GaussianScene
    frame_set: FrameSet

    def void(self, timeline: Timeline | None) -> bool:
        """Whether `timeline`, the present one, has no use for the result."""
        return timeline is not self.timeline or timeline.jumps != self.jumps


class LivePipeline:
    """A reconstruction that never blocks its callers.

    config: settings; cameras: calibrated raw cameras that feed the scene; points: sparse `Points`
    for the first scene; now_ns: clock of the stamps; on_snapshot: called in the motion thread
    with every new snapshot, must not block; complete_wait_s: how long the first scene waits for a
    frame set of all cameras before it is made from what there is.
    """

    def __init__(self, config: Config, cameras: Mapping[str, Camera], *, points=None,
                 now_ns: Callable[[], int] = time.time_ns,
                 on_snapshot: Callable[[Snapshot], None] | None = None,
                 complete_wait_s: float = 5.0):
        self._stages = Stages(config, cameras)
        self._config = config
        self._points = points
        self._now_ns = now_ns
        self._on_snapshot = on_snapshot
        self._complete_wait_s = complete_wait_s
        self._changed = threading.Condition()  # guards the fields down to the blank line
        self._mailbox: FrameSet | None = None
        self._job: _Job | None = None
        self._result: tuple[_Job, GaussianScene] | None = None
        self._refining = False
        self._reset_wanted = False
        self._stopping = False
        self._snapshot: Snapshot | None = None
        self._status = Status(cameras_expected=len(cameras))

        self.first_report: BootstrapReport | None = None  # of the newest first scene
        self._timings, self._drops = Timings(), Drops()
        self._warned: dict[str, float] = {}
        self._scene_id, self._keys_started = 0, 0
        self._timeline: Timeline | None = None  # written by the motion thread only
        self._first_seen_s: float | None = None  # when the first usable frame set came
        self._threads = [threading.Thread(target=self._guarded, args=(work,), name=name)
                         for name, work in (('motion', self._motion_turn),
                                            ('refine', self._refine_turn))]

    @property
    def rasterizer(self):
        """The rasteriser, for views."""
        return self._stages.rasterizer

    @property
    def working_cameras(self) -> dict[str, Camera]:
        """The cameras of the undistorted, resized pictures."""
        return self._stages.cameras

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Call off the work in hand and end the threads; the newest snapshot stays readable."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def offer(self, frame_set: FrameSet) -> None:
        """Hand over a frame set (pictures may be encoded); an unread older one is dropped."""
        with self._changed:
            if self._mailbox is not None:
                self._drops.add('superseded')
            self._mailbox = frame_set
            self._changed.notify_all()

    def reset(self) -> None:
        """Forget the scene and make a new first one from the next frame set."""
        with self._changed:
            self._reset_wanted = True
            self._changed.notify_all()

    def snapshot(self) -> Snapshot | None:
        """The newest scene to show, None before the first."""
        with self._changed:
            return self._snapshot

    def view(self, camera: Camera) -> View | None:
        """What `camera` (no distortion) sees of the newest scene; None before the first."""
        snapshot = self.snapshot()
        if snapshot is None:
            return None
        age = (self._now_ns() - snapshot.stamp_ns) * 1e-9
        return render_view(self.rasterizer, snapshot.scene, camera, snapshot.stamp_ns, age)

    def status(self) -> Status:
        """How things stand now."""
        with self._changed:
            status, shown = self._status, self._snapshot
        status = replace(status, stages=self._timings.snapshot(), drops=self._drops.snapshot())
        if shown is None:
            return status
        return replace(
            status, stamp_ns=shown.stamp_ns, scene_id=shown.scene_id, sequence=shown.sequence,
            scene_age_s=(self._now_ns() - shown.stamp_ns) * 1e-9,
            key_sequence=shown.key_sequence, gaussians=len(shown.scene))

    # -- the two threads ---------------------------------------------------------------------

    def _guarded(self, turn: Callable[[], bool]) -> None:
        """Run `turn` until it returns False; an error costs one turn, never the thread."""
        while True:
            try:
                if not turn():
                    return
            except Cancelled:
                log.debug('%s thread: work called off', threading.current_thread().name)
            except InputError as error:
                self._drops.add('unusable')
                self._warn(str(error))
            except Exception as error:
                self._drops.add('internal_error')
                self._warn(f'internal error in the {threading.current_thread().name} thread; '
                           f'the scene is kept: {error!r}', exc_info=True)

    def _motion_turn(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._reset_wanted
                                   or self._mailbox is not None or self._result is not None)
            if self._stopping:
                return False
            frame_set, self._mailbox = self._mailbox, None
            result, self._result = self._result, None
            reset, self._reset_wanted = self._reset_wanted, False
        if reset:
            self._forget()
        if result is not None:
            self._swap_in(*result)
        if frame_set is not None:
            self._process(frame_set)
        return True

    def _refine_turn(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._job is not None)
            if self._stopping:
                return False
            job, self._job = self._job, None
            self._refining = True
        try:
            with self._timings.stage('refine'):
                refined = self._stages.refiner.refine(
                    job.scene, job.frame_set, job.number,
                    lambda: self._stopping or job.void(self._timeline))
        except Cancelled:
            self._count('refinements_discarded')
        except FloatingPointError as error:
            log.warning('refinement of key %d discarded, the last good key stays: %s',
                        job.number, error)
            self._count('refinements_discarded')
        else:
            with self._changed:
                self._result = (job, refined.scene)
                self._changed.notify_all()
        finally:
            with self._changed:
                self._refining = False
        return True

    # -- what the motion thread does -----------------------------------------------------------

    def _process(self, frame_set: FrameSet) -> None:
        with self._timings.stage('decode'):
            prepared = self._stages.preparer.prepare(frame_set)
        for problem in prepared.problems:
            self._drops.add('unusable_picture')
            self._warn(problem)
        if not prepared.images:
            self._drops.add('no_picture')
            return
        self._update(cameras_in_last_set=len(prepared.images))
        timeline = self._timeline
        if timeline is None:
            if self._complete_enough(prepared):
                self._begin(prepared)
            return
        if prepared.stamp_ns == timeline.newest.stamp_ns:
            self._drops.add('duplicate_stamp')
            return
        if prepared.stamp_ns < timeline.newest.stamp_ns:
            self._drops.add('time_jump')
        with self._timings.stage('motion'):
            moved = timeline.advance(prepared)
        self._show(timeline)
        processed = self._count('frame_sets_processed')
        interval = self._config.key_interval
        if interval > 0 and processed % interval == 0:
            self._ask_for_refinement(moved.scene, prepared)

    def _complete_enough(self, prepared: FrameSet) -> bool:
        """Whether the first scene can be made of `prepared`: all cameras, or waited in vain."""
        absent = sorted(set(self._stages.cameras) - set(prepared.images))
        if not absent:
            return True
        now = time.monotonic()
        self._first_seen_s = now if self._first_seen_s is None else self._first_seen_s
        if now - self._first_seen_s < self._complete_wait_s:
            self._drops.add('incomplete_first')
            self._update(message=f'waiting for {", ".join(absent)} to make the first scene')
            return False
        self._warn(f'first scene: made without {", ".join(absent)}, of which no picture came in '
                   f'{self._complete_wait_s:.0f} s; what only they see is missing')
        return True

    def _begin(self, prepared: FrameSet) -> None:
        self._update(state=State.BOOTSTRAP, message='making the first scene', progress=0.0)

        def progress(stage: str, done: float) -> None:
            if self._stopping or self._reset_wanted:
                raise Cancelled
            self._update(message=stage, progress=done)
        try:
            with self._timings.stage('warm_up'):
                self._stages.rasterizer.warm_up()  # or views and keys would wait for compilers
            with self._timings.stage('bootstrap'):
                first = self._stages.first_scene(prepared, self._points, progress)
        except Cancelled:
            raise
        except Exception as error:  # told by the thread's guard; the state must say it, too
            self._update(state=State.FAILED, message=str(error) or repr(error))
            raise
        self._scene_id += 1
        self.first_report = first.report
        self._timeline = Timeline(self._stages.new_motion, first.scene, prepared, self._scene_id)
        self._show(self._timeline)
        self._update(state=State.STREAMING, message='', progress=1.0)
        log.info('first scene of %d Gaussians after %.1f s (stopped by %s)', len(first.scene),
                 first.report.seconds, first.report.stopped_by)

    def _ask_for_refinement(self, scene: GaussianScene, prepared: FrameSet) -> None:
        with self._changed:
            busy = self._refining or self._job is not None or self._result is not None
            if not busy:
                self._keys_started += 1
                self._job = _Job(self._timeline, self._timeline.jumps, self._keys_started, scene,
                                 prepared)
                self._changed.notify_all()
        if busy:
            self._drops.add('key_while_refining')

    def _swap_in(self, job: _Job, refined: GaussianScene) -> None:
        if job.void(self._timeline):
            self._count('refinements_discarded')
            return
        with self._timings.stage('swap'):
            self._timeline.take_key(refined, job.frame_set)
        self._show(self._timeline)
        self._count('keys_refined')

    def _forget(self) -> None:
        self._timeline = self._first_seen_s = None
        self._update(state=State.WAITING, message='reset: waiting for a frame set', progress=0.0)
        with self._changed:
            self._snapshot = None

    def _show(self, timeline: Timeline) -> None:
        snapshot = timeline.snapshot
        with self._changed:
            self._snapshot = snapshot
        self._update(chain_breaks=timeline.chain_breaks)
        if self._on_snapshot is not None:
            self._on_snapshot(snapshot)

    def _count(self, name: str) -> int:
        with self._changed:
            value = getattr(self._status, name) + 1
            self._status = replace(self._status, **{name: value})
        return value

    def _warn(self, message: str, **options) -> None:
        """Log `message`, at most every few seconds for one origin (what stands before ':')."""
        origin, now = message.split(':')[0], time.monotonic()
        if now - self._warned.get(origin, -_WARN_EVERY_S) >= _WARN_EVERY_S:
            self._warned[origin] = now
            log.warning('%s', message, **options)

    def _update(self, **changes) -> None:
        with self._changed:
            self._status = replace(self._status, **changes)
