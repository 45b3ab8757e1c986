# SPDX-License-Identifier: Apache-2.0
"""`igs bench`: measurements, printed as a table and written as JSON."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args, get_type_hints

import tyro

from igs_ros.apps.cli.bench_live import BenchLive, BenchNode, BenchViews, report
from igs_ros.apps.cli.options import SceneOptions
from igs_ros.core.config import checked
from igs_ros.core.errors import InputError


@dataclass(frozen=True)
class BenchRaster:
    """Time the CPU rasterizer against gsplat's torch projection and SH, in one run."""

    json: bool = False
    """Print the figures as JSON instead of the table."""

    def main(self) -> int:
        """Run the benchmark."""
        from igs_ros.apps.bench import raster  # compiles kernels: only when asked for
        report(raster.run(), raster.print_table, self.json)
        return 0


@dataclass(frozen=True)
class BenchQuality:
    """Score ways to run side by side on recordings, from the same first scenes."""

    recordings: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of recordings."""
    scene: Annotated[SceneOptions, tyro.conf.arg(name='')]
    """Settings that all arms share; --seed is replaced by the list below."""
    arms: tuple[str, ...] = ('frozen', 'key5', 'every', 'per-frame', 'igs-s', 'igs-l')
    """What to compare; the table says what each arm is, `--arms ?` lists all."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds; the table shows means over them."""
    frames: str = '0:11'
    """Frames A:B, 0-based, half-open; frame A is the first scene."""
    keep: Path | None = None
    """Folder that keeps the first scenes, so that another run need not make them again."""
    json: bool = False
    """Print every run as JSON instead of the table of means."""

    def main(self) -> int:
        """Run the comparison.

        Raises:
            InputError: no recording is given, or the plan cannot be run.
        """
        from igs_ros.apps.bench import quality, quality_table  # heavy imports: not for --help
        from igs_ros.io.recordings.recording import frame_range
        if not self.recordings:
            raise InputError('igs bench quality: no recording given; expected their folders.')
        first, last = frame_range(self.frames)
        plan = quality.QualityPlan(self.recordings, self.arms, self.seeds, self.scene.config(),
                                   first, last, self.keep)
        report(quality.measure(plan), quality_table.print_means, self.json)
        return 0


@dataclass(frozen=True)
class BenchBootstrap:
    """Quality of the first scene against time, as a curve."""

    recordings: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of recordings."""
    scene: Annotated[SceneOptions, tyro.conf.arg(name='')]
    """Settings; --seed is replaced by the list below, --threads is 1, and --bootstrap-seconds
    caps the seconds of the curve."""
    seconds: tuple[float, ...] = (15, 30, 60, 90, 120, 180)
    """When to score: scaled CPU seconds."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds; the table shows means over them."""
    frame: int = 0
    """Frame of the first scene, 0-based."""
    json: bool = False
    """Print every curve as JSON instead of the table of means."""

    def main(self) -> int:
        """Run the benchmark.

        Raises:
            InputError: no recording is given, or the plan cannot be run.
        """
        from igs_ros.apps.bench import bootstrap  # heavy imports: not for --help
        if not self.recordings:
            raise InputError('igs bench bootstrap: no recording given; expected their folders.')
        plan = bootstrap.BootstrapPlan(self.recordings, self.seeds, self.seconds,
                                       self.scene.config(), self.frame)
        report(bootstrap.measure(plan), bootstrap.print_table, self.json)
        return 0


