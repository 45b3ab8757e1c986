# SPDX-License-Identifier: Apache-2.0
"""Quality of the whole line on recordings: motion models side by side, means over seeds.

For every recording and seed the first scene is made once, written as PLY, and taken by every
motion model: they differ in nothing but the motion. Scores are those of results.json.
"""
from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from igs_ros import __version__
from igs_ros.config import BootstrapConfig, Config
from igs_ros.machine import machine
from igs_ros.offline import Request, run, summary_text

log = logging.getLogger(__name__)
PACKAGE = Path(__file__).parents[1]
# What a first scene depends on, besides its settings; relative to the package, folders whole.
DECISIVE = ('bootstrap', 'codec/ply.py', 'data', 'raster', 'camera.py', 'frames.py', 'loss.py',
            'neighbors.py', 'optimize.py', 'overlap.py', 'scene.py', 'stereo.py')
SUMMARY = ('psnr', 'ssim', 'psnr_moving', 'psnr_keys', 'psnr_first_two_keys',
           'psnr_last_two_keys', 'flicker', 'flicker_truth', 'step_cpu_s_mean', 'wall_s')


@dataclass(frozen=True)
class Plan:
    """What is compared."""

    recordings: Sequence[Path]
    motions: Sequence[str]
    seeds: Sequence[int]
    config: Config
    first: int = 0
    last: int | None = None
    keep: Path | None = None  # folder that keeps first scenes between runs


def measure(plan: Plan) -> dict:
    """Run everything: one row per recording, seed and motion.

    Raises `InputError` for recordings that cannot be read.
    """
    rows = [row for recording in plan.recordings for seed in plan.seeds
            for row in _compare(plan, recording, seed)]
    return {'machine': machine(), 'rows': rows}


def _compare(plan: Plan, recording: Path, seed: int) -> Iterable[dict]:
    config = replace(plan.config, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        first, scene = _first_scene(plan, recording, config, plan.keep or Path(folder))
        ready = replace(config, bootstrap=BootstrapConfig(method=str(scene)))
        for motion in plan.motions:
            result = run(Request(recording, None, replace(ready, motion=motion),
                                 first=plan.first, last=plan.last))
            log.info('%s motion, seed %d, %s', motion, seed, summary_text(result))
            yield {'scene': result['scene'], 'motion': motion, 'seed': seed,
                   'bootstrap': first['bootstrap'], 'frames': result['frames'],
                   'summary': result['summary']}


def _first_scene(plan: Plan, recording: Path, config: Config, folder: Path) -> tuple[dict, Path]:
    """results.json and PLY of the first scene, made now or found in `folder`."""
    decisive = (str(recording.resolve()), plan.first, config.bootstrap, config.max_gaussians,
                config.sh_degree, config.width, config.device, config.seed, __version__,
                sources_digest())
    out = folder / hashlib.sha256(repr(decisive).encode()).hexdigest()[:16]
    if not (out / 'results.json').is_file():
        run(Request(recording, out, config, first=plan.first, last=plan.first + 1))
    return json.loads((out / 'results.json').read_text()), out / 'final.ply'


def sources_digest(package: Path = PACKAGE) -> str:
    """SHA-256 of the Python files that make a first scene: kept ones do not outlive changes."""
    files = [file for name in DECISIVE for file in (
        sorted((package / name).rglob('*.py')) if (package / name).is_dir() else [package / name])]
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(package)).encode() + b'\0' + file.read_bytes() + b'\0')
    return digest.hexdigest()


def print_means(results: dict) -> None:
    """One line per recording and motion: means over the seeds.

    `first test` and `first train` are the first scene's PSNR on the test view (none without one)
    and on the views that trained it.
    """
    rows = results['rows']
    table = Table('scene', 'motion', 'seeds', 'first test', 'first train', 'psnr', 'ssim',
                  'moving', 'keys', 'first 2 keys', 'last 2 keys', 'flicker (truth)',
                  'CPU s / frame')
    for scene, motion in dict.fromkeys((row['scene'], row['motion']) for row in rows):
        group = [row for row in rows if (row['scene'], row['motion']) == (scene, motion)]
        first = {name: _mean(row['bootstrap'][name] for row in group)
                 for name in ('psnr_test', 'psnr_train')}
        mean = {name: _mean(row['summary'][name] for row in group) for name in SUMMARY}
        table.add_row(
            scene, motion, str(len(group)), _text(first['psnr_test']),
            _text(first['psnr_train']), _text(mean['psnr']), _text(mean['ssim'], 3),
            _text(mean['psnr_moving']), _text(mean['psnr_keys']),
            _text(mean['psnr_first_two_keys']), _text(mean['psnr_last_two_keys']),
            f"{_text(mean['flicker'])} ({_text(mean['flicker_truth'])})",
            _text(mean['step_cpu_s_mean']))
    Console(width=150).print(table)


def _mean(values) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _text(value: float | None, digits: int = 2) -> str:
    return '-' if value is None else f'{value:.{digits}f}'
