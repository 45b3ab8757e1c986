# SPDX-License-Identifier: Apache-2.0
"""Every rasterizer against the float64 oracle: picture, depth, alpha and all gradients."""
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.scene import ATTRIBUTES, GaussianScene
from igs_ros.render.choose import make_rasterizer

sys.path.insert(0, str(Path(__file__).parent))
import oracle  # noqa: E402

# gsplat recovers T as 1 - alpha and uses a coarser exp: see cpu_core.md section 1.
PICTURE_ERROR = {'cpu': 1e-5, 'cuda': 1e-4}
GRADIENT_ERROR = {'cpu': 3e-5, 'cuda': 3e-3}


@dataclass
class Case:
    scene: dict  # float64 arrays by attribute
    camera: Camera
    antialiased: bool = False
    background: tuple = (0.2, 0.5, 0.9)
    gradient_error: float = 1.0  # factor for a badly conditioned scene


def camera(width=61, height=45, fx=50.0, fy=53.0, cx=24.0, cy=27.5):
    """A turned camera with an off-center principal point."""
    angle = 0.3
    pose = np.eye(4)
    pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0],
                    [-np.sin(angle), 0, np.cos(angle)]]
    pose[:3, 3] = 0.2, -0.1, 0.4
    return Camera('test', width, height, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), pose)


def cloud(rng, view, count, degree=1, size=0.08, margin=0.3):
    """Gaussians in, at the border of and around the picture, some behind the camera."""
    depth = rng.uniform(0.7, 4, count)
    depth[::11] = rng.uniform(-2, 0.02, len(depth[::11]))
    extent = np.array([view.width, view.height])
    pixels = rng.uniform(-margin, 1 + margin, (count, 2)) * extent
    return {'means': view.unproject(pixels, depth), 'quats': rng.normal(size=(count, 4)),
            'scales': np.exp(rng.normal(np.log(size), 0.7, (count, 3))),
            'opacities': rng.uniform(0.01, 0.95, count),
            'sh': rng.normal(0, 0.3, (count, (degree + 1) ** 2, 3))}


def plain(degree, antialiased):
    view = camera()
    return Case(cloud(np.random.default_rng(degree), view, 120, degree), view, antialiased)


def degenerate(antialiased):
    """Discs, needles, points; conic and its gradient lose digits to a needle in float32."""
    view = camera()
    scene = cloud(np.random.default_rng(5), view, 80, margin=0.0)
    scene['scales'][0:20, 0] = 1e-6
    scene['scales'][20:30, :2] = 1e-5
    scene['scales'][30:40] = 1e-7
    return Case(scene, view, antialiased, gradient_error=100)


def huge(antialiased):
    """Gaussians wider than the picture."""
    rng, view = np.random.default_rng(11), camera()
    scene = cloud(rng, view, 40, margin=0.0)
    scene['scales'][0:10] = rng.uniform(2, 30, (10, 3))
    scene['scales'][10:15] = [2, 0.1, 1e-4]
    scene['opacities'][0:15] = 0.1
    return Case(scene, view, antialiased, gradient_error=200)


def outside():
    """Wide Gaussians whose means lie far outside the picture, where the Jacobian is stopped."""
    view = camera()
    scene = cloud(np.random.default_rng(6), view, 100, size=0.8, margin=1.5)
    return Case(scene, view)


def opaque():
    """Opacity 1: alpha is cut at max_alpha, and pixels finish early."""
    view = camera()
    scene = cloud(np.random.default_rng(7), view, 120, size=0.25)
    scene['opacities'][::2] = 1.0
    return Case(scene, view)


def sparse(corner):
    """All Gaussians in one corner: most tiles, the first or the last ones, have none."""
    view = camera(90, 70, cx=40, cy=33)
    rng = np.random.default_rng(8)
    scene = cloud(rng, view, 12)
    pixels = rng.uniform(2, 12, (12, 2)) + np.array(corner) * (75, 55)
    scene['means'] = view.unproject(pixels, rng.uniform(1, 2, 12))
    scene['scales'] *= 0.3
    return Case(scene, view)


def small_picture(width, height):
    view = camera(width, height, fx=20, fy=20, cx=width / 3, cy=height / 2)
    return Case(cloud(np.random.default_rng(9), view, 20), view)


