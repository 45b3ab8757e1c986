# SPDX-License-Identifier: Apache-2.0
"""GaussianCloud and GaussianUpdate of strangers: all of it fits, or nothing is taken.

Readers see a message's fields by name; here they are plain arrays, as rclpy hands them over.
"""
from types import SimpleNamespace

import numpy as np
import torch
from fuzzing import fuzzer
from hostile import FLOATS, INTEGERS
from hypothesis import strategies as st

from igs_ros.core.scene import GaussianScene
from igs_ros.io.codec.receiver import SceneReceiver
from igs_ros.io.codec.state import (
    apply_update,
    key_arrays,
    key_from_message,
    update_arrays,
    update_from_message,
)


def scene(count: int, sh_degree: int, seed: int) -> GaussianScene:
    random = torch.Generator().manual_seed(seed)

    def values(*shape):
        return torch.randn((count, *shape), generator=random)
    return GaussianScene(values(3), torch.nn.functional.normalize(values(4), dim=1),
                         values(3).exp(), values().sigmoid(), values((sh_degree + 1) ** 2, 3),
                         values(3))


KEY = scene(6, 1, 0)
NEW = KEY.replaced(means=KEY.means + torch.tensor([[0.0], [1], [1], [0], [1], [0]]),
                   opacities=KEY.opacities * torch.tensor([1.0, 1, 0.5, 1, 1, 1]))
CLOUD = {**key_arrays(KEY, scene_id=3, sequence=4).fields()}
UPDATE = {**update_arrays(KEY, NEW.select([0, 1, 2, 4, 5]), source_rows=[0, 1, 2, 4, 5],
                          scene_id=3, sequence=6, base_sequence=4).fields()}


@st.composite
def changed(draw, fields):
    """A message with one to three of its fields changed."""
    fields = dict(fields)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(fields)))
        value = fields[name]
        if not isinstance(value, np.ndarray):
            most = 255 if name in ('sh_degree', 'has_velocities') else 2 ** 32 - 1
            number = draw(st.one_of(st.sampled_from(INTEGERS), st.integers(0, 9)))
            fields[name] = bool(number) if name == 'has_velocities' else number % (most + 1)
            continue
        value, kind = value.copy(), draw(st.sampled_from(('one', 'all', 'cut', 'longer', 'none')))
        at = draw(st.integers(0, max(len(value) - 1, 0)))
        number = draw(st.sampled_from(FLOATS + (-1.0, 1.001, 2.0)) if value.dtype == np.float32
                      else st.sampled_from((0, 1, 5, 6, 7, 2 ** 31, 2 ** 32 - 1)))
        with np.errstate(over='ignore'):
            number = value.dtype.type(number)
        if kind == 'one' and len(value):
            value[at] = number
        elif kind == 'all':
            value[:] = number
        elif kind == 'cut':
            value = value[:at]
        elif kind == 'longer':
            value = np.append(value, number)
        elif kind == 'none':
            value = value[:0]
        fields[name] = value
    return fields


def require_fit_for_use(key):
    """What msg/GaussianCloud.msg promises, checked one by one."""
    for row in range(key.count):
        assert max(abs(key.means[row])) <= 1e6
        assert abs(sum(float(x) ** 2 for x in key.quats[row]) - 1) < 3e-3
        assert min(key.scales[row]) > 0
        assert 0 <= key.opacities[row] <= 1
        assert np.isfinite(key.sh[row]).all()
        assert key.velocities is None or np.isfinite(key.velocities[row]).all()


@fuzzer(fields=changed(CLOUD))
def test_gaussian_cloud(fields):
    key = key_from_message(SimpleNamespace(**fields))
    assert key.count == fields['count'] and key.sh_degree == fields['sh_degree']
    require_fit_for_use(key)


@fuzzer(fields=changed(UPDATE))
def test_gaussian_update(fields):
    key = key_arrays(KEY, scene_id=3, sequence=4)
    before = {name: value.tobytes() for name, value in CLOUD.items()
              if isinstance(value, np.ndarray)}
    try:
        shown = apply_update(key, update_from_message(SimpleNamespace(**fields)))
        assert shown.count == fields['count']
        require_fit_for_use(shown)
    finally:
        assert all(value.tobytes() == before[name] for name, value in key.fields().items()
                   if name in before), 'the key was written to'


@fuzzer(sent=st.lists(st.one_of(changed(CLOUD), changed(UPDATE)), min_size=1, max_size=5))
def test_a_receiver_of_both(sent):
    receiver = SceneReceiver()
    receiver.take_key(key_arrays(KEY, scene_id=3, sequence=4), 1)
    for fields in sent:
        message = SimpleNamespace(**fields)
        if 'means' in fields:
            receiver.take_key(key_from_message(message), 2)
        else:
            receiver.take_update(update_from_message(message), 2)
        require_fit_for_use(receiver.shown)
