# SPDX-License-Identifier: Apache-2.0
"""`igs check`: what this machine can run, before anything is started."""
from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from igs_ros import __version__
from igs_ros.core.probe import Probed, probe
from igs_ros.io.recordings.bag_options import BagOptions
from igs_ros.node.environment import PARTS as ROS
from igs_ros.node.environment import foreign_rclpy, log_somewhere, stale_distro, trouble

_NO_GPU = 'not needed without a CUDA GPU'
# module, what for, how to get it
_NEEDED = (
    ('torch', 'tensors', 'pip install torch'),
    ('numba', 'compiled kernels', 'pip install numba'),
    ('igs_ros.vision.neighbors_host', 'CPU rasterizer: kernels', 'see numba'),
    ('scipy', 'neighbors', 'pip install scipy'),
    ('cv2', 'pictures, optical flow', 'pip install opencv-python-headless'),
    ('simplejpeg', 'JPEG pictures', 'pip install simplejpeg'),
    ('av', 'video files', 'pip install av'),
    ('plyfile', 'PLY files', 'pip install plyfile'),
    ('safetensors', 'tensor files', 'pip install safetensors'),
    ('matplotlib', 'plots', 'pip install matplotlib'),
    ('msgspec', 'results.json', 'pip install msgspec'))
_EXTRA = (('fpsample', 'fast anchor sampling',
           'slower sampling is used; pip install fpsample==0.3.3'),)
_EXTRA_GPU = (
    ('gsplat', 'GPU rasterizer', "the CPU draws; pip install '.[cuda]'"),
    ('torch_cluster', 'anchors on a GPU',
     'plain torch is used, slower; pip install torch-cluster'))
_CUDA = 'igs_ros.render.choose/cuda'
Row = tuple[bool | None, str, str]  # works (None: it does not matter), part, what was found


@dataclass(frozen=True)
class Check:
    """Import every part, say which work on this machine, and what to do about the others; with
    --rig, say what a recording holds, and whether its cameras fit together, instead.
    """

    bag: Annotated[BagOptions, tyro.conf.arg(name='')]
    """What a bag does not say itself."""
    rig: Path | None = None
    """Recording whose rig is checked by its pictures (docs/real_rigs.md): a folder
    (docs/recordings.md), or a ROS 2 bag, also with its topics, their rates and stamps, and why a
    topic is no camera. Exit code 0: it fits, 1: a camera is wrong, 3: cannot tell."""
    out: Path = Path()
    """With --rig: folder for rig_check.json and rig_check.png."""
    weights: Path | None = None
    """Folder with weights of agm that are looked at, too."""
    device: Literal['auto', 'cuda'] = 'auto'
    """cuda: a GPU must do; its kernels are loaded, or compiled where they are not."""

    def main(self) -> int:
        """Print the table; 1 when something needed does not work or does not fit.

        Raises:
            InputError: there is no folder `weights`, or no recording `rig`.
        """
        if self.rig is not None:
            from igs_ros.apps.cli.check_rig import check_rig  # heavy: not for --help
            return check_rig(self.rig, self.bag, self.out)
        log_somewhere()
        parts = [*_NEEDED, *_EXTRA, *_EXTRA_GPU]
        looks = probe([*(name for name, *_ in parts),
                           *([_CUDA] if self.device == 'cuda' else ()), *ROS])
        has_gpu = looks['torch'].note not in ('', 'no CUDA GPU: CPU')
        rows = [_row(looks, *part, needed=part in _NEEDED) if has_gpu or part not in _EXTRA_GPU
                else (None, part[1], _NO_GPU) for part in parts]
        if self.device == 'cuda':
            rows.append(_row(looks, _CUDA, 'rasterizer on the GPU', 'see above', needed=True))
        rows += [*_ros({part: looks[part] for part in ROS}),
                 *(_weights(self.weights) if self.weights else ())]
        _print(rows)
        return 1 if any(ok is False for ok, _, _ in rows) else 0


def _print(rows: list[Row]) -> None:
    table = Table('', 'part')
    table.add_column('found', overflow='fold')  # paths whole
    for ok, part, found in rows:
        table.add_row({True: '[green]ok[/]', False: '[red]no[/]', None: '[yellow]-[/]'}[ok],
                      part, escape(found))
    console = Console()
    console.print(table)
    console.print(f'igs_ros {__version__}, Python {platform.python_version()} in {sys.prefix}, '
                  f'{os.cpu_count()} cores', soft_wrap=True)
    for _, part, found in (row for row in rows if row[0] is False):
        console.print(escape(f'{part}: {found}'), soft_wrap=True)  # uncut: to be copied


def _row(looks: dict[str, Probed], name: str, part: str, remedy: str, needed: bool) -> Row:
    look = looks[name]
    if look.error:
        return (False if needed else None), part, f'{name}: {look.error}: {remedy}'
    return True, part, _found(name, look)


def _found(name: str, look: Probed) -> str:
    known = ', '.join(filter(None, (f'{name} {look.version}' if look.version else '', look.note)))
    return '\n'.join(filter(None, (known, look.place.removesuffix('/__init__.py'))))


def _ros(looks: dict[str, Probed]) -> Iterator[Row]:
    found = trouble(looks)
    for part, look in looks.items():
        if found is not None and found.part == part:
            without = part == 'rclpy' and not look.installed
            yield (None if without else False), 'ROS 2 node', found.text + (
                '; `igs run` works without' if without else '')
            break
        yield True, 'ROS 2 node', _found(part, look)
    for text in filter(None, (foreign_rclpy(looks['rclpy'].place), stale_distro())):
        yield None, 'ROS 2 environment', text


def _weights(folder: Path) -> Iterator[tuple[bool | None, str, str]]:
    from igs_ros.stages.motion.agm.weights import inspect
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
