# SPDX-License-Identifier: Apache-2.0
"""What training and inference read back: weights, checkpoints, journals, prepared recordings."""
import io
import json
import pickle

import numpy as np
import pytest
import torch
from fuzzing import fuzzer
from hostile import FLOATS, json_files, spoiled
from hypothesis import strategies as st
from safetensors.torch import save

from igs_ros.apps.training import checkpoint
from igs_ros.apps.training.igs_data import read_cameras, read_groups, read_pairs
from igs_ros.apps.training.prepared import key_path, read_prepared
from igs_ros.apps.training.procedural.kept import read_sample
from igs_ros.stages.motion.agm import weights as agm_weights
from igs_ros.stages.motion.agm_small import weights as small_weights

PLAN = {'seed': 0, 'steps in all': 4}
STATE = {'step': 2, 'plan': PLAN,
         'module': {'a.weight': torch.ones(3, 4), 'a.bias': torch.ones(3)},
         'optimizer': {'state': {0: {'exp_avg': torch.ones(3, 4), 'step': torch.tensor(2.0)}},
                       'param_groups': [{'lr': 1e-3, 'params': [0, 1]}]},
         'schedule': {'last_epoch': 2}, 'scaler': None}
STRIDED = torch.as_strided(torch.ones(1), (10 ** 9, 10 ** 9), (0, 0))
SHIPPED = small_weights.SHIPPED.read_bytes()


def saved(content, old=False) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


@st.composite
def states(draw):
    """A checkpoint of which one value is another."""
    state = {**STATE, 'module': dict(STATE['module'])}
    holder = draw(st.sampled_from((state, state, state['module'])))
    name = draw(st.sampled_from(sorted(holder)))
    value = draw(st.one_of(
        st.sampled_from((None, 3, -1, 'x', [], {}, {'a': {}}, True, 10 ** 30, STRIDED,
                         torch.zeros(0), torch.ones(3, 4, dtype=torch.int8))),
        st.sampled_from(FLOATS).map(lambda x: torch.full((3, 4), x, dtype=torch.float64))))
    if draw(st.booleans()):
        holder[name] = value
    else:
        del holder[name]
    return saved(state, draw(st.booleans()))


class Code:
    """Whose pickle would run a command."""

    def __reduce__(self):
        return print, ('code from a file was run',)


@fuzzer(content=st.one_of(
    states(), spoiled(saved(STATE)), spoiled(saved(STATE, old=True)), st.sampled_from(
        (pickle.dumps(Code()), saved(Code()), pickle.dumps(STATE['plan']),
         saved([STATE]), saved({'step': 2})))))
def test_checkpoints(folder, content):
    (folder / checkpoint.NAME).write_bytes(content)
    state = checkpoint.load(folder, PLAN, torch.device('cpu'))
    assert all(tensor.isfinite().all() for tensor in state.module.values()
               if isinstance(tensor, torch.Tensor))


NET = small_weights.load().state_dict()


def filled(name: str, value: float) -> bytes:
    """The shipped weights, one tensor full of one value."""
    return save({**NET, name: torch.from_numpy(np.full(NET[name].shape, value).astype('f4'))})


@fuzzer(share=0.2, content=st.one_of(
    spoiled(SHIPPED), spoiled(save({'a': torch.ones(3)})),
    st.builds(filled, st.sampled_from(sorted(NET)), st.sampled_from(FLOATS))))
def test_weights_of_agm_small(folder, content):
    (folder / 'w.safetensors').write_bytes(content)
    net = small_weights.load(folder / 'w.safetensors')
    assert all(value.isfinite().all() for value in net.state_dict().values())


@fuzzer(cases=40, share=0.02, content=st.one_of(
    spoiled(saved({'model': STATE['module']})), spoiled(saved(STATE['module'], old=True)),
    st.sampled_from((pickle.dumps(Code()), saved({'model': [1]}), saved({1: STRIDED})))))
def test_weights_of_agm(folder, content):
    (folder / 'igs' / '15').mkdir(parents=True, exist_ok=True)
    (folder / 'igs' / '15' / 'pytorch_model.bin').write_bytes(content)
    found = agm_weights.inspect(folder)
    assert found.problems and all('\n' not in problem for problem in found.problems)


