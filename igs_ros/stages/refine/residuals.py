# SPDX-License-Identifier: Apache-2.0
"""A scene and the pictures it should show, side by side, in every view."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene
from igs_ros.render.gather import gathered
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.stages.expectation import Expectation
from igs_ros.stages.refine.reference import ReferenceImages
from igs_ros.vision.changes import CHANGE, difference, grown
from igs_ros.vision.visibility import Visibility

WRONG = 0.12  # blurred difference of rendering and picture above which a pixel is wrong


@dataclass(frozen=True, eq=False)
class ViewResidual:
    """One view of a scene with N Gaussians; maps are [H, W]."""

    camera: Camera
    image: np.ndarray  # uint8 [H, W, 3], what the scene should show
    visibility: Visibility  # where the Gaussians are
    wrong: np.ndarray  # bool: the rendering is far from the picture
    weight: np.ndarray  # [N] float32: blending weight of each Gaussian, summed over the pixels
    change: np.ndarray  # float32 0..1, blurred difference to what was fitted; 0 = unknown
    changed: np.ndarray | None  # bool: the picture is not what was fitted; None = unknown
    moved: bool = False  # the camera is not where it was when that was fitted


@torch.no_grad()
def compare_views(scene: GaussianScene, images: Mapping[str, np.ndarray],
                  cameras: Mapping[str, Camera], rasterizer: Rasterizer,
                  reference: ReferenceImages, rig: Mapping[str, Camera] | None = None,
                  ) -> dict[str, ViewResidual]:
    """All views that have a picture; `scene` is rendered in each.

    In those that moved since the reference, what they see for the first time has changed, and so
    has what is wrong: it may have been first seen, and not be fitted, before.

    Args:
        scene: N Gaussians.
        images: [H, W, 3] uint8 RGB by camera: what the scene should show.
        cameras: working cameras where they are now, at least those of `images`.
        rasterizer: draws.
        reference: what the scene was fitted to, where it is known.
        rig: the working cameras where the calibration has them; None: where they are now.
    """
    residuals, before = {}, reference.in_place(rig or cameras)
    fitted = Expectation(scene, reference.images, before, rasterizer)
    for name, image in images.items():
        camera = cameras[name]
        wrong, weight = _compared(scene, camera, image, rasterizer)
        change, changed = np.zeros(image.shape[:2], np.float32), None
        moved = name in reference.images and fitted.moved(camera)
        if moved:
            expected = fitted.expected(camera)
            change = difference(image, expected.reference(image))
            changed = grown(change > CHANGE) | wrong | ~expected.known
        elif name in reference.images:
            change = difference(image, reference.images[name])
            changed = grown(change > CHANGE)
        if camera.valid is not None:
            wrong &= camera.valid
            change = np.where(camera.valid, change, np.float32(0))
            changed = None if changed is None else changed & camera.valid
        residuals[name] = ViewResidual(camera, image, Visibility.of(scene, camera), wrong, weight,
                                       change, changed, moved)
    return residuals


def _compared(scene, camera: Camera, image: np.ndarray, rasterizer
              ) -> tuple[np.ndarray, np.ndarray]:
    """`wrong` and `weight` of a view, of one picture.

    A smaller one would be cheaper, but wrong along the edges of what stands still.
    """
    found = {}

    def compare(drawn: np.ndarray) -> np.ndarray:
        picture = image.astype(np.float32) * np.float32(1 / 255)
        found['wrong'] = difference(picture, drawn.clip(0, 1)) > WRONG
        return np.ones((*drawn.shape[:2], 4), np.float32)
    weight = gathered(rasterizer, scene, camera, compare)[:, 3]
    return found['wrong'], weight
