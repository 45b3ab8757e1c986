# SPDX-License-Identifier: Apache-2.0
"""Time of one refine iteration by part, and of drawing a view, on a made-up scene.

Iterations are those of `Optimizer`: render, loss, backward, Adam, with a densification now and
then. Three cases are timed in turns, so that all see the same load: the whole picture; a block of
tiles with every Gaussian free; the same block as a key frame does it, where only the Gaussians in
the block are free and the others are its context. On CUDA the parts wait for the device, the
iteration as a whole does not.
"""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from igs_ros.apps.bench.raster import bench_scene
from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.machine import machine
from igs_ros.core.scene import ATTRIBUTES, GaussianScene
from igs_ros.render.choose import make_rasterizer
from igs_ros.render.loss import Target, photometric_loss
from igs_ros.render.optimize import Densify, LearningRates, Optimizer
from igs_ros.render.rasterizer import Context, Rasterizer
from igs_ros.render.tiles import TILE, tile_grid

PAPER_MS, PAPER_FPS = 64, 204  # of an iteration, and views per second; at the size below
WARM_UP = 2
_RATES = LearningRates(1.6e-3, 1e-2, 5e-3, 5e-2, 2.5e-3, 2.5e-3)
_DSSIM = 0.2
_NOISE = 0.05  # of the target, so that there is a gradient everywhere


@dataclass(frozen=True)
class RefinePlan:
    """What is timed.

    Numbers that are 0 are chosen by the device: the paper's size on CUDA, a small one on a CPU.
    """

    device: str = 'auto'
    threads: int = 1
    gaussians: int = 0
    width: int = 0  # px
    height: int = 0  # px
    tiles: float = 0.3  # share of the picture that is drawn in the masked cases
    repeats: int = 0


@dataclass(frozen=True, eq=False)
class _Case:
    """One way to iterate."""

    optimizer: Optimizer
    scene: GaussianScene  # its leaves; the parts are timed on it
    tiles: np.ndarray | None
    context: Context | None


def run(plan: RefinePlan) -> dict:
    """Medians in ms, CPU and wall, of an iteration and its parts by case; views per second.

    Raises:
        InputError: the share of tiles is not above 0 and at most 1, or the device is not there.
    """
    if not 0 < plan.tiles <= 1:
        raise InputError(f'igs bench refine: {plan.tiles} of the tiles; expected more than 0, at '
                         f'most 1.')
    rasterizer = make_rasterizer(plan.device, plan.threads)
    on_gpu = rasterizer.device.type == 'cuda'
    plan = _filled(plan, on_gpu)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the rasterizer has threads of its own
    try:
        return _measured(plan, rasterizer, on_gpu)
    finally:
        torch.set_num_threads(threads)


def _filled(plan: RefinePlan, on_gpu: bool) -> RefinePlan:
    defaults = {'gaussians': 150_000, 'width': 1352, 'height': 1014, 'repeats': 50} if on_gpu \
        else {'gaussians': 30_000, 'width': 480, 'height': 360, 'repeats': 15}
    return replace(plan, **{name: value for name, value in defaults.items()
                            if not getattr(plan, name)})


def _measured(plan: RefinePlan, rasterizer: Rasterizer, on_gpu: bool) -> dict:
    scene, camera = bench_scene(plan.gaussians, plan.width, plan.height)
    scene = scene.to(rasterizer.device)
    with torch.no_grad():
        picture = rasterizer.render(scene, camera, depth=False).rgb.cpu().numpy()
    noise = np.random.default_rng(0).normal(0, _NOISE, picture.shape)
    target = Target(np.clip(picture + noise, 0, 1), rasterizer.device)
    cases = _cases(plan, scene, camera, rasterizer)
    tasks = {}
    for name, case in cases.items():
        tasks |= {(name, part): task
                  for part, task in _parts(case, camera, target, rasterizer).items()}
    tasks['view', 'view'] = lambda: _view(rasterizer, scene, camera)
    times = _interleaved(tasks, plan.repeats, torch.cuda.synchronize if on_gpu else lambda: None)
    rows = [{'case': name, 'free': len(case.optimizer),
             'tiles': 1.0 if case.tiles is None else float(case.tiles.mean()),
             'parts': {part: found for (of, part), found in times.items() if of == name}}
            for name, case in cases.items()]
    view = times['view', 'view']
    return {'machine': machine(), 'torch': torch.__version__,
            'device': torch.cuda.get_device_name() if on_gpu else 'cpu',
            'threads': plan.threads, 'unit': 'ms, medians', 'repeats': plan.repeats,
            'gaussians': plan.gaussians, 'width': plan.width, 'height': plan.height,
            'rows': rows, 'view': view, 'views_per_s': 1000 / view['wall'],
            'gpu_mb': torch.cuda.max_memory_allocated() / 2 ** 20 if on_gpu else 0.0,
            'paper_ms': PAPER_MS, 'paper_views_per_s': PAPER_FPS}


