# SPDX-License-Identifier: Apache-2.0
"""The loss against torch convolutions in float64."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from igs_ros.render.loss import Target, _torch_loss, _torch_ssim, photometric_loss
from igs_ros.render.loss_cpu import KERNEL
from igs_ros.render.tiles import pixels_of, tile_grid


def reference_loss(x: torch.Tensor, y: torch.Tensor, dssim: float) -> torch.Tensor:
    """The published formula with a full 11x11 convolution."""
    row = torch.exp(-(torch.arange(11, dtype=torch.float64) - 5) ** 2 / (2 * 1.5 ** 2))
    row = row / row.sum()
    window = torch.outer(row, row).expand(3, 1, 11, 11)

    def blurred(image):
        return F.conv2d(image.permute(2, 0, 1)[None], window, padding=5, groups=3)
    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mean_x ** 2, blurred(y * y) - mean_y ** 2
    covariance = blurred(x * y) - mean_x * mean_y
    ssim = ((2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4)
            / ((mean_x ** 2 + mean_y ** 2 + 1e-4) * (var_x + var_y + 9e-4))).mean()
    return (1 - dssim) * (x - y).abs().mean() + dssim * (1 - ssim)


@pytest.mark.parametrize('dssim', [0.0, 0.2, 1.0])
@pytest.mark.parametrize('shape', [(37, 53, 3), (5, 7, 3)], ids=['odd size', 'below the window'])
def test_value_and_gradient_match_float64(shape, dssim):
    rng = np.random.default_rng(3)
    wanted = rng.random(shape).astype(np.float32)
    drawn = np.clip(wanted + rng.normal(0, 0.1, shape), 0, 1.2).astype(np.float32)
    x = torch.tensor(drawn, requires_grad=True)
    loss = photometric_loss(x, Target(wanted), dssim)
    (3 * loss).backward()
    exact = torch.tensor(drawn, dtype=torch.float64, requires_grad=True)
    expected = reference_loss(exact, torch.tensor(wanted, dtype=torch.float64), dssim)
    (3 * expected).backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    error = (x.grad.double() - exact.grad).norm() / exact.grad.norm()
    assert error < 2e-5


def some_tiles(kind: str, grid: tuple[int, int], rng) -> np.ndarray:
    tiles = np.zeros(grid, bool)
    if kind == 'scattered':
        tiles = rng.random(grid) < 0.3
    elif kind == 'block':
        tiles[1:3, 2:5] = True
    elif kind == 'rows apart':  # one row of tiles between: the windows meet in neither
        tiles[0], tiles[2, 1:] = True, True
    elif kind == 'corners':
        tiles[0, 0] = tiles[-1, -1] = tiles[0, -1] = True
    elif kind == 'all':
        tiles[:] = True
    return tiles


@pytest.mark.parametrize('kind', ['scattered', 'block', 'rows apart', 'corners', 'all', 'none'])
@pytest.mark.parametrize('shape', [(75, 90, 3), (64, 96, 3)], ids=['odd size', 'exact tiles'])
def test_tiles_are_the_whole_picture_with_the_rest_pasted_in(shape, kind):
    rng = np.random.default_rng(5)
    wanted = rng.random(shape).astype(np.float32)
    drawn = np.clip(wanted + rng.normal(0, 0.1, shape), 0, 1.2).astype(np.float32)
    tiles = some_tiles(kind, tile_grid(*shape[:2]), rng)
    inside = pixels_of(tiles, *shape[:2])[..., None]

    x = torch.tensor(np.where(inside, drawn, np.nan), requires_grad=True)  # the rest is not read
    loss = photometric_loss(x, Target(wanted), 0.2, tiles)
    loss.backward()
    pasted = torch.tensor(np.where(inside, drawn, wanted), requires_grad=True)
    whole = photometric_loss(pasted, Target(wanted), 0.2)
    whole.backward()
    exact = pasted.detach().double().requires_grad_()
    expected = reference_loss(exact, torch.tensor(wanted, dtype=torch.float64), 0.2)
    expected.backward()
    assert not x.grad[~torch.from_numpy(inside[..., 0])].any()
    assert loss.item() == pytest.approx(whole.item(), rel=1e-6, abs=1e-9)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-9)
    seen = torch.from_numpy(inside)
    assert ((x.grad - pasted.grad) * seen).abs().max() <= 1e-6 * pasted.grad.abs().max()
    error = ((x.grad - exact.grad) * seen).norm()
    assert error <= 2e-5 * (exact.grad * seen).norm()


def test_tiles_on_the_torch_path():
    """What runs on CUDA."""
    rng = np.random.default_rng(6)
    wanted = rng.random((40, 50, 3)).astype(np.float32)
    x = torch.tensor(rng.random((40, 50, 3)).astype(np.float32))
    tiles = rng.random((3, 4)) < 0.5
    expected = photometric_loss(x, Target(wanted), 0.2, tiles)
    leaf = x.clone().requires_grad_()
    actual = _torch_loss(leaf, Target(wanted), 0.2, tiles)
    actual.backward()
    assert actual.item() == pytest.approx(expected.item(), rel=1e-5)
    assert not leaf.grad[~torch.from_numpy(pixels_of(tiles, 40, 50))].any()


@pytest.mark.gpu
def test_on_cuda_it_is_the_loss_of_the_cpu():
    rng = np.random.default_rng(8)
    wanted = rng.random((70, 90, 3)).astype(np.float32)
    noisy = np.clip(wanted + rng.normal(0, 0.1, wanted.shape), 0, 1)
    drawn = torch.tensor(noisy, dtype=torch.float32)
    tiles = rng.random(tile_grid(70, 90)) < 0.5
    results = []
    for device in ('cpu', 'cuda'):
        leaf = drawn.to(device).requires_grad_()
        value = photometric_loss(leaf, Target(wanted, device), 0.2, tiles)
        value.backward()
        results.append((value.item(), leaf.grad.cpu()))
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-4)
    torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-3, atol=1e-8)


def test_same_bits_for_the_same_input():
    rng = np.random.default_rng(7)
    target = Target(rng.random((50, 70, 3)).astype(np.float32))
    x = torch.tensor(rng.random((50, 70, 3)).astype(np.float32), requires_grad=True)
    every = np.ones(tile_grid(50, 70), bool)
    runs = []
    for tiles in (None, None, every):
        value = photometric_loss(x, target, 0.2, tiles)
        runs.append((value.item(), torch.autograd.grad(value, x)[0]))
    assert all(value == runs[0][0] and torch.equal(grad, runs[0][1]) for value, grad in runs)


def test_torch_path_is_the_same_loss():
    rng = np.random.default_rng(4)
    x, y = (torch.tensor(rng.random((30, 40, 3))) for _ in range(2))
    expected = reference_loss(x, y, 1.0)
    assert 1 - _torch_ssim(x, y).item() == pytest.approx(expected.item(), rel=1e-5)


def test_equal_pictures_cost_nothing():
    picture = np.full((20, 20, 3), 200, np.uint8)
    loss = photometric_loss(torch.from_numpy(Target(picture).image.copy()), Target(picture), 0.2)
    assert abs(loss.item()) < 1e-5
    assert KERNEL.sum() == pytest.approx(1.0)
