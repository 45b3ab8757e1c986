# SPDX-License-Identifier: Apache-2.0
"""What is set for each virtual camera, as parameters below its name: `left.width`."""
from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Annotated

from igs_ros.core.camera import MAX_SIDE_PX
from igs_ros.core.config import WHILE_RUNNING, Bound
from igs_ros.core.errors import InputError, shown

DEFAULT_VIEW = 'view'
"""The only view where the parameter `views` is empty; it has no parameters of its own."""
_NAME = re.compile(r'[A-Za-z](_?[A-Za-z0-9])*')  # a part of the name of a topic and a frame


@dataclass(frozen=True)
class ViewConfig:
    """One virtual camera."""

    camera: Annotated[str, WHILE_RUNNING] = ''
    """Rig camera whose intrinsics and pose it has at first; '' = view_camera."""
    pose: Annotated[str, WHILE_RUNNING] = ''
    """Pose in the world at first: 'x y z qx qy qz qw' (m, optical axes); '' = view_pose."""
    frame: str = ''
    """TF frame that it follows (optical axes: z forward); '' = ~/NAME/pose moves it."""
    width: Annotated[int, Bound(0, MAX_SIDE_PX), WHILE_RUNNING] = 0
    """Width in px; 0 = view_width."""
    height: Annotated[int, Bound(0, MAX_SIDE_PX), WHILE_RUNNING] = 0
    """Height in px; 0 = in proportion. Another one cuts off or adds, above and below alike."""
    fov_deg: Annotated[float, Bound(0, 170), WHILE_RUNNING] = 0.0
    """Horizontal field of view in degrees, looking straight ahead; 0 = that of camera."""
    k: Annotated[str, WHILE_RUNNING] = ''
    """Intrinsics 'fx fy cx cy' in px, as in CameraInfo, for width and height; '' = by fov_deg or
    camera."""
    rate_hz: Annotated[float, Bound(0, 1000), WHILE_RUNNING] = 0.0
    """Pictures drawn per second at most; 0 = budget.view_hz, and each new scene at once."""
    known_only: Annotated[bool, WHILE_RUNNING] = False
    """~/NAME/depth is NaN where no second camera confirms it (docs/confidence.md)."""
    baseline: Annotated[float, Bound(0, 100)] = 0.0
    """A stereo pair so many m apart, ~/NAME/left (at the pose) and ~/NAME/right; 0 = one camera.
    """


def check_names(views: Sequence[str], taken: Set[str]) -> None:
    """Prove that the views can be called so.

    Args:
        views: the names.
        taken: first parts of other parameters' names.

    Raises:
        InputError: they cannot.
    """
    for name in views:
        if not _NAME.fullmatch(name) or len(name) > 64 or name in taken:
            raise InputError(
                f'parameter views names {shown(name)}; expected at most 64 letters, digits and '
                f'single _, a letter first, and none of {", ".join(sorted(taken))}. Rename it.')
    twice = sorted({name for name in views if list(views).count(name) > 1})
    if twice:
        raise InputError(f'parameter views names {", ".join(twice)} twice; expected each once.')
