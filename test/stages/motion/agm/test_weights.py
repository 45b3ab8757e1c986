# SPDX-License-Identifier: Apache-2.0
"""Folders in the authors' layout, made from formula parameters."""
import os
import struct

import pytest
import torch
from golden import fill, formula_value
from safetensors.torch import save_file

from igs_ros.core.errors import InputError
from igs_ros.stages.motion.agm.net import AgmNet
from igs_ros.stages.motion.agm.weights import inspect, load

GMFLOW = 'gmflow/gmflow-scale1-mixdata-train320x576-4c3a6e9a.pth'
AGM = 'igs/15/pytorch_model.bin'
CONFIG = 'igs/experiment_config.yaml'
# reference/igs_reference.md 2.2, the keys that GMFlow's file holds beside those needed
HEAD = {f'feature_flow_attn.{n}_proj.{leaf}': shape for n in 'qk'
        for leaf, shape in (('weight', (128, 128)), ('bias', (128,)))} | {
    'upsampler.0.weight': (256, 130, 3, 3), 'upsampler.0.bias': (256,),
    'upsampler.2.weight': (576, 256, 1, 1), 'upsampler.2.bias': (576,)}


@pytest.fixture(scope='module')
def state():
    return fill(AgmNet()).state_dict()


def split(state):
    """GMFlow's file and AGM-Net's, by the names inside the files."""
    flow = {k.removeprefix('backbone.'): v for k, v in state.items() if k.startswith('backbone.')}
    flow |= {name: formula_value(name, shape) for name, shape in HEAD.items()}
    return flow, {k: v for k, v in state.items() if 'backbone' not in k}


def write(root, flow=None, agm=None, config=None):
    (root / 'gmflow').mkdir(parents=True)
    (root / 'igs' / '15').mkdir(parents=True)
    if flow is not None:
        torch.save({'model': flow}, root / GMFLOW)
    if agm is not None:
        torch.save(agm, root / AGM)
    if config is not None:
        (root / CONFIG).write_text(config)
    return root


def test_names_and_shapes_are_the_published_ones(state):
    flow, agm = split(state)
    assert len(agm) == 92 and sum(t.numel() for t in agm.values()) == 17698567
    assert len(flow) - len(HEAD) == 115
    assert sum(t.numel() for k, t in flow.items() if k not in HEAD) == 4199456
    shapes = {
        'transformer.layers.0.cross_attn_ffn.mlp.0.weight': (1024, 256),
        'transformer.layers.0.self_attn.norm1.bias': (128,), 'upsample.weight': (128, 128, 3, 3),
        'ModLN.mlp.0.weight': (128, 33), 'ModLN.mlp.2.bias': (256,),
        'triplane_encoder.conv.proj_in.weight': (512, 128),
        'triplane_encoder.conv.transformer_blocks.3.attn1.to_out.0.bias': (512,),
        'triplane_encoder.conv.transformer_blocks.0.ff.net.0.proj.weight': (4096, 512),
        'triplane_encoder.conv.transformer_blocks.2.ff.net.2.weight': (512, 2048),
        'render.mlp_net.layers.4.weight': (128, 128), 'render.out_layers.1.weight': (4, 128)}
    assert {name: tuple(agm[name].shape) for name in shapes} == shapes
    shapes = {
        'backbone.conv1.weight': (64, 3, 7, 7), 'backbone.layer2.0.downsample.0.bias': (96,),
        'backbone.layer3.0.conv1.weight': (128, 96, 3, 3), 'backbone.conv2.bias': (128,),
        'transformer.layers.5.cross_attn_ffn.norm2.weight': (128,)}
    assert {name: tuple(flow[name].shape) for name in shapes} == shapes


@pytest.mark.parametrize('inner', ['', 'ckpt'])
def test_published_layout_loads(tmp_path, state, inner):
    flow, agm = split(state)
    write(tmp_path / inner, flow, agm, 'system:\n  renderer:\n    neighbor_size: 8\n')
    found = inspect(tmp_path)
    assert found.problems == () and found.experiment is not None
    backbone, own = found.parts
    assert (len(backbone.state), backbone.parameters) == (115, 4199456)
    assert (len(own.state), own.parameters) == (92, 17698567)
    assert set(backbone.unused) == set(HEAD) and own.unused == ()
    net = load(tmp_path)
    assert net.double_division and not net.training
    assert not any(p.requires_grad for p in net.parameters())
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert not load(tmp_path, double_division=False).double_division


