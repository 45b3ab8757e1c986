# SPDX-License-Identifier: Apache-2.0
"""`igs demo`, `play` and `record`: programs of `igs_ros.node`, once it is known that ROS works."""
from __future__ import annotations

from dataclasses import dataclass

from igs_ros.node.environment import require_ros
from igs_ros.node.options import DemoOptions, PlayOptions, RecordOptions


@dataclass(frozen=True)
class Demo(DemoOptions):
    """Play a recording into the node, score the view that it publishes for an unseen camera.

    Two processes over Fast DDS: the player (`igs play`) and the reconstruction node; this one
    only listens. Writes video.mp4, contact.png, quality.png and results.json. Runs in a ROS domain
    of its own (from the process id, or IGS_DEMO_DOMAIN), whatever ROS_DOMAIN_ID says.
    """

    def main(self) -> int:
        """Run the demo; 1 when fewer frames than three quarters could be scored."""
        require_ros(own_rmw=True)
        from igs_ros.node.demo import run  # imports rclpy
        return run(self)


@dataclass(frozen=True)
class Play(PlayOptions):
    """Publish a recording on camera topics."""

    def main(self) -> int:
        """Play; the exit code."""
        require_ros()
        from igs_ros.node.play import play  # imports rclpy
        return play(self)


@dataclass(frozen=True)
class Record(RecordOptions):
    """Record the node's inputs and outputs into a bag (MCAP), until interrupted."""

    def main(self) -> int:
        """Record; the exit code."""
        require_ros()
        from igs_ros.node.record import record  # imports rclpy
        return record(self)
