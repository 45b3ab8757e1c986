# SPDX-License-Identifier: Apache-2.0
"""`igs check`: what this machine can run, before anything is started."""
from __future__ import annotations

import importlib.util
import os
import platform
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Check:
    """Say which parts work on this machine and what is missing."""

    def main(self) -> int:
        """Print the table; 1 when the core cannot run."""
        rows = [_torch(), _module('numba', 'CPU rasteriser', 'pip install numba'),
                _module('cv2', 'pictures, optical flow', 'pip install opencv-python-headless'),
                _module('av', 'video files', 'pip install av'),
                _module('fpsample', 'fast anchor sampling; without it a slower one is used',
                        'pip install fpsample==0.3.3', needed=False),
                _gsplat(), _ros()]
        table = Table('', 'part', 'found')
        for ok, part, found in rows:
            table.add_row({True: '[green]ok[/]', False: '[red]missing[/]',
                           None: '[yellow]-[/]'}[ok], part, found)
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


def _gsplat():
    import torch
    if not torch.cuda.is_available():
        return None, 'GPU rasteriser', 'not needed without a CUDA GPU'
    return _module('gsplat', 'GPU rasteriser', "pip install '.[cuda]'")


def _ros():
    if importlib.util.find_spec('rclpy') is None:
        return (None, 'ROS 2 node', 'rclpy is not here: source a ROS 2, or pip install . without '
                'one; `igs run` works without')
    if importlib.util.find_spec('igs_ros.msg') is None:
        return False, 'ROS 2 node', 'igs_ros.msg is not built: pip install . or colcon build'
    return True, 'ROS 2 node', f"rclpy, {os.environ.get('ROS_DISTRO', 'from wheels')}"
