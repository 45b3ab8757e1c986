# SPDX-License-Identifier: Apache-2.0
"""Which samples belong to a step, and getting them ready while the step before runs.

Everything random follows from the seed and the number of a sample: a run that goes on after a
kill, or is spread over more processes, learns from the same samples in the same way.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from igs_ros.apps.training.sample import Sample, SampleSource


def numbers(step: int, batch: int, process: int = 0, processes: int = 1) -> list[int]:
    """The samples of one process in step 0, 1, ..."""
    first = (step * processes + process) * batch
    return list(range(first, first + batch))


def shuffled(number: int, count: int, seed: int) -> int:
    """Which of `count` things comes as `number`: each once per pass, every pass in a new order.
    """
    passes, place = divmod(number, count)
    return int(np.random.default_rng((seed, passes)).permutation(count)[place])


def seed_of(number: int, seed: int) -> int:
    """A seed for everything random about sample `number`, 0..2^32 - 1."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def picked_targets(sample: Sample, count: int, number: int, seed: int) -> list[int]:
    """At most `count` targets of `sample`, ascending."""
    there = len(sample.target_images)
    rng = np.random.default_rng(seed_of(number, seed))
    return sorted(rng.choice(there, min(count, there), replace=False).tolist())


def in_order(source: SampleSource, wanted: Iterable[int], workers: int,
             ) -> Generator[tuple[int, Sample]]:
    """Numbers and samples, as `wanted`; up to `workers` of them are made ahead, by threads."""
    if workers == 0:
        for number in wanted:
            yield number, source.sample(number)
        return
    with ThreadPoolExecutor(workers, 'samples') as pool:
        ahead: deque = deque()
        try:
            for number in wanted:
                ahead.append((number, pool.submit(source.sample, number)))
                if len(ahead) > workers:
                    ready, future = ahead.popleft()
                    yield ready, future.result()
            while ahead:
                ready, future = ahead.popleft()
                yield ready, future.result()
        finally:
            for _, future in ahead:
                future.cancel()
