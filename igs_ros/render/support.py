# SPDX-License-Identifier: Apache-2.0
"""What the pictures of the rig know of a scene: of each Gaussian, and of what a view shows."""
from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.frames import FrameSet
from igs_ros.core.logs import log_once
from igs_ros.core.scene import LEAST_SUPPORT, SH_C0, GaussianScene
from igs_ros.core.snapshot import View
from igs_ros.render.gather import gathered
from igs_ros.render.rasterizer import Rasterizer, render_view
from igs_ros.vision.support import witnesses
from igs_ros.vision.visibility import Visibility

log = logging.getLogger(__name__)
_PIXELS = 240 * 180  # of the pictures that are compared, at most
_SHARE = 0.4  # of what a Gaussian adds to the pictures must lie on what is confirmed,
_NEAR = 0.05  # at a depth that is relatively so near to the one that is drawn
KNOWN = 0.5
"""Least confidence, 0..1, of a pixel whose depth is known."""


@dataclass(frozen=True, eq=False)
class Supported:
    """A scene whose Gaussians carry their support."""

    scene: GaussianScene
    confirmed: Mapping[str, float]  # share of the pixels of each camera, 0..1

    @property
    def share(self) -> float:
        """The mean over the cameras; 0 without any."""
        return float(np.mean(list(self.confirmed.values()))) if self.confirmed else 0.0


def supported(scene: GaussianScene, frame_set: FrameSet, cameras: Mapping[str, Camera],
              rasterizer: Rasterizer) -> Supported:
    """`scene` with the number of witnesses of each Gaussian (`vision.support`).

    What a Gaussian had before stays where it is more: what nothing has changed since, and was
    confirmed then, still is.

    Args:
        scene: on the device of the rasterizer; maybe with support already.
        frame_set: prepared; what the scene shows.
        cameras: working cameras, where they are, of at least these pictures.
        rasterizer: draws.
    """
    small = {name: _small(cameras[name]) for name in sorted(frame_set.images) if name in cameras}
    depths = {name: _depth(scene, camera, rasterizer) for name, camera in small.items()}
    images = {name: cv2.resize(frame_set.images[name], (camera.width, camera.height),
                               interpolation=cv2.INTER_AREA) for name, camera in small.items()}
    count = witnesses(depths, images, small, _measured(frame_set, small))
    sums = np.zeros((len(scene), 4))
    for name, camera in small.items():
        values = np.zeros((*count[name].shape, 4), np.float32)
        values[..., 0], values[..., 1], values[..., 3] = count[name] > 0, count[name], 1
        added = gathered(rasterizer, scene, camera, lambda _, values=values: values)
        found = Visibility.of_points(scene.means.detach().cpu().numpy(), camera)
        away = np.abs(depths[name][found.rows, found.columns] - found.depth)
        added[found.seen & ~(away < _NEAR * found.depth), :3] = 0  # behind it, or before it
        sums += added
    on_confirmed, counted, _, everywhere = sums.T
    mean = counted / np.maximum(on_confirmed, 1e-9)
    found = np.where(on_confirmed > _SHARE * everywhere, np.rint(mean).clip(LEAST_SUPPORT, 255), 0)
    support = torch.from_numpy(found.astype(np.uint8)).to(scene.device)
    if scene.support is not None:
        support = torch.maximum(support, scene.support)
    return Supported(scene.replaced(support=support),
                     {name: _share_of(one > 0, small[name]) for name, one in count.items()})


def _depth(scene: GaussianScene, camera: Camera, rasterizer: Rasterizer) -> np.ndarray:
    """[h, w] float32 m, NaN = nothing there, or no picture of it."""
    depth = render_view(rasterizer, scene, camera).depth
    return depth if camera.valid is None else np.where(camera.valid, depth, np.float32(np.nan))


def _share_of(known: np.ndarray, camera: Camera) -> float:
    there = known if camera.valid is None else known[camera.valid]
    return float(there.mean()) if there.size else 0.0


def _measured(frame_set: FrameSet, cameras: Mapping[str, Camera]) -> dict[str, np.ndarray]:
    """The depth pictures, [h, w] m at the size of their cameras."""
    found = {}
    for name in frame_set.depths.keys() & cameras.keys():
        try:
            depth = frame_set.depths[name].decode()
        except InputError as error:
            log_once(log, logging.WARNING, f'depth of {name}: {error} It confirms nothing.')
            continue
        found[name] = cv2.resize(depth, (cameras[name].width, cameras[name].height),
                                 interpolation=cv2.INTER_NEAREST)
    return found


def _small(camera: Camera) -> Camera:
    shrink = np.sqrt(_PIXELS / (camera.width * camera.height))
    return camera.resized(max(1, min(camera.width, round(camera.width * shrink))))


@torch.no_grad()
def with_confidence(view: View, scene: GaussianScene, rasterizer: Rasterizer) -> View:
    """`view` with the confidence of its pixels, and the depth of what is known there.

    The confidence is the share of what is drawn that comes from Gaussians with support; their
    depth alone counts where it is at least `KNOWN`: what is invented before or behind them must
    not move it.

    Args:
        view: of `scene`, whose Gaussians may carry support (without, nothing is known).
        scene: on the device of the rasterizer.
        rasterizer: draws.
    """
    nothing = np.zeros(view.alpha.shape, np.float32)
    known = scene.known.float()
    if not bool(known.any()):
        return replace(view, confidence=nothing, known_depth=np.full_like(nothing, np.nan))
    pose = torch.tensor(view.camera.camera_from_world[2].tolist(), device=scene.device)
    z = scene.means @ pose[:3] + pose[3]
    farthest = z.max().clamp_min(1e-9)
    # colors are 0.5 + SH, and not below 0: the share of the known, and the same by their depth
    values = torch.stack([known, known * (z / farthest).clamp_min(0), torch.zeros_like(z)], 1)
    coded = scene.replaced(sh=((values - 0.5) / SH_C0)[:, None])
    drawn = rasterizer.render(coded, view.camera, depth=False)
    share, depth, _ = drawn.rgb.unbind(-1)
    confidence = (share / drawn.alpha.clamp_min(1e-6)).clamp(0, 1)
    confidence = torch.where(drawn.alpha < 0.5, torch.zeros_like(confidence), confidence)
    mean = torch.where(confidence >= KNOWN, depth / share.clamp_min(1e-6) * farthest, torch.nan)
    return replace(view, confidence=confidence.cpu().numpy(), known_depth=mean.cpu().numpy())
