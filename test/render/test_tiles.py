# SPDX-License-Identifier: Apache-2.0
"""A choice of tiles: drawn ones are the whole picture's, bit for bit; the others cost nothing."""
import numpy as np
import pytest
import torch

from igs_ros.apps.bench.raster import bench_scene
from igs_ros.core.scene import ATTRIBUTES, empty_scene
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.tiles import pixels_of, tile_grid, tiles_with, worst_tiles

BACKGROUND = (0.1, 0.2, 0.3)
CHOICES = ('scattered', 'block', 'first', 'last row', 'none', 'all')


def choice(kind, grid):
    tiles = np.zeros(grid, bool)
    if kind == 'scattered':
        tiles = np.random.default_rng(1).random(grid) < 0.3
    elif kind == 'block':
        tiles[2:5, 3:6] = True
    elif kind == 'first':
        tiles[0, 0] = True
    elif kind == 'last row':  # of a picture whose height is no multiple of 16
        tiles[-1] = True
    elif kind == 'all':
        tiles[:] = True
    return tiles


def drawn(rasterizer, scene, camera, seen, tiles, context=None):
    """Picture and gradients of a loss that looks at the pixels `seen` only."""
    drawing = rasterizer.render(scene, camera, background=BACKGROUND, absgrad=True, tiles=tiles,
                                context=context)
    weights = torch.rand((camera.height, camera.width, 5),
                         generator=torch.Generator().manual_seed(2)) * seen[..., None]
    stacked = torch.cat([drawing.rgb, drawing.depth[..., None], drawing.alpha[..., None]], -1)
    leaves = [getattr(scene, name) for name in ATTRIBUTES]
    gradients = torch.autograd.grad((stacked * weights).sum(), leaves)
    return drawing, [*gradients, drawing.screen.mean2d, drawing.screen.absgrad]


@pytest.fixture(scope='module')
def bench():
    """Gaussians beside the picture too, and a corner without any."""
    scene, camera = bench_scene(3_000, 200, 150)
    means = scene.means.detach() * torch.tensor([1.3, 1.3, 1.0])
    pixels = means[:, :2] / means[:, 2:]
    kept = ~((pixels[:, 0] > 0.25) & (pixels[:, 1] > 0.15))
    values = {name: getattr(scene, name).detach()[kept] for name in ATTRIBUTES}
    values['means'] = means[kept]
    leaves = {name: value.clone().requires_grad_() for name, value in values.items()}
    return scene.replaced(**leaves), camera


@pytest.mark.parametrize('kind', CHOICES)
def test_drawn_tiles_are_those_of_the_whole_picture(bench, kind):
    scene, camera = bench
    tiles = choice(kind, tile_grid(camera.height, camera.width))
    seen = torch.from_numpy(pixels_of(tiles, camera.height, camera.width))
    whole, expected = drawn(CpuRasterizer(1), scene, camera, seen, None)
    for threads in (1, 2):
        part, gradients = drawn(CpuRasterizer(threads), scene, camera, seen, tiles)
        for key in ('rgb', 'depth', 'alpha'):
            assert torch.equal(getattr(part, key)[seen], getattr(whole, key)[seen]), key
        assert torch.equal(part.rgb[~seen], torch.tensor(BACKGROUND).expand_as(part.rgb)[~seen])
        assert not part.alpha[~seen].any() and not part.depth[~seen].any()
        assert all(map(torch.equal, gradients, expected))
        assert not part.visible[~whole.visible].any()
        touched = torch.cat([g.flatten(1) for g in gradients[:3]], 1).any(1)
        assert not touched[~part.visible].any()
    assert bool(expected[0].any()) == (kind != 'none'), 'the loss has to see something'
    assert kind not in ('none', 'first') or part.visible.sum() < len(scene) / 10


def test_visible_means_in_a_drawn_tile(bench):
    """Against the gradient of alpha over the drawn tiles: what is not visible changes nothing."""
    scene, camera = bench
    tiles = choice('block', tile_grid(camera.height, camera.width))
    part = CpuRasterizer(1).render(scene, camera, tiles=tiles)
    hidden = scene.replaced(opacities=torch.where(part.visible, scene.opacities, 0))
    assert torch.equal(CpuRasterizer(1).render(hidden, camera, tiles=tiles).rgb, part.rgb)
    assert 0 < part.visible.sum() < len(scene) / 2


@pytest.mark.parametrize('kind', ['scattered', 'all'])
def test_a_context_is_a_part_of_the_scene_without_gradients(bench, kind):
    scene, camera = bench
    tiles = choice(kind, tile_grid(camera.height, camera.width))
    seen = torch.from_numpy(pixels_of(tiles, camera.height, camera.width))
    _, expected = drawn(CpuRasterizer(1), scene, camera, seen, tiles)
    count = len(scene) // 3
    mixed = torch.randperm(len(scene), generator=torch.Generator().manual_seed(4))
    own, others = (scene.select(rows) for rows in (mixed[:count], mixed[count:]))
    leaves = {name: getattr(own, name).detach().requires_grad_() for name in ATTRIBUTES}
    for threads in (1, 2):
        rasterizer = CpuRasterizer(threads)
        context = rasterizer.context(others, camera, tiles=tiles)
        part, gradients = drawn(rasterizer, own.replaced(**leaves), camera, seen, tiles, context)
        whole = rasterizer.render(scene, camera, background=BACKGROUND, tiles=tiles)
        assert torch.equal(part.rgb, whole.rgb) and torch.equal(part.depth, whole.depth)
        assert torch.equal(part.visible, whole.visible[mixed[:count]])
        for one, other in zip(gradients, expected, strict=True):
            torch.testing.assert_close(one, other[mixed[:count]], rtol=1e-4,
                                       atol=1e-5 * other.abs().max().item())


def test_an_empty_scene_before_a_context(bench):
    scene, camera = bench
    rasterizer = CpuRasterizer(1)
    context = rasterizer.context(scene, camera)
    assert torch.equal(rasterizer.render(empty_scene(1), camera, context=context).rgb,
                       rasterizer.render(scene, camera).rgb)


def test_tiles_of_pixels_and_back():
    rng = np.random.default_rng(3)
    for height, width in ((33, 50), (16, 32), (1, 1)):
        pixels = rng.random((height, width)) < 0.01
        tiles = tiles_with(pixels)
        assert tiles.shape == tile_grid(height, width)
        for row, column in np.ndindex(tiles.shape):
            part = pixels[16 * row:16 * row + 16, 16 * column:16 * column + 16]
            assert tiles[row, column] == part.any()
        assert (pixels_of(tiles, height, width) | ~pixels).all()


def test_a_choice_of_the_wrong_shape_is_a_programming_error(bench):
    with pytest.raises(AssertionError):
        CpuRasterizer(1).render(*bench, tiles=np.ones((3, 3), bool))


def test_the_worst_tiles_are_the_fewest_that_hold_the_share():
    errors = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert worst_tiles(errors, 0.39).tolist() == [[False, False], [False, True]]
    assert worst_tiles(errors, 0.41).tolist() == [[False, False], [True, True]]
    assert worst_tiles(errors, 0.91).all()
    assert not worst_tiles(np.zeros((2, 2)), 0.9).any()
