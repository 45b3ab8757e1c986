# SPDX-License-Identifier: Apache-2.0
"""`igs bench`: measurements, printed as a table and written as JSON."""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from igs_ros.cli.options import SceneOptions, frame_range
from igs_ros.errors import InputError


@dataclass(frozen=True)
class BenchRaster:
    """Time the CPU rasteriser against gsplat's torch projection and SH, in one run."""

    json: bool = False
    """Print the figures as JSON instead of the table."""

    def main(self) -> int:
        """Run the benchmark."""
        from igs_ros.bench import raster  # compiles kernels: only when asked for
        _report(raster.run(), raster.print_table, self.json)
        return 0


@dataclass(frozen=True)
class BenchQuality:
    """Score motion models side by side on recordings, from the same first scenes."""

    recordings: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of recordings."""
    scene: Annotated[SceneOptions, tyro.conf.arg(name='')]
    """Settings of the reconstruction; --motion and --seed are replaced by the lists below."""
    motions: tuple[str, ...] = ('static', 'geometric')
    """Motion models to compare."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds; the table shows means over them."""
    frames: str = '0:11'
    """Frames A:B, 0-based, half-open; frame A is the first scene."""
    keep: Path | None = None
    """Folder that keeps the first scenes, so that another run need not make them again."""
    json: bool = False
    """Print every run as JSON instead of the table of means."""

    def main(self) -> int:
        """Run the comparison."""
        from igs_ros.bench import quality  # heavy imports: not for --help
        if not self.recordings:
            raise InputError('igs bench quality: no recording given; expected their folders.')
        first, last = frame_range(self.frames)
        plan = quality.Plan(self.recordings, self.motions, self.seeds, self.scene.config(), first,
                            last, self.keep)
        _report(quality.measure(plan), quality.print_means, self.json)
        return 0


@dataclass(frozen=True)
class Bench:
    """Measure a part of the line on this machine."""

    what: tyro.conf.OmitArgPrefixes[
        Annotated[BenchRaster, tyro.conf.subcommand('raster', prefix_name=False)]
        | Annotated[BenchQuality, tyro.conf.subcommand('quality', prefix_name=False)]]

    def main(self) -> int:
        """Run the chosen benchmark."""
        return self.what.main()


def _report(results: dict, print_table: Callable[[dict], None], as_json: bool) -> None:
    if as_json:
        print(json.dumps(results, indent=1))
    else:
        print_table(results)
