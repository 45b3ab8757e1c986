# SPDX-License-Identifier: Apache-2.0
"""The motion worker: the newest frame set, at once; refined keys, as soon as they are there."""
from __future__ import annotations

import logging
import time

from igs_ros.core.config import Config
from igs_ros.core.errors import Cancelled, InputError
from igs_ros.core.frames import FrameSet, RawFrameSet
from igs_ros.core.points import Points
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import new_scene_id
from igs_ros.core.status import State
from igs_ros.core.timing import span
from igs_ros.live.budget import Budget
from igs_ros.live.exchange import Exchange, Finished
from igs_ros.live.streams import Stream
from igs_ros.pipeline import Pipeline
from igs_ros.stages.bootstrap.first_scene import BootstrapReport
from igs_ros.stages.plausibility import Change, Checked
from igs_ros.stages.steps import Update

log = logging.getLogger(__name__)


class MotionWorker:
    """Calls the pipeline in the motion thread; see `igs_ros.live`.

    Args:
        pipeline: what follows the frame sets.
        exchange: where frame sets and refined keys come from, and snapshots and jobs go to.
        budget: says what motion may cost, and is told what it took.
        stream: of the motion thread on a GPU.
        points: sparse points for the first scene.
        complete_wait_s: how long that waits for a frame set of all cameras.
    """

    def __init__(self, pipeline: Pipeline, exchange: Exchange, budget: Budget, stream: Stream,
                 points: Points | None, complete_wait_s: float):
        self._pipeline = pipeline
        self._exchange = exchange
        self._budget = budget
        self._stream = stream
        self._points = points
        self._complete_wait_s = complete_wait_s
        self._polishes = pipeline.stages.config.refine.polish_iterations > 0
        self._first_seen_s: float | None = None  # when the first usable frame set came
        self._loaded: GaussianScene | None = None  # what the first scene is
        self.first_report: BootstrapReport | None = None  # of the newest first scene
        if budget.on:
            pipeline.set_motion_effort(budget.motion)

    def run_once(self) -> bool:
        """Wait for work and do it; False at the end."""
        found = self._exchange.wait_for_motion()
        if found is None:
            return False
        begun_s = time.perf_counter()
        if found.config is not None:
            self._change(found.config)
        if found.reset:
            self._forget(found.loaded)
        if found.key_wanted:
            self._pipeline.ask_for_key()
        if found.refined is not None:
            self._take_key(found.refined)
        if found.frame_set is not None and self._process(found.frame_set) \
                and self._budget.note('motion', time.perf_counter() - begun_s):
            self._pipeline.set_motion_effort(self._budget.motion)
        return True

    def _change(self, config: Config) -> None:
        """Go on with other settings; what is being refined keeps its own."""
        self._pipeline.change(config)
        self._budget.change(config)
        self._pipeline.set_motion_effort(self._budget.motion)

    # -- frame sets ----------------------------------------

    def _process(self, frame_set: RawFrameSet) -> bool:
        """Whether `frame_set` has moved the scene; what else it did is counted."""
        try:
            if not self._pipeline.started:
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
        """The working images; None where no picture can be used."""
        prepared = self._pipeline.prepare(frame_set)
        self._exchange.looked_at(prepared.images, prepared.problems)
        if not prepared.images:
            self._exchange.lose('no_picture')
            return None
        self._exchange.update(cameras_in_last_set=len(prepared.images),
                              spread_s=prepared.spread_ns * 1e-9)
        return prepared

    def _update(self, frame_set: RawFrameSet) -> bool:
        exchange, pipeline = self._exchange, self._pipeline
        prepared = self._prepared(frame_set)
        if prepared is None:
            return False
        if prepared.stamp_ns == pipeline.timeline.newest.stamp_ns:
            exchange.lose('duplicate_stamp')
            return False
        update = pipeline.update(prepared)
        self._report(update.checked)
        if update.moved is None:
            exchange.drops.add('held')
            return False
        if update.jumped:
            exchange.drops.add('time_jump')
        self._show()
        exchange.count(frame_sets_processed=1)
        if update.key_wanted:
            self._ask_for_key(update)
        if self._polishes and update.checked.change is Change.NONE:  # else a key is on its way
            exchange.offer_spare(pipeline.new_job(update, polish=True))
        return True

    def _ask_for_key(self, update: Update) -> None:
        if self._exchange.takes_key:
            self._exchange.refine(self._pipeline.new_job(update))
        else:
            self._exchange.drops.add('key_while_refining')

    def _report(self, checked: Checked) -> None:
        """Log and count implausible images."""
        exchange = self._exchange
        for note in checked.notes:
            exchange.warn(note)
        for name in checked.implausible:
            exchange.drops.add(f'implausible:{name}')
        exchange.update(implausible=dict(checked.implausible), held=checked.held)

    # -- the first scene ----------------------------------------

    def _begin_with(self, frame_set: RawFrameSet) -> None:
        prepared = self._prepared(frame_set)
        if prepared is not None and (self._loaded is not None or self._complete_enough(prepared)):
            self._begin(prepared)

    def _complete_enough(self, prepared: FrameSet) -> bool:
        """Whether the first scene can be made of `prepared`: all cameras, or waited in vain."""
        absent = sorted(set(self._pipeline.stages.cameras) - set(prepared.images))
        if not absent:
            return True
        now, wait_s = time.monotonic(), self._complete_wait_s
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
            first = self._pipeline.begin(prepared, self._points, progress, new_scene_id(),
                                         self._loaded)
        except Cancelled:
            raise
        except Exception as error:  # `_process` logs it; the state must say it, too
            exchange.update(state=State.FAILED, message=str(error) or repr(error))
            raise
        self.first_report, self._loaded = first.report, None
        exchange.count(first_scenes=1)
        self._show()
        exchange.update(state=State.STREAMING, message=self._pipeline.doubt, progress=1.0)
        log.info('first scene of %d Gaussians after %.1f s (stopped by %s)', len(first.scene),
                 first.report.seconds, first.report.stopped_by)

    def _forget(self, loaded: GaussianScene | None) -> None:
        self._pipeline.forget()
        self._first_seen_s, self._loaded = None, loaded
        done = 'reset' if loaded is None else 'scene loaded'
        self._exchange.update(state=State.WAITING, message=f'{done}: waiting for a frame set',
                              progress=0.0, implausible={}, held='')
        self._exchange.show(None)

    # -- keys and what is shown ----------------------------------------

    def _take_key(self, finished: Finished) -> None:
        exchange = self._exchange
        if exchange.is_void(finished.work):
            exchange.discard(finished.work, 'key_void')
            return
        try:
            self._pipeline.take_key(finished.key)
            self._show()
            exchange.update(message=self._pipeline.doubt)
        except Exception as error:
            exchange.warn(f'internal error while a key was taken; the last key stays: {error!r}',
                          exc_info=True)
            exchange.discard(finished.work, 'key_error')
            return
        exchange.count(**{'polished' if finished.work.polish else 'keys_refined': 1})

    def _show(self) -> None:
        timeline = self._pipeline.timeline
        self._stream.finish()
        self._exchange.update(chain_breaks=timeline.chain_breaks, doubt=self._pipeline.doubt,
                              confirmed=self._pipeline.confirmed_share)
        self._exchange.show(timeline.snapshot)
