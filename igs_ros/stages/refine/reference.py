# SPDX-License-Identifier: Apache-2.0
"""What a key scene was fitted to: the memory that the next refinement judges change by."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet, elsewhere


@dataclass(frozen=True, eq=False)
class ReferenceImages:
    """The images that a key was last fitted to, pixel by pixel.

    Change is judged against these, not against the frame before: slow drift of light piles up in
    them until it counts. Those of a camera that moves are replaced at every key.
    """

    images: Mapping[str, np.ndarray] = field(default_factory=dict)  # uint8 [H, W, 3] by camera
    cameras: Mapping[str, Camera] = field(default_factory=dict)
    # working cameras that took them, of those that were not where the calibration has them
    visited: tuple[Camera, ...] = ()  # places from which those that move have seen the scene

    @classmethod
    def of(cls, frame_set: FrameSet) -> ReferenceImages:
        """All of a scene was fitted to `frame_set`."""
        return cls(dict(frame_set.images), dict(frame_set.cameras))

    def in_place(self, rig: Mapping[str, Camera]) -> dict[str, Camera]:
        """The working cameras `rig`, each where it took its image."""
        return {name: self.cameras.get(name, camera) for name, camera in rig.items()}

    def updated(self, frame_set: FrameSet, areas: Mapping[str, np.ndarray]) -> ReferenceImages:
        """After refinement against `frame_set` (prepared) in `areas` (bool [H, W] by camera).

        What changed outside the areas (one view alone does not free a Gaussian) stays as it is,
        and keeps counting. The image of a camera that had none, or that has moved, is taken as it
        is.
        """
        reference, cameras = dict(self.images), dict(self.cameras)
        for name, area in areas.items():
            image, place = frame_set.images[name], frame_set.cameras.get(name)
            before = reference.get(name, image)
            if elsewhere(cameras.get(name), place):
                before = image
                cameras.pop(name, None)
                cameras.update({} if place is None else {name: place})
            reference[name] = np.where(area[..., None], image, before)
        return ReferenceImages(reference, cameras, self.visited)
