# SPDX-License-Identifier: Apache-2.0
"""`igs demo`: the whole line over real ROS 2, on the recording that ships with the package."""
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from igs_ros.core.config import Config
from igs_ros.node.environment import require_ros


@dataclass(frozen=True)
class Demo:
    """Play a recording into the node, score the view that it publishes for an unseen camera.

    Two processes over Fast DDS: the player (`igs play`) and the reconstruction node; this one
    only listens. Writes video.mp4, contact.png, quality.png and results.json. Runs in a ROS domain
    of its own (from the process id, or IGS_DEMO_DOMAIN), whatever ROS_DOMAIN_ID says.
    """

    out: Path = Path('demo_out')
    """Folder for the results."""
    data: Path | None = None
    """Recording to play; default: the workbench that ships with the package."""
    max_gaussians: int = 20000
    """Bound of the scene."""
    bootstrap_iterations: int = 1500
    """Optimisation steps of the first scene."""
    refine_iterations: int = 50
    """Optimisation steps per key frame."""
    key_interval: int = 2
    """A key frame every so many processed frame sets; the player waits for each."""
    threads: int = 2
    """Threads of the rasteriser."""
    seed: int = 0
    """Seed of everything random."""
    timeout: float = 900.0
    """Give up after so many s; the whole demo takes some 2 minutes on 2 cores."""

    def config(self) -> Config:
        """The settings of the node."""
        default = Config()
        return replace(
            default, max_gaussians=self.max_gaussians, key_interval=self.key_interval,
            threads=self.threads, seed=self.seed,
            bootstrap=replace(default.bootstrap, iterations=self.bootstrap_iterations),
            refine=replace(default.refine, iterations=self.refine_iterations))

    def main(self) -> int:
        """Run the demo; 1 when fewer frames than three quarters could be scored."""
        require_ros(own_rmw=True)
        from igs_ros.node.demo import run  # imports rclpy
        return run(self)
