# SPDX-License-Identifier: Apache-2.0
"""Sums of blending weight x value, against the derivative of the picture by the colors."""
import numpy as np
import pytest

from igs_ros.apps.bench.raster import bench_scene
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.gather import _by_gradient, gathered
from igs_ros.render.tiles import pixels_of, tile_grid


@pytest.mark.parametrize('share', [None, 0.4], ids=['whole', 'tiles'])
def test_gathered_is_the_derivative_by_the_colors(share):
    scene, camera = bench_scene(2_000, 90, 70)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(camera.height, camera.width, 4)).astype(np.float32)
    tiles = None
    if share is not None:
        tiles = rng.random(tile_grid(camera.height, camera.width)) < share
        values *= pixels_of(tiles, camera.height, camera.width)[..., None]
    seen = []

    def look(picture):
        seen.append(picture)
        return values
    expected = _by_gradient(CpuRasterizer(1), scene, camera, look, tiles)
    for threads in (1, 2):
        actual = gathered(CpuRasterizer(threads), scene, camera, look, tiles)
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)
    assert np.abs(expected).max() > 1
    assert all(np.array_equal(picture, seen[0]) for picture in seen)
