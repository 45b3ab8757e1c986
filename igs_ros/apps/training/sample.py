# SPDX-License-Identifier: Apache-2.0
"""What a motion network learns from: a key scene, its pictures, and pictures of later frames."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene
from igs_ros.render.exposure import Exposure

Pictures = Mapping[str, np.ndarray]  # [H, W, 3] uint8 sRGB by camera, of the camera's size


@dataclass(frozen=True, eq=False)
class Sample:
    """One example: the key moved to each target should look like the target.

    Raises:
        AssertionError: parts do not fit together (sources check their files).
    """

    name: str  # says where it comes from; a loss that is NaN is reported with it
    key_scene: GaussianScene  # on the CPU
    cameras: Mapping[str, Camera]  # undistorted, of all views below; any size and intrinsics
    key_images: Pictures  # at least the input views
    target_images: tuple[Pictures, ...]  # in time order; input and loss views of each
    input_views: tuple[str, ...]  # given to the network
    loss_views: tuple[str, ...]  # drawn and compared; may contain input views
    box: np.ndarray | None = None  # [2, 3] m, world: what may move; None = not known
    displacements: np.ndarray | None = None  # [T, N, 3] float32 m, true; None = not known
    # [2, 3] float32 gain and offset by channel: what a camera makes of the key's colors; one
    # that is not named records them as they are (igs_ros.render.exposure)
    exposures: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        views = {*self.input_views, *self.loss_views}
        assert self.input_views and self.loss_views and self.target_images, self.name
        assert views <= self.cameras.keys(), (self.name, views)
        assert set(self.input_views) <= self.key_images.keys(), self.name
        assert all(views <= pictures.keys() for pictures in self.target_images), self.name
        for pictures in (self.key_images, *self.target_images):
            for view, picture in pictures.items():
                camera = self.cameras[view]
                assert picture.dtype == np.uint8, (self.name, view, picture.dtype)
                assert picture.shape == (camera.height, camera.width, 3), (self.name, view)
        assert self.displacements is None or self.displacements.shape == (
            len(self.target_images), len(self.key_scene), 3), self.name
        assert all(value.shape == (2, 3) for value in self.exposures.values()), self.name

    def exposed(self, view: str, rgb: torch.Tensor) -> torch.Tensor:
        """What the camera `view` would record of its rendering [H, W, 3]; differentiable."""
        if view not in self.exposures:
            return rgb
        return Exposure(*torch.from_numpy(self.exposures[view]).to(rgb)).apply(rgb)


class SampleSource(Protocol):
    """An endless, seeded row of samples; several threads may ask at once."""

    @property
    def len_hint(self) -> int | None:
        """Samples of one pass over all there is; None = no end."""
        ...

    def sample(self, number: int) -> Sample:
        """Sample `number`, 0 and up: the same for the same number, whatever was asked before."""
        ...
