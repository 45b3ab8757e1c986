# SPDX-License-Identifier: Apache-2.0
"""Evidence against renderings, finite differences and exposures put in by hand."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from igs_ros.core.camera import Camera
from igs_ros.stages.motion.agm_small.evidence import KeyViews

NAMES = ('left', 'middle', 'right')


def views(stage, images):
    return KeyViews(stage.scene, {name: stage.rig[name] for name in NAMES}, images,
                    stage.rasterizer)


@pytest.fixture(scope='module')
def evidence(stage, sets):
    """Of two steps after the key, with the key as it is."""
    found = views(stage, sets[0].images).evidence(sets[2].images)
    found.weights(stage.scene)
    return found


def squared_error(evidence, stage, scene):
    """Half the squared error in the pixels that are looked at, float64."""
    total = 0.0
    with torch.no_grad():
        for view in evidence._views:
            drawn = stage.rasterizer.render(scene, view.camera, depth=False).rgb
            pixels = np.kron(view.tiles, np.ones((16, 16), bool))
            pixels = pixels[:drawn.shape[0], :drawn.shape[1]]
            total += 0.5 * np.square((view.target - drawn).numpy()[pixels].astype(float)).sum()
    return total


def test_slopes_are_minus_the_derivative_of_the_squared_error(stage, evidence):
    slopes = evidence.slopes(stage.scene)
    row = int(torch.argmax(slopes.means.sum(0).norm(dim=1)))
    scene, base = stage.scene, {}

    def changed(name, step):
        values = getattr(scene, name).clone()
        if name == 'scales':
            values[row] = values[row] * torch.exp(step)
        else:
            values[row] += step
        return squared_error(evidence, stage, replace(scene, **{name: values}))
    for name, found, size in (('means', slopes.means, 1e-3), ('scales', slopes.log_scales, 2e-2),
                              ('sh', slopes.colors, 2e-2)):
        for axis in range(3):
            step = torch.zeros(3)
            step[axis] = size
            if name == 'sh':
                base = 0.28209479177387814
                difference = changed(name, step[None] / base) - changed(name, -step[None] / base)
            else:
                difference = changed(name, step) - changed(name, -step)
            assert float(found.sum(0)[row, axis]) == pytest.approx(
                -difference / (2 * size), rel=0.05, abs=0.02 * float(found.sum(0)[row].norm()))


def test_weights_are_blending_weights_in_the_tiles(stage, sets):
    found = views(stage, sets[0].images).evidence(sets[2].images)
    weights = found.weights(stage.scene)
    assert weights.shape == (3, len(stage.scene))
    for view, row in zip(found._views, weights):
        assert 0 < view.tiles.mean() < 0.6  # a small ball moves
        with torch.no_grad():
            alpha = stage.rasterizer.render(stage.scene, view.camera).alpha.numpy()
        pixels = np.kron(view.tiles, np.ones((16, 16), bool))[:alpha.shape[0], :alpha.shape[1]]
        # weights of all Gaussians sum up to the opacity of the picture
        assert float(row.sum()) == pytest.approx(float(alpha[pixels].sum()), rel=1e-3)


def test_where_nothing_changed_the_key_is_the_target(stage, sets):
    found = views(stage, sets[0].images).evidence(sets[2].images)
    for view in found._views:
        with torch.no_grad():
            drawn = stage.rasterizer.render(stage.scene, view.camera, depth=False).rgb
        picture = torch.from_numpy(sets[2].images[view.camera.name].astype(np.float32) / 255)
        still = torch.from_numpy(~view.mask)
        assert torch.equal(view.target[still], drawn[still])
        assert (view.target - picture)[~still].abs().max() < 0.03  # exposures are all but equal


def test_an_exposure_is_taken_out(stage, sets):
    gain = {'left': 0.8, 'middle': 1.0, 'right': 1.2}

    def exposed(frame_set):
        return {name: np.clip(np.rint(frame_set.images[name] * gain[name]), 0, 255).astype(
            np.uint8) for name in NAMES}
    dimmed = [replace(stage.scene, sh=stage.scene.sh * 0.5)]  # no picture is saturated
    images = {name: (stage.rasterizer.render(dimmed[0], stage.rig[name]).rgb.detach().numpy()
                     * 255).astype(np.uint8) for name in NAMES}
    key = replace(sets[0], images=images)
    found = KeyViews(dimmed[0], {name: stage.rig[name] for name in NAMES}, exposed(key),
                     stage.rasterizer)
    for name, view in found._views.items():
        # gains have mean 1; the offset takes part of a haze, and there is none
        assert float(view.exposure.gain.mean()) == pytest.approx(gain[name], abs=0.04)
        assert float(view.exposure.offset.abs().max()) < 0.04


def test_views_without_pictures_are_left_out(stage, sets):
    images = {name: sets[2].images[name] for name in ('left', 'right')}
    found = views(stage, sets[0].images).evidence(images)
    assert [camera.name for camera in found.cameras] == ['left', 'right']
    assert isinstance(found.cameras[0], Camera)
