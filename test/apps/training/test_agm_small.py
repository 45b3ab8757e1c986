# SPDX-License-Identifier: Apache-2.0
"""agm-small under training."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from igs_ros.apps.training import models
from igs_ros.apps.training.agm_small import TrainableAgmSmall
from igs_ros.apps.training.config import AgmSmallTrainConfig, TrainConfig, Views
from igs_ros.apps.training.procedural.source import ProceduralSource
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.stages.motion.agm_small import weights
from igs_ros.stages.motion.agm_small.net import CorrectionNet


@pytest.fixture(scope='module')
def sample():
    return ProceduralSource(11, CpuRasterizer(1), Views(3, 2), frames=2).sample(1)


def trainable(settings=None):
    torch.manual_seed(3)
    return TrainableAgmSmall(CorrectionNet(), CpuRasterizer(1), settings or AgmSmallTrainConfig())


def test_it_is_built_by_name_and_seeded():
    one, other = (models.build(TrainConfig(model='agm_small'), CpuRasterizer(1)) for _ in 'ab')
    assert one.name == 'agm_small' and one.consecutive
    for a, b in zip(one.module.parameters(), other.module.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_few_steps_lessen_the_error_in_views_that_the_network_does_not_see(sample):
    model = trainable(AgmSmallTrainConfig(rounds=1))
    optimizer = torch.optim.Adam(model.module.parameters(), 5e-3)
    pictures = []
    for _ in range(8):
        torch.manual_seed(0)
        terms = model.loss(sample, [0, 1], model.predict(sample, [0, 1]))
        pictures.append(terms['picture'].item())
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
    assert pictures[0] == pytest.approx(0, abs=1e-4)  # untrained, it is geometric motion
    assert pictures[-1] < -0.005


def test_every_parameter_learns(sample):
    model = trainable()
    for layer in (model.module.share, model.module.steps):
        torch.nn.init.normal_(layer.weight, std=0.1)
    sum(model.loss(sample, [1], model.predict(sample, [1])).values()).backward()
    for name, parameter in model.module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_true_displacements_count_where_they_are_known(sample):
    model = trainable()
    moved = model.predict(sample, [1])
    plain = model.loss(sample, [1], moved)
    assert plain['displacement'].item() == pytest.approx(0, abs=1e-4)
    unknown = replace(sample, displacements=None)
    assert 'displacement' not in model.loss(unknown, [1], model.predict(unknown, [1]))
    # the true places are better than those of geometry
    true = sample.key_scene.means + torch.from_numpy(np.nan_to_num(sample.displacements[1]))
    ideal = moved[0].replaced(means=true)
    model._rounds[ideal] = [ideal]
    assert model.loss(sample, [1], [ideal])['displacement'].item() < -0.001


def test_the_shipped_weights_help_in_views_and_scenes_that_they_were_not_trained_on(sample):
    model = TrainableAgmSmall(weights.load(), CpuRasterizer(1), AgmSmallTrainConfig(rounds=1))
    with torch.no_grad():
        terms = model.loss(sample, [0, 1], model.predict(sample, [0, 1]))
    assert terms['picture'].item() < -0.01


def test_weights_are_those_that_the_motion_model_loads(sample, tmp_path):
    model, other = trainable(), trainable()
    torch.nn.init.normal_(model.module.steps.weight)
    model.save(tmp_path)
    other.load(tmp_path)
    assert torch.equal(model.module.steps.weight, other.module.steps.weight)
