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
    """The samples of one process in one step.

    Args:
        step: 0, 1, ...
        batch: samples per step of one process.
        process: which one, 0 .. `processes` - 1.
        processes: how many there are.
    """
    first = (step * processes + process) * batch
    return list(range(first, first + batch))


def shuffled(number: int, count: int, seed: int) -> int:
    """Which of `count` things is next: each once per pass, every pass in a new order.

    Args:
        number: how many came before, over all passes.
        count: how many things there are.
        seed: fixes all orders.
    """
    passes, place = divmod(number, count)
    return int(np.random.default_rng((seed, passes)).permutation(count)[place])


def seed_of(number: int, seed: int) -> int:
    """A seed for everything random about sample `number`, 0..2^32 - 1."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def picked_targets(sample: Sample, count: int, number: int, seed: int) -> list[int]:
    """Some targets of `sample`, as indices into its pictures, ascending.

    Args:
        sample: the example.
        count: at most so many.
        number: of the sample; with `seed`, it decides which.
        seed: of the run.
    """
    there = len(sample.target_images)
    rng = np.random.default_rng(seed_of(number, seed))
    return sorted(rng.choice(there, min(count, there), replace=False).tolist())


def in_order(source: SampleSource, wanted: Iterable[int], workers: int,
             ) -> Generator[tuple[int, Sample]]:
    """Numbers and samples, as `wanted`.

    Args:
        source: makes the samples.
        wanted: their numbers, in order; may be endless.
        workers: how many are made ahead, by as many threads; 0 = each when it is asked for.
    """
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