@dataclass(frozen=True)
class BenchFaults:
    """Inject faults into the cameras of recordings: is each noticed, does the scene heal?"""

    recordings: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of recordings; each is played forth and back, and held in memory."""
    scene: Annotated[SceneOptions, tyro.conf.arg(name='')]
    """Settings of all runs; --set hold_s=0 shows what happens when every picture is believed."""
    faults: tuple[str, ...] = ()
    """Which faults; none given = all. The table says what each one is."""
    other: Path | None = None
    """Recording that is the other scene; without, the pictures upside down in other colors."""
    test_view: str | None = None
    """The unseen camera; without, the one that the recording holds out."""
    frames: str = '0:'
    """Frames A:B, 0-based, half-open; frame A is the first scene."""
    keep: Path | None = None
    """Folder that keeps the first scenes, so that another run need not make them again."""
    json: bool = False
    """Print the figures as JSON instead of the table."""

    def main(self) -> int:
        """Run the benchmark.

        Raises:
            InputError: no recording is given, or the plan cannot be run.
        """
        from igs_ros.apps.bench import faults  # heavy imports: not for --help
        from igs_ros.io.recordings.recording import frame_range
        if not self.recordings:
            raise InputError('igs bench faults: no recording given; expected their folders.')
        first, last = frame_range(self.frames)
        plan = faults.FaultPlan(self.recordings, self.scene.config(), self.faults, self.other,
                                self.test_view, first, last, self.keep)
        report(faults.measure(plan), faults.print_table, self.json)
        return 0


@dataclass(frozen=True)
class BenchPlanners:
    """Score what planners get (points, velocities, free space) against a recording's truth."""

    recording: Annotated[Path, tyro.conf.Positional]
    """Folder of a recording with true depths, and maybe motion (gt/)."""
    scene: Annotated[SceneOptions, tyro.conf.arg(name='')]
    """Settings of the reconstruction, in lockstep; --key-interval 0 shows what comes and goes
    without any key."""
    voxel: float = 0.05
    """Voxels, m, as planning.voxel_m of the node."""
    heights: tuple[float, float] = (0.1, 2.0)
    """Slice of the grid, m, as planning.min_height and planning.max_height of the node."""
    json: bool = False
    """Print the figures as JSON instead of the table."""

    def main(self) -> int:
        """Run the benchmark."""
        from igs_ros.apps.bench import planners  # heavy imports: not for --help
        from igs_ros.live.planning import PlanningConfig
        low, high = self.heights
        planning = checked(PlanningConfig(voxel_m=self.voxel, min_height=low, max_height=high),
                           'option')
        plan = planners.PlannerPlan(self.recording, self.scene.config(), planning)
        report(planners.run(plan), planners.print_table, self.json)
        return 0


@dataclass(frozen=True)
class BenchMotion:
    """Time one candidate of every motion model that is there, by part, on a made-up world."""

    motions: tuple[str, ...] = ('agm', 'agm_small', 'geometric')
    """Motion models to time."""
    weights: Annotated[str, tyro.conf.arg(metavar='DIR')] = ''
    """Folder with weights of agm; without, random ones take as long."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """Where to compute."""
    threads: int = 1
    """Threads of the rasterizer and of agm, on a CPU."""
    compile: bool = False
    """Compile agm first."""
    gaussians: int = 0
    """Gaussians of the world, 0 = 150,000 on CUDA, 30,000 on a CPU."""
    anchors: int = 0
    """Anchors of agm, 0 = 8192 on CUDA, 2048 on a CPU."""
    picture: int = 0
    """Side of agm's pictures in px, a multiple of 16; 0 = 512 on CUDA, 256 on a CPU."""
    repeats: int = 0
    """Candidates that are timed, 0 = 30 on CUDA, 5 on a CPU."""
    json: bool = False
    """Print the figures as JSON instead of the table."""

    def main(self) -> int:
        """Run the benchmark."""
        from igs_ros.apps.bench import motion  # compiles kernels: only when asked for
        given = {name: value for name, value in vars(self).items() if name != 'json'}
        report(motion.run(motion.MotionPlan(**given)), motion.print_table, self.json)
        return 0


