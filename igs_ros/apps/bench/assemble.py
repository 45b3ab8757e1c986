# SPDX-License-Identifier: Apache-2.0
"""What becomes of pictures on their way into frame sets: lost ones, dead cameras, large rigs.

Simulated cameras and simulated time: nothing sleeps, and only the CPU time is of this machine. All
cameras expose at once, with stamps that jitter; each picture takes 5 ms and a random time more to
arrive. An instant is possible when at least `min_cameras` pictures of it arrive, and delivered
when a frame set consists of its pictures alone.
"""
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from igs_ros.core.errors import InputError
from igs_ros.core.frames import Frame, RawFrameSet
from igs_ros.core.machine import machine
from igs_ros.live.assemble import FrameSetAssembler, usual_min_cameras

CAMERAS = (3, 4, 7, 12, 21, 32, 64)
LOSSES = (0.0, 0.01, 0.05)
DEAD = (0, 1, 2)
_START_S = 1000.0


@dataclass(frozen=True)
class AssemblePlan:
    """The cameras that are simulated; times in s."""

    cameras: Sequence[int] = CAMERAS
    losses: Sequence[float] = LOSSES  # share of the pictures
    dead: Sequence[int] = DEAD  # cameras that stop after `alive_s`
    instants: int = 300
    period_s: float = 1 / 30
    stamp_jitter_s: float = 0.002  # uniform, to either side
    way_s: float = 0.005
    way_jitter_s: float = 0.003  # mean of what comes on top, exponential
    alive_s: float = 1.0
    max_spread_s: float = 0.03
    max_wait_s: float = 0.1
    min_cameras: int = 0  # 0 = what the node takes
    poll_s: float = 0.02
    settled_s: float = 2.0  # what comes before is not scored: dead cameras are being noticed


def run(plan: AssemblePlan = AssemblePlan()) -> dict:
    """One row per rig, loss and number of dead cameras.

    Raises:
        InputError: the plan cannot be simulated.
    """
    if min(plan.cameras, default=0) < 1 or min(plan.dead, default=0) < 0 \
            or not all(0 <= loss < 1 for loss in plan.losses):
        raise InputError('igs bench assemble: expected rigs of at least 1 camera, losses of 0 to '
                         'less than 1, and no negative number of dead cameras.')
    rows = [_measure(plan, cameras, loss, dead) for cameras in plan.cameras
            for loss in plan.losses for dead in plan.dead if cameras - dead >= 1]
    return {'machine': machine(), 'plan': asdict(plan), 'rows': rows}


@dataclass(frozen=True)
class _Numbered:
    """Stands for a picture, which the assembler hands on without a look."""

    instant: int
    camera: int

    def size(self) -> tuple[int, int]:
        """One pixel."""
        return 1, 1

    def decode(self) -> np.ndarray:
        """A black pixel."""
        return np.zeros((1, 1, 3), np.uint8)


def _measure(plan: AssemblePlan, cameras: int, loss: float, dead: int) -> dict:
    rng = np.random.default_rng([cameras, round(1000 * loss), dead])
    names = [f'cam{i:02d}' for i in range(cameras)]
    shape = (plan.instants, cameras)
    exposed = _START_S + plan.period_s * np.arange(plan.instants)[:, None]
    stamps = exposed + rng.uniform(-1, 1, shape) * plan.stamp_jitter_s
    arrivals = exposed + plan.way_s + rng.exponential(plan.way_jitter_s, shape)
    comes = rng.random(shape) >= loss
    comes[exposed[:, 0] >= _START_S + plan.alive_s, cameras - dead:] = False

    least = plan.min_cameras or usual_min_cameras(cameras)
    now = _START_S
    assembler = FrameSetAssembler(names, plan.max_spread_s, plan.max_wait_s, least,
                                  now=lambda: now)
    events = sorted((float(arrivals[k, i]), names[i], round(float(stamps[k, i]) * 1e9), k, i)
                    for k, i in np.argwhere(comes).tolist())
    events = [(at, Frame(name, stamp_ns, _Numbered(k, i))) for at, name, stamp_ns, k, i in events]
    made, next_poll = [], _START_S
    begun = time.process_time()
    for at, frame in events:
        while next_poll <= at:
            now = next_poll
            made += [(now, one) for one in assembler.poll()]
            next_poll += plan.poll_s
        now = at
        made += [(now, one) for one in assembler.add(frame)]
    cpu_s = time.process_time() - begun
    for _ in range(int(2 * plan.max_wait_s / plan.poll_s) + 2):
        now += plan.poll_s
        made += [(now, one) for one in assembler.poll()]
    scored = exposed[:, 0] >= _START_S + plan.settled_s
    return {'cameras': cameras, 'loss': loss, 'dead': dead, 'min_cameras': least,
            **_scores(made, arrivals, scored & (comes.sum(1) >= least), scored),
            'cpu_ms_per_message': 1e3 * cpu_s / len(events)}


def _scores(made: list[tuple[float, RawFrameSet]], arrivals: np.ndarray, possible: np.ndarray,
            scored: np.ndarray) -> dict:
    delivered, mixed, waits, sizes = set(), 0, [], []
    for at, frame_set in made:
        pictures = [(one.instant, one.camera) for one in frame_set.pictures.values()
                    if isinstance(one, _Numbered)]
        instants = {k for k, _ in pictures}
        if not scored[min(instants)]:
            continue
        mixed += len(instants) > 1
        if len(instants) == 1:
            delivered |= instants
            sizes.append(len(pictures))
            waits.append(at - max(arrivals[k, i] for k, i in pictures))
    count = int(possible.sum())
    share = sum(possible[k] for k in delivered) / count if count else None
    p50, p95 = (1e3 * np.percentile(waits, (50, 95))).tolist() if waits else (None, None)
    return {'possible': count, 'delivered': None if share is None else float(share),
            'mixed': int(mixed), 'pictures_per_set': float(np.mean(sizes)) if sizes else None,
            'added_p50_ms': p50, 'added_p95_ms': p95}


def print_table(results: dict) -> None:
    """The figures of `run` as a readable table."""
    plan = results['plan']
    table = Table(title=f"Frame sets at {1 / plan['period_s']:.0f} Hz, {plan['instants']} "
                        f"instants, max_wait_s {plan['max_wait_s']}; {results['machine']}")
    for heading in ('cameras', 'least', 'loss', 'dead', 'possible', 'delivered', 'mixed',
                    'pictures', 'added p50 / p95, ms', 'CPU ms/message'):
        table.add_column(heading, justify='right')
    for row in results['rows']:
        none = row['delivered'] is None
        table.add_row(
            f"{row['cameras']}", f"{row['min_cameras']}", f"{row['loss']:.0%}", f"{row['dead']}",
            f"{row['possible']}", '-' if none else f"{row['delivered']:.1%}", f"{row['mixed']}",
            '-' if none else f"{row['pictures_per_set']:.1f}",
            '-' if none else f"{row['added_p50_ms']:.1f} / {row['added_p95_ms']:.1f}",
            f"{row['cpu_ms_per_message']:.4f}")
    Console().print(table)
