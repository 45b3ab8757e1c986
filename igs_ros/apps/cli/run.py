# SPDX-License-Identifier: Apache-2.0
"""`igs run`: a recording through the same pipeline as the node, offline, with scores."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from igs_ros.apps.cli.options import SceneOptions
from igs_ros.io.recordings.bag_options import BagOptions


@dataclass(frozen=True)
class Run:
    """Reconstruct a recording and write results.json, pictures, video.mp4 and the final PLY."""

    data: Annotated[Path, tyro.conf.Positional]
    """The recording: a folder with rig.json, N3DV or COLMAP, or a ROS 2 bag (docs/recordings.md,
    docs/bags.md)."""
    out: Path
    """Folder for the results; made if it is not there."""
    scene: Annotated[SceneOptions, tyro.conf.arg(name='')]
    """Settings of the reconstruction."""
    bag: Annotated[BagOptions, tyro.conf.arg(name='')]
    """What a bag does not say itself."""
    test_view: tuple[str, ...] | None = None
    """Cameras to score on, kept from training; default: all that the recording holds out."""
    train_views: tuple[str, ...] | None = None
    """Cameras to reconstruct from; default: all but the held-out ones."""
    frames: str = '0:'
    """Frames A:B, 0-based, half-open; frame A is the first scene."""
    calibrate: bool = False
    """Adjust the poses to what the cameras see before the first scene, as igs calibrate does;
    what cannot be judged stays as it is (docs/real_rigs.md)."""
    live: bool = False
    """Play the recording at its own rate into the live pipeline instead of going in lockstep."""
    confidence: bool = False
    """Write a gray picture beside each render: bright where a second camera confirms what is drawn
    (docs/confidence.md)."""
    left_out: bool = True
    """Also score a short first scene without one of the cameras, by what that one saw: a few
    seconds, and the honest score of views that nobody took."""
    profile: Annotated[Path | None, tyro.conf.arg(metavar='FILE.json')] = None
    """Write a trace of what every thread did when, for ui.perfetto.dev (docs/engine.md)."""

    def main(self) -> int:
        """Run and write everything below `out`."""
        from igs_ros.apps.evaluation.offline import (  # heavy: not for --help
            Request,
            run,
            summary_text,
        )
        from igs_ros.io.recordings.recording import frame_range
        first, last = frame_range(self.frames)
        results = run(Request(self.data, self.out, self.scene.config(), self.test_view,
                              self.train_views, first, last, self.live, self.profile, self.bag,
                              self.confidence, self.left_out, self.calibrate))
        print(summary_text(results))
        return 0