def test_safetensors_load_too(tmp_path, state):
    flow, agm = split(state)
    write(tmp_path)
    save_file(flow, tmp_path / GMFLOW.replace('.pth', '.safetensors'))
    save_file({k: v.half() for k, v in agm.items()}, tmp_path / 'igs' / '15' / 'model.safetensors')
    net = load(tmp_path).state_dict()
    assert torch.equal(net['backbone.backbone.conv1.weight'], flow['backbone.conv1.weight'])
    assert torch.equal(net['upsample.weight'], agm['upsample.weight'].half().float())


def test_all_that_does_not_fit_is_in_one_message(tmp_path, state):
    flow, agm = split(state)
    del flow['backbone.conv2.bias'], agm['upsample.bias'], agm['ModLN.norm.weight']
    agm['render.out_layers.2.weight'] = torch.zeros(3, 128)
    agm['render.out_layers.0.weight'] = torch.zeros(5, 128)
    agm['render.out_layers.0.bias'] = torch.zeros(3, dtype=torch.int64)
    agm['render.out_layers.1.bias'] = torch.full((4,), torch.nan)
    agm['ModLN.mlp.0.bias'] = [0.0]
    write(tmp_path, flow, agm, 'system: {lbs: true}')
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    message = str(caught.value)
    for part in (
            GMFLOW, AGM, CONFIG, 'Missing (1): backbone.conv2.bias',
            'Missing (2): upsample.bias, ModLN.norm.weight',
            'Not expected (1): render.out_layers.2.weight', 'Wrong (4): ',
            'render.out_layers.0.weight is 5x128, expected 3x128',
            'render.out_layers.0.bias is torch.int64',
            'render.out_layers.1.bias holds NaN', 'ModLN.mlp.0.bias is list',
            'lbs is True, expected False'):
        assert part in message, part
    assert [len(part.state) for part in inspect(tmp_path).parts] == [114, 86]


def test_files_that_are_not_there(tmp_path, state):
    with pytest.raises(InputError, match='no such folder'):
        load(tmp_path / 'nowhere')
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert 'flow backbone: no file' in str(caught.value)
    assert 'AGM-Net: no file' in str(caught.value) and AGM in str(caught.value)
    write(tmp_path, agm=split(state)[1])
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert 'AGM-Net: no file' not in str(caught.value)


def test_the_two_files_swapped(tmp_path, state):
    flow, agm = split(state)
    write(tmp_path, agm, flow)
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    # `transformer.layers.0.*` is in both, with different contents
    assert 'Missing (99)' in str(caught.value) and 'Missing (76)' in str(caught.value)


class Malicious:
    def __reduce__(self):
        return os.mkdir, ('igs_ros_was_here',)


@pytest.mark.parametrize('content', [
    b'', b'PK\x03\x04 broken', b'<html>not found</html>', bytes(range(256)) * 8,
    b'version https://git-lfs.github.com/spec/v1\n', b'\x80\x02}q\x00.', struct.pack('<Q', 9**15)])
@pytest.mark.parametrize('name', [AGM, 'igs/15/model.safetensors'])
def test_broken_files(tmp_path, content, name):
    write(tmp_path)
    (tmp_path / name).write_bytes(content)
    problems = inspect(tmp_path).parts[1].problems
    assert len(problems) == 1 and name in problems[0]


def test_code_in_a_file_is_not_run(tmp_path, state, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, agm=split(state)[1])
    torch.save({'model': {'backbone.conv1.weight': Malicious()}}, tmp_path / GMFLOW)
    problem, = inspect(tmp_path).parts[0].problems
    assert 'plain tensors' in problem and GMFLOW in problem
    assert not (tmp_path / 'igs_ros_was_here').exists()


def test_other_epoch_is_found(tmp_path, state):
    agm = split(state)[1]
    (tmp_path / 'igs' / '14').mkdir(parents=True)
    torch.save(agm, tmp_path / 'igs' / '14' / 'pytorch_model.bin')
    assert inspect(tmp_path).parts[1].path.parent.name == '14'
    (tmp_path / 'igs' / '15').mkdir()
    torch.save(agm, tmp_path / AGM)
    assert inspect(tmp_path).parts[1].path.parent.name == '15'
