# SPDX-License-Identifier: Apache-2.0
"""The generated messages against the codec: fields, sizes, and a round trip through CDR."""
import array

import numpy as np
import pytest
import torch

from igs_ros.core.errors import InputError
from igs_ros.core.scene import GaussianScene
from igs_ros.io.codec import state

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402

from igs_ros.msg import GaussianCloud, GaussianUpdate, SceneStatus  # noqa: E402


def scene(count, sh_degree=1, velocities=True):
    generator = torch.Generator().manual_seed(count)

    def values(*shape):
        return torch.rand((count, *shape), generator=generator)
    return GaussianScene(values(3), torch.nn.functional.normalize(values(4), dim=1),
                         values(3) + 1e-3, values(),
                         values((sh_degree + 1) ** 2, 3), values(3) if velocities else None)


def filled(message, arrays, frame_id):
    message.header.frame_id = frame_id
    for name, value in arrays.fields().items():
        if isinstance(value, np.ndarray):
            field = getattr(message, name)
            assert isinstance(field, array.array) and not field
            field.frombytes(memoryview(value).cast('B'))
        else:
            setattr(message, name, value)
    return message


def update(count, velocities=True, moved=0.5):
    key = scene(count)
    rows = torch.arange(count)[:int(moved * count)]
    means = key.means.clone()
    means[rows] += 1
    scales = key.scales.clone()
    scales[rows[:len(rows) // 2]] += 1
    new = key.replaced(means=means, scales=scales,
                       velocities=key.velocities if velocities else None)
    kept = new.select(slice(count // 10, None))
    return state.update_arrays(key, kept, source_rows=np.arange(count)[count // 10:],
                               scene_id=3, sequence=5, base_sequence=4)


@pytest.mark.parametrize('message, names', [(GaussianCloud, state.KEY_FIELDS),
                                            (GaussianUpdate, state.UPDATE_FIELDS)])
def test_the_codec_names_every_field_in_order(message, names):
    kinds = message.get_fields_and_field_types()
    assert list(kinds) == ['header', *names]
    bytes_ = {name for name, kind in kinds.items() if kind in ('uint8', 'boolean')}
    assert bytes_ == {n for n in state.BYTE_FIELDS if n in names}
    for name, kind in kinds.items():
        if kind.startswith('sequence'):
            assert kind == ('sequence<uint32>' if name.endswith('rows') else 'sequence<float>')


@pytest.mark.parametrize('frame_id', ['', 'a', 'ab', 'map', 'world', 'wörld', 'a/long/frame_name'])
@pytest.mark.parametrize('count', [0, 1, 7, 1000])
@pytest.mark.parametrize('velocities', [True, False])
def test_serialized_size_is_exact(count, velocities, frame_id):
    key = state.key_arrays(scene(count, velocities=velocities), sequence=4)
    message = filled(GaussianCloud(), key, frame_id)
    assert state.serialized_size(key, frame_id) == len(serialize_message(message))
    change = update(count, velocities)
    message = filled(GaussianUpdate(), change, frame_id)
    assert state.serialized_size(change, frame_id) == len(serialize_message(message))


@pytest.mark.parametrize('count', [0, 40])
@pytest.mark.parametrize('sh_degree', [0, 3])
def test_key_through_cdr_bit_for_bit(count, sh_degree):
    key = state.key_arrays(scene(count, sh_degree), scene_id=3, sequence=4)
    data = serialize_message(filled(GaussianCloud(), key, 'world'))
    back = state.key_from_message(deserialize_message(data, GaussianCloud))
    assert (back.scene_id, back.sequence, back.sh_degree) == (3, 4, sh_degree)
    for name, value in key.fields().items():
        assert np.array_equal(value, back.fields()[name]), name


@pytest.mark.parametrize('velocities', [True, False])
def test_update_through_cdr_bit_for_bit(velocities):
    change = update(40, velocities)
    data = serialize_message(filled(GaussianUpdate(), change, 'world'))
    back = state.update_from_message(deserialize_message(data, GaussianUpdate))
    for name, value in change.fields().items():
        assert np.array_equal(value, back.fields()[name]), name
    state.apply_update(state.key_arrays(scene(40), scene_id=3, sequence=4), back)


@pytest.mark.parametrize('name, value, words', [
    ('count', 41, 'means has 120 values, expected 123'),
    ('sh_degree', 2, 'sh has 480 values'),
    ('sh_degree', 200, 'sh_degree is 200, expected 0 to 3'),
    ('opacities', [float('nan')] * 40, 'opacities holds NaN'),
    ('velocities', [0.0], 'velocities has 1 values'),
    ('count', 4_000_000_000, 'means has 120 values, expected 12000000000'),
    ('means', [2e6] * 120, r'means holds values from 2e.06 to 2e.06, expected at most 1e.06 m'),
    ('quats', [1.0] * 160, 'quats holds values from 1 to 1, expected unit length'),
    ('quats', [0.0] * 160, 'expected unit length'),
    ('scales', [0.0] * 120, 'scales holds values from 0 to 0, expected above 0'),
    ('scales', [-1.0] * 120, 'expected above 0'),
    ('opacities', [1.1] * 40, 'opacities holds values from 1.1 to 1.1, expected 0 to 1'),
])
def test_malformed_keys_are_refused(name, value, words):
    message = filled(GaussianCloud(), state.key_arrays(scene(40)), 'world')
    setattr(message, name, value)
    with pytest.raises(InputError, match=words):
        state.key_from_message(message)


def test_malformed_update_message_is_refused():
    message = filled(GaussianUpdate(), update(40), 'world')
    message.moved_means.append(0.0)
    with pytest.raises(InputError, match='moved_means has'):
        state.update_from_message(message)


def test_status_has_its_states():
    names = ['WAITING', 'BOOTSTRAP', 'STREAMING', 'STALLED', 'FAILED']
    assert [getattr(SceneStatus, name) for name in names] == list(range(5))
