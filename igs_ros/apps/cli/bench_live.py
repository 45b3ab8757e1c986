# SPDX-License-Identifier: Apache-2.0
"""`igs bench`: what runs live, against the clock; and how all of them report."""
from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from igs_ros.apps.cli.options import SceneOptions
from igs_ros.core.config import checked, with_settings
from igs_ros.core.errors import InputError
from igs_ros.core.files import checked_file


@dataclass(frozen=True)
class BenchLive:
    """Loop a recording into the live pipeline, with its stamp jump: do memory and latency hold?"""

    recording: Annotated[Path, tyro.conf.Positional]
    """Folder of the recording."""
    scene: Annotated[SceneOptions, tyro.conf.arg(name='')]
    """Settings of the reconstruction; budget.* are the deadlines."""
    minutes: float = 10.0
    """How long to play."""
    update_hz: float = 10.0
    """Scene updates per second to hold, where the settings say nothing (budget.update_hz)."""
    rate: float = 0.0
    """Frame sets per second, 0 = as recorded."""
    frames: str = '0:'
    """Frames A:B, 0-based, half-open; frame A is the first scene. All are held in memory."""
    json: bool = False
    """Print the figures as JSON instead of the table."""
    out: Annotated[Path | None, tyro.conf.arg(metavar='FILE.jsonl')] = None
    """Write every row when it is known: a kill loses none of them."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar='FILE.png|svg')] = None
    """Draw memory, latency, pace and quality over time."""

    def main(self) -> int:
        """Run the benchmark; interrupted, it reports what there is and ends with 130.

        Raises:
            InputError: there is nothing to play, or the plan cannot be run.
            OutputError: `out` or `plot` cannot be written.
        """
        from igs_ros.apps.bench import (  # heavy imports: not for --help
            live,
            live_figures,
            live_plot,
        )
        from igs_ros.io.recordings.recording import frame_range
        first, last = frame_range(self.frames)
        if not self.minutes > 0:
            raise InputError(f'--minutes {self.minutes}: expected more than 0.')
        config = self.scene.config()
        if not config.budget.update_hz:
            config = with_settings(config, {'budget.update_hz': self.update_hz})
        if self.plot:
            checked_file(self.plot)
        keep = live_figures.RowFile(self.out).keep if self.out else lambda piece: None
        plan = live.LivePlan(self.recording, checked(config), self.minutes, first=first, last=last,
                             rate_hz=self.rate)
        results = live.run(plan, lambda text: print(text, file=sys.stderr), keep)
        report(results, live_figures.print_table, self.json)
        if self.plot:
            live_plot.plot(results, self.plot)
        return 130 if results['interrupted'] else 0


@dataclass(frozen=True)
class BenchViews:
    """From head poses to pictures of them, with several views beside a live scene."""

    recording: Annotated[Path, tyro.conf.Positional]
    """Folder of the recording."""
    scene: Annotated[SceneOptions, tyro.conf.arg(name='')]
    """Settings of the reconstruction."""
    views: tuple[int, ...] = (1, 2, 4)
    """Numbers of views."""
    poses_hz: float = 100.0
    """Poses per second to each view."""
    seconds: float = 10.0
    """For how long to measure each number of views."""
    frames: str = '0:'
    """Frames A:B, 0-based, half-open; played forth and back."""
    json: bool = False
    """Print the figures as JSON instead of the table."""

    def main(self) -> int:
        """Run the benchmark.

        Raises:
            InputError: a number that is not above 0, or no scene can be made.
        """
        from igs_ros.apps.bench import views  # heavy imports: not for --help
        from igs_ros.io.recordings.recording import frame_range
        if not (min(self.views, default=0) > 0 and self.poses_hz > 0 and self.seconds > 0):
            raise InputError('igs bench views: expected views, poses per second and seconds above '
                             '0.')
        plan = views.ViewsPlan(self.recording, self.scene.config(), self.views, self.poses_hz,
                               self.seconds, *frame_range(self.frames))
        report(views.run(plan, lambda text: print(text, file=sys.stderr)), views.print_table,
               self.json)
        return 0


@dataclass(frozen=True)
class BenchNode:
    """CPU time of the node beside its engine, and its callbacks: cameras over topics, all outputs.

    The node, and this process as its cameras and subscriber, over Fast DDS in a ROS domain of
    their own; CPU time by thread.
    """

    recording: Annotated[Path | None, tyro.conf.Positional] = None
    """Recording with points; default: the workbench that ships. Larger rigs repeat its cameras."""
    cameras: tuple[int, ...] = (1, 3, 12, 21)
    """Sizes of the rigs."""
    seconds: float = 20.0
    """Length of each measurement."""
    rate: float = 30.0
    """Pictures per second of each camera."""
    gaussians: int = 20000
    """Size of the scene."""
    engine: Literal['light', 'default'] = 'light'
    """light: each frame set is decoded and followed, nothing moved, so that the ROS side has the
    most to do, as on a fast machine; default: the engine as it is."""
    json: bool = False
    """Print the figures as JSON instead of the table."""

    def main(self) -> int:
        """Run the benchmark.

        Raises:
            InputError: the node does not come to work.
        """
        from igs_ros.node.environment import require_ros
        require_ros(own_rmw=True)
        from igs_ros.core.files import workbench
        from igs_ros.node import bench  # imports rclpy
        plan = bench.NodePlan(self.recording or workbench(), self.cameras, self.seconds,
                              rate_hz=self.rate, gaussians=self.gaussians,
                              engine=self.engine)
        report(bench.run(plan, lambda text: print(text, file=sys.stderr)), bench.print_table,
               self.json)
        return 0


def report(results: dict, print_table: Callable[[dict], None], as_json: bool) -> None:
    """Print the results of a benchmark.

    Args:
        results: all figures; JSON can hold them.
        print_table: prints them for people.
        as_json: print them as JSON instead.
    """
    if as_json:
        print(json.dumps(results, indent=1))
    else:
        print_table(results)
