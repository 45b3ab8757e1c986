# SPDX-License-Identifier: Apache-2.0
"""The refine clock: keys in the background, and in spare time what stands still."""
from __future__ import annotations

import logging
import time

from igs_ros.core.errors import Cancelled
from igs_ros.core.timing import span
from igs_ros.live.budget import Budget
from igs_ros.live.exchange import Exchange, Job, Result
from igs_ros.live.streams import Stream
from igs_ros.stages.refine.refiner import Refined, Refiner

log = logging.getLogger(__name__)


class RefineClock:
    """Takes turns in one thread; see `igs_ros.live`.

    A refinement that diverges is discarded and counted, and the last good key stays.
    polish_iterations: of each polish, 0 = none; there is at most one per processed frame set.
    """

    def __init__(self, refiner: Refiner, exchange: Exchange, budget: Budget, stream: Stream,
                 polish_iterations: int):
        self._refiner = refiner
        self._exchange = exchange
        self._budget = budget
        self._stream = stream
        self._polish_iterations = polish_iterations
        self._polishes = 0

    def turn(self) -> bool:
        """Wait for work and do it; False at the end."""
        job = self._exchange.wait_for_refining()
        if job is None:
            return False
        result, begun_s = None, time.perf_counter()
        try:
            made = self._polish(job) if job.polish else self._refine(job)
            self._stream.finish()
            if not job.polish:
                self._budget.note('refine', time.perf_counter() - begun_s)
            result = made
        except Cancelled:
            if not job.polish:
                self._budget.note_unfinished('refine', time.perf_counter() - begun_s)
            self._exchange.discard(job, 'key_void')
        except FloatingPointError as error:
            log.warning('%s discarded, the last good key stays: %s', _name(job), error)
            self._exchange.discard(job, 'key_diverged')
        except Exception as error:
            self._exchange.warn(f'internal error in the refine thread; the last key stays: '
                                f'{error!r}', exc_info=True)
            self._exchange.discard(job, 'key_error')
        except BaseException:  # ends the thread
            self._exchange.discard(job, 'key_error')
            raise
        finally:
            self._exchange.finish(result)
        return True

    def _refine(self, job: Job) -> Result:
        with span('refine'):
            refined = self._refiner.refine(
                job.scene, job.frame_set, job.number, lambda: self._exchange.void(job),
                reference=job.reference, moved=job.moved,
                effort=self._budget.refine if self._budget.on else None, catch_up=job.catch_up)
            return self._followed(job, refined)

    def _polish(self, job: Job) -> Result:
        self._polishes += 1
        with span('polish'):
            refined = self._refiner.polish(
                job.scene, job.frame_set, self._polishes, self._polish_iterations,
                lambda: self._exchange.void(job))
            return self._followed(job, refined)

    def _followed(self, job: Job, refined: Refined) -> Result:
        """What will move the key is made here, too: motion need not wait for it."""
        return Result(job, refined, job.follow(refined.scene, job.frame_set))


def _name(job: Job) -> str:
    return 'a polish' if job.polish else f'refinement of key {job.number}'
