# SPDX-License-Identifier: Apache-2.0
"""`igs import`: calibrations of other tools, with their pictures, become recordings."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from igs_ros.core.errors import InputError
from igs_ros.io.imports.options import ImportOptions, Request
from igs_ros.io.recordings.bag_options import BagOptions


@dataclass(frozen=True)
class Import:
    """Make a recording (rig.json) of another tool's calibration and pictures, and check its rig.

    FORMAT is found out where it is left out:
    nerfstudio, instant-ngp (transforms.json), colmap (text or binary), kalibr (camchain.yaml),
    caliscope (camera_array.toml), anipose (calibration.toml), pose2sim (Calib*.toml),
    opencv (YAML, XML or JSON of cv::FileStorage), bag (ROS 2, with CameraInfo and TF).
    It says which axes, units and pixels it took (docs/recordings.md#igs-import); pictures and
    videos stay where they are.
    """

    what: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(
        metavar='[FORMAT] SOURCE')]
    """The calibration, a file or a folder that has it, after its format."""
    out: Path
    """Folder for the recording; made if it is not there."""
    options: Annotated[ImportOptions, tyro.conf.arg(name='')]
    """What the calibration does not say itself."""
    bag: Annotated[BagOptions, tyro.conf.arg(name='')]
    """Of times, and of bags."""

    def main(self) -> int:
        """Import, and check; the check's exit code.

        Raises:
            InputError: what cannot be used; nothing is written then.
            OutputError: `out` cannot be written.
        """
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import Progress

        from igs_ros.apps.cli.check_rig import check_rig  # heavy: not for --help
        from igs_ros.io.imports.convert import imported
        from igs_ros.io.imports.formats import FORMATS
        from igs_ros.io.imports.write import require_own, write
        from igs_ros.io.recordings.bag import BagSource
        if not 1 <= len(self.what) <= 2:
            raise InputError(f'igs import {" ".join(self.what)}: expected [FORMAT] SOURCE, with '
                             f'one of {", ".join(FORMATS)}.')
        *name, source = self.what
        require_own(self.out)
        found = imported(Path(source), name[0] if name else None, Request(self.options, self.bag))
        console = Console()
        console.print(escape(f'{source}: {FORMATS[found.format].title}'), soft_wrap=True)
        for line in found.said:
            console.print(escape(f'  {line}'), soft_wrap=True)
        unpacked = sum(one.length for one in found.recording.sources.values()
                       if isinstance(one, BagSource))
        with Progress(console=Console(stderr=True), transient=True,
                      disable=not unpacked) as progress:
            task = progress.add_task('unpacking', total=unpacked)
            write(found.recording, self.out, f'{found.format} {source}',
                  self.options.copy_pictures, lambda: progress.advance(task))
        code = check_rig(self.out, BagOptions(), self.out)
        console.print(escape(f'written: {self.out}'), soft_wrap=True)
        return code
