# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch
from ball_world import RASTERIZER, pictures, rig, sample, scene

from igs_ros.apps.training.validation import validate
from igs_ros.render.rasterizer import render_view
from igs_ros.vision.metrics import psnr


class Knows:
    """A motion model that moves the ball as far as it is told."""

    name, consecutive = 'knows', False

    def __init__(self, share):
        self.share, self.module = share, torch.nn.Linear(1, 1)

    def predict(self, example, targets):
        true = torch.from_numpy(example.displacements[targets])
        return [example.key_scene.replaced(means=example.key_scene.means + self.share * moved)
                for moved in true]


def test_a_validation_compares_with_the_key_as_it_is():
    """Half the true motion: scores and errors follow from the true scenes."""
    example = sample(targets=(2, 4), inputs=('cam01',), losses=('cam03', 'cam04'))
    scores, shown = validate(Knows(0.5), [example], RASTERIZER)
    cameras = rig()
    wanted = {'': scene(2), '_key': scene(0)}  # half of four steps
    for suffix, of in wanted.items():
        values = [psnr(pictures(4, cameras)[name], render_view(RASTERIZER, of, cameras[name]).rgb)
                  for name in ('cam03', 'cam04')]
        assert scores[f'psnr{suffix}'] == pytest.approx(np.mean(values), abs=1e-3)
    assert scores['psnr_moving_key'] < scores['psnr_moving'] < scores['psnr']
    length = 4 * np.linalg.norm((0.03, 0.01, 0))
    assert scores['displacement_median'] == pytest.approx(length / 2, rel=1e-4)
    assert scores['displacement_p90_key'] == pytest.approx(length, rel=1e-4)
    picture, = shown.values()
    assert picture.shape == (48, 3 * 64, 3)
    np.testing.assert_array_equal(picture[:, 128:], pictures(4, cameras)['cam04'])
    near = np.abs(picture[:, :64].astype(int) - pictures(0, cameras)['cam04'])
    assert near.max() <= 1, 'the key before'


def test_a_validation_leaves_out_what_nobody_knows():
    example = sample()
    scores, _ = validate(Knows(1.0), [example], RASTERIZER)
    assert scores['displacement_median'] == pytest.approx(0, abs=1e-6)
    key_only = replace(
        example, key_images={name: example.key_images[name] for name in example.input_views},
        loss_views=('cam04',), displacements=np.zeros_like(example.displacements))
    scores, _ = validate(Knows(1.0), [key_only], RASTERIZER)
    assert scores.keys() == {'psnr', 'psnr_key'}
