# SPDX-License-Identifier: Apache-2.0
"""CPU time of the CPU rasterizer beside a yardstick: gsplat's torch projection and SH.

Everything on one thread, in milliseconds of process time (the wall clock means nothing on a
shared machine), median after warm-up. The yardstick runs interleaved with the size that it is
compared with, so that both see the same load.
"""
from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.machine import machine
from igs_ros.core.scene import GaussianScene
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.rasterizer import Rasterizer

SIZES = ((160, 120), (320, 240), (640, 480))
COUNTS = (5_000, 20_000)
COMPARED = (20_000, 320, 240)
REPEATS, WARM_UP = 12, 2
TARGET_RATIO = 1.6  # forward + backward / yardstick
SPLAT_PX = 1.91  # median standard deviation at 320 px and 20k: 38-44 splats contribute per pixel
MIN_ALPHA, MAX_ALPHA, STOP = 1 / 255, 0.999, 1e-4


def bench_scene(count: int, width: int, height: int, seed: int = 0,
                ) -> tuple[GaussianScene, Camera]:
    """Three layers of log-normal anisotropic splats, and a camera that looks at them.

    The size of the splats follows the picture and the count, so that the overlap stays the same.

    Args:
        count: of Gaussians.
        width: of the picture, px.
        height: of the picture, px.
        seed: fixes everything random.

    Returns:
        The scene, whose tensors require gradients, and the camera.
    """
    rng = np.random.default_rng(seed)
    focal = 0.9 * width
    camera = Camera('bench', width, height,
                    np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]),
                    np.eye(4))
    depth = np.array([2.0, 4.0, 8.0])[rng.integers(0, 3, count)] + rng.normal(0, 0.2, count)
    pixels = rng.uniform(0, 1, (count, 2)) * (width, height)
    size_px = SPLAT_PX * width / 320 * np.sqrt(20_000 / count)
    scales = np.exp(rng.normal(np.log(size_px), 0.5, (count, 3))) * (depth / focal)[:, None]
    quats = rng.normal(size=(count, 4))
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    values = (camera.unproject(pixels, depth), quats, scales, rng.uniform(0.05, 0.95, count),
              rng.normal(0, 0.3, (count, 4, 3)))
    tensors = (torch.tensor(v, dtype=torch.float32, requires_grad=True) for v in values)
    return GaussianScene(*tensors), camera


def run() -> dict:
    """Measure: medians in CPU-ms by Gaussians and picture size, the yardstick, the ratio.

    Raises:
        InputError: gsplat, which the yardstick comes from, is not installed.
    """
    if importlib.util.find_spec('gsplat') is None:
        raise InputError("igs bench raster: gsplat, the yardstick, is not installed; "
                         "pip install '.[dev]'.")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measure()
    finally:
        torch.set_num_threads(threads)


def reference_ms() -> float:
    """CPU-ms of forward and backward at the compared size, one thread: how fast this machine is.

    Other figures in CPU seconds are scaled by it to a machine where it is 33 ms.
    """
    scene, camera = bench_scene(*COMPARED)
    task = _forward_backward(CpuRasterizer(threads=1), scene, camera)
    return _interleaved({'reference': task})['reference']


def _measure() -> dict:
    rasterizer = CpuRasterizer(threads=1)
    rows, results = [], {}
    for count in COUNTS:
        for width, height in SIZES:
            scene, camera = bench_scene(count, width, height)
            tasks = {'forward': _forward(rasterizer, scene, camera),
                     'forward_backward': _forward_backward(rasterizer, scene, camera)}
            compared = (count, width, height) == COMPARED
            if compared:
                tasks['yardstick'] = _yardstick(scene, camera)
                results['contributing_per_pixel'] = contributing(scene, camera)
            medians = _interleaved(tasks)
            if compared:
                yardstick = medians.pop('yardstick')
                results['yardstick'] = yardstick
                results['ratio'] = medians['forward_backward'] / yardstick
            rows.append({'gaussians': count, 'width': width, 'height': height, **medians})
    return {'machine': machine(), 'threads': 1, 'unit': 'CPU-ms, median', 'repeats': REPEATS,
            'target_ratio': TARGET_RATIO, 'rows': rows, **results}


def _interleaved(tasks: dict[str, Callable]) -> dict[str, float]:
    """Median CPU-ms of each task, run in turns."""
    times = {name: [] for name in tasks}
    for repeat in range(WARM_UP + REPEATS):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            if repeat >= WARM_UP:
                times[name].append(1000 * (time.process_time() - start))
    return {name: float(np.median(values)) for name, values in times.items()}


