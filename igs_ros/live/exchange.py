# SPDX-License-Identifier: Apache-2.0
"""What the threads of a live run hand each other, behind one lock."""
from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from igs_ros.core.config import Config
from igs_ros.core.frames import PictureProblem, RawFrameSet
from igs_ros.core.logs import Throttle
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import Snapshot
from igs_ros.core.status import Decoding, State, Status
from igs_ros.core.timing import Drops, Timings
from igs_ros.live.health import Facts
from igs_ros.stages.steps import Key, KeyJob

log = logging.getLogger(__name__)
_WARN_EVERY_S = 10.0
_PAUSED = 'paused: no frame set is taken until it is resumed'


@dataclass(frozen=True, eq=False)
class Refinement:
    """Work for the refine worker."""

    job: KeyJob
    polish: bool = False  # of what stands still, in spare time


@dataclass(frozen=True, eq=False)
class Finished:
    """What came of a refinement, ready to be taken."""

    work: Refinement
    key: Key


@dataclass(frozen=True, eq=False)
class ForMotion:
    """What the motion worker finds at the beginning of a round."""

    reset: bool
    refined: Finished | None
    frame_set: RawFrameSet | None
    loaded: GaussianScene | None = None  # with `reset`: what the next first scene is
    config: Config | None = None  # to go on with
    key_wanted: bool = False  # of the next frame set, whatever the schedule says


