# SPDX-License-Identifier: Apache-2.0
"""Whether the cameras of a first scene fit together: the rig check at a glance."""
from __future__ import annotations

from collections.abc import Mapping

from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet
from igs_ros.core.timing import span
from igs_ros.vision.rig_check import QUICK, check_rig
from igs_ros.vision.rig_pairs import Verdict

_MOST = 2  # lines that are told; `igs check --rig` has all


def rig_doubt(frame_set: FrameSet, cameras: Mapping[str, Camera]) -> str:
    """Which cameras do not fit what they see, in words; '' if none, or it cannot be told.

    Args:
        frame_set: prepared; what there is to begin with.
        cameras: working cameras, where they are.
    """
    seeing = {name: camera for name, camera in cameras.items() if name in frame_set.images}
    if len(seeing) < 2:
        return ''
    with span('rig check'):
        check = check_rig([frame_set.images], seeing, QUICK)
    if check.verdict is not Verdict.WRONG:
        return ''
    told = [line for line in check.lines if 'cannot tell' not in line][:_MOST]
    return f'the cameras do not fit what they see: {"; ".join(told)}. Mend the rig file, or try ' \
        'igs calibrate; igs check --rig says more (docs/real_rigs.md)'
