# SPDX-License-Identifier: Apache-2.0
"""One sample through the real network, rasterizer and loss."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from ball_world import BOX, RASTERIZER, WALL, pictures, rig, sample, scene

from igs_ros.apps.training import models
from igs_ros.apps.training.agm import TrainableAgm
from igs_ros.apps.training.config import AgmTrainConfig, LossConfig, TrainConfig
from igs_ros.apps.training.step import LossOfSample
from igs_ros.core.config import MotionConfig
from igs_ros.core.errors import InputError
from igs_ros.core.frames import FrameSet
from igs_ros.render.rasterizer import render_view
from igs_ros.stages.motion.agm import weights
from igs_ros.stages.motion.agm.inputs import AgmSizes
from igs_ros.stages.motion.agm.model import AgmMotion
from igs_ros.stages.motion.agm.net import AgmNet
from igs_ros.vision.metrics import ssim

SIZES = AgmSizes(picture=32, anchors=32)


def trainable(seed=0, motion=0.0):
    """motion: size of random weights in the heads, which start as zeros."""
    torch.manual_seed(seed)
    net = AgmNet()
    with torch.no_grad():
        for head in net.render.out_layers:
            head.weight.normal_(std=max(motion, 1e-30))
    return TrainableAgm(net, RASTERIZER, SIZES)


def test_steps_bring_the_loss_down_and_leave_the_backbone():
    model, example = trainable(), sample()
    loss_of = LossOfSample(model, RASTERIZER, LossConfig())
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.module.parameters() if p.requires_grad], 4e-4)
    losses = []
    for _ in range(8):
        loss, _ = loss_of(example, [0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0], losses
    lacking = [name for name, p in model.module.named_parameters()
               if p.requires_grad and not (p.grad is not None and p.grad.abs().max() > 0)]
    assert not lacking, 'no gradient'
    frozen = [name for name, p in model.module.named_parameters() if not p.requires_grad]
    assert frozen and all(name.startswith('backbone.') for name in frozen)
    after = model.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in frozen)


def test_loss_is_the_published_sum():
    """L1 with weight 1 and 1 - SSIM with 0.2, the mean over views and targets."""
    example = sample(targets=(2, 4))
    total, terms = LossOfSample(trainable(), RASTERIZER, LossConfig())(example, [0, 1])
    wanted = []
    for target in (2, 4):
        for name in example.loss_views:  # an untrained network moves nothing
            drawn = render_view(RASTERIZER, scene(), rig()[name]).rgb
            truth = pictures(target, rig())[name] / 255
            wanted.append(np.abs(drawn - truth).mean() + 0.2 * (1 - ssim(truth, drawn)))
    assert total.item() == pytest.approx(np.mean(wanted), rel=1e-4)
    assert terms.keys() == {'photometric'}


def test_cameras_are_compared_as_they_expose():
    """Pictures of a camera with another gain and offset: the same loss once they are known."""
    loss_of, example = LossOfSample(trainable(), RASTERIZER, LossConfig()), sample()
    known = np.array([[0.8, 0.9, 0.7], [0.1, 0.0, 0.05]], np.float32)
    changed = {name: np.rint(picture * known[0] + 255 * known[1]).astype(np.uint8)
               for name, picture in example.target_images[0].items()}
    other = replace(example, target_images=(changed,))
    exposed = replace(other, exposures=dict.fromkeys(example.loss_views, known))
    plain, unknown, corrected = (loss_of(s, [0])[0].item() for s in (example, other, exposed))
    assert unknown > 1.5 * plain
    assert corrected == pytest.approx(0.8 * plain, rel=0.25), 'L1 shrinks with the gain'


@pytest.mark.parametrize(('box', 'bbox'), [(BOX, ' '.join(map(str, BOX.ravel()))),
                                           (None, 'auto')], ids=['box', 'from the pictures'])
def test_moves_as_inference_does(box, bbox):
    model, example = trainable(motion=0.2), sample(inputs=tuple(rig()), box=box)
    moved, = model.predict(example, [0])
    motion = AgmMotion(rig(), RASTERIZER, MotionConfig(bbox=bbox, flow_views=0), model.module,
                       SIZES)
    sets = [FrameSet(number, pictures(frame, rig())) for number, frame in enumerate((0, 2))]
    motion.observe(sets[0])
    follower = motion.follow(scene(), sets[0])
    motion.observe(sets[1])
    wanted = follower.move_to(sets[1]).scene
    assert (wanted.means - scene().means).abs().max() > 0.01
    torch.testing.assert_close(moved.means, wanted.means, atol=1e-6, rtol=0)
    torch.testing.assert_close(moved.quats, wanted.quats, atol=1e-6, rtol=0)
    still = (moved.means == scene().means).all(1)
    assert still[:WALL].float().mean() > 0.6 and not still[WALL:].any()


def test_a_sample_in_which_nothing_can_move_teaches_nothing():
    far = np.array([[50.0] * 3, [51.0] * 3])
    model = trainable()
    total, _ = LossOfSample(model, RASTERIZER, LossConfig())(sample(box=far), [0])
    total.backward()
    gradients = [p.grad for p in model.module.parameters() if p.requires_grad]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_weights_come_back_with_what_they_were_trained_with(tmp_path):
    model = trainable(motion=0.1)
    model.save(tmp_path)
    other = trainable(seed=1)
    other.load(tmp_path)
    for name, tensor in model.module.state_dict().items():
        assert torch.equal(tensor, other.module.state_dict()[name]), name
    assert not weights.load(tmp_path).double_division, 'the default is for published weights'
    model.module.double_division = True
    model.save(tmp_path)
    assert weights.load(tmp_path, double_division=False).double_division
    other.load(tmp_path)
    assert other.module.double_division


def test_starts_from_the_frozen_backbone(flow_weights, tmp_path):
    config = TrainConfig(weights=str(flow_weights))
    model = TrainableAgm.build(config, RASTERIZER)
    again = TrainableAgm.build(config, RASTERIZER)
    other = TrainableAgm.build(replace(config, seed=1), RASTERIZER)
    same = {name: torch.equal(tensor, again.module.state_dict()[name])
            for name, tensor in model.module.state_dict().items()}
    assert all(same.values())
    for name, tensor in other.module.state_dict().items():
        if name.startswith('backbone.'):
            assert torch.equal(tensor, model.module.state_dict()[name])
    assert not torch.equal(other.module.upsample.weight, model.module.upsample.weight)
    head = model.module.render.out_layers[0]
    assert not head.weight.any() and not head.bias.any()
    trained = trainable(motion=0.1)
    trained.save(tmp_path)
    tuned = models.build(TrainConfig(start=str(tmp_path)), RASTERIZER)
    assert torch.equal(tuned.module.upsample.weight, trained.module.upsample.weight)


@pytest.mark.parametrize(('changes', 'said'), [
    ({'weights': ''}, '--weights'), ({'weights': 'nowhere'}, 'no such folder'),
    ({'start': 'flow'}, 'AGM-Net: no file'), ({'agm': AgmTrainConfig(picture=100)}, 'of 16'),
    ({'model': 'agm_huge'}, 'agm_huge')])
def test_refuses_what_it_cannot_start_from(flow_weights, changes, said):
    config = replace(TrainConfig(weights=str(flow_weights)), **changes)
    if config.start:
        config = replace(config, start=str(flow_weights))
    with pytest.raises(InputError, match=said):
        models.build(config, RASTERIZER)
