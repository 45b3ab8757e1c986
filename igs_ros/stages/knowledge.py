# SPDX-License-Identifier: Apache-2.0
"""What is to be said of how much a rig knows: at once of its cameras, then of its scene."""
from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet
from igs_ros.render.support import Supported
from igs_ros.stages.rig_doubt import rig_doubt
from igs_ros.vision.overlap import MIN_ANGLE

log = logging.getLogger(__name__)
ENOUGH = 0.45
"""Share of the pictures below which views from between the cameras fail (docs/confidence.md)."""
_HELP = ('A second camera some 10 to 20 degrees beside it, or depth pictures (docs/confidence.md) '
         'would tell.')


def blind_spot(frame_set: FrameSet, cameras: Mapping[str, Camera],
               places: np.ndarray | None = None) -> str:
    """Why nothing can tell how far away things are; '' where something can.

    Args:
        frame_set: prepared; what there is to begin with.
        cameras: working cameras, where they are.
        places: [P, 3] m of the world, what they see; None: not known yet, then only cameras that
            stand at the very same place count as being at one.
    """
    seeing = [cameras[name] for name in frame_set.images if name in cameras]
    if not seeing or frame_set.depths:
        return ''
    if len(seeing) == 1:
        return (f"only camera '{seeing[0].name}' has a picture: one camera cannot tell how far "
                f'away things are, and every view from elsewhere is invented. {_HELP}')
    centers = np.array([camera.center for camera in seeing])
    apart = float(np.linalg.norm(centers - centers[0], axis=1).max())
    if places is None or not len(places):
        least = (1 + float(np.linalg.norm(centers[0]))) * 1e-6
    else:
        least = float(np.median(np.linalg.norm(places - centers[0], axis=1))) * MIN_ANGLE
    if apart > least:
        return ''
    return (f'all {len(seeing)} cameras stand at one place: without parallax they cannot tell how '
            f'far away things are, and every view from elsewhere is invented. {_HELP}')


def doubt(share: float) -> str:
    """What to say of a scene of which this share is confirmed, 0..1; '' if it is enough."""
    if share >= ENOUGH:
        return ''
    return (f'only {share:.0%} of the pictures is confirmed by a second camera: what views show '
            f'from between the cameras is largely invented. Cameras closer together (10 to 20 '
            f'degrees), a better calibration (igs check --rig) or depth pictures would help '
            f'(docs/confidence.md)')


class Knowledge:
    """What a pipeline knows of its scene; it says so once, at the first scene."""

    def __init__(self):
        self.confirmed: Mapping[str, float] = {}  # share of each picture, 0..1
        self.doubt = ''  # why views from elsewhere may not be believed, '' = they may
        self._blind = ''
        self._misfit = ''  # of the cameras

    @property
    def share(self) -> float:
        """The mean over the cameras; NaN without any."""
        return float(np.mean(list(self.confirmed.values()))) if self.confirmed else float('nan')

    def begin(self, frame_set: FrameSet, cameras: Mapping[str, Camera],
              places: np.ndarray | None) -> None:
        """Before the first scene is made: say where nothing can be known.

        Args:
            frame_set, cameras, places: of `blind_spot`.
        """
        self._blind = blind_spot(frame_set, cameras, places)
        self._misfit = '' if self._blind else rig_doubt(frame_set, cameras)
        for told in filter(None, (self._blind, self._misfit)):
            log.warning('%s', told)

    def first(self, known: Supported, frame_set: FrameSet, cameras: Mapping[str, Camera]) -> None:
        """Say how much of the first scene is known.

        Args:
            known: the scene.
            frame_set, cameras: what it was made of.
        """
        said, places = self._blind or self._misfit, known.scene.means.detach().cpu().numpy()
        self._blind = self._blind or blind_spot(frame_set, cameras, places)
        self.update(known.confirmed)
        if self.confirmed:
            log.info('first scene: %.0f %% of the pictures is confirmed by a second camera (%s)',
                     100 * self.share, listed(self.confirmed))
        if self.doubt and not said:
            log.warning('%s', self.doubt)

    def update(self, confirmed: Mapping[str, float]) -> None:
        """The scene that is shown from now on has these shares."""
        self.confirmed = confirmed
        self.doubt = self._blind or self._misfit or (doubt(self.share) if confirmed else '')


def listed(confirmed: Mapping[str, float]) -> str:
    """'cam00 61 %, cam01 55 %'."""
    return ', '.join(f'{name} {share:.0%}' for name, share in confirmed.items())
