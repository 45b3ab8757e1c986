# SPDX-License-Identifier: Apache-2.0
"""Rasterizer, loss and optimizer on the CUDA device of fake_cuda.py: as on the CPU, and its cost.

How exact the rasterizer is there: test_backends.py.
"""
import numpy as np
import pytest
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene, concatenated, empty_scene
from igs_ros.render.choose import make_rasterizer
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.exposure import ExposureLearner, estimated
from igs_ros.render.gather import gathered
from igs_ros.render.importance import bounded_by_importance, importance
from igs_ros.render.loss import Target, photometric_loss
from igs_ros.render.optimize import _CHECK_EVERY, Densify, LearningRates, Optimizer
from igs_ros.render.rasterizer import render_view
from igs_ros.render.tiles import tile_grid

GSPLAT_WAITS = 2  # per picture: to invert the pose, and for the number of pairs
RATES = LearningRates(1e-2, 1e-2, 1e-2, 5e-2, 1e-2, 1e-3)
CAMERA = Camera('front', 64, 48, np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]]), np.eye(4))
PICTURE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
SOME = np.zeros(tile_grid(48, 64), bool)
SOME[1:, 1:3] = True


def scene(seed: int = 0) -> GaussianScene:
    """40 Gaussians before the camera, on the CPU."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand((40, *shape), generator=generator)
    means = torch.cat([rand(2) * 2 - 1, 2 + rand(1)], 1)
    return GaussianScene(means, torch.nn.functional.normalize(rand(4) - 0.5, dim=1),
                         0.05 + 0.1 * rand(3), 0.2 + 0.6 * rand(), rand(4, 3) - 0.5)


@pytest.fixture
def rasterizer(cuda):
    return make_rasterizer('cuda')


def both(rasterizer):
    """The CPU and the device, each with the scene."""
    return [(each, scene().to(each.device)) for each in (CpuRasterizer(1), rasterizer)]


def agree(values, tolerance=1e-4):
    left, right = (torch.as_tensor(value).detach().cpu().numpy() for value in values)
    np.testing.assert_allclose(right, left, atol=tolerance * max(1e-9, np.abs(left).max()))


def test_auto_takes_the_device(cuda):
    assert make_rasterizer('auto').name == make_rasterizer('cuda').name == 'cuda'
    assert make_rasterizer('cpu', 1).name == 'cpu'


def test_views_are_arrays_of_the_host(rasterizer):
    views = [render_view(each, start, CAMERA) for each, start in both(rasterizer)]
    for name in ('rgb', 'alpha'):
        agree([getattr(view, name) for view in views])
    shown = [np.isfinite(view.depth) for view in views]
    assert np.array_equal(*shown) and shown[0].any()


def test_gaussians_drawn_along_get_no_gradients(rasterizer):
    drawn = []
    for each, start in both(rasterizer):
        free = start.select(slice(25)).replaced(
            means=start.means[:25].clone().requires_grad_())
        context = each.context(start.select(slice(25, None)), CAMERA)
        picture = each.render(free, CAMERA, context=context, absgrad=True)
        picture.rgb.square().sum().backward()
        assert picture.screen.absgrad.shape == picture.screen.mean2d.shape == (25, 2)
        drawn.append((picture.rgb, picture.screen.absgrad, free.means.grad))
    for values in zip(*drawn, strict=True):
        agree(values, 1e-3)


def test_what_is_drawn_along_may_be_a_scene_that_is_being_fitted(rasterizer):
    for each, start in both(rasterizer):
        means = start.means.clone().requires_grad_()
        rest = start.replaced(means=means).select(slice(25, None))
        free = start.select(slice(25)).replaced(sh=start.sh[:25].clone().requires_grad_())
        context = each.context(rest, CAMERA)
        for _ in range(2):  # the second picture needs what a first `backward` would have freed
            each.render(free, CAMERA, context=context).rgb.sum().backward()
        assert means.grad is None and free.sh.grad.abs().sum() > 0


@pytest.mark.parametrize('tiles', [None, SOME], ids=['all', 'some'])
def test_loss(rasterizer, tiles):
    found = []
    for device in ('cpu', rasterizer.device):
        rendered = torch.from_numpy(PICTURE / 255.0).float().flip(0).to(device).requires_grad_()
        loss = photometric_loss(rendered, Target(PICTURE, device), 0.2, tiles)
        loss.backward()
        found.append((loss, rendered.grad))
    for values in zip(*found, strict=True):
        agree(values)


def test_importance_and_what_pixels_say(rasterizer):
    found = []
    for each, start in both(rasterizer):
        seen = gathered(each, start, CAMERA, lambda rgb: np.full((48, 64, 4), 0.5, np.float32))
        kept = bounded_by_importance(start, each, {'front': CAMERA}, 20)
        found.append((importance(start, each, {'front': CAMERA}), seen, kept.means))
    for values in zip(*found, strict=True):
        agree(values)


def test_exposures(rasterizer):
    found = []
    for device in ('cpu', rasterizer.device):
        picture = torch.from_numpy(PICTURE / 255.0).float().to(device)
        known = estimated({'a': (picture, 0.8 * picture), 'b': (picture, picture)})
        found.append((known.cameras['a'].gain, known.apply('a', picture)))
    for values in zip(*found, strict=True):
        agree(values)


def fitted(rasterizer, iterations=8, **options):
    fitting = Optimizer(scene().to(rasterizer.device), rasterizer, RATES, **options)
    target = Target(PICTURE, rasterizer.device)
    losses = []
    for _ in range(iterations):
        losses.append(fitting.backward(CAMERA, target))
        fitting.step()
    return fitting, losses


def test_steps_are_those_of_the_cpu(rasterizer):
    (_, slow), (fitting, fast) = fitted(CpuRasterizer(1)), fitted(rasterizer)
    agree([torch.stack(losses) for losses in (slow, fast)], 1e-3)
    assert fitting.scene().device.type == 'cuda'


def test_densification_takes_the_same_gaussians(rasterizer):
    reports = []
    for each in (CpuRasterizer(1), rasterizer):
        fitting, _ = fitted(each, absgrad=True)
        fitting.keep(torch.arange(1, 40, device=each.device))
        report = fitting.densify(Densify(1e-9, 60, 0.5), torch.Generator().manual_seed(0))
        fitting.backward(CAMERA, Target(PICTURE, each.device))
        fitting.step()  # with the moments of those that stayed
        reports.append((report, len(fitting.scene())))
    assert reports[0] == reports[1] and reports[0][0].split and reports[0][0].pruned


def test_an_empty_scene_has_a_loss_and_nothing_to_learn(rasterizer):
    fitting = Optimizer(empty_scene(1, rasterizer.device), rasterizer, RATES)
    assert fitting.backward(CAMERA, Target(PICTURE, rasterizer.device)) > 0
    fitting.step()
    assert len(fitting.scene()) == 0


def test_a_loss_that_is_not_finite_is_found(rasterizer):
    fitting, _ = fitted(rasterizer, 2)
    fitting.backward(CAMERA, Target(PICTURE, rasterizer.device),
                     exposure=lambda rgb: rgb * float('nan'))
    with pytest.raises(FloatingPointError, match="camera 'front'"):
        fitting.scene()


# -- what it costs ----------------------------------------


def test_an_iteration_waits_for_nothing_but_gsplat_and_copies_nothing(cuda, rasterizer):
    fitting, _ = fitted(rasterizer, 1)
    target, tiles = Target(PICTURE, rasterizer.device), np.ones_like(SOME)
    learner = ExposureLearner(['front'], rasterizer.device)

    def exposure(rgb):
        learner.see('front', rgb.detach(), target.tensor)
        return learner.exposures.comparable('front', rgb, target.tensor)
    frozen = rasterizer.context(scene(seed=1).to('cuda'), CAMERA)
    fitting.backward(CAMERA, target, tiles=tiles, context=frozen)  # uploads which pixels count
    with cuda.counted() as costs:
        for _ in range(5):
            fitting.backward(CAMERA, target, tiles=tiles, context=frozen, exposure=exposure)
            fitting.step()
    assert costs.waits.total() == 5 * GSPLAT_WAITS and not costs.own_waits(), costs
    assert not costs.uploads and not costs.downloads, costs


def test_losses_are_read_now_and_then(cuda, rasterizer):
    with cuda.counted() as costs:
        fitted(rasterizer, 3 * _CHECK_EVERY)
    reads = [number for where, number in costs.waits.items() if 'optimize.py' in where]
    assert sum(reads) == costs.downloads.total() == 3, costs


def test_a_densification_waits_a_few_times(cuda, rasterizer):
    fitting, _ = fitted(rasterizer)
    with cuda.counted() as costs:
        fitting.densify(Densify(1e-9, 60, 0.5), torch.Generator().manual_seed(0))
    assert costs.waits.total() <= 4 and costs.uploads.total() <= 1, costs
    assert not costs.downloads


def test_a_view_costs_one_download_each_of_color_depth_and_alpha(cuda, rasterizer):
    start = concatenated([scene(), scene(seed=1)]).to('cuda')
    render_view(rasterizer, start, CAMERA)  # uploads the camera
    with cuda.counted() as costs:
        render_view(rasterizer, start, CAMERA)
    assert costs.waits.total() == GSPLAT_WAITS + 3 and costs.downloads.total() == 3, costs
    assert not costs.uploads, costs
