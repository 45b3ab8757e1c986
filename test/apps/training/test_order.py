# SPDX-License-Identifier: Apache-2.0
import threading

import pytest
from ball_world import sample

from igs_ros.apps.training.order import in_order, numbers, picked_targets, seed_of, shuffled


class Counting:
    """A source that says what it was asked for."""

    len_hint = None

    def __init__(self, fails_at=None):
        self.fails_at = fails_at
        self.threads = set()

    def sample(self, number):
        self.threads.add(threading.current_thread())
        if number == self.fails_at:
            raise ValueError(f'no sample {number}')
        return f'sample {number}'


def test_processes_share_the_samples_of_a_step():
    """Whatever the number of processes: the same samples, each once."""
    for processes, batch in ((1, 6), (2, 3), (3, 2), (6, 1)):
        steps = [[n for process in range(processes)
                  for n in numbers(step, batch, process, processes)] for step in range(4)]
        assert steps == [list(range(6 * step, 6 * step + 6)) for step in range(4)]


def test_every_pass_has_everything_once_in_another_order():
    passes = [[shuffled(number, 50, seed=3) for number in range(50 * p, 50 * p + 50)]
              for p in range(3)]
    assert all(sorted(order) == list(range(50)) for order in passes)
    assert passes[0] != passes[1] != passes[2]
    assert passes[0] == [shuffled(number, 50, seed=3) for number in range(50)]
    assert passes[0] != [shuffled(number, 50, seed=4) for number in range(50)]


@pytest.mark.parametrize('workers', [0, 1, 3])
def test_samples_come_in_order_whoever_makes_them(workers):
    source = Counting()
    wanted = [4, 0, 7, 7, 2, 9]
    assert list(in_order(source, wanted, workers)) == [(n, f'sample {n}') for n in wanted]
    assert (threading.current_thread() in source.threads) == (workers == 0)


@pytest.mark.parametrize('workers', [0, 2])
def test_a_sample_that_cannot_be_made_stops_at_its_place(workers):
    samples = in_order(Counting(fails_at=2), range(9), workers)
    assert [next(samples)[0], next(samples)[0]] == [0, 1]
    with pytest.raises(ValueError, match='no sample 2'):
        next(samples)


def test_targets_are_picked_by_number():
    example = sample(targets=(1, 2, 3, 4))
    picked = [tuple(picked_targets(example, 2, number, seed=0)) for number in range(40)]
    assert all(first < second for first, second in picked)
    assert len(set(picked)) == 6, 'every pair comes up'
    assert picked == [tuple(picked_targets(example, 2, number, seed=0)) for number in range(40)]
    assert picked_targets(example, 9, 0, seed=0) == [0, 1, 2, 3]


def test_seeds_differ():
    assert len({seed_of(number, seed) for number in range(100) for seed in range(5)}) == 500
