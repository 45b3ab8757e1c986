# SPDX-License-Identifier: Apache-2.0
"""What a key scene was fitted to: the memory that the next refinement judges change by."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from igs_ros.core.frames import FrameSet
from igs_ros.render.optimize import Moments


@dataclass(frozen=True, eq=False)
class Fitted:
    """The pictures that a key was last fitted to, pixel by pixel.

    Change is judged against these, not against the frame before: slow drift of light piles up in
    them until it counts.
    """

    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)  # uint8 [H, W, 3] by camera
    moments: Moments | None = None  # of the key's rows, if they are kept from key to key

    @classmethod
    def to(cls, frame_set: FrameSet) -> Fitted:
        """All of a scene was fitted to `frame_set` (prepared)."""
        return cls(dict(frame_set.images))

    def refitted(self, images: Mapping[str, np.ndarray], areas: Mapping[str, np.ndarray],
                 moments: Moments | None) -> Fitted:
        """After refinement against `images` (uint8 [H, W, 3]) in `areas` (bool [H, W]).

        What changed outside the areas (one view alone does not free a Gaussian) stays as it is,
        and keeps counting. The picture of a camera that had none is taken as it is.
        """
        pictures = dict(self.pictures)
        for name, image in images.items():
            before = pictures.get(name, image)
            pictures[name] = np.where(areas[name][..., None], image, before)
        return Fitted(pictures, moments)
