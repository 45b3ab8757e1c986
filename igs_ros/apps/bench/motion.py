# SPDX-License-Identifier: Apache-2.0
"""Time of one candidate: a key moved to a newer frame set, by every motion model that is there.

A made-up world of a wall and a ball that moves before it, seen by a row of cameras, so that no
recording is needed. On CUDA times are wall-clock and every part waits for the device; on a CPU
they are CPU time of all threads, as the wall clock means nothing on a shared machine.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from igs_ros.apps.bench.motion_world import MotionWorld, make_world
from igs_ros.core.config import MotionConfig
from igs_ros.core.errors import InputError
from igs_ros.core.machine import machine
from igs_ros.core.timing import spans_to
from igs_ros.render.choose import make_rasterizer
from igs_ros.stages.motion.choose import agm_net, has_agm_small, make_motion
from igs_ros.stages.motion.models import MotionModel

PAPER_MS, AIM_MS = 800, 33  # per candidate; the paper's, and ours on a data-center GPU
_WARM_UP = 1


@dataclass(frozen=True)
class MotionPlan:
    """What is timed.

    Numbers that are 0 are chosen by the device: published on CUDA, small ones on a CPU.
    """

    motions: tuple[str, ...] = ('agm', 'agm_small', 'geometric')
    weights: str = ''  # of agm; '' = random ones, which take as long
    device: str = 'auto'
    threads: int = 1
    compile: bool = False
    gaussians: int = 0
    anchors: int = 0  # of agm, at most
    picture: int = 0  # of agm, px
    repeats: int = 0
    views: int = 4
    size: int = 512  # of the cameras' pictures, px


class _Spans:
    """A sink that keeps every span, ms by path."""

    def __init__(self):
        self.ms: dict[str, list[float]] = {}

    def span(self, path: str, start_s: float, end_s: float) -> None:
        self.ms.setdefault(path, []).append(1000 * (end_s - start_s))


def run(plan: MotionPlan) -> dict:
    """All models of the plan that are there.

    Figures in ms: of a candidate and of a key, as a whole and by part, with the error of agm's
    half precisions against float32 beside.

    Raises:
        InputError: none of them is there, or the device or the weights cannot be used.
    """
    rasterizer = make_rasterizer(plan.device, plan.threads)
    on_gpu = rasterizer.device.type == 'cuda'
    plan = _filled(plan, on_gpu)
    world = make_world(plan.gaussians, plan.views, plan.size, rasterizer)
    clock = _device_clock if on_gpu else time.process_time
    rows = list(_measured(plan, world, clock))
    if not rows:
        raise InputError(f'igs bench motion: none of {", ".join(plan.motions)} is there; '
                         f'expected agm or geometric among --motions.')
    return {'machine': machine(), 'torch': torch.__version__,
            'device': torch.cuda.get_device_name() if on_gpu else 'cpu',
            'unit': 'ms, wall' if on_gpu else 'ms, CPU time', 'threads': plan.threads,
            'views': plan.views, 'size': plan.size, 'gaussians': plan.gaussians,
            'moving': int(world.moving.sum()), 'repeats': plan.repeats, 'paper_ms': PAPER_MS,
            'aim_ms': AIM_MS, 'rows': rows}


def _filled(plan: MotionPlan, on_gpu: bool) -> MotionPlan:
    defaults = {'gaussians': 150_000, 'anchors': 8192, 'picture': 512, 'repeats': 30} if on_gpu \
        else {'gaussians': 30_000, 'anchors': 2048, 'picture': 256, 'repeats': 5}
    return replace(plan, **{name: value for name, value in defaults.items()
                            if not getattr(plan, name)})


def _measured(plan: MotionPlan, world: MotionWorld, clock: Callable[[], float]) -> Iterator[dict]:
    for name in plan.motions:
        if name == 'agm':
            yield from _agm_rows(plan, world, clock)
        elif name != 'agm_small' or has_agm_small():
            model = make_motion(name, world.cameras, world.rasterizer, MotionConfig(),
                                plan.threads)
            yield {'motion': name, **_timed(model, world, plan.repeats, clock)}


def _agm_rows(plan: MotionPlan, world: MotionWorld, clock: Callable[[], float]) -> Iterator[dict]:
    from igs_ros.stages.motion.agm.inputs import AgmSizes
    from igs_ros.stages.motion.agm.model import AgmMotion
    net = agm_net(plan.weights) if plan.weights else _random_net()
    sizes = AgmSizes(plan.picture, plan.anchors)
    config = MotionConfig(bbox='all', compile=plan.compile, flow_views=0)
    exact = None
    # without hardware for it, float16 on a CPU says nothing
    for precision in ('float32', 'bfloat16', *(['float16'] if world.on_gpu else [])):
        model = AgmMotion(world.cameras, world.rasterizer, replace(config, precision=precision),
                          net, sizes, plan.threads)
        timed = _timed(model, world, plan.repeats, clock)
        found = _displacements(model, world)
        exact = found if exact is None else exact
        yield {'motion': 'agm', 'precision': precision, 'compiled': model.forward.compiled,
               'weights': plan.weights or 'random: for timing only', 'anchors': plan.anchors,
               'picture': plan.picture, **timed,
               'error': float((found - exact).norm() / exact.norm())}


def _timed(model: MotionModel, world: MotionWorld, repeats: int, clock: Callable[[], float]
           ) -> dict:
    """Figures of a candidate and of a key: whole and parts."""
    key, candidate = _Spans(), _Spans()
    spent = {'key': [], 'candidate': []}
    sets = world.sets()
    first = next(sets)
    model.observe(first)
    for repeat in range(_WARM_UP + repeats):
        keep = repeat >= _WARM_UP
        with spans_to(*([key] if keep else []), clock=clock):
            start = clock()
            follower = model.follow(world.scene, first)
            ended = clock()
        following = next(sets)
        with spans_to(*([candidate] if keep else []), clock=clock):
            begun, cpu = clock(), time.process_time()
            model.observe(following)
            follower.move_to(following)
            done = clock()
        if keep:
            spent['key'].append(1000 * (ended - start))
            spent['candidate'].append(1000 * (done - begun))
            spent.setdefault('cpu', []).append(time.process_time() - cpu)
        first = following
    return {'candidate': _percentiles(spent['candidate']), 'cpu_s': float(np.mean(spent['cpu'])),
            'parts': {name: _percentiles(ms) for name, ms in candidate.ms.items()},
            'key': _percentiles(spent['key']),
            'key_parts': {name: _percentiles(ms) for name, ms in key.ms.items()}}


@torch.no_grad()
def _displacements(model, world: MotionWorld) -> torch.Tensor:
    """[N, 3] m, of one candidate."""
    sets = world.sets()
    first, second = next(sets), next(sets)
    model.observe(first)
    follower = model.follow(world.scene, first)
    model.observe(second)
    return (follower.move_to(second).scene.means - world.scene.means).double()


def _random_net():
    """AGM-Net with random weights, the heads too, which are 0 before training."""
    from igs_ros.stages.motion.agm.net import AgmNet
    torch.manual_seed(0)
    net = AgmNet()
    for head in net.render.out_layers.modules():
        if isinstance(head, torch.nn.Linear):
            head.reset_parameters()
    return net


def _percentiles(ms: list[float]) -> dict[str, float]:
    return {'p50': float(np.percentile(ms, 50)), 'p95': float(np.percentile(ms, 95))}


def _device_clock() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def print_table(results: dict) -> None:
    """The figures of `run` as a readable table."""
    table = Table(title=f'One candidate, {results["unit"]}; {results["views"]} views of '
                        f'{results["size"]} px, {results["gaussians"]:,} Gaussians; '
                        f'{results["device"]}, {results["machine"]}, torch {results["torch"]}')
    for heading in ('motion', 'candidate', 'p95', 'CPU s', 'key', 'error'):
        table.add_column(heading, justify='left' if heading == 'motion' else 'right')
    for row in results['rows']:
        name = ' '.join([row['motion'], row.get('precision', ''),
                         'compiled' if row.get('compiled') else '']).strip()
        error = f'{row["error"]:.1e}' if row.get('precision', 'float32') != 'float32' else ''
        table.add_row(name, f'{row["candidate"]["p50"]:.1f}', f'{row["candidate"]["p95"]:.1f}',
                      f'{row["cpu_s"]:.3f}', f'{row["key"]["p50"]:.1f}', error)
        for part, ms in row['parts'].items():
            table.add_row(f'  {part}', f'{ms["p50"]:.1f}', f'{ms["p95"]:.1f}')
        for part, ms in row['key_parts'].items():
            table.add_row(f'  {part}', '', '', '', f'{ms["p50"]:.1f}')
    console = Console()
    console.print(table)
    console.print(f'The paper has {results["paper_ms"]} ms per candidate (4 views of 512 px, 8192 '
                  f'anchors, 150,000 Gaussians), the aim is {results["aim_ms"]} ms on a '
                  f'data-center GPU. Error: of the displacements against float32, relative.')
