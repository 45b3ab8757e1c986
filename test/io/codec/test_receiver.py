# SPDX-License-Identifier: Apache-2.0
"""A receiver that outlives senders: it always holds one state that one sender had, never a mix."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igs_ros.core.errors import InputError
from igs_ros.core.snapshot import new_scene_id
from igs_ros.io.codec.receiver import Missed, SceneReceiver
from igs_ros.io.codec.state import KeyArrays, UpdateArrays, apply_update


def key(scene_id, sequence, count=4):
    means = np.full((count, 3), scene_id * 1000 + sequence, np.float32)
    quats = np.tile(np.float32([0, 0, 0, 1]), (count, 1))
    return KeyArrays(scene_id, sequence, means, quats, np.ones((count, 3), np.float32),
                     np.full(count, 0.5, np.float32), np.zeros((count, 1, 3), np.float32), None)


def update(scene_id, sequence, base, rows=(1, 2), count=4):
    """Says that `rows` lie at 10000 times the sequence."""
    def none(*shape):
        return np.zeros((0, *shape), np.float32)
    rows = np.array(rows, np.uint32)
    quats = np.tile(np.float32([0, 0, 0, 1]), (len(rows), 1))
    shapes = {'means': (3,), 'quats': (4,), 'scales': (3,), 'opacities': (), 'sh': (1, 3),
              'velocities': (3,)}
    empty = {f'{prefix}_{name}': none(*shape) for prefix in ('changed', 'added')
             for name, shape in shapes.items()}
    return UpdateArrays(scene_id, sequence, base, count, False, moved_rows=rows, moved_quats=quats,
                        moved_means=np.full((len(rows), 3), 10_000 * sequence, np.float32),
                        moved_velocities=none(3), changed_rows=np.zeros(0, np.uint32),
                        removed_rows=np.zeros(0, np.uint32), **empty)


class Sender:
    """What one scene sends: (kind, message, stamp) in order, and the state after each sequence."""

    def __init__(self, scene_id, steps, rng):
        self.sent, self.states = [], {}
        sequence, last, stamp_ns = 0, None, 1000
        for step in range(steps):
            sequence += 1
            if last is None or rng.random() < 0.3:
                last = key(scene_id, sequence, int(rng.integers(3, 6)))
                self.states[sequence] = last
                self.sent.append(('key', last, stamp_ns - 50 * (step > 0)))
            else:
                stamp_ns += 100
                message = update(scene_id, sequence, last.sequence, count=last.count)
                self.states[sequence] = apply_update(last, message)
                self.sent.append(('update', message, stamp_ns))


def take(receiver, sent):
    kind, message, stamp_ns = sent
    return (receiver.take_key if kind == 'key' else receiver.take_update)(message, stamp_ns)


@given(seed=st.integers(0, 2 ** 32 - 1), loss=st.sampled_from([0.0, 0.3, 0.8]),
       late=st.integers(0, 6))
def test_what_is_shown_is_what_one_sender_had(seed, loss, late):
    """Two runs of a node, sequences from 1 on in both; messages are lost, repeated and late."""
    rng = np.random.default_rng(seed)
    senders = {scene_id: Sender(scene_id, 12, rng) for scene_id in (7, 3)}
    receiver = SceneReceiver()
    for scene_id, sender in senders.items():
        ways = {'key': [], 'update': []}  # two topics: each keeps its order, not both together
        for sent in sender.sent:
            if rng.random() >= loss:
                ways[sent[0]] += [sent] * (1 + (rng.random() < 0.2))
        while ways['key'] or ways['update']:
            way = ways[rng.choice([name for name, waiting in ways.items() if waiting])]
            take(receiver, way.pop(0))
            shown = receiver.shown
            if shown is not None:
                truth = senders[shown.scene_id].states[shown.sequence]
                assert np.array_equal(shown.means, truth.means)
        if any(kind == 'key' for kind, *_ in sender.sent) and loss == 0:
            assert receiver.shown.scene_id == scene_id


def test_a_restarted_sender_is_followed_from_its_first_key_on():
    receiver = SceneReceiver()
    assert receiver.take_key(key(7, 1), 5000) and receiver.take_update(update(7, 90, 1), 9000)
    assert receiver.take_key(key(3, 1), 100)  # lower sequence, older stamp, another scene
    assert (receiver.shown.scene_id, receiver.stamp_ns) == (3, 100)
    assert not receiver.take_update(update(7, 91, 1), 9100)  # a straggler of the old scene
    assert receiver.awaited == (7, 1)
    assert receiver.take_update(update(3, 4, 1), 200) and receiver.shown.scene_id == 3
    assert receiver.awaited is None
    assert receiver.missed == Missed(states=87 + 1, updates_without_key=1, scenes=1)


def test_an_update_that_comes_before_its_key_waits_for_it():
    """Two topics: what is sent first may come last, and nothing may come after it for long."""
    receiver = SceneReceiver()
    assert not receiver.take_update(update(7, 3, 1), 1300) and receiver.shown is None
    assert receiver.awaited == (7, 1)
    assert receiver.take_key(key(7, 1), 1000)
    assert (receiver.shown.sequence, receiver.stamp_ns) == (3, 1300)
    assert receiver.awaited is None and receiver.missed == Missed()
    # the newer of two waits; another key does not end the waiting
    assert not receiver.take_update(update(7, 12, 10), 1500)
    assert not receiver.take_update(update(7, 13, 10), 1600)
    assert receiver.take_key(key(7, 7), 1400) and receiver.shown.sequence == 7
    assert receiver.take_key(key(7, 10), 1450) and receiver.shown.sequence == 13
    assert not receiver.take_update(update(7, 13, 10), 1600)
    assert receiver.missed.updates_without_key == 1 and receiver.missed.old == 1


def test_a_malformed_update_that_waited_costs_nothing():
    receiver = SceneReceiver()
    assert not receiver.take_update(update(7, 3, 1, rows=(2, 9)), 1300)
    with pytest.raises(InputError, match='moved_rows'):
        receiver.take_key(key(7, 1), 1000)
    assert receiver.shown.sequence == 1 and receiver.awaited is None
    assert receiver.take_update(update(7, 4, 1), 1400)


def test_what_was_left_out_is_counted():
    receiver = SceneReceiver()
    for sequence in (2, 4, 5, 9):  # the key's second number is not sent
        receiver.take_key(key(7, 1), 1000)
        receiver.take_update(update(7, sequence, 1), 1000 + sequence)
    assert receiver.missed == Missed(states=1 + 3, old=3)
    receiver.take_key(key(7, 12), 1012)
    assert receiver.missed.states == 4 + 2
    receiver.take_update(update(7, 14, 12), 1014)
    assert receiver.missed.states == 6
    receiver.take_update(update(7, 17, 12), 1017)
    assert receiver.missed.states == 8


def test_a_refined_key_of_an_older_instant_waits_for_its_first_update():
    receiver = SceneReceiver()
    receiver.take_key(key(7, 1), 1000)
    receiver.take_update(update(7, 3, 1), 1300)
    assert receiver.take_key(key(7, 5), 1200)
    assert receiver.shown.sequence == 3 and receiver.stamp_ns == 1300
    assert not receiver.take_update(update(7, 4, 1), 1400)  # of the key before
    assert receiver.take_update(update(7, 6, 5), 1300) and receiver.shown.sequence == 6
    assert not receiver.take_key(key(7, 5), 1200) and receiver.shown.sequence == 6  # repeated


def test_a_malformed_update_costs_nothing():
    receiver = SceneReceiver()
    receiver.take_key(key(7, 1), 1000)
    with pytest.raises(InputError, match='moved_rows'):
        receiver.take_update(update(7, 2, 1, rows=(2, 9)), 1100)
    assert receiver.shown.sequence == 1
    assert receiver.take_update(update(7, 2, 1), 1100) and receiver.shown.sequence == 2


def test_scene_ids_are_not_counted():
    ids = [new_scene_id() for _ in range(1000)]
    assert len(set(ids)) == 1000 and 0 < min(ids) and max(ids) < 2 ** 32
    assert max(ids) - min(ids) > 2 ** 31
