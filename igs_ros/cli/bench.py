# SPDX-License-Identifier: Apache-2.0
"""`igs bench`: measurements, printed as a table and written as JSON."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from igs_ros.cli.options import SceneOptions, frame_range


@dataclass(frozen=True)
class BenchRaster:
    """Time the CPU rasteriser against gsplat's torch projection and SH, in one run."""

    json: Path | None = None
    """Also write the figures to this file."""

    def main(self) -> int:
        """Run the benchmark."""
        from igs_ros.bench import raster  # compiles kernels: only when asked for
        raster.run(self.json)
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
    json: Path | None = None
    """Also write every run to this file."""

    def main(self) -> int:
        """Run the comparison."""
        from igs_ros.bench.quality import Plan, measure
        first, last = frame_range(self.frames)
        measure(Plan(self.recordings, self.motions, self.seeds, self.scene.config(), first, last),
                self.json)
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
