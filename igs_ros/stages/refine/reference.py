# SPDX-License-Identifier: Apache-2.0
"""What a key scene was fitted to: the memory that the next refinement judges change by."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from igs_ros.core.frames import FrameSet


@dataclass(frozen=True, eq=False)
class ReferenceImages:
    """The images that a key was last fitted to, pixel by pixel.

    Change is judged against these, not against the frame before: slow drift of light piles up in
    them until it counts.
    """

    images: Mapping[str, np.ndarray] = field(default_factory=dict)  # uint8 [H, W, 3] by camera

    @classmethod
    def of(cls, frame_set: FrameSet) -> ReferenceImages:
        """All of a scene was fitted to `frame_set`."""
        return cls(dict(frame_set.images))

    def updated(self, images: Mapping[str, np.ndarray], areas: Mapping[str, np.ndarray]
                ) -> ReferenceImages:
        """After refinement against `images` (uint8 [H, W, 3]) in `areas` (bool [H, W]).

        What changed outside the areas (one view alone does not free a Gaussian) stays as it is,
        and keeps counting. The image of a camera that had none is taken as it is.
        """
        reference = dict(self.images)
        for name, image in images.items():
            before = reference.get(name, image)
            reference[name] = np.where(areas[name][..., None], image, before)
        return ReferenceImages(reference)
