# SPDX-License-Identifier: Apache-2.0
"""What the views of a scene know of the world: depth where picture and scene agree."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import View
from igs_ros.render.rasterizer import Rasterizer, render_view
from igs_ros.render.support import with_confidence
from igs_ros.vision.changes import difference
from igs_ros.vision.sights import Sight
from igs_ros.vision.stereo import StereoSettings, find_depth

_WRONG = 0.12  # blurred difference of rendering and picture above which a pixel is wrong
_GROWN = np.ones((5, 5), np.uint8)  # wrong areas are dilated by this
_ENOUGH = 0.001  # share of a picture that must be wrong for stereo to look at it
_STEREO = StereoSettings(pixels=160 * 120, planes=48, rounds=2, agree=0.02)


def look(scene: GaussianScene, images: Mapping[str, np.ndarray], cameras: Mapping[str, Camera],
         rasterizer: Rasterizer, threads: int = 1, known_only: bool = False) -> dict[str, Sight]:
    """The sights of all cameras that have an image.

    Where picture and scene agree, the depth is that of the scene. Where they do not (something
    came, went away, or was lost), it is that of stereo between the pictures, where other views
    confirm it, and else not known: no waiting for the key that mends the scene.

    Args:
        scene: what is shown.
        images: uint8 RGB [H, W, 3] by camera, of the frame set that `scene` shows.
        cameras: working cameras, of at least these images.
        rasterizer: draws the scene.
        threads: of stereo.
        known_only: whether depths that no second camera confirms are not known.
    """
    sights = {}
    for name, image in images.items():
        view = render_view(rasterizer, scene, cameras[name])
        picture = image.astype(np.float32) * np.float32(1 / 255)
        wrong = cv2.dilate((difference(picture, view.rgb) > _WRONG).astype(np.uint8), _GROWN)
        depth = _known_depth(view, scene, rasterizer) if known_only else view.depth
        believed, valid = np.where(wrong, np.float32(np.nan), depth), cameras[name].valid
        if valid is not None:
            wrong[~valid], believed[~valid] = 0, np.nan  # nobody knows what is there
        sights[name] = Sight(cameras[name], believed, view.depth, wrong.astype(bool))
    if sum(one.wrong.mean() > _ENOUGH for one in sights.values()) < 2:
        return sights
    maps = find_depth(images, cameras, settings=_STEREO, threads=threads,
                      points=scene.means.cpu().numpy().astype(np.float64),
                      where={name: one.wrong for name, one in sights.items()})
    return {name: _mended(one, maps[name].depth) for name, one in sights.items()}


def _known_depth(view: View, scene: GaussianScene, rasterizer: Rasterizer) -> np.ndarray:
    """[H, W] float32 m, of what is known; drawn at half size, where borders may be missed."""
    camera = view.camera
    small = camera.resized(max(1, camera.width // 2))
    coarse = replace(view, camera=small,
                     alpha=cv2.resize(view.alpha, (small.width, small.height)))
    known = with_confidence(coarse, scene, rasterizer).known_depth
    assert known is not None
    size = (camera.width, camera.height)
    found = cv2.resize(known, size, interpolation=cv2.INTER_NEAREST)
    return np.where(np.isfinite(view.depth), found, np.float32(np.nan))


def _mended(sight: Sight, stereo: np.ndarray) -> Sight:
    """The sight with depths of stereo [h, w] where the scene is wrong."""
    height, width = sight.wrong.shape
    larger = cv2.resize(stereo, (width, height), interpolation=cv2.INTER_NEAREST)
    return replace(sight, depth=np.where(sight.wrong, larger, sight.depth))
