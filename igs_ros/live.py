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
from dataclasses import dataclass, field, replace

from igs_ros.bootstrap import BootstrapReport
from igs_ros.camera import Camera
from igs_ros.config import Config
from igs_ros.errors import Cancelled, InputError
from igs_ros.frames import FrameSet
from igs_ros.pipeline import (
    Snapshot,
    Stages,
    State,
    advanced,
    first_snapshot,
    with_new_key,
)
from igs_ros.raster import render_view
from igs_ros.scene import GaussianScene
from igs_ros.timing import Drops, StageTime, Timings
from igs_ros.view import View

log = logging.getLogger(__name__)
_WARN_EVERY_S = 5.0


@dataclass(frozen=True)
class Status:
    """The state of a live pipeline, for people and monitors."""

    state: State = State.WAITING
    message: str = ''
    stamp_ns: int = 0  # of the frame set shown
    scene_age_s: float = 0.0  # now - stamp
    scene_id: int = 0
    key_sequence: int = 0
    sequence: int = 0
    gaussians: int = 0
    cameras_expected: int = 0
    cameras_in_last_set: int = 0
    frame_sets_processed: int = 0
    keys_refined: int = 0
    refinements_discarded: int = 0
    chain_breaks: int = 0
    progress: float = 0.0  # of the first scene, 0..1
    stages: dict[str, StageTime] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Job:
    """A key frame on its way through the refine thread."""

    epoch: int  # results of an older epoch (before a reset or a jump in time) are void
    number: int
    scene: GaussianScene
    frame_set: FrameSet


class LivePipeline:
    """A reconstruction that never blocks its callers.

    config: settings; cameras: calibrated raw cameras that feed the scene; points: sparse `Points`
    for the first scene; now_ns: clock of the stamps; on_snapshot: called in the motion thread
    with every new snapshot, must not block.
    """

    def __init__(self, config: Config, cameras: Mapping[str, Camera], *, points=None,
                 now_ns: Callable[[], int] = time.time_ns,
                 on_snapshot: Callable[[Snapshot], None] | None = None):
        self._stages = Stages(config, cameras)
        self._config = config
        self._points = points
        self._now_ns = now_ns
        self._on_snapshot = on_snapshot
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
        self._scene_id, self._epoch, self._keys_started = 0, 0, 0
        self._motion = self._follower = self._last_set = None  # motion thread only
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
            except Exception:
                self._drops.add('internal_error')
                log.exception('internal error in the %s thread; the scene is kept',
                              threading.current_thread().name)

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
                    lambda: self._stopping or job.epoch != self._epoch)
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
        if self._follower is None:
            self._begin(prepared)
            return
        if prepared.stamp_ns == self._last_set.stamp_ns:
            self._drops.add('duplicate_stamp')
            return
        if prepared.stamp_ns < self._last_set.stamp_ns:
            self._follow_jump(prepared.stamp_ns)
        with self._timings.stage('motion'):
            self._motion.observe(prepared)
            moved = self._follower.move_to(prepared)
        self._last_set = prepared
        self._show(advanced(self._snapshot, moved))
        processed = self._count('frame_sets_processed')
        self._update(chain_breaks=self._motion.counts.get('chain_breaks', 0))
        interval = self._config.key_interval
        if interval > 0 and processed % interval == 0:
            self._ask_for_refinement(moved.scene, prepared)

    def _begin(self, prepared: FrameSet) -> None:
        self._update(state=State.BOOTSTRAP, message='making the first scene', progress=0.0)

        def progress(stage: str, done: float) -> None:
            if self._stopping:
                raise Cancelled
            self._update(message=stage, progress=done)
        try:
            with self._timings.stage('bootstrap'):
                first = self._stages.first_scene(prepared, self._points, progress)
        except InputError as error:
            self._update(state=State.FAILED, message=str(error))
            raise
        self._scene_id += 1
        self.first_report = first.report
        self._motion = self._stages.new_motion()
        self._motion.observe(prepared)
        self._follower = self._motion.follow(first.scene, prepared)
        self._last_set = prepared
        self._show(first_snapshot(first.scene, prepared.stamp_ns, self._scene_id))
        self._update(state=State.STREAMING, message='', progress=1.0)
        log.info('first scene of %d Gaussians after %.1f s (stopped by %s)', len(first.scene),
                 first.report.seconds, first.report.stopped_by)

    def _ask_for_refinement(self, scene: GaussianScene, prepared: FrameSet) -> None:
        with self._changed:
            busy = self._refining or self._job is not None or self._result is not None
            if not busy:
                self._keys_started += 1
                self._job = _Job(self._epoch, self._keys_started, scene, prepared)
                self._changed.notify_all()
        if busy:
            self._drops.add('key_while_refining')

    def _swap_in(self, job: _Job, refined: GaussianScene) -> None:
        if job.epoch != self._epoch:
            self._count('refinements_discarded')
            return
        with self._timings.stage('swap'):
            self._follower = self._motion.follow(refined, job.frame_set)
            moved = self._follower.move_to(self._last_set)
        self._show(with_new_key(self._snapshot, refined, job.frame_set.stamp_ns, moved))
        self._count('keys_refined')
        self._update(chain_breaks=self._motion.counts.get('chain_breaks', 0))

    def _follow_jump(self, stamp_ns: int) -> None:
        """Go on from the scene as shown, as if it had been seen just before `stamp_ns`."""
        log.warning('stamps jumped back by %.2f s (a looping recording?): the scene is kept',
                    (self._last_set.stamp_ns - stamp_ns) * 1e-9)
        self._drops.add('time_jump')
        self._epoch += 1
        before = replace(self._last_set, stamp_ns=stamp_ns - 1)
        self._motion = self._stages.new_motion()
        self._motion.observe(before)
        shown = self._snapshot.scene
        self._follower = self._motion.follow(shown, before)
        self._show(with_new_key(self._snapshot, shown, before.stamp_ns,
                                self._follower.move_to(before)))

    def _forget(self) -> None:
        self._epoch += 1
        self._motion = self._follower = self._last_set = None
        self._update(state=State.WAITING, message='reset: waiting for a frame set', progress=0.0)
        with self._changed:
            self._snapshot = None

    def _show(self, snapshot: Snapshot) -> None:
        with self._changed:
            self._snapshot = snapshot
        if self._on_snapshot is not None:
            self._on_snapshot(snapshot)

    def _count(self, name: str) -> int:
        with self._changed:
            value = getattr(self._status, name) + 1
            self._status = replace(self._status, **{name: value})
        return value

    def _warn(self, message: str) -> None:
        """Log `message`, at most every few seconds for one origin (what stands before ':')."""
        origin, now = message.split(':')[0], time.monotonic()
        if now - self._warned.get(origin, -_WARN_EVERY_S) >= _WARN_EVERY_S:
            self._warned[origin] = now
            log.warning('%s', message)

    def _update(self, **changes) -> None:
        with self._changed:
            self._status = replace(self._status, **changes)
