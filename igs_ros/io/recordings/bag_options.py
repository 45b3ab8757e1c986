# SPDX-License-Identifier: Apache-2.0
"""Options of what reads a ROS 2 bag."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from igs_ros.core.errors import InputError


@dataclass(frozen=True)
class BagOptions:
    """What a bag does not say itself."""

    topics: tuple[str, ...] = ()
    """Of a bag: image topics to read, /topic or NAME=/topic; none = all with a CameraInfo beside
    them."""
    rig_file: Path | None = None
    """Of a bag: rig.json, or Kalibr's camchain, with the poses of its cameras; default: a rig.json
    beside it, else TF."""
    world_frame: str = ''
    """Of a bag: the frame of TF that the poses are in; '' = the root of its tree."""
    max_spread_s: float = 0.03
    """Of a bag: greatest difference of the stamps in a frame set, s; about one frame period."""

    @property
    def max_spread_ns(self) -> int:
        """In ns.

        Raises:
            InputError: it is no time from 0 to 3600 s.
        """
        if not 0 <= self.max_spread_s <= 3600:
            raise InputError(f'--max-spread-s {self.max_spread_s}: expected 0 to 3600 s, about '
                             f'one frame period.')
        return round(self.max_spread_s * 1e9)
