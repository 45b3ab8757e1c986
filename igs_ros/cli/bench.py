# SPDX-License-Identifier: Apache-2.0
"""`igs bench`: timings, printed as a table and written as JSON."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class Bench:
    """Time a part of the line on this machine."""

    what: Annotated[Literal['raster'], tyro.conf.Positional]
    """raster: the CPU rasteriser against gsplat's torch projection and SH, in one run."""
    json: Path | None = None
    """Also write the figures to this file."""

    def main(self) -> int:
        """Run the benchmark."""
        from igs_ros.bench import raster  # compiles kernels: only when asked for
        raster.run(self.json)
        return 0