def _cases(plan: RefinePlan, scene: GaussianScene, camera: Camera,
           rasterizer: Rasterizer) -> dict[str, _Case]:
    tiles = _block(plan)
    inside = _projected_inside(scene, camera, tiles)
    context = rasterizer.context(scene.select(~inside), camera, tiles=tiles)
    chosen = {'whole': (scene, None, None), 'tiles': (scene, tiles, None),
              'key': (scene.select(inside), tiles, context)}
    return {name: _Case(Optimizer(free, rasterizer, _RATES, dssim=_DSSIM), _leaves(free), which,
                        others)
            for name, (free, which, others) in chosen.items()}


def _block(plan: RefinePlan) -> np.ndarray:
    """A block in the middle of the picture that covers about the planned share of the tiles."""
    grid = tile_grid(plan.height, plan.width)
    tiles = np.zeros(grid, bool)
    rows, columns = (max(1, round(size * plan.tiles ** 0.5)) for size in grid)
    top, left = (grid[0] - rows) // 2, (grid[1] - columns) // 2
    tiles[top:top + rows, left:left + columns] = True
    return tiles


def _projected_inside(scene: GaussianScene, camera: Camera, tiles: np.ndarray) -> torch.Tensor:
    """[N] bool: the mean is drawn in one of the tiles."""
    pixels, _ = camera.project(scene.means.detach().cpu().numpy())
    column, row = np.floor(pixels / TILE).astype(int).T
    there = (row >= 0) & (column >= 0) & (row < tiles.shape[0]) & (column < tiles.shape[1])
    there[there] = tiles[row[there], column[there]]
    return torch.from_numpy(there).to(scene.device)


def _leaves(scene: GaussianScene) -> GaussianScene:
    return scene.replaced(**{name: getattr(scene, name).detach().clone().requires_grad_()
                             for name in ATTRIBUTES})


def _parts(case: _Case, camera: Camera, target: Target,
           rasterizer: Rasterizer) -> dict[str, Callable[[], object]]:
    """What is timed of a case, in the order of an iteration; `iteration` is all but densify.

    `loss` comes with its gradient by the picture, `backward` is the rasterizer's.
    """
    state = {}
    leaves = [getattr(case.scene, name) for name in ATTRIBUTES]

    def render():
        state['drawn'] = rasterizer.render(case.scene, camera, depth=False, tiles=case.tiles,
                                           context=case.context)

    def loss():
        picture = state['drawn'].rgb.detach().requires_grad_()
        value = photometric_loss(picture, target, _DSSIM, case.tiles)
        state['gradient'], = torch.autograd.grad(value, picture)

    def backward():
        torch.autograd.grad(state.pop('drawn').rgb, leaves, state['gradient'])

    def iteration():
        case.optimizer.backward(camera, target, tiles=case.tiles, context=case.context)
        case.optimizer.step()

    def densify():
        # a threshold that nothing reaches: the search is timed, and the scene stays as it is
        case.optimizer.densify(Densify(float('inf'), len(case.optimizer), 0.0),
                               torch.Generator())
    return {'render': render, 'loss': loss, 'backward': backward, 'iteration': iteration,
            'adam': case.optimizer.step, 'densify': densify}


@torch.no_grad()
def _view(rasterizer: Rasterizer, scene: GaussianScene, camera: Camera) -> None:
    rasterizer.render(scene, camera, depth=False)


def _interleaved(tasks: dict[tuple, Callable], repeats: int,
                 wait: Callable[[], None]) -> dict[tuple, dict[str, float]]:
    """Median ms of each task, CPU of all threads and wall, run in turns."""
    times = {name: [] for name in tasks}
    for repeat in range(WARM_UP + repeats):
        for name, task in tasks.items():
            wait()
            cpu, wall = time.process_time(), time.perf_counter()
            task()
            wait()
            if repeat >= WARM_UP:
                times[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    medians = {name: 1000 * np.median(found, 0) for name, found in times.items()}
    return {name: {'cpu': float(cpu), 'wall': float(wall)}
            for name, (cpu, wall) in medians.items()}


def print_table(results: dict) -> None:
    """The figures of `run` as a readable table."""
    column = 'wall' if results['device'] != 'cpu' else 'cpu'
    parts = list(results['rows'][0]['parts'])
    table = Table(title=f'One refine iteration, {column} ms, {results["gaussians"]:,} Gaussians, '
                        f'{results["width"]}x{results["height"]}, {results["device"]}, '
                        f'{results["machine"]}')
    for heading in ('case', 'free', 'tiles', *parts):
        table.add_column(heading, justify='right')
    for row in results['rows']:
        table.add_row(row['case'], f'{row["free"]:,}', f'{100 * row["tiles"]:.0f} %',
                      *(f'{row["parts"][part][column]:.2f}' for part in parts))
    console = Console()
    console.print(table)
    console.print(f'iteration: render, loss, backward, Adam and what lies between; the paper '
                  f'needs about {results["paper_ms"]} ms at 150,000 Gaussians, 1352x1014.')
    console.print(f'view: {results["view"][column]:.2f} {column} ms, '
                  f'{results["views_per_s"]:.0f} views/s (the paper: '
                  f'{results["paper_views_per_s"]}).')
    if results['gpu_mb']:
        console.print(f'GPU memory: at most {results["gpu_mb"]:.0f} MB.')
