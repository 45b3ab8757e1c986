# SPDX-License-Identifier: Apache-2.0
"""The CPU rasterizer beyond the comparison with the oracle: threads, state, bad values, size."""
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from igs_ros.apps.bench.raster import bench_scene
from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.scene import ATTRIBUTES, GaussianScene, empty_scene
from igs_ros.render.choose import make_rasterizer
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.rasterizer import RasterConstants, render_view

sys.path.insert(0, str(Path(__file__).parents[1]))
import oracle  # noqa: E402


def picture_and_gradients(rasterizer, scene, camera):
    """All outputs and gradients of one rendering, as bytes."""
    drawn = rasterizer.render(scene, camera, background=(0.1, 0.2, 0.3), absgrad=True)
    loss = (drawn.rgb ** 2).sum() + drawn.depth.sum() + drawn.alpha.sum()
    leaves = [getattr(scene, name) for name in ATTRIBUTES]
    tensors = [drawn.rgb, drawn.depth, drawn.alpha, drawn.visible,
               *torch.autograd.grad(loss, leaves), drawn.screen.mean2d, drawn.screen.absgrad]
    return [tensor.detach().numpy().tobytes() for tensor in tensors]


@pytest.fixture(scope='module')
def bench():
    return bench_scene(9_000, 200, 150)


def test_same_bits_for_any_number_of_threads(bench):
    once, again, two, four = (picture_and_gradients(CpuRasterizer(threads), *bench)
                              for threads in (1, 1, 2, 4))
    assert once == again == two == four


def test_two_python_threads_share_a_rasterizer(bench):
    rasterizer = CpuRasterizer(2)
    alone = picture_and_gradients(rasterizer, *bench)
    with ThreadPoolExecutor(2) as callers:
        results = list(callers.map(lambda _: picture_and_gradients(rasterizer, *bench), range(6)))
    assert all(result == alone for result in results)


def test_without_gradients_nothing_is_kept(bench):
    rasterizer, (scene, camera) = CpuRasterizer(1), bench
    with_graph = rasterizer.render(scene, camera)
    with torch.no_grad():
        drawn = rasterizer.render(scene, camera)
    assert with_graph.rgb.grad_fn is not None
    assert drawn.rgb.grad_fn is None and drawn.depth.grad_fn is None
    assert torch.equal(drawn.rgb, with_graph.rgb) and torch.equal(drawn.depth, with_graph.depth)


def test_depth_can_be_left_out(bench):
    rasterizer, (scene, camera) = CpuRasterizer(1), bench
    leaves = [getattr(scene, name) for name in ATTRIBUTES]
    full, bare = rasterizer.render(scene, camera), rasterizer.render(scene, camera, depth=False)
    assert bare.depth is None and bare.screen.absgrad is None
    assert torch.equal(full.rgb, bare.rgb)
    for one, other in zip(torch.autograd.grad(full.rgb.sum(), leaves),
                          torch.autograd.grad(bare.rgb.sum(), leaves), strict=True):
        assert torch.equal(one, other)


def test_unusable_gaussians_are_not_drawn(bench):
    """NaN, infinite and overflowing values are culled and do not spoil the others."""
    scene, camera = bench
    values = {name: getattr(scene, name).detach()[:300].clone() for name in ATTRIBUTES}
    good = GaussianScene(**{name: value[8:].clone() for name, value in values.items()})
    values['means'][0, 1], values['means'][1, 0] = np.nan, np.inf
    values['quats'][2], values['quats'][3, 0] = 0, np.nan
    values['scales'][4, 2], values['scales'][5] = np.inf, 1e30
    values['opacities'][6], values['means'][7] = np.nan, 1e30
    leaves = {name: value.requires_grad_() for name, value in values.items()}
    drawn = CpuRasterizer(2).render(GaussianScene(**leaves), camera)
    assert not drawn.visible[:8].any() and drawn.visible[8:].sum() > 250
    assert torch.equal(drawn.rgb, CpuRasterizer(2).render(good, camera).rgb)
    (drawn.rgb.sum() + drawn.depth.sum()).backward()
    for name, leaf in leaves.items():
        assert torch.isfinite(leaf.grad).all() and not leaf.grad[:8].any(), name


def test_visible_means_touching_a_tile(bench):
    scene, camera = bench
    aside = scene.replaced(means=scene.means + torch.tensor([100.0, 0, 0]))
    assert CpuRasterizer(1).render(scene, camera).visible.any()
    assert not CpuRasterizer(1).render(aside, camera).visible.any()


