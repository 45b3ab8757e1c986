# SPDX-License-Identifier: Apache-2.0
"""What the threads of a live run hand each other, behind one lock."""
from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np

from igs_ros.core.frames import FrameSet, PictureProblem, RawFrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import Moved, Snapshot
from igs_ros.core.status import Decoding, State, Status
from igs_ros.core.timing import Drops, Timings
from igs_ros.live.health import Facts
from igs_ros.stages.motion.models import Follower
from igs_ros.stages.refine.reference import ReferenceImages
from igs_ros.stages.refine.refiner import Refined

log = logging.getLogger(__name__)
_WARN_EVERY_S = 10.0
Follow = Callable[[GaussianScene, FrameSet], Follower]


@dataclass(frozen=True, eq=False)
class Job:
    """A moved scene on its way through the refine clock."""

    epoch: int  # of the scene; a result from before a reset or a jump in time is void
    number: int  # of the key; for a polish, of all polishes
    scene: GaussianScene
    moved: np.ndarray  # [M] uint32: rows that motion moved since the key
    reference: ReferenceImages | None  # what the key was fitted to
    frame_set: FrameSet  # prepared; what `scene` shows
    follow: Follow  # makes what will move the result
    polish: bool = False  # of the static part, in spare time
    catch_up: bool = False  # the first after frame sets that were held


@dataclass(frozen=True, eq=False)
class Result:
    """What came of a job, ready to be swapped in."""

    job: Job
    refined: Refined
    follower: Follower  # of the refined scene


@dataclass(frozen=True, eq=False)
class ForMotion:
    """What the motion clock finds at the beginning of a turn."""

    reset: bool
    result: Result | None
    frame_set: RawFrameSet | None


