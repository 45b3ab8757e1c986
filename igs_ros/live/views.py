# SPDX-License-Identifier: Apache-2.0
"""Views of a snapshot, drawn coarser where time is short."""
from __future__ import annotations

from dataclasses import replace

import cv2

from igs_ros.core.camera import Camera
from igs_ros.core.snapshot import Snapshot, View
from igs_ros.render.rasterizer import Rasterizer, render_view
from igs_ros.render.support import with_confidence

_MIN_PX = 480  # width: below it, Gaussians cost more than pixels, and coarser saves nothing


def draw(rasterizer: Rasterizer, snapshot: Snapshot, camera: Camera, age_s: float,
         scale: float = 1.0, confidence: bool = False) -> View:
    """What `camera` sees of `snapshot`, in its size; drawn smaller and enlarged if asked to.

    Args:
        rasterizer: draws.
        snapshot: what is drawn.
        camera: without distortion.
        age_s: of the snapshot, for the view.
        scale: share of the size to draw at, above 0 and at most 1; never less than 480 px wide,
            unless the camera is.
        confidence: whether the view is to have one, which costs as much again.
    """
    scene, stamp_ns = snapshot.scene, snapshot.stamp_ns
    width = max(_MIN_PX, round(scale * camera.width))
    drawn = camera if width >= camera.width else camera.resized(width)
    view = render_view(rasterizer, scene, drawn, stamp_ns, age_s)
    if confidence:
        view = with_confidence(view, scene, rasterizer)
    return view if drawn is camera else _enlarged(view, camera)


def _enlarged(small: View, camera: Camera) -> View:
    def resized(picture, how):
        size = (camera.width, camera.height)
        return None if picture is None else cv2.resize(picture, size, interpolation=how)
    # depths of two surfaces, or NaN, must not be mixed
    smooth, sharp = cv2.INTER_LINEAR, cv2.INTER_NEAREST
    return replace(small, camera=camera, rgb=resized(small.rgb, smooth),
                   depth=resized(small.depth, sharp), alpha=resized(small.alpha, smooth),
                   confidence=resized(small.confidence, smooth),
                   known_depth=resized(small.known_depth, sharp))
