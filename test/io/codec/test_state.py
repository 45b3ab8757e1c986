# SPDX-License-Identifier: Apache-2.0
"""The state codec: exact round trips, and malformed updates."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from igs_ros.core.errors import InputError
from igs_ros.core.scene import GaussianScene
from igs_ros.io.codec import state


def random_scene(rng, count, sh_degree, velocities=True):
    def values(*shape):
        return torch.from_numpy(rng.standard_normal((count, *shape)).astype(np.float32))
    return GaussianScene(values(3), torch.nn.functional.normalize(values(4), dim=1),
                         values(3).abs() + 1e-3, values().sigmoid(),
                         values((sh_degree + 1) ** 2, 3), values(3) if velocities else None)


def edited(rng, key, velocities):
    """A successor of `key`: rows moved, changed, removed and added; and its source_rows."""
    n = len(key)
    changes = {name: getattr(key, name).clone() for name in state.VALUES
               if getattr(key, name) is not None}
    changes.setdefault('velocities', torch.zeros(n, 3))
    other = random_scene(rng, n, key.sh_degree)
    for name in state.VALUES:
        names_moved = name in state.MOVING
        rows = torch.from_numpy(rng.random(n) < (0.4 if names_moved else 0.1))
        changes[name][rows] = getattr(other, name)[rows]
    keep = np.flatnonzero(rng.random(n) < 0.8)
    added = random_scene(rng, int(rng.integers(0, 5)), key.sh_degree)
    values = {name: torch.cat([changes[name][keep], getattr(added, name)])
              for name in state.VALUES}
    if not velocities:
        values['velocities'] = None
    return GaussianScene(**values), np.concatenate([keep, np.full(len(added), -1)])


def assert_same_bits(a, b):
    for name in state.VALUES:
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        if x is not None:
            assert x.dtype == y.dtype == np.float32 and x.shape == y.shape, name
            assert x.tobytes() == y.tobytes(), name


cases = given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 30), degree=st.integers(0, 3),
              key_velocities=st.booleans(), new_velocities=st.booleans())


@cases
@settings(max_examples=150)
def test_applying_an_update_gives_the_scene_bit_for_bit(seed, count, degree, key_velocities,
                                                        new_velocities):
    rng = np.random.default_rng(seed)
    key = random_scene(rng, count, degree, key_velocities)
    scene, source = edited(rng, key, new_velocities)
    update = state.update_arrays(key, scene, source_rows=source, sequence=9, base_sequence=7)
    shown = state.apply_update(state.key_arrays(key, sequence=7), update)
    assert_same_bits(shown, state.key_arrays(scene))
    assert shown.sequence == 9
    assert update.count == len(scene)


@cases
@settings(max_examples=50)
def test_scene_round_trip_bit_for_bit(seed, count, degree, key_velocities, new_velocities):
    scene = random_scene(np.random.default_rng(seed), count, degree, key_velocities)
    back = state.scene_from(state.key_arrays(scene))
    for name in state.VALUES:
        a, b = getattr(scene, name), getattr(back, name)
        assert (a is None and b is None) or torch.equal(a, b), name


def test_quaternions_are_xyzw():
    scene = random_scene(np.random.default_rng(0), 1, 0)
    scene = scene.replaced(quats=torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    assert state.key_arrays(scene).quats.tolist() == [[2, 3, 4, 1]]


def test_rows_are_sorted_into_moved_and_changed():
    key = random_scene(np.random.default_rng(0), 5, 1)
    means, scales = key.means.clone(), key.scales.clone()
    means[1] += 1
    means[3] += 1
    scales[3] += 1
    update = state.update_arrays(key, key.replaced(means=means, scales=scales))
    assert update.moved_rows.tolist() == [1]
    assert update.changed_rows.tolist() == [3]
    assert update.added_means.shape == (0, 3) and len(update.removed_rows) == 0
    # the hint only limits what is compared
    hinted = state.update_arrays(key, key.replaced(means=means, scales=scales),
                                 torch.tensor([1, 2, 3]))
    assert hinted.moved_rows.tolist() == [1] and hinted.changed_rows.tolist() == [3]


def test_rows_that_stopped_since_the_key_are_told():
    key = random_scene(np.random.default_rng(0), 5, 0)
    velocities = key.velocities.clone()
    velocities[3] = 0
    update = state.update_arrays(key, key.replaced(velocities=velocities), np.array([1]))
    assert update.moved_rows.tolist() == [3]
    assert update.moved_velocities.tolist() == [[0, 0, 0]]


def test_an_unchanged_scene_needs_no_rows():
    key = random_scene(np.random.default_rng(0), 50, 3)
    update = state.update_arrays(key, key)
    assert sum(v.nbytes for v in update.fields().values() if isinstance(v, np.ndarray)) == 0
    assert state.serialized_size(update, 'world') < 150


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    key = random_scene(rng, 20, 1)
    scene, source = edited(rng, key, True)
    return (state.key_arrays(key, scene_id=1, sequence=7),
            state.update_arrays(key, scene, source_rows=source, scene_id=1, sequence=9,
                                base_sequence=7))


@pytest.mark.parametrize('change, words', [
    (lambda u: {'base_sequence': 6}, 'refers to key 1/6'),
    (lambda u: {'scene_id': 2}, 'refers to key 2/7'),
    (lambda u: {'count': u.count + 1}, 'count'),
    (lambda u: {'moved_rows': u.moved_rows + np.uint32(20)}, 'moved_rows'),
    (lambda u: {'changed_rows': u.changed_rows[::-1]}, 'changed_rows'),
    (lambda u: {'removed_rows': u.removed_rows + np.uint32(2**31)}, 'removed_rows'),
    (lambda u: {'moved_means': u.moved_means[1:]}, 'moved_means'),
    (lambda u: {'moved_velocities': u.moved_velocities[1:]}, 'moved_velocities'),
    (lambda u: {'added_scales': u.added_scales[:0]}, 'added_scales'),
    (lambda u: {'has_velocities': False}, 'velocities'),
    (lambda u: {'changed_scales': u.changed_scales * np.float32('nan')}, 'NaN'),
    (lambda u: {'moved_quats': u.moved_quats + np.float32('inf')}, 'NaN or infinite'),
    (lambda u: {'added_sh': u.added_sh[:, :1]}, 'sh_degree'),
    (lambda u: {'changed_rows': u.moved_rows[:len(u.changed_rows)]}, 'moved_rows and in'),
    (lambda u: {'sequence': 7}, 'its key has the sequence 7; expected a lower one'),
    (lambda u: {'added_scales': u.added_scales * 0}, 'added_scales .* expected above 0'),
    (lambda u: {'changed_scales': -u.changed_scales}, 'changed_scales .* expected above 0'),
    (lambda u: {'moved_quats': u.moved_quats * np.float32(1.01)}, 'moved_quats .* unit length'),
    (lambda u: {'changed_quats': u.changed_quats * np.float32(1e30)}, 'changed_quats .* unit'),
    (lambda u: {'added_opacities': u.added_opacities + 1}, 'added_opacities .* expected 0 to 1'),
    (lambda u: {'changed_opacities': -u.changed_opacities}, 'changed_opacities .* 0 to 1'),
    (lambda u: {'moved_means': u.moved_means - np.float32(2e6)}, 'moved_means .* 1e.06 m from'),
])
def test_malformed_updates_are_refused(pair, change, words):
    key, update = pair
    assert len(update.changed_rows) > 1 and len(update.moved_rows) > 1
    assert len(update.added_means) and len(update.removed_rows)
    state.apply_update(key, update)
    with pytest.raises(InputError, match=words) as caught:
        state.apply_update(key, replace(update, **change(update)))
    assert str(caught.value).startswith('GaussianUpdate ')
    assert '\n' not in str(caught.value)


def test_a_refused_update_leaves_the_key_as_it_was(pair):
    key, update = pair
    before = key.means.tobytes()
    with pytest.raises(InputError):
        state.apply_update(key, replace(update, count=0))
    state.apply_update(key, update)
    assert key.means.tobytes() == before


def test_values_at_their_bounds_are_taken(pair):
    key, update = pair
    tiny = np.finfo(np.float32).tiny
    state.apply_update(key, replace(
        update, added_scales=np.full_like(update.added_scales, tiny),
        added_opacities=np.resize(np.float32([0, 1]), len(update.added_opacities)),
        moved_means=np.full_like(update.moved_means, -1e6),
        moved_quats=update.moved_quats * np.float32(1.0005)))


def refused(key, update, words, **changes):
    with pytest.raises(InputError, match=words):
        state.apply_update(key, replace(update, **changes))


@pytest.mark.parametrize('name', ['moved_rows', 'changed_rows'])
def test_the_last_row_of_the_key_is_taken_and_the_next_one_is_not(pair, name):
    key, update = pair
    other = {'moved_rows': 'changed_rows', 'changed_rows': 'moved_rows'}[name]
    rows = np.arange(20 - len(getattr(update, name)), 20, dtype=np.uint32)
    free = {other: np.arange(len(getattr(update, other)), dtype=np.uint32)}
    assert len(rows) + len(free[other]) <= 20
    state.apply_update(key, replace(update, **{name: rows}, **free))
    refused(key, update, f'{name} must ascend and stay below 20; its largest row is 20',
            **{name: rows + np.uint32(1)}, **free)


def test_what_was_added_can_be_removed_up_to_the_last(pair):
    key, update = pair
    last = 20 + len(update.added_means) - 1
    rows = np.append(update.removed_rows[:-1], last).astype(np.uint32)
    shown = state.apply_update(key, replace(update, removed_rows=rows))
    assert len(shown.means) == update.count
    refused(key, update, f'removed_rows must .* below {last + 1}',
            removed_rows=np.append(rows[:-1], last + 1).astype(np.uint32))


@pytest.mark.parametrize('rows', [[3, 3], [4, 3], [0, 0]])
def test_rows_that_do_not_ascend_are_refused(pair, rows):
    key, update = pair
    removed = np.append(rows, update.removed_rows[2:]).astype(np.uint32)
    refused(key, update, 'removed_rows must ascend', removed_rows=removed)


def test_only_the_sequence_above_that_of_the_key_is_taken(pair):
    key, update = pair
    assert state.apply_update(key, replace(update, sequence=8)).sequence == 8
    refused(key, update, 'expected a lower one', sequence=7)


@pytest.mark.parametrize('name, inside, outside', [
    ('means', 1e6, np.nextafter(np.float32(1e6), np.float32(np.inf))),
    ('means', -1e6, np.nextafter(np.float32(-1e6), np.float32(-np.inf))),
    ('scales', 1e-38, 0.0), ('scales', 1e30, -1e-6),
    ('opacities', 0.0, -1e-7), ('opacities', 1.0, 1.0000002)])
def test_values_beyond_their_bounds_are_refused(pair, name, inside, outside):
    key, update = pair
    array = getattr(update, f'added_{name}')
    for value, good in ((inside, True), (outside, False)):
        values = array.copy()
        values.flat[-1] = value
        if good:
            state.apply_update(key, replace(update, **{f'added_{name}': values}))
        else:
            refused(key, update, f'added_{name} holds values', **{f'added_{name}': values})


@pytest.mark.parametrize('length, good', [(0.9991, True), (0.9989, False), (1.0009, True),
                                          (1.0011, False)])
def test_quaternions_are_of_unit_length_to_a_thousandth(pair, length, good):
    key, update = pair
    quats = update.moved_quats.copy()
    quats[0] *= np.float32(length)
    if good:
        state.apply_update(key, replace(update, moved_quats=quats))
    else:
        refused(key, update, 'moved_quats .* unit length', moved_quats=quats)


def message(arrays, **changes):
    """As ROS has it."""
    kind = {state.KeyArrays: 'GaussianCloud', state.UpdateArrays: 'GaussianUpdate'}[type(arrays)]
    return type(kind, (), {**arrays.fields(), **changes})()


def test_messages_come_back_bit_for_bit(pair):
    key, update = pair
    assert_same_bits(state.key_from_message(message(key)), key)
    back = state.update_from_message(message(update))
    for name, value in update.fields().items():
        assert np.array_equal(back.fields()[name], value), name
    unknown = replace(key, velocities=None)
    assert state.key_from_message(message(unknown)).velocities is None


@pytest.mark.parametrize('degree, words', [(3, 'sh has 240 values, expected 960'), (4, '0 to 3')])
def test_degrees_above_three_are_refused(pair, degree, words):
    with pytest.raises(InputError, match=words):
        state.key_from_message(message(pair[0], sh_degree=degree))
    with pytest.raises(InputError, match='sh_degree|values'):
        state.update_from_message(message(pair[1], sh_degree=degree))


@pytest.mark.parametrize('name', state.VALUES)
def test_a_message_with_a_value_too_few_is_refused(pair, name):
    key, update = pair
    with pytest.raises(InputError, match=f'GaussianCloud 7: {name} has'):
        state.key_from_message(message(key, **{name: key.fields()[name][:-1]}))
    for prefix in ('changed_', 'added_'):
        with pytest.raises(InputError, match='GaussianUpdate 9: '):
            state.update_from_message(message(
                update, **{prefix + name: update.fields()[prefix + name][:-1]}))


def test_a_single_velocity_is_too_few(pair):
    with pytest.raises(InputError, match='velocities has 1 values, expected 60 for 20 rows'):
        state.key_from_message(message(pair[0], velocities=np.zeros(1, np.float32)))


def test_the_size_of_a_message_is_that_of_its_parts():
    """CDR: 4 bytes before all, a stamp of 8, a text with its length before and a 0 behind it,
    numbers of 4 bytes where 4 divides the place, and the length before each array.
    """
    key = state.key_arrays(random_scene(np.random.default_rng(0), 5, 1))
    head = 4 + 8 + 4 + len('world') + 1
    after_degree = (head + 2) // 4 * 4 + 3 * 4 + 1 + 3  # scene_id, sequence, count, sh_degree
    floats = 5 * (3 + 4 + 3 + 1 + 12 + 3)
    assert head == 22 and after_degree == 40
    assert state.serialized_size(key, 'world') == after_degree + 6 * 4 + floats * 4
    assert state.serialized_size(key, 'worlds') == state.serialized_size(key, 'world')
    assert state.serialized_size(key, 'world_7') == state.serialized_size(key, 'world')
    assert state.serialized_size(key, 'worldss!') == state.serialized_size(key, 'world') + 4


def test_source_rows_must_stand_in_the_order_of_the_key():
    key = random_scene(np.random.default_rng(0), 3, 0)
    for source in ([1, 0, 2], [0, 0, 1], [-1, 0, 1], [0, 1, 3], [0, 1]):
        with pytest.raises(AssertionError):
            state.update_arrays(key, key, source_rows=np.array(source))
    update = state.update_arrays(key, key, source_rows=np.array([0, 2, -1]))
    assert update.removed_rows.tolist() == [1] and len(update.added_means) == 1


@pytest.mark.parametrize('before, after', [(False, True), (True, False), (True, True),
                                           (False, False)])
def test_velocities_that_become_known_or_unknown(before, after):
    rng = np.random.default_rng(0)
    key, velocities = random_scene(rng, 4, 0, before), torch.zeros(4, 3)
    velocities[1] = 2.0
    scene = key.replaced(velocities=velocities if after else None)
    update = state.update_arrays(key, scene, np.array([], int))
    assert update.has_velocities == after
    assert_same_bits(state.apply_update(state.key_arrays(key), replace(update, sequence=1)),
                     state.key_arrays(scene))


def test_states_are_numbered_from_zero_unless_said_otherwise():
    key = random_scene(np.random.default_rng(0), 3, 0)
    made, update = state.key_arrays(key), state.update_arrays(key, key)
    assert (made.scene_id, made.sequence) == (0, 0)
    assert (update.scene_id, update.sequence, update.base_sequence) == (0, 0, 0)