class Exchange:
    """Boxes of one for frame sets, jobs and results: newer ones replace older ones.

    Also holds what is shown, the status, drops and times. Safe to use from any thread.
    now: a steady clock, s.
    """

    def __init__(self, cameras_expected: int, now: Callable[[], float] = time.monotonic):
        self._now = now
        self.timings, self.drops = Timings(), Drops()
        self._changed = threading.Condition()
        self._frame_set: RawFrameSet | None = None
        self._job: Job | None = None
        self._spare: Job | None = None  # may be polished
        self._result: Result | None = None
        self._moving = False  # motion is at work
        self._refining = False  # a key, not a polish
        self._reset_wanted = False
        self._snapshot: Snapshot | None = None
        self._status = Status(cameras_expected=cameras_expected)
        self._warned: dict[str, float] = {}
        self._changed_s = now()  # state, message or progress
        self._offered_s = 0.0  # when the newest frame set came
        self._owed_s: float | None = None  # the first one since the scene last followed one
        self._owed, self._lost, self._reason = 0, Counter(), ''
        self.stopping = False  # read anywhere, written by `stop`
        self.epoch = 0  # read anywhere, written by the motion clock

    # -- from outside ----------------------------------------

    def offer(self, frame_set: RawFrameSet) -> None:
        """Put a frame set into the mailbox; an unread older one is dropped."""
        with self._changed:
            self._count(frame_sets_offered=1)
            if self.stopping:
                self.drops.add('called_off')
                return
            self._owed += 1
            self._offered_s = self._now()
            self._owed_s = self._offered_s if self._owed_s is None else self._owed_s
            if self._frame_set is not None:
                self.lose('superseded')
            self._frame_set = frame_set
            self._changed.notify_all()

    def ask_for_reset(self) -> None:
        """Have the motion clock forget the scene."""
        with self._changed:
            self._reset_wanted = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Have both clocks end after, or within, the work in hand."""
        with self._changed:
            self.stopping = True
            self._changed.notify_all()

    def clear(self) -> None:
        """After both clocks have ended: count what nobody will take any more."""
        with self._changed:
            if self._frame_set is not None:
                self.drops.add('called_off')
            jobs = [self._job, self._result and self._result.job]
            self._frame_set = self._job = self._result = self._spare = None
        for job in filter(None, jobs):
            self.discard(job, 'key_void')

    @property
    def reset_wanted(self) -> bool:
        """Whether the scene is to be forgotten."""
        return self._reset_wanted

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest scene to show, None before the first."""
        with self._changed:
            return self._snapshot

    def status(self) -> Status:
        """What the clocks have noted, with times, drops and queues."""
        with self._changed:
            status = self._status
            queues = {'frame_sets': int(self._frame_set is not None),
                      'keys': int(self._job is not None),
                      'refined': int(self._result is not None)}
        return replace(status, queues=queues, stages=self.timings.snapshot(),
                       drops=self.drops.snapshot())

    def facts(self) -> Facts:
        """What the clocks have noted of their progress."""
        with self._changed:
            now, status = self._now(), self._status
            return Facts(status.state, status.message, status.progress, now - self._changed_s,
                         self._owed, 0.0 if self._owed_s is None else now - self._owed_s,
                         dict(self._lost), self._reason, held=status.held)

    @property
    def idle(self) -> bool:
        """Whether nothing waits, motion rests and no key is being refined."""
        with self._changed:
            return not self._moving and self._frame_set is None and self._result is None \
                and not self._busy_with_key()

    # -- for the motion clock ----------------------------------------

    def wait_for_motion(self) -> ForMotion | None:
        """Wait for something to do; None at the end."""
        with self._changed:
            self._moving = False
            self._changed.wait_for(lambda: self.stopping or self._reset_wanted
                                   or self._frame_set is not None or self._result is not None)
            if self.stopping:
                return None
            found = ForMotion(self._reset_wanted, self._result, self._frame_set)
            self._frame_set, self._result, self._reset_wanted = None, None, False
            self._moving = True
            return found

    def show(self, snapshot: Snapshot | None) -> None:
        """Show this from now on."""
        with self._changed:
            self._snapshot = snapshot

    def ask_for_key(self, moved: Moved, reference: ReferenceImages | None, frame_set: FrameSet,
                    follow: Follow, catch_up: bool = False) -> bool:
        """Have a moved scene refined, unless the last key is not done yet; whether it will be.

        The arguments are fields of `Job`.
        """
        with self._changed:
            busy = self._busy_with_key()
            if not busy:
                number = self._count(keys_asked=1).keys_asked
                self._job = Job(self.epoch, number, moved.scene, moved.rows, reference, frame_set,
                                follow, catch_up=catch_up)
                self._changed.notify_all()
        if busy:
            self.drops.add('key_while_refining')
        return not busy

    def offer_spare(self, moved: Moved, reference: ReferenceImages | None, frame_set: FrameSet,
                    follow: Follow) -> None:
        """Have a moved scene polished when there is nothing better to do."""
        with self._changed:
            self._spare = Job(self.epoch, 0, moved.scene, moved.rows, reference, frame_set, follow,
                              polish=True)
            self._changed.notify_all()

    def _busy_with_key(self) -> bool:
        waiting = self._result is not None and not self._result.job.polish
        return self._refining or self._job is not None or waiting

    # -- for the refine clock ----------------------------------------

    def wait_for_refining(self) -> Job | None:
        """Wait for a key, or without one for a scene to polish; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self.stopping or self._job is not None
                                   or self._spare is not None and self._result is None)
            if self.stopping:
                return None
            job, self._job = self._job, None
            if job is None:
                job, self._spare = self._spare, None
            self._refining = not job.polish
            return job

    def void(self, job: Job) -> bool:
        """Whether nobody has any use for the result of `job`; a key calls off a polish."""
        return self.stopping or job.epoch != self.epoch or (job.polish and self._job is not None)

    def finish(self, result: Result | None) -> None:
        """Hand over the result of the job in hand, None if there is none."""
        with self._changed:
            self._refining = False
            if result is not None:
                self._result = result
                self._changed.notify_all()

    # -- what is told ----------------------------------------

    def update(self, **changes) -> None:
        """Change fields of the status."""
        with self._changed:
            before, self._status = self._status, replace(self._status, **changes)
            if {'state', 'message', 'progress'} & set(changes):
                self._changed_s = self._now()
            # a scene that is held on purpose owes nothing
            if before.held or self._status.held or changes.get('state') == State.WAITING:
                self._followed()

    def count(self, **more: int) -> Status:
        """Add to counters of the status."""
        with self._changed:
            return self._count(**more)

    def _count(self, **more: int) -> Status:
        self._status = replace(self._status, **{
            name: getattr(self._status, name) + number for name, number in more.items()})
        if 'frame_sets_processed' in more or 'first_scenes' in more:
            self._followed()
        return self._status

    def _followed(self) -> None:
        """The scene is up to date but for the frame set that waits."""
        waits = self._frame_set is not None
        self._owed, self._owed_s = int(waits), self._offered_s if waits else None
        self._lost, self._reason = Counter(), ''

    def lose(self, cause: str, reason: str = '') -> None:
        """Count a frame set, or a picture ('cause:camera'), that is lost for `cause`.

        reason: for people, '' = the cause says it all.
        """
        self.drops.add(cause)
        with self._changed:
            self._lost[cause] += 1
            self._reason = reason or self._reason

    def looked_at(self, good: Collection[str], problems: Collection[PictureProblem]) -> None:
        """Count the pictures of a frame set: cameras with a good one, and what the others had."""
        with self._changed:
            known = dict(self._status.decoding)
            for name in good:
                if name in known and known[name].in_a_row:
                    known[name] = replace(known[name], in_a_row=0)
            for problem in problems:
                old = known.get(problem.camera, Decoding())
                known[problem.camera] = Decoding(old.bad + 1, old.in_a_row + 1, problem.text,
                                                 self._now())
            self._status = replace(self._status, decoding=known)
        for problem in problems:
            cause = f'{problem.cause}:{problem.camera}'
            self.lose(cause, problem.text)
            self.warn(problem.text, cause)

    def discard(self, job: Job, cause: str) -> None:
        """Count a refinement that was thrown away for `cause` (key_*), or a polish."""
        if job.polish:
            self.drops.add('polish_discarded')
            return
        self.drops.add(cause)
        self.count(refinements_discarded=1)

    def warn(self, message: str, origin: str | None = None, **options) -> None:
        """Log `message`, at most every few seconds for one origin (or what stands before ':')."""
        origin, now = origin or message.split(':')[0], time.monotonic()
        with self._changed:
            due = now - self._warned.get(origin, -_WARN_EVERY_S) >= _WARN_EVERY_S
            if due:
                self._warned = {old: at for old, at in self._warned.items()
                                if now - at < _WARN_EVERY_S} | {origin: now}
        if due:
            log.warning('%s', message, **options)