def _forward(rasterizer: Rasterizer, scene: GaussianScene, camera: Camera) -> Callable[[], None]:
    def task():
        with torch.no_grad():
            rasterizer.render(scene, camera, depth=False)
    return task


def _forward_backward(rasterizer: Rasterizer, scene: GaussianScene, camera: Camera,
                      ) -> Callable[[], None]:
    gradient = torch.rand((camera.height, camera.width, 3),
                          generator=torch.Generator().manual_seed(0))

    def task():
        drawn = rasterizer.render(scene, camera, absgrad=True, depth=False)
        torch.autograd.grad(drawn.rgb, _leaves(scene), gradient)
    return task


def _leaves(scene: GaussianScene) -> tuple[torch.Tensor, ...]:
    return (scene.means, scene.quats, scene.scales, scene.opacities, scene.sh)


def _project(scene: GaussianScene, camera: Camera) -> tuple[torch.Tensor, ...]:
    """Torch projection of gsplat: positions, depths, conics, each of [N, ...]."""
    from gsplat.cuda._torch_impl import _fully_fused_projection, _quat_scale_to_covar_preci
    covariances, _ = _quat_scale_to_covar_preci(scene.quats, scene.scales, compute_preci=False)
    if covariances is None:
        raise RuntimeError('gsplat made no covariances')
    _, positions, depths, conics, _ = _fully_fused_projection(
        scene.means, covariances, torch.eye(4)[None],
        torch.tensor(camera.K, dtype=torch.float32)[None], camera.width, camera.height)
    return positions[0], depths[0], conics[0]


def _yardstick(scene: GaussianScene, camera: Camera) -> Callable[[], None]:
    from gsplat.cuda._torch_impl import _spherical_harmonics

    def task():
        positions, depths, conics = _project(scene, camera)
        colors = (_spherical_harmonics(1, scene.means, scene.sh) + 0.5).clamp_min(0)
        outputs = (positions, depths, conics, colors)
        used = (scene.means, scene.quats, scene.scales, scene.sh)
        torch.autograd.grad(outputs, used, [torch.ones_like(value) for value in outputs])
    return task


@torch.no_grad()
def contributing(scene: GaussianScene, camera: Camera) -> float:
    """Mean number of splats that add to a pixel, counted without the rasterizer."""
    positions, depths, conics = (value.numpy() for value in _project(scene, camera))
    opacities = scene.opacities.detach().numpy()
    order = np.argsort(depths, kind='stable')
    positions, conics, opacities = positions[order], conics[order], opacities[order]
    reach = 2 * np.log(opacities * 255)
    determinant = conics[:, 0] * conics[:, 2] - conics[:, 1] ** 2
    extent = np.sqrt(np.maximum(reach[:, None] * conics[:, [2, 0]] / determinant[:, None], 0)) + 1
    total, tile = 0, 16
    for top in range(0, camera.height, tile):
        for left in range(0, camera.width, tile):
            corner = np.array([left, top])
            near = ((positions + extent > corner) & (positions - extent < corner + tile)).all(1)
            grid = np.stack(np.meshgrid(np.arange(left, min(left + tile, camera.width)),
                                        np.arange(top, min(top + tile, camera.height))), -1)
            d = positions[near, None] - (grid.reshape(-1, 2) + 0.5)
            a, b, c = conics[near].T[:, :, None]
            sigma = (a * d[..., 0] ** 2 + c * d[..., 1] ** 2) / 2 + b * d[..., 0] * d[..., 1]
            alpha = np.minimum(opacities[near, None] * np.exp(-sigma), MAX_ALPHA)
            alpha[alpha < MIN_ALPHA] = 0
            total += ((alpha > 0) & (np.cumprod(1 - alpha, 0) > STOP)).sum()
    return float(total / (camera.width * camera.height))


def print_table(results: dict) -> None:
    """The figures of `run` as a readable table."""
    table = Table(title=f'CPU rasterizer, CPU-ms, one thread, {results["machine"]}')
    for heading in ('Gaussians', 'picture', 'forward', 'forward + backward'):
        table.add_column(heading, justify='right')
    for row in results['rows']:
        table.add_row(f'{row["gaussians"]:,}', f'{row["width"]}x{row["height"]}',
                      f'{row["forward"]:.1f}', f'{row["forward_backward"]:.1f}')
    console = Console()
    console.print(table)
    count, width, height = COMPARED
    console.print(f'{results["contributing_per_pixel"]:.1f} splats contribute per pixel at '
                  f'{width}x{height}, {count:,} Gaussians')
    console.print(f'yardstick (gsplat torch projection + SH, forward + backward): '
                  f'{results["yardstick"]:.1f} CPU-ms; ratio {results["ratio"]:.2f}, to reach: '
                  f'at most {results["target_ratio"]}')