def nothing():
    view = camera()
    return Case(cloud(np.random.default_rng(0), view, 0), view)


CASES = {f'sh{degree}-{"antialiased" if mode else "classic"}': (plain, degree, mode)
         for degree in range(4) for mode in (False, True)}
CASES |= {'degenerate-classic': (degenerate, False), 'degenerate-antialiased': (degenerate, True),
          'huge-classic': (huge, False), 'huge-antialiased': (huge, True),
          'outside': (outside,), 'opaque': (opaque,), 'first-tile-only': (sparse, (0, 0)),
          'last-tile-only': (sparse, (1, 1)), 'one-pixel': (small_picture, 1, 1),
          'one-row': (small_picture, 40, 1), 'exact-tiles': (small_picture, 32, 16),
          'empty': (nothing,)}


@pytest.fixture(params=['cpu', 'cuda on the host', pytest.param('cuda', marks=pytest.mark.gpu)])
def rasterizer(request):
    """The second one is gsplat with kernels on the host (test/fake_gsplat.py)."""
    if request.param == 'cuda on the host':
        request.getfixturevalue('cuda')
    return make_rasterizer(request.param.split()[0], threads=2)


@pytest.mark.parametrize('name', CASES)
def test_picture_and_gradients(rasterizer, name):
    make, *arguments = CASES[name]
    case = make(*arguments)
    leaves = {key: torch.tensor(value, dtype=torch.float32) for key, value in case.scene.items()}
    exact = [leaves[key].double().requires_grad_() for key in ATTRIBUTES]
    expected = oracle.render(exact, case.camera, case.background, case.antialiased)
    # The test must not lose its subject: most pixels are sure, and something is drawn.
    assert expected.sure.double().mean() > 0.9
    assert name == 'empty' or len(expected.rows) > 5

    leaves = {key: value.to(rasterizer.device).requires_grad_() for key, value in leaves.items()}
    drawn = rasterizer.render(GaussianScene(**leaves), case.camera, background=case.background,
                              antialiased=case.antialiased, absgrad=True)
    weights = torch.Generator().manual_seed(1)
    loss = expected_loss = 0
    for key in ('rgb', 'depth', 'alpha'):
        actual, wanted = getattr(drawn, key), getattr(expected, key)
        compare(actual, wanted, PICTURE_ERROR[rasterizer.name], key, expected.sure)
        factor = torch.randn(wanted.shape, generator=weights, dtype=torch.float64)
        factor[~expected.sure] = 0
        if key == 'depth':  # 1 - T has few digits where almost nothing is drawn
            factor *= expected.alpha.detach() > 0.05
        loss = loss + (actual * factor.to(actual)).sum()
        expected_loss = expected_loss + (wanted * factor).sum()
    if name == 'empty':
        assert drawn.visible.shape == (0,)
        if loss.requires_grad:
            loss.backward()
        return
    loss.backward()
    expected_loss.backward()
    tolerance = GRADIENT_ERROR[rasterizer.name] * case.gradient_error
    for key, leaf in zip(ATTRIBUTES, exact, strict=True):
        compare(leaves[key].grad, leaf.grad, tolerance, key)
    per_pixel = expected.positions.grad
    for screen, wanted in ((drawn.screen.mean2d, per_pixel.sum(1)),
                           (drawn.screen.absgrad, per_pixel.abs().sum(1))):
        everyone = torch.zeros(len(exact[0]), 2, dtype=torch.float64)
        everyone[expected.rows] = wanted
        compare(screen, everyone, tolerance, 'screen')


def compare(actual, expected, tolerance, what, where=None):
    """Largest error as a fraction of the largest value, and no NaN."""
    actual = actual.detach().double().cpu()
    expected = expected.detach()
    assert actual.shape == expected.shape and torch.isfinite(actual).all(), what
    error = (actual - expected).abs()
    if where is not None:
        error = error[where]
    scale = max(1e-12, expected.abs().max().item()) if expected.numel() else 1
    worst = error.max().item() / scale if error.numel() else 0
    assert worst < tolerance, f'{what}: error {worst:.2e} of the largest value {scale:.3g}'