@dataclass(frozen=True)
class BenchRefine:
    """Time one refine iteration by part, whole and masked, and the drawing of a view."""

    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """Where to compute."""
    threads: int = 1
    """Threads of the rasterizer, on a CPU."""
    gaussians: int = 0
    """Gaussians of the scene, 0 = 150,000 on CUDA, 30,000 on a CPU."""
    width: int = 0
    """Picture width in px, 0 = 1352 on CUDA, 480 on a CPU."""
    height: int = 0
    """Picture height in px, 0 = 1014 on CUDA, 360 on a CPU."""
    tiles: float = 0.3
    """Share of the picture that is drawn and compared in the masked cases."""
    repeats: int = 0
    """Iterations that are timed, 0 = 50 on CUDA, 15 on a CPU."""
    json: bool = False
    """Print the figures as JSON instead of the table."""

    def main(self) -> int:
        """Run the benchmark."""
        from igs_ros.apps.bench import refine  # compiles kernels: only when asked for
        given = {name: value for name, value in vars(self).items() if name != 'json'}
        report(refine.run(refine.RefinePlan(**given)), refine.print_table, self.json)
        return 0


@dataclass(frozen=True)
class BenchNeighbors:
    """Time farthest point sampling and nearest neighbors, by all that can do it here."""

    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """cpu leaves a GPU out."""
    json: bool = False
    """Print the figures as JSON instead of the table."""

    def main(self) -> int:
        """Run the benchmark."""
        from igs_ros.apps.bench import neighbors  # compiles kernels: only when asked for
        report(neighbors.run(self.device), neighbors.print_table, self.json)
        return 0


@dataclass(frozen=True)
class BenchAssemble:
    """Share of frame sets that come of simulated cameras with loss and dead ones, and the cost."""

    cameras: tuple[int, ...] = (3, 4, 7, 12, 21, 32, 64)
    """Sizes of the rigs."""
    loss: tuple[float, ...] = (0.0, 0.01, 0.05)
    """Shares of the pictures that are lost."""
    dead: tuple[int, ...] = (0, 1, 2)
    """Numbers of cameras that stop."""
    min_cameras: int = 0
    """Fewest cameras of a frame set, 0 = what the node takes: half of them."""
    max_wait_s: float = 0.1
    """How long the first picture of a frame set waits for the others, s."""
    json: bool = False
    """Print the figures as JSON instead of the table."""

    def main(self) -> int:
        """Run the benchmark."""
        from igs_ros.apps.bench import assemble
        plan = assemble.AssemblePlan(self.cameras, self.loss, self.dead,
                                     min_cameras=self.min_cameras, max_wait_s=self.max_wait_s)
        report(assemble.run(plan), assemble.print_table, self.json)
        return 0


@dataclass(frozen=True)
class Bench:
    """Measure a part of the pipeline on this machine."""

    what: tyro.conf.OmitArgPrefixes[
        Annotated[BenchRaster, tyro.conf.subcommand('raster', prefix_name=False)]
        | Annotated[BenchQuality, tyro.conf.subcommand('quality', prefix_name=False)]
        | Annotated[BenchBootstrap, tyro.conf.subcommand('bootstrap', prefix_name=False)]
        | Annotated[BenchFaults, tyro.conf.subcommand('faults', prefix_name=False)]
        | Annotated[BenchPlanners, tyro.conf.subcommand('planners', prefix_name=False)]
        | Annotated[BenchMotion, tyro.conf.subcommand('motion', prefix_name=False)]
        | Annotated[BenchRefine, tyro.conf.subcommand('refine', prefix_name=False)]
        | Annotated[BenchAssemble, tyro.conf.subcommand('assemble', prefix_name=False)]
        | Annotated[BenchNeighbors, tyro.conf.subcommand('neighbors', prefix_name=False)]
        | Annotated[BenchViews, tyro.conf.subcommand('views', prefix_name=False)]
        | Annotated[BenchNode, tyro.conf.subcommand('node', prefix_name=False)]
        | Annotated[BenchLive, tyro.conf.subcommand('live', prefix_name=False)]]

    def main(self) -> int:
        """Run the chosen benchmark."""
        return self.what.main()


def bench_names() -> tuple[str, ...]:
    """Of all benchmarks, as the command line has them."""
    choices, *_ = get_args(get_type_hints(Bench, include_extras=True)['what'])
    return tuple(subcommand.name for _, subcommand in map(get_args, get_args(choices)))
