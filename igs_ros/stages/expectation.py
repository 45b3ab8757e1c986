# SPDX-License-Identifier: Apache-2.0
"""What cameras that moved should see from where they are now: the one place that says so.

The pictures that a scene shows are brought to where the cameras are, through its depth
(vision/egomotion.py). Cameras that stand where they stood have the picture they had.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.render.rasterizer import Rasterizer, Rendering, render_view
from igs_ros.vision.egomotion import Expected, seen_from

_OPAQUE = 0.5  # least alpha at which the scene has a surface
_GLANCE = 120  # px, width of a glance


@dataclass(frozen=True, eq=False)
class Expectation:
    """Of pictures that one scene shows.

    scene: what was there; images: uint8 [H, W, 3] by camera, which show it; cameras: working
    cameras, where they took them; rasterizer: draws the scene's depth.
    """

    scene: GaussianScene
    images: Mapping[str, np.ndarray]
    cameras: Mapping[str, Camera]
    rasterizer: Rasterizer

    @classmethod
    def of(cls, scene: GaussianScene, frame_set: FrameSet, rig: Mapping[str, Camera],
           rasterizer: Rasterizer) -> Expectation:
        """Of the images in `frame_set`, from where their cameras stood.

        Args:
            scene: that shows the frame set.
            frame_set: prepared.
            rig: the working cameras, by name.
            rasterizer: renders the scene.
        """
        return cls(scene, frame_set.images, frame_set.in_place(rig), rasterizer)

    def moved(self, camera: Camera) -> bool:
        """Whether `camera` is elsewhere now."""
        return not camera.is_at(self.cameras[camera.name].camera_from_world)

    def expected(self, camera: Camera, drawn: Rendering | None = None) -> Expected:
        """What `camera`, of which there is an image, should see.

        drawn: the scene as `camera` sees it, with depth, where that is at hand.
        """
        return seen_from(camera, self._depth(camera, drawn), self.images[camera.name],
                         self.cameras[camera.name])

    def references(self, images: Mapping[str, np.ndarray], cameras: Mapping[str, Camera]
                   ) -> dict[str, np.ndarray]:
        """What newer `images` are to be compared with, uint8 [H, W, 3] by camera.

        cameras: where they were taken. Cameras of which there is no image here are left out.
        """
        return {name: self.expected(cameras[name]).reference(image)
                if self.moved(cameras[name]) else self.images[name]
                for name, image in images.items() if name in self.images and name in cameras}

    def _depth(self, camera: Camera, drawn: Rendering | None) -> np.ndarray:
        if drawn is None:
            with torch.no_grad():
                drawn = self.rasterizer.render(self.scene, camera)
        depth = torch.where(drawn.alpha < _OPAQUE, torch.nan, drawn.require_depth())
        return depth.detach().cpu().numpy()


def glance(scene: GaussianScene, camera: Camera, rasterizer: Rasterizer
           ) -> tuple[np.ndarray, np.ndarray]:
    """What a camera sees of the scene, small.

    Args:
        scene: that is looked at.
        camera: that looks; its picture is made smaller, never larger.
        rasterizer: renders the scene.

    Returns:
        uint8 RGB [h, w, 3], and its alpha [h, w], 0..1.
    """
    view = render_view(rasterizer, scene, camera.resized(min(_GLANCE, camera.width)))
    return (view.rgb * 255).round().astype(np.uint8), view.alpha
