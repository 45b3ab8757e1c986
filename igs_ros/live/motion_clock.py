# SPDX-License-Identifier: Apache-2.0
"""The motion clock: the newest frame set, at once; refined keys, as soon as they are there."""
from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from igs_ros.core.errors import Cancelled, InputError
from igs_ros.core.frames import FrameSet, RawFrameSet
from igs_ros.core.points import Points
from igs_ros.core.snapshot import Snapshot, new_scene_id
from igs_ros.core.status import State
from igs_ros.core.timing import span
from igs_ros.live.budget import Budget
from igs_ros.live.exchange import Exchange, Result
from igs_ros.live.streams import Stream
from igs_ros.pipeline import Stages
from igs_ros.stages.bootstrap.first_scene import BootstrapReport
from igs_ros.stages.motion.models import MotionModel
from igs_ros.stages.plausibility import Change, Checked, PlausibilityCheck
from igs_ros.stages.schedule import KeySchedule
from igs_ros.stages.timeline import Timeline

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """How the first scene comes about, and who hears of every scene."""

    points: Points | None  # sparse points for the first scene
    complete_wait_s: float  # how long it waits for a frame set of all cameras
    on_snapshot: Callable[[Snapshot], None]  # called in the motion thread, must not block


class MotionClock:
    """Takes turns in one thread; see `igs_ros.live`."""

    def __init__(self, stages: Stages, exchange: Exchange, budget: Budget, stream: Stream,
                 start: Start):
        self._stages = stages
        self._exchange = exchange
        self._budget = budget
        self._stream = stream
        self._start = start
        config = stages.config
        self._schedule = KeySchedule(config.key_interval, config.key_frames, config.early_key)
        self._sudden = False  # a key must come as soon as it can
        self._plausibility = PlausibilityCheck(config.hold_s)
        self._polishes = config.refine.polish_iterations > 0
        self._timeline: Timeline | None = None
        self._model: MotionModel | None = None  # of the timeline
        self._first_seen_s: float | None = None  # when the first usable frame set came
        self.first_report: BootstrapReport | None = None  # of the newest first scene

    def turn(self) -> bool:
        """Wait for work and do it; False at the end."""
        exchange = self._exchange
        found = exchange.wait_for_motion()
        if found is None:
            return False
        begun_s = time.perf_counter()
        if found.reset:
            self._forget()
        if found.result is not None:
            self._swap_in(found.result)
        if found.frame_set is not None and self._take(found.frame_set):
            self._keep_time(time.perf_counter() - begun_s)
        return True

    def _keep_time(self, seconds: float) -> None:
        if self._budget.note('motion', seconds):
            self._model.set_effort(self._budget.motion)

    # -- frame sets ----------------------------------------

    def _take(self, frame_set: RawFrameSet) -> bool:
        """Whether `frame_set` has moved the scene; what it did else is counted."""
        try:
            if self._timeline is None:
                self._begin_with(frame_set)
                return False
            with span('update'):
                return self._update(frame_set)
        except Cancelled:
            self._exchange.drops.add('called_off')
        except InputError as error:
            self._exchange.warn(str(error))
            self._exchange.lose('unusable', str(error))
        except Exception as error:
            self._exchange.warn(f'internal error in the motion thread; the scene is kept: '
                                f'{error!r}', exc_info=True)
            self._exchange.lose('internal_error', repr(error))
        except BaseException:  # ends the thread
            self._exchange.drops.add('internal_error')
            raise
        return False

    def _prepared(self, frame_set: RawFrameSet) -> FrameSet | None:
        """The working pictures; None where no picture can be used."""
        with span('decode'):
            prepared = self._stages.preparer.prepare(frame_set)
        self._exchange.looked_at(prepared.images, prepared.problems)
        if not prepared.images:
            self._exchange.lose('no_picture')
            return None
        self._exchange.update(cameras_in_last_set=len(prepared.images),
                              spread_s=prepared.spread_ns * 1e-9)
        return prepared

    def _update(self, frame_set: RawFrameSet) -> bool:
        exchange, timeline = self._exchange, self._timeline
        prepared = self._prepared(frame_set)
        if prepared is None:
            return False
        if prepared.stamp_ns == timeline.newest.stamp_ns:
            exchange.lose('duplicate_stamp')
            return False
        checked = self._plausible(prepared)
        if checked.held:
            exchange.drops.add('held')
            return False
        prepared = checked.frame_set
        if prepared.stamp_ns < timeline.newest.stamp_ns:
            exchange.drops.add('time_jump')
            exchange.epoch += 1
        elif checked.change is Change.BACK:
            exchange.epoch += 1  # keys in the making are of another scene
        self._sudden |= self._schedule.sudden(prepared, timeline.newest, checked.change)
        with span('motion'):
            moved = timeline.advance(prepared, checked.change)
        self._show()
        processed = exchange.count(frame_sets_processed=1).frame_sets_processed
        if self._schedule.due(processed) or self._sudden:
            asked = exchange.ask_for_key(moved, timeline.reference, prepared, timeline.follow,
                                         checked.change is not Change.NONE)
            self._sudden &= not asked
        if self._polishes and checked.change is Change.NONE:  # else a key is on its way
            exchange.offer_spare(moved, timeline.reference, prepared, timeline.follow)
        return True

    def _plausible(self, prepared: FrameSet) -> Checked:
        """The set without its implausible pictures, which are told and counted."""
        exchange = self._exchange
        with span('plausibility'):
            checked = self._plausibility.check(prepared)
        for note in checked.notes:
            exchange.warn(note)
        for name in checked.implausible:
            exchange.drops.add(f'implausible:{name}')
        exchange.update(implausible=dict(checked.implausible), held=checked.held)
        return checked

    # -- the first scene ----------------------------------------

    def _begin_with(self, frame_set: RawFrameSet) -> None:
        prepared = self._prepared(frame_set)
        if prepared is not None and self._complete_enough(prepared):
            self._begin(prepared)

    def _complete_enough(self, prepared: FrameSet) -> bool:
        """Whether the first scene can be made of `prepared`: all cameras, or waited in vain."""
        absent = sorted(set(self._stages.cameras) - set(prepared.images))
        if not absent:
            return True
        now, wait_s = time.monotonic(), self._start.complete_wait_s
        self._first_seen_s = now if self._first_seen_s is None else self._first_seen_s
        if now - self._first_seen_s < wait_s:
            self._exchange.drops.add('incomplete_first')
            self._exchange.update(
                message=f'waiting for {", ".join(absent)} to make the first scene')
            return False
        self._exchange.warn(
            f'first scene: made without {", ".join(absent)}, of which no picture came in '
            f'{wait_s:.0f} s; what only they see is missing')
        return True

    def _begin(self, prepared: FrameSet) -> None:
        exchange = self._exchange
        exchange.update(state=State.BOOTSTRAP, message='making the first scene', progress=0.0)

        def progress(stage: str, done: float) -> None:
            if exchange.stopping or exchange.reset_wanted:
                raise Cancelled
            exchange.update(message=stage, progress=done)
        try:
            self._stages.warm_up(progress)  # or views and keys would wait for compilers
            with span('bootstrap'):
                first = self._stages.first_scene(prepared, self._start.points, progress)
        except Cancelled:
            raise
        except Exception as error:  # told by `_take`; the state must say it, too
            exchange.update(state=State.FAILED, message=str(error) or repr(error))
            raise
        self.first_report = first.report
        exchange.count(first_scenes=1)
        self._plausibility = PlausibilityCheck(self._stages.config.hold_s)
        self._plausibility.check(prepared)  # what comes next is compared with it
        self._timeline = Timeline(self._new_motion, first.scene, prepared, new_scene_id())
        self._show()
        exchange.update(state=State.STREAMING, message='', progress=1.0)
        log.info('first scene of %d Gaussians after %.1f s (stopped by %s)', len(first.scene),
                 first.report.seconds, first.report.stopped_by)

    def _new_motion(self) -> MotionModel:
        self._model = self._stages.new_motion()
        if self._budget.on:
            self._model.set_effort(self._budget.motion)
        return self._model

    def _forget(self) -> None:
        self._timeline = self._first_seen_s = None
        self._sudden = False
        self._exchange.epoch += 1
        self._exchange.update(state=State.WAITING, message='reset: waiting for a frame set',
                              progress=0.0, implausible={}, held='')
        self._exchange.show(None)

    # -- keys and what is shown ----------------------------------------

    def _swap_in(self, result: Result) -> None:
        exchange, job, refined = self._exchange, result.job, result.refined
        if exchange.void(job):
            exchange.discard(job, 'key_void')
            return
        try:
            with span('swap'):
                self._timeline.take_key(refined.scene, job.frame_set, refined.reference,
                                        result.follower)
            self._show()
        except Exception as error:
            exchange.warn(f'internal error while a key was swapped in; the last key stays: '
                          f'{error!r}', exc_info=True)
            exchange.discard(job, 'key_error')
            return
        exchange.count(**{'polished' if job.polish else 'keys_refined': 1})

    def _show(self) -> None:
        snapshot = self._timeline.snapshot
        self._stream.finish()
        self._exchange.show(snapshot)
        self._exchange.update(chain_breaks=self._timeline.chain_breaks)
        self._start.on_snapshot(snapshot)
