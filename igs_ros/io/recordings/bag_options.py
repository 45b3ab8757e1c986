# SPDX-License-Identifier: Apache-2.0
"""Options of what reads a recording; most are about ROS 2 bags."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from igs_ros.core.errors import InputError

BAG_SPREAD_S = 0.03


@dataclass(frozen=True)
class BagOptions:
    """What a recording, mostly a bag, does not say itself."""

    topics: tuple[str, ...] = ()
    """Of a bag: image topics to read, /topic or NAME=/topic; none = all with a CameraInfo beside
    them."""
    rig_file: Path | None = None
    """Of a bag: rig.json, or Kalibr's camchain, with the poses of its cameras; default: a rig.json
    beside it, else TF."""
    world_frame: str = ''
    """Of a bag: the frame of TF that the poses are in; '' = the root of its tree."""
    max_spread_s: float | None = None
    """Greatest difference of the stamps in a frame set, s; default: 0.03 of a bag, else one frame
    period of the fastest camera."""
    offset: tuple[str, ...] = ()
    """Seconds to add to the stamps of cameras, CAMERA=SECONDS: cam2=0.040 where the clock of cam2
    is 40 ms slow, or its video began 40 ms late."""
    stamps: tuple[str, ...] = ()
    """Files with the stamps of the cameras' pictures, CAMERA=FILE: one per line, in seconds, or in
    nanoseconds since 1970. Not of a bag."""
    frame_step: int = 1
    """Take every so many-th frame set."""

    @property
    def max_spread_ns(self) -> int:
        """Of a bag, in ns.

        Raises:
            InputError: it is no time from 0 to 3600 s.
        """
        return checked_spread(BAG_SPREAD_S if self.max_spread_s is None else self.max_spread_s)


def checked_spread(spread_s: float) -> int:
    """The greatest difference of stamps in a frame set, ns.

    Raises:
        InputError: it is no time from 0 to 3600 s.
    """
    if not 0 <= spread_s <= 3600:
        raise InputError(f'--max-spread-s {spread_s}: expected 0 to 3600 s, about one frame '
                         f'period.')
    return round(spread_s * 1e9)