class Exchange:
    """Boxes of one for frame sets, jobs and results: newer ones replace older ones.

    Also holds what is shown, which it hands to `listeners`, the status, drops and times. Safe to
    use from any thread.

    Args:
        cameras_expected: how many cameras the rig has.
        is_current: whether a job is still of the scene that is followed.
        listeners: called with every new snapshot in the motion thread; must not block.
        now: a steady clock, s.
    """

    def __init__(self, cameras_expected: int,
                 is_current: Callable[[KeyJob], bool] = lambda job: True,
                 listeners: Sequence[Callable[[Snapshot], None]] = (),
                 now: Callable[[], float] = time.monotonic):
        self._now = now
        self._is_current = is_current
        self.listeners = list(listeners)
        self.timings, self.drops = Timings(), Drops()
        self._changed = threading.Condition()
        self._frame_set: RawFrameSet | None = None
        self._job: KeyJob | None = None
        self._spare: KeyJob | None = None  # may be polished
        self._finished: Finished | None = None
        self._moving = False  # motion is at work
        self._refining = False  # a key, not a polish
        self._reset_wanted = False
        self._loaded: GaussianScene | None = None
        self._config: Config | None = None  # asked for, not yet in use
        self._key_wanted = False
        self._paused = False
        self._snapshot: Snapshot | None = None
        self._status = Status(cameras_expected=cameras_expected)
        self._warnings = Throttle(_WARN_EVERY_S)
        self._changed_s = now()  # state, message or progress
        self._offered_s = 0.0  # when the newest frame set came
        self._owed_s: float | None = None  # the first one since the scene last followed one
        self._owed, self._lost, self._reason = 0, Counter(), ''
        self.stopping = False  # read anywhere, written by `stop`

    # -- from outside ----------------------------------------

    def offer(self, frame_set: RawFrameSet) -> None:
        """Put a frame set into the mailbox; an unread older one is dropped."""
        with self._changed:
            self._count(frame_sets_offered=1)
            if self.stopping:
                self.drops.add('called_off')
                return
            if self._paused:
                self.drops.add('paused')
                return
            self._owed += 1
            self._offered_s = self._now()
            self._owed_s = self._offered_s if self._owed_s is None else self._owed_s
            if self._frame_set is not None:
                self.lose('superseded')
            self._frame_set = frame_set
            self._changed.notify_all()

    def ask_for_reset(self, loaded: GaussianScene | None = None) -> None:
        """Have the motion worker forget the scene, and begin with `loaded` if there is one."""
        with self._changed:
            self._reset_wanted, self._loaded = True, loaded
            self._changed.notify_all()

    def ask_for_key(self) -> None:
        """Have the next frame set that moves the scene make a key."""
        with self._changed:
            self._key_wanted = True
            self._changed.notify_all()

    def ask_for_config(self, config: Config) -> None:
        """Have the workers go on with other settings, each from its next round."""
        with self._changed:
            self._config = config
            self._changed.notify_all()

    @property
    def paused(self) -> bool:
        """Whether frame sets are dropped."""
        return self._paused

    def pause(self, paused: bool) -> None:
        """Drop frame sets from now on, or take them again."""
        with self._changed:
            self._paused = paused
            if paused and self._frame_set is not None:
                self._frame_set = None
                self.drops.add('paused')
            self._followed()

    def stop(self) -> None:
        """Have both workers end after, or within, the work in hand."""
        with self._changed:
            self.stopping = True
            self._changed.notify_all()

    def clear(self) -> None:
        """After both workers have ended: count what nobody will take any more."""
        with self._changed:
            if self._frame_set is not None:
                self.drops.add('called_off')
            waiting = [Refinement(self._job)] if self._job is not None else []
            waiting += [self._finished.work] if self._finished is not None else []
            self._frame_set = self._job = self._finished = self._spare = None
        for work in waiting:
            self.discard(work, 'key_void')

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
        """What the workers have noted, with times, drops and queues."""
        with self._changed:
            status = self._status
            queues = {'frame_sets': int(self._frame_set is not None),
                      'keys': int(self._job is not None),
                      'refined': int(self._finished is not None)}
        return replace(status, queues=queues, stages=self.timings.snapshot(),
                       drops=self.drops.snapshot())

    def facts(self) -> Facts:
        """What the workers have noted of their progress."""
        with self._changed:
            now, status = self._now(), self._status
            return Facts(status.state, status.message, status.progress, now - self._changed_s,
                         self._owed, 0.0 if self._owed_s is None else now - self._owed_s,
                         dict(self._lost), self._reason, held=status.held,
                         paused=_PAUSED if self._paused else '')

    @property
    def idle(self) -> bool:
        """Whether nothing waits, motion rests and no key is being refined."""
        with self._changed:
            return not self._moving and not self._asked and self._finished is None \
                and not self._busy_with_key()

    # -- for the motion worker ----------------------------------------

    def wait_for_motion(self) -> ForMotion | None:
        """Wait for something to do; None at the end."""
        with self._changed:
            self._moving = False
            self._changed.wait_for(lambda: self.stopping or self._asked
                                   or self._finished is not None)
            if self.stopping:
                return None
            found = ForMotion(self._reset_wanted, self._finished, self._frame_set, self._loaded,
                              self._config, self._key_wanted)
            self._frame_set = self._finished = self._loaded = self._config = None
            self._reset_wanted = self._key_wanted = False
            self._moving = True
            return found

    @property
    def _asked(self) -> bool:
        """Whether somebody wants something of the motion worker."""
        return self._reset_wanted or self._key_wanted or self._config is not None \
            or self._frame_set is not None

    def show(self, snapshot: Snapshot | None) -> None:
        """Show this from now on, and hand it to the listeners."""
        with self._changed:
            self._snapshot = snapshot
        if snapshot is not None:
            for listener in self.listeners:
                listener(snapshot)

    @property
    def takes_key(self) -> bool:
        """Whether the last key is done, so that another can be refined."""
        with self._changed:
            return not self._busy_with_key()

    def refine(self, job: KeyJob) -> None:
        """Have a moved scene refined."""
        with self._changed:
            self._count(keys_asked=1)
            self._job = job
            self._changed.notify_all()

    def offer_spare(self, job: KeyJob) -> None:
        """Have a moved scene polished when there is nothing better to do."""
        with self._changed:
            self._spare = job
            self._changed.notify_all()

    def _busy_with_key(self) -> bool:
        waiting = self._finished is not None and not self._finished.work.polish
        return self._refining or self._job is not None or waiting

    # -- for the refine worker ----------------------------------------

    def wait_for_refining(self) -> Refinement | None:
        """Wait for a key, or without one for a scene to polish; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self.stopping or self._job is not None
                                   or self._spare is not None and self._finished is None)
            if self.stopping:
                return None
            if self._job is not None:
                work, self._job = Refinement(self._job), None
            else:
                assert self._spare is not None  # what was waited for
                work, self._spare = Refinement(self._spare, polish=True), None
            self._refining = not work.polish
            return work

    def is_void(self, work: Refinement) -> bool:
        """Whether nobody has any use for what comes of `work`; a key calls off a polish."""
        return self.stopping or not self._is_current(work.job) \
            or (work.polish and self._job is not None)

    def finish(self, finished: Finished | None) -> None:
        """Hand over what came of the work in hand, None if there is nothing."""
        with self._changed:
            self._refining = False
            if finished is not None:
                self._finished = finished
                self._changed.notify_all()

    # -- what is told ----------------------------------------

    def update(self, **changes: Any) -> None:  # fields of `Status`
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
        """Count a frame set, or a picture ('cause:camera'), that is lost.

        Args:
            cause: what it is counted under.
            reason: human-readable, '' = the cause says it all.
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

    def discard(self, work: Refinement, cause: str) -> None:
        """Count a refinement that was thrown away for `cause` (key_*), or a polish."""
        if work.polish:
            self.drops.add('polish_discarded')
            return
        self.drops.add(cause)
        self.count(refinements_discarded=1)

    def warn(self, message: str, origin: str | None = None, exc_info: bool = False) -> None:
        """Log a message, at most every few seconds for one origin.

        Args:
            message: what to log.
            origin: what it is about; None: what stands before the first ':' of `message`.
            exc_info: log the traceback of the exception in hand, too.
        """
        if self._warnings.take(origin or message.split(':')[0]) is not None:
            log.warning('%s', message, exc_info=exc_info)
