# SPDX-License-Identifier: Apache-2.0
"""The refine worker: keys in the background, and in spare time what stands still."""
from __future__ import annotations

import logging
import time

from igs_ros.core.errors import Cancelled
from igs_ros.live.budget import Budget
from igs_ros.live.exchange import Exchange, Finished, Refinement
from igs_ros.live.streams import Stream
from igs_ros.pipeline import Pipeline
from igs_ros.stages.steps import Key

log = logging.getLogger(__name__)


class RefineWorker:
    """Calls the pipeline in the refine thread; see `igs_ros.live`.

    A refinement that diverges is discarded and counted, and the last good key stays.

    Args:
        pipeline: what refines.
        exchange: where jobs come from, and refined keys go to.
        budget: says what refinement may cost, and is told what it took.
        stream: of the refine thread on a GPU.
    """

    def __init__(self, pipeline: Pipeline, exchange: Exchange, budget: Budget, stream: Stream):
        self._pipeline = pipeline
        self._exchange = exchange
        self._budget = budget
        self._stream = stream

    def run_once(self) -> bool:
        """Wait for work and do it; False at the end."""
        work = self._exchange.wait_for_refining()
        if work is None:
            return False
        finished, begun_s = None, time.perf_counter()
        try:
            key = self._key(work)
            self._stream.finish()
            if not work.polish:
                self._budget.note('refine', time.perf_counter() - begun_s)
            finished = Finished(work, key)
        except Cancelled:
            if not work.polish:
                self._budget.note_unfinished('refine', time.perf_counter() - begun_s)
            self._exchange.discard(work, 'key_void')
        except FloatingPointError as error:
            log.warning('%s discarded, the last good key stays: %s', _name(work), error)
            self._exchange.discard(work, 'key_diverged')
        except Exception as error:
            self._exchange.warn(f'internal error in the refine thread; the last key stays: '
                                f'{error!r}', exc_info=True)
            self._exchange.discard(work, 'key_error')
        except BaseException:  # ends the thread
            self._exchange.discard(work, 'key_error')
            raise
        finally:
            self._exchange.finish(finished)
        return True

    def _key(self, work: Refinement) -> Key:
        def cancelled() -> bool:
            return self._exchange.is_void(work)
        if work.polish:
            return self._pipeline.polish(work.job, cancelled)
        return self._pipeline.refine(work.job, cancelled,
                                     self._budget.refine if self._budget.on else None)


def _name(work: Refinement) -> str:
    return 'a polish' if work.polish else f'refinement of key {work.job.number}'
