# SPDX-License-Identifier: Apache-2.0
"""`igs check`: what this machine can run, before anything is started."""
from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class Check:
    """Say which parts work on this machine and what is missing."""

    weights: Path | None = None
    """Folder with weights of agm that are looked at, too."""

    def main(self) -> int:
        """Print the table; 1 when the core cannot run or the weights do not fit.

        Raises `InputError` when there is no folder `weights`.
        """
        rows = [_torch(), _module('numba', 'CPU rasteriser', 'pip install numba'),
                _module('cv2', 'pictures, optical flow', 'pip install opencv-python-headless'),
                _module('av', 'video files', 'pip install av'),
                _module('fpsample', 'fast anchor sampling; without it a slower one is used',
                        'pip install fpsample==0.3.3', needed=False),
                _for_gpu('gsplat', 'GPU rasteriser', 'the CPU draws', "pip install '.[cuda]'"),
                _for_gpu('torch_cluster', 'anchors of agm on a GPU', 'plain torch, slower',
                         'pip install torch-cluster'),
                _ros(), *(_weights(self.weights) if self.weights else ())]
        table = Table('', 'part', 'found')
        for ok, part, found in rows:
            table.add_row({True: '[green]ok[/]', False: '[red]no[/]',
                           None: '[yellow]-[/]'}[ok], part, escape(found))
        console = Console()
        console.print(table)
        console.print(f'Python {platform.python_version()}, {os.cpu_count()} cores')
        return 1 if any(ok is False for ok, _, _ in rows) else 0


def _module(name: str, part: str, remedy: str, needed: bool = True):
    found = importlib.util.find_spec(name) is not None
    return (True if found else (False if needed else None), part,
            name if found else f'{name} is not installed: {remedy}')


def _torch():
    if importlib.util.find_spec('torch') is None:
        return False, 'tensors', 'torch is not installed: pip install torch'
    import torch
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else 'no CUDA GPU: CPU'
    return True, 'tensors', f'torch {torch.__version__}, {gpu}'


def _for_gpu(name: str, part: str, without: str, remedy: str):
    if importlib.util.find_spec('torch') is None:
        return None, part, 'not looked for without torch'
    import torch
    if not torch.cuda.is_available():
        return None, part, 'not needed without a CUDA GPU'
    return _module(name, f'{part}; without it: {without}', remedy, needed=False)


def _ros():
    if importlib.util.find_spec('rclpy') is None:
        return (None, 'ROS 2 node', 'rclpy is not here: source a ROS 2, or pip install . without '
                'one; `igs run` works without')
    if importlib.util.find_spec('igs_ros.msg') is None:
        return False, 'ROS 2 node', 'igs_ros.msg is not built: pip install . or colcon build'
    return True, 'ROS 2 node', f"rclpy, {os.environ.get('ROS_DISTRO', 'from wheels')}"


def _weights(folder: Path) -> Iterator[tuple[bool | None, str, str]]:
    from igs_ros.motion.agm.weights import inspect
    found = inspect(folder)
    for part in found.parts:
        lines = [f'{part.path}: {len(part.state)} tensors, {part.parameters:,} parameters '
                 f'{"do not fit" if part.problems else "fit"}'] if part.path else []
        if part.unused:
            lines.append(f'not needed: {", ".join(part.unused)}')
        yield not part.problems, f'weights: {part.title}', '\n'.join([*lines, *part.problems])
    text = ' '.join(found.experiment_problems) or (
        f'{found.experiment} fits' if found.experiment else
        'no igs/experiment_config.yaml: taken as trained with the published settings')
    good = not found.experiment_problems if found.experiment else None
    yield good, 'weights: settings', text
