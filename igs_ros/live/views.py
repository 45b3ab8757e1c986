# SPDX-License-Identifier: Apache-2.0
"""Views of a snapshot, drawn coarser where time is short."""
from __future__ import annotations

import cv2

from igs_ros.core.camera import Camera
from igs_ros.core.snapshot import Snapshot, View
from igs_ros.render.rasterizer import Rasterizer, render_view

_MIN_PX = 480  # width: below it, Gaussians cost more than pixels, and coarser saves nothing


def draw(rasterizer: Rasterizer, snapshot: Snapshot, camera: Camera, age_s: float,
         scale: float = 1.0) -> View:
    """What `camera` sees of `snapshot`, in its size; drawn smaller and enlarged if asked to.

    Args:
        rasterizer: draws.
        snapshot: what is drawn.
        camera: without distortion.
        age_s: of the snapshot, for the view.
        scale: share of the size to draw at, above 0 and at most 1; never less than 480 px wide,
            unless the camera is.
    """
    scene, stamp_ns = snapshot.scene, snapshot.stamp_ns
    width = max(_MIN_PX, round(scale * camera.width))
    if width >= camera.width:
        return render_view(rasterizer, scene, camera, stamp_ns, age_s)
    small = render_view(rasterizer, scene, camera.resized(width), stamp_ns, age_s)
    size = (camera.width, camera.height)
    return View(cv2.resize(small.rgb, size, interpolation=cv2.INTER_LINEAR),
                # depths of two surfaces, or NaN, must not be mixed
                cv2.resize(small.depth, size, interpolation=cv2.INTER_NEAREST),
                cv2.resize(small.alpha, size, interpolation=cv2.INTER_LINEAR),
                camera, stamp_ns, age_s)
