# SPDX-License-Identifier: Apache-2.0
"""Quality of the whole line on recordings: arms side by side, means over seeds.

For every recording and seed the first scene is made once, written as PLY, and taken by every
arm: they differ in nothing but their settings. Scores are those of results.json.
"""
from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from igs_ros import __version__
from igs_ros.apps.bench.arms import Arm, chosen, with_iterations
from igs_ros.apps.bench.raster import reference_ms
from igs_ros.apps.evaluation.offline import Request, run, summary_text
from igs_ros.core.config import BootstrapConfig, Config
from igs_ros.core.machine import machine
from igs_ros.io.results import read_results

log = logging.getLogger(__name__)
PACKAGE = Path(__file__).parents[2]
# What a first scene depends on, besides its settings; relative to the package, folders whole.
DECISIVE = ('stages/bootstrap', 'io/codec/ply.py', 'io/recordings', 'render', 'core/camera.py',
            'core/frames.py', 'core/scene.py', 'vision/neighbors.py', 'vision/overlap.py',
            'vision/stereo.py', 'vision/sweep.py', 'vision/patchmatch.py', 'vision/fill.py')
SAME_TIME = 0.05  # relative difference of CPU time that counts as equal
CORRECTIONS = 2  # runs at most to get there


@dataclass(frozen=True)
class QualityPlan:
    """What is compared."""

    recordings: Sequence[Path]
    arms: Sequence[str]
    seeds: Sequence[int]
    config: Config
    first: int = 0
    last: int | None = None
    keep: Path | None = None  # folder that keeps first scenes between runs


def measure(plan: QualityPlan) -> dict:
    """Run everything: one row per recording, seed and arm.

    Raises:
        InputError: a recording cannot be read, or an arm is unknown.
    """
    arms = chosen(plan.arms)
    torch.set_num_threads(1)
    before = reference_ms()
    rows = [row for recording in plan.recordings for seed in plan.seeds
            for row in _compare(plan, arms, recording, seed)]
    return {'machine': machine(), 'raster_reference_ms': [before, reference_ms()],
            'arms': {arm.name: arm.meaning for arm in arms}, 'rows': rows}


def _compare(plan: QualityPlan, arms: Sequence[Arm], recording: Path, seed: int) -> Iterable[dict]:
    config = replace(plan.config, seed=seed)
    times: dict[str, float] = {}  # CPU seconds per frame by arm
    with tempfile.TemporaryDirectory() as folder:
        first, scene = first_scene(plan, recording, config, plan.keep or Path(folder))
        ready = replace(config, bootstrap=BootstrapConfig(method=str(scene)))
        for arm in arms:
            result = _run_arm(plan, recording, arm, ready, times)
            times[arm.name] = result['summary']['step_cpu_s_mean']
            log.info('%s, seed %d, %s', arm.name, seed, summary_text(result))
            yield {'scene': result['scene'], 'arm': arm.name, 'seed': seed,
                   'iterations': result['config']['refine']['iterations'],
                   'time_share': times[arm.name] / times[arm.like] if arm.like else None,
                   'bootstrap': first['bootstrap'], 'frames': result['frames'],
                   'summary': result['summary'], 'detail': result['detail']}


def _run_arm(plan: QualityPlan, recording: Path, arm: Arm, base: Config, times: Mapping[str, float]
             ) -> dict:
    """results.json of an arm; its iterations are searched where its CPU time is given."""
    config = arm.config(base)

    def result_with(iterations: int, last: int | None) -> dict:
        return run(Request(recording, None, with_iterations(config, iterations),
                           first=plan.first, last=last))
    if not arm.like:
        return result_with(config.refine.iterations, plan.last)
    wanted = times[arm.like]
    short = plan.first + 1 + 2 * config.key_interval
    short = short if plan.last is None else min(plan.last, short)
    iterations = _corrected(result_with(config.refine.iterations, short), wanted)
    result = result_with(iterations, plan.last)
    for _ in range(CORRECTIONS - 1):
        if abs(result['summary']['step_cpu_s_mean'] / wanted - 1) <= SAME_TIME:
            break
        iterations = _corrected(result, wanted)
        result = result_with(iterations, plan.last)
    return result


def _corrected(result: dict, wanted: float) -> int:
    """Iterations with which a frame of this run would have taken `wanted` CPU s on the mean."""
    iterations = result['config']['refine']['iterations']
    frames = len(result['frames'])
    optimized = sum(frame['refine_cpu_s']['optimize'] for frame in result['detail']['frames']
                    if 'refine_cpu_s' in frame)
    missing = (wanted - result['summary']['step_cpu_s_mean']) * frames
    return max(1, round(iterations * max(0.0, 1 + missing / max(optimized, 1e-9))))


def first_scene(plan: QualityPlan, recording: Path, config: Config, folder: Path
                ) -> tuple[dict, Path]:
    """The first scene of a recording, made now or found where an earlier run has kept it.

    Args:
        plan: says at which frame.
        recording: its folder.
        config: how the scene is made; `plan.config` does not count.
        folder: where the scene is looked for and written; it may keep it for other runs.

    Returns:
        Its results.json, and the path of its PLY.
    """
    decisive = (str(recording.resolve()), plan.first, config.bootstrap, config.max_gaussians,
                config.sh_degree, config.width, config.device, config.seed, __version__,
                sources_digest())
    out = folder / hashlib.sha256(repr(decisive).encode()).hexdigest()[:16]
    if not (out / 'final.ply').is_file():  # written after results.json
        run(Request(recording, out, config, first=plan.first, last=plan.first + 1))
    return read_results(out / 'results.json'), out / 'final.ply'


def sources_digest(package: Path = PACKAGE) -> str:
    """SHA-256 of the Python files that make a first scene: kept ones do not outlive changes."""
    files = [file for name in DECISIVE for file in (
        sorted((package / name).rglob('*.py')) if (package / name).is_dir() else [package / name])]
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(package)).encode() + b'\0' + file.read_bytes() + b'\0')
    return digest.hexdigest()
