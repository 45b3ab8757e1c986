# SPDX-License-Identifier: Apache-2.0
"""Time of farthest point sampling and nearest neighbors, by every implementation that is there.

Points of surfaces and clutter in a room, as the Gaussians of a scene. On a CUDA device times are
wall-clock, on the CPU they are CPU time of all threads.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from igs_ros.core.errors import InputError
from igs_ros.core.machine import machine
from igs_ros.vision import neighbors_chunked as chunked
from igs_ros.vision import neighbors_cluster as cluster
from igs_ros.vision import neighbors_host as host
from igs_ros.vision.neighbors import has_torch_cluster

PUBLISHED = (150_000, 8192)  # Gaussians, anchors
SMALL = ((5_000, 512), (30_000, 2048))
NEIGHBORS = 8
REPEATS = 3


def run(device: str = 'auto') -> dict:
    """Medians in ms by implementation, device and size; the host's implementation is always timed.

    Args:
        device: 'cpu', 'cuda' or 'auto' (both, where there is a GPU).

    Raises:
        InputError: `device` is 'cuda', and there is no GPU.
    """
    if device == 'cuda' and not torch.cuda.is_available():
        raise InputError('igs bench neighbors: torch finds no CUDA GPU; use --device cpu.')
    on_gpu = device != 'cpu' and torch.cuda.is_available()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = [row for size in (*SMALL, PUBLISHED) for row in _of_size(*size, on_gpu)]
    finally:
        torch.set_num_threads(threads)
    return {'machine': machine(), 'torch': torch.__version__, 'threads': 1, 'repeats': REPEATS,
            'gpu': torch.cuda.get_device_name() if on_gpu else None, 'neighbors': NEIGHBORS,
            'torch_cluster': has_torch_cluster(), 'rows': rows}


def _of_size(count: int, anchors: int, on_gpu: bool) -> Iterator[dict]:
    points = bench_points(count)
    size = {'points': count, 'anchors': anchors}
    trees = ('fpsample' if host.fpsample else 'numba') + ', k-d tree'
    yield {'by': trees, 'device': 'cpu', **size,
           **_times(host, points, anchors, time.process_time)}
    modules = {'torch': chunked} | ({'torch_cluster': cluster} if has_torch_cluster() else {})
    for name, module in modules.items():
        if (count, anchors) != PUBLISHED:  # minutes on a CPU, and never used there
            yield {'by': name, 'device': 'cpu', **size,
                   **_times(module, torch.from_numpy(points), anchors, time.process_time)}
        if on_gpu:
            yield {'by': name, 'device': 'cuda', **size,
                   **_times(module, torch.from_numpy(points).cuda(), anchors, _device_clock)}


def bench_points(count: int, seed: int = 0) -> np.ndarray:
    """[count, 3] float32 m: walls, a sphere, clutter."""
    rng = np.random.default_rng(seed)
    wall, ball = count // 2, count // 4
    walls = rng.uniform(-3, 3, (wall, 3))
    walls[np.arange(wall), rng.integers(0, 3, wall)] = 3.0
    sphere = rng.normal(size=(ball, 3))
    sphere *= 0.7 / np.linalg.norm(sphere, axis=1, keepdims=True)
    clutter = rng.normal(0, 1, (count - wall - ball, 3))
    return np.concatenate([walls, sphere, clutter]).astype(np.float32)


def _times(module, points, anchors: int, clock: Callable[[], float]) -> dict[str, float]:
    """Medians in ms, after a run that is not counted."""
    times = {'fps_ms': [], 'knn_ms': []}
    for repeat in range(REPEATS + 1):
        start = clock()
        picked = module.fps(points, anchors, repeat)
        sampled = clock()
        module.knn(points, points[picked], NEIGHBORS)
        if repeat:
            times['fps_ms'].append(1000 * (sampled - start))
            times['knn_ms'].append(1000 * (clock() - sampled))
    return {name: float(np.median(values)) for name, values in times.items()}


def _device_clock() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def print_table(results: dict) -> None:
    """The figures of `run` as a readable table."""
    table = Table(title=f'Farthest points and {results["neighbors"]} nearest neighbors, ms (CPU '
                        f'time, one thread, on the CPU); {results["machine"]}'
                        + (f', {results["gpu"]}' if results['gpu'] else ''))
    for heading in ('points', 'anchors', 'by', 'on', 'farthest', 'nearest'):
        table.add_column(heading, justify='left' if heading in ('by', 'on') else 'right')
    for row in results['rows']:
        table.add_row(f'{row["points"]:,}', f'{row["anchors"]:,}', row['by'], row['device'],
                      f'{row["fps_ms"]:.1f}', f'{row["knn_ms"]:.1f}')
    console = Console()
    console.print(table)
    if not results['torch_cluster']:
        console.print('torch_cluster is not installed.')
