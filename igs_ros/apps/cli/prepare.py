# SPDX-License-Identifier: Apache-2.0
"""`igs prepare`: make a recording ready for `igs train`."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from igs_ros.apps.cli.options import SceneOptions


@dataclass(frozen=True)
class Prepare:
    """Make key scenes and working pictures of a recording; the same command goes on after a kill.

    `igs train --recordings OUT` learns from them.
    """

    data: Annotated[Path, tyro.conf.Positional]
    """Folder of the recording: rig.json, N3DV or COLMAP (docs/recordings.md)."""
    out: Path
    """Folder for scenes and pictures; made if it is not there."""
    scene: Annotated[SceneOptions, tyro.conf.arg(name='')]
    """Settings of the scenes; those of motion and refinement are not used."""
    every: int = 10
    """Frames from key to key; targets are up to 5 frames away, so at most 11 uses all frames."""
    test_view: str | None = None
    """Camera kept from training, for validation; default: the recording's held-out camera."""
    train_views: tuple[str, ...] | None = None
    """Cameras to make scenes from; default: all but the held-out ones."""
    frames: str = '0:'
    """Frames A:B, 0-based, half-open."""

    def main(self) -> int:
        """Prepare and say how good the scenes are."""
        from igs_ros.apps.training.prepare import Request, prepare, summary_lines  # heavy
        from igs_ros.io.recordings.recording import frame_range
        first, last = frame_range(self.frames)
        index = prepare(Request(self.data, self.out, self.scene.config(), self.every, first, last,
                                self.test_view, self.train_views))
        print('\n'.join(summary_lines(index)))
        return 0
