# SPDX-License-Identifier: Apache-2.0
"""`igs calibrate`: the poses of a recording's cameras, adjusted to what they see."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from igs_ros.io.recordings.bag_options import BagOptions


@dataclass(frozen=True)
class Calibrate:
    """Adjust the poses of a recording's cameras to what they see, and write a rig.json.

    Small errors are mended; what cannot be judged stays as it is. Exit code 0: the rig fits now,
    or did before; 1: it does not, and why is said; 3: cannot tell.
    """

    data: Annotated[Path, tyro.conf.Positional]
    """The recording: a folder with rig.json, N3DV or COLMAP, or a ROS 2 bag (docs/recordings.md,
    docs/bags.md). Nothing is written there."""
    out: Annotated[Path, tyro.conf.arg(metavar='RIG.json')]
    """File for the rig; it is written even if nothing was changed."""
    bag: Annotated[BagOptions, tyro.conf.arg(name='')]
    """What a bag does not say itself."""
    focals: bool = False
    """Adjust focal lengths, too."""

    def main(self) -> int:
        """Calibrate, and say what was changed.

        Raises:
            InputError: the recording cannot be read, or its cameras move.
            OutputError: `out` cannot be written.
        """
        from rich.console import Console  # heavy: not for --help
        from rich.markup import escape

        from igs_ros.apps.cli.bars import progress_bar, stage_of
        from igs_ros.core.files import checked_file
        from igs_ros.io.recordings.open import open_recording
        from igs_ros.io.recordings.recording import require_still
        from igs_ros.io.rig_file import write_rig
        from igs_ros.io.rig_recording import CALIBRATION_FRAMES, check_recording
        from igs_ros.io.rig_report import EXIT
        from igs_ros.vision.calibrate import calibrated, change_lines
        checked_file(self.out)
        recording = open_recording(self.data, self.bag)
        require_still(recording, 'igs calibrate')
        with progress_bar() as bar:
            checked = check_recording(recording, stage_of(bar), frames=CALIBRATION_FRAMES)
            bar.update(bar.task_ids[0], description='adjusting')
            found = calibrated(checked.check, checked.cameras, self.focals)
        console = Console()
        for line in [*checked.check.lines, *change_lines(found)]:
            console.print(escape(line), soft_wrap=True)
        write_rig(self.out, recording, found.cameras)
        console.print(escape(f'{self.out}: ' + (
            f'{len(found.changed)} of {len(found.cameras)} cameras changed' if found.changed
            else 'no camera changed')), soft_wrap=True)
        return EXIT[found.verdict]