CURVE = ''.join(json.dumps({'step': step, 'group': 'train', 'loss': 1 / step}) + '\n'
                for step in range(1, 9)).encode()


@fuzzer(content=st.one_of(spoiled(CURVE), json_files({'step': 1, 'loss': 0.5}).map(
    lambda line: CURVE + line + b'\n')))
def test_journals(folder, content):
    journal = pytest.importorskip('igs_ros.apps.training.journal',
                                  reason="needs the extra 'train'")
    (folder / journal.CURVE).write_bytes(content)
    assert all(isinstance(line['step'], int) for line in journal.read_curve(folder))


CAMERA = {'name': 'cam00', 'width': 64, 'height': 48, 'K': np.diag([50.0, 50, 1]).tolist(),
          'world_to_camera': np.eye(4).tolist()}
INDEX = {'format': 1, 'scene': 'room', 'cameras': [CAMERA, {**CAMERA, 'name': 'cam01'}],
         'held_out': ['cam01'], 'keys': [{'frame': 0, 'exposures': {
             'cam00': {'gain': [1, 1, 1], 'offset': [0, 0, 0]}}}]}


@fuzzer(content=json_files(INDEX))
def test_prepared_recordings(folder, content):
    key_path(folder, 0).parent.mkdir(exist_ok=True)
    key_path(folder, 0).write_bytes(b'')
    (folder / 'index.json').write_bytes(content)
    found = read_prepared(folder)
    for name in found.cameras:
        found.frames(name)
        assert (folder / 'pictures' / name).resolve().parent == (folder / 'pictures').resolve()


@fuzzer(content=json_files({'train': 2 * [{'scene_name': 'a', 'cur_frame': 'colmap_0',
                                           'next_frame': 'colmap_12'}], 'val': []}))
def test_pairs(folder, content):
    (folder / 'pairs.json').write_bytes(content)
    read_pairs(folder / 'pairs.json')


@fuzzer(content=json_files([[0, 1], [2, 3]]))
def test_groups(folder, content):
    (folder / 'group.json').write_bytes(content)
    read_groups(folder / 'group.json')


@fuzzer(content=json_files([{'img_name': name, 'width': 64, 'height': 48, 'fx': 50.0,
                             'fy': 50.0, 'rotation': np.eye(3).tolist(),
                             'position': [0.0, 0, 1]} for name in ('a.png', 'b.png')]))
def test_camera_lists(folder, content):
    (folder / 'cameras.json').write_bytes(content)
    read_cameras(folder / 'cameras.json')


def _sample(**changes) -> bytes:
    file = io.BytesIO()
    picture = np.zeros((1, 3, 4, 3), np.uint8)
    values = {'name': 'n', 'cameras': ['a'], 'size': [4, 3], 'K': [np.eye(3)],
              'poses': [np.eye(4)], 'means': np.zeros((2, 3), 'f4'),
              'quats': np.full((2, 4), 0.5, 'f4'), 'scales': np.ones((2, 3), 'f4'),
              'opacities': np.ones(2, 'f4'), 'sh': np.zeros((2, 1, 3), 'f4'), 'inputs': ['a'],
              'losses': ['a'], 'key_views': ['a'], 'key_pictures': picture,
              'target_views': ['a'], 'target_pictures': picture[None], 'exposed': ['a'],
              'exposures': np.ones((1, 2, 3), 'f4'), 'displacements': np.zeros((1, 2, 3), 'f4')}
    np.savez(file, **{name: np.asarray(value) for name, value in {**values, **changes}.items()})
    return file.getvalue()


@fuzzer(content=st.one_of(spoiled(_sample()), st.sampled_from((
    _sample(), _sample(size=['x', 'y']), _sample(size=[1e300, 4]), _sample(cameras=['../up']),
    _sample(inputs=['b']), _sample(means=np.zeros((3, 3), 'f4')), _sample(sh=np.array('x'))))))
def test_kept_samples(folder, content):
    (folder / 'k.npz').write_bytes(content)
    read_sample(folder / 'k.npz')
