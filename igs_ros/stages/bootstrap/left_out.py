# SPDX-License-Identifier: Apache-2.0
"""A short first scene without one of the cameras, scored by what that one saw.

The PSNR of views that train says how well they are fitted, and nothing about what lies between
them; this says it, in a few seconds, for a recording that holds no camera out as well.
"""
from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.config import Config
from igs_ros.core.errors import InputError
from igs_ros.core.frames import FrameSet
from igs_ros.core.points import Points
from igs_ros.core.timing import spending
from igs_ros.render.rasterizer import Rasterizer, render_view
from igs_ros.stages.bootstrap.first_scene import METHODS, first_scene
from igs_ros.vision.metrics import fitted, psnr

log = logging.getLogger(__name__)
_PIXELS = 200 * 150  # of the pictures, at most
_GAUSSIANS, _ITERATIONS = 6000, 250  # at most
_LEAST_CAMERAS = 3  # two must stay: one alone knows no depth


@dataclass(frozen=True)
class LeftOut:
    """How well the others predict one camera."""

    camera: str
    psnr: float  # dB
    psnr_fitted: float  # dB, in the exposure that fits best
    cpu_s: float


@dataclass(frozen=True, eq=False)
class _SmallDepth:
    """A depth picture of a smaller camera."""

    depth: np.ndarray

    def decode(self) -> np.ndarray:
        """[h, w] m."""
        return self.depth


def left_out_score(frame_set: FrameSet, cameras: Mapping[str, Camera], points: Points | None,
                   rasterizer: Rasterizer, config: Config) -> LeftOut | None:
    """The score of the camera in the middle of the rig; None where none can be spared.

    The same input and seed give the same score.

    Args:
        frame_set: prepared; what the first scene shows.
        cameras: working cameras that train, where they are.
        points: sparse points, if there are some.
        rasterizer: draws.
        config: those of the first scene, which is made smaller and shorter here.
    """
    names = [name for name in cameras if name in frame_set.images]
    if len(names) < _LEAST_CAMERAS or config.bootstrap.method not in METHODS:
        return None
    small = {name: _small(cameras[name]) for name in names}
    images = {name: cv2.resize(frame_set.images[name], (camera.width, camera.height),
                               interpolation=cv2.INTER_AREA) for name, camera in small.items()}
    without = _middle(small)
    others = {name: camera for name, camera in small.items() if name != without}
    shown = replace(frame_set, images={name: images[name] for name in others}, cameras={},
                    depths=_depths(frame_set, others))
    short = replace(config, max_gaussians=min(config.max_gaussians, _GAUSSIANS),
                    bootstrap=replace(config.bootstrap, seconds=0.0, iterations=min(
                        config.bootstrap.iterations, _ITERATIONS)))
    with spending() as spent:
        try:
            made = first_scene(config.bootstrap.method, shown, others, points, rasterizer, short)
        except InputError as error:
            log.warning("without camera '%s' no scene can be made to score it: %s", without, error)
            return None
        seen = render_view(rasterizer, made.scene, small[without]).rgb
    truth = images[without]
    return LeftOut(without, psnr(truth, seen), psnr(truth, fitted(truth, seen)), spent().cpu_s)


def _small(camera: Camera) -> Camera:
    shrink = np.sqrt(_PIXELS / (camera.width * camera.height))
    return camera.resized(max(8, min(camera.width, round(camera.width * shrink))))


def _middle(cameras: Mapping[str, Camera]) -> str:
    """The camera that is nearest to all others together."""
    centers = np.array([camera.center for camera in cameras.values()])
    apart = np.sort(np.linalg.norm(centers[:, None] - centers, axis=2), axis=1)
    return list(cameras)[int(np.argmin(apart.sum(1)))]


def _depths(frame_set: FrameSet, cameras: Mapping[str, Camera]) -> dict:
    found = {}
    for name, camera in cameras.items():
        if name in frame_set.depths:
            found[name] = _SmallDepth(cv2.resize(
                frame_set.depths[name].decode(), (camera.width, camera.height),
                interpolation=cv2.INTER_NEAREST))
    return found