def test_constants_are_parameters(bench):
    """gsplat 1.6 cuts alpha at 0.99."""
    _, camera = bench
    scene = GaussianScene(torch.tensor([[0.0, 0, 1]]), torch.tensor([[1.0, 0, 0, 0]]),
                          torch.full((1, 3), 5.0), torch.ones(1), torch.zeros(1, 1, 3))
    for limit in (0.999, 0.99):
        rasterizer = CpuRasterizer(1, RasterConstants(max_alpha=limit))
        assert rasterizer.render(scene, camera).alpha.max() == pytest.approx(limit, abs=1e-6)
    far_away = CpuRasterizer(1, RasterConstants(near=2.0))
    assert not far_away.render(scene, camera).visible.any()


def test_empty_scene_shows_the_background():
    camera = Camera('c', 33, 17, np.array([[20.0, 0, 16], [0, 20, 8], [0, 0, 1]]), np.eye(4))
    drawn = CpuRasterizer(2).render(empty_scene(1), camera, background=(0.1, 0.5, 1))
    assert torch.equal(drawn.rgb, torch.tensor([0.1, 0.5, 1]).expand(17, 33, 3))
    assert not drawn.alpha.any() and not drawn.depth.any()
    assert np.isnan(render_view(CpuRasterizer(1), empty_scene(), camera).depth).all()


def test_no_threads_is_refused():
    with pytest.raises(InputError, match='0 threads'):
        make_rasterizer('cpu', threads=0)


def test_oracle_agrees_with_finite_differences():
    """The oracle's gradients, which the backends are held to, are slopes of its own pictures."""
    rng = np.random.default_rng(3)
    camera = Camera('c', 12, 9, np.array([[15.0, 0, 6], [0, 15, 4], [0, 0, 1]]), np.eye(4))
    values = {'means': camera.unproject(rng.uniform(1, 8, (5, 2)), rng.uniform(1, 2, 5)),
              'quats': rng.normal(size=(5, 4)), 'scales': rng.uniform(0.05, 0.3, (5, 3)),
              'opacities': rng.uniform(0.2, 0.8, 5), 'sh': rng.normal(0, 0.3, (5, 4, 3))}
    leaves = [torch.tensor(values[name], requires_grad=True) for name in ATTRIBUTES]
    factor = torch.tensor(rng.normal(size=(9, 12)))

    def loss(attributes):
        drawn = oracle.render(attributes, camera, (0.1, 0.2, 0.3), True)
        # only where alpha is well above its threshold: a skipped contribution is a step
        return ((drawn.rgb.sum(-1) + drawn.depth) * factor * solid).sum()

    solid = oracle.render(leaves, camera, (0, 0, 0), True).alpha.detach() > 0.3
    gradients = torch.autograd.grad(loss(leaves), leaves)
    for position, gradient in enumerate(gradients):
        step = torch.zeros_like(leaves[position])
        step.view(-1)[rng.integers(step.numel())] = 1e-7
        sides = []
        for sign in (1, -1):
            moved = [leaf.detach() for leaf in leaves]
            moved[position] = moved[position] + sign * step
            sides.append(loss(moved).item())
        slope = (sides[0] - sides[1]) / 2e-7
        assert slope == pytest.approx((gradient * step).sum().item() / 1e-7, rel=1e-4, abs=1e-5)


def test_real_points(test_data):
    """139k points of a real garden: pixels chosen at random agree with the oracle."""
    with np.load(test_data / 'real' / 'garden_static_gsplat' / 'test_garden.npz') as garden:
        means, colors = garden['means3d'], garden['colors'] / 255
        poses, intrinsics = garden['viewmats'], garden['Ks']
        width, height = int(garden['width']), int(garden['height'])
    spacing = cKDTree(means).query(means, k=4)[0][:, 1:].mean(1).clip(1e-4, 0.05)
    scene = GaussianScene(
        torch.tensor(means), torch.tensor([[1.0, 0, 0, 0]]).repeat(len(means), 1),
        torch.tensor(spacing, dtype=torch.float32)[:, None].repeat(1, 3),
        torch.full((len(means),), 0.9),
        torch.tensor((colors - 0.5) / 0.2820947917738781, dtype=torch.float32)[:, None])
    exact = [getattr(scene, name).double() for name in ATTRIBUTES]
    rng = np.random.default_rng(0)
    for pose, K in zip(poses, intrinsics, strict=True):
        camera = Camera('garden', width, height, K, pose)
        drawn = CpuRasterizer(2).render(scene, camera)
        assert drawn.alpha.mean() > 0.5
        row, column = rng.integers(0, height, 40), rng.integers(0, width, 40)
        with torch.no_grad():
            expected = oracle.render(exact, camera, (0, 0, 0), False,
                                     pixels=np.stack([column, row], 1) + 0.5)
        for key in ('rgb', 'depth', 'alpha'):
            error = (getattr(drawn, key)[row, column] - getattr(expected, key))[expected.sure]
            assert error.abs().max() < 2e-4, key
