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
