# SPDX-License-Identifier: Apache-2.0
"""What stereo says to the optimization of the first scene, where few cameras see a surface.

Few pictures can be drawn by Gaussians at wrong depths, which look wrong from anywhere else. Two
things hold them back: the drawn depth is compared with that of stereo, and views between the
cameras are compared with a picture warped there. Where many cameras see everything, their
pictures know better than stereo, so the weight of both goes down to nothing.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from igs_ros.core.camera import Camera, pixel_grid
from igs_ros.render.rasterizer import Rendering
from igs_ros.vision.stereo import DepthMap
from igs_ros.vision.warp import splat

FULL_BELOW, NONE_ABOVE = 2.0, 4.0  # mean number of cameras that confirm a pixel
_DEPTH, _VIEW = 0.1, 0.5  # weights of the two losses
_GUESSED = 0.1  # weight of a pixel whose depth is guessed, confirmed ones have 1
VIEWS = 24  # between the cameras
_NEIGHBORS = 4  # cameras whose surfaces may hide something in a view between
_SAME = 0.02  # relative difference of depth within which a pixel is what a camera sees
_STEEP = 0.05  # relative step of depth per px beyond which a surface is an edge


@dataclass(frozen=True, eq=False)
class View:
    """A picture between the cameras."""

    camera: Camera
    source: str  # the camera whose colors these are
    rgb: torch.Tensor  # [h, w, 3] 0..1
    weight: torch.Tensor  # [h, w, 1] 0..1

    def loss(self, drawn: torch.Tensor) -> torch.Tensor:
        """Weighted mean absolute difference; SSIM would ask for detail that warping blurs."""
        return (self.weight * (drawn - self.rgb).abs()).mean()


@dataclass(frozen=True, eq=False)
class Guide:
    """Depths and views to keep to, both on the device of the pictures."""

    depths: Mapping[str, tuple[torch.Tensor, torch.Tensor]]  # 1 / depth and weight, [h, w] each
    views: tuple[View, ...]
    unit: float  # typical depth, world units
    strength: float  # 0..1

    @classmethod
    def of(cls, images: Mapping[str, np.ndarray], maps: Mapping[str, DepthMap],
           guessed: Mapping[str, DepthMap], *, seed: int, device: torch.device) -> Guide | None:
        """None where many cameras confirm what there is, or nothing is known.

        Args:
            images: [H, W, 3] uint8 RGB by camera.
            maps: what is known of their depth.
            guessed: depth between.
            seed: fixes where the views between are.
            device: of the pictures that are drawn.
        """
        known = {name: one for name, one in maps.items() if np.isfinite(one.depth).any()}
        strength = _strength(list(maps.values()))
        if strength <= 0 or not known:
            return None
        full = {name: np.where(np.isfinite(one.depth), one.depth, guessed[name].depth)
                for name, one in known.items()}
        depths = {}
        for name, one in known.items():
            weight = np.where(np.isfinite(one.depth), 1, _GUESSED)
            weight[~np.isfinite(full[name])] = 0
            inverse = 1 / np.where(weight > 0, full[name], 1)
            depths[name] = tuple(torch.from_numpy(a.astype(np.float32)).to(device)
                                 for a in (inverse, weight))
        unit = float(np.median(np.concatenate([one.depth[np.isfinite(one.depth)]
                                               for one in known.values()])))
        views = _views(images, known, full, seed, device) if len(known) > 1 else ()
        return cls(depths, views, unit, strength)

    def depth_of(self, name: str) -> Callable[[Rendering], torch.Tensor] | None:
        """The loss of a training view; None where nothing is known of its depth."""
        return partial(self.depth_loss, name) if name in self.depths else None

    def depth_loss(self, name: str, drawn: Rendering) -> torch.Tensor:
        """Of a training view that was drawn with depth, in relative inverse depth."""
        inverse, weight = _sized(self.depths[name], drawn.alpha.shape)
        depth = drawn.require_depth().clamp_min(0.05 * self.unit)
        error = ((1 / depth - inverse) * self.unit).abs()
        return self.strength * _DEPTH * (weight * drawn.alpha.detach() * error).mean()

    def view_loss(self, view: View, drawn: torch.Tensor) -> torch.Tensor:
        """Of a view between, drawn as its source would expose it."""
        return self.strength * _VIEW * view.loss(drawn)


def _strength(maps: list[DepthMap]) -> float:
    """1 where few cameras confirm each pixel, 0 where many do."""
    mean = float(np.mean([one.views.mean() for one in maps]))
    return float(np.clip((NONE_ABOVE - mean) / (NONE_ABOVE - FULL_BELOW), 0, 1))


def _sized(pair, shape) -> list[torch.Tensor]:
    return [torch.nn.functional.interpolate(t[None, None], size=tuple(shape), mode='nearest')[0, 0]
            for t in pair]


def _views(images, known, full, seed, device) -> tuple[View, ...]:
    """Random views between two or three cameras, each in the colors of the nearest."""
    rng, names, views = np.random.default_rng(seed), list(known), []
    points = {name: _points(full[name], one.camera) for name, one in known.items()}
    for _ in range(VIEWS):
        chosen = rng.choice(len(names), min(len(names), int(rng.integers(2, 4))), replace=False)
        shares = np.sort(rng.dirichlet(np.full(len(chosen), 3.0)))[::-1]
        between = [names[index] for index in chosen]
        camera = _between([known[name].camera for name in between], shares)
        at = camera.center
        near = sorted(names, key=lambda name: float(
            np.linalg.norm(known[name].camera.center - at)))[:_NEIGHBORS]
        surface = _surface([points[name] for name in near], camera.resized(
            min(images[between[0]].shape[1], 2 * camera.width)))
        views.append(_warped(between[0], *surface, images, known, full, device))
    return tuple(views)


def _between(cameras: list[Camera], shares: np.ndarray) -> Camera:
    """The first camera, moved and turned to the weighted mean of all."""
    turns = Rotation.from_matrix(np.stack([c.world_from_camera[:3, :3] for c in cameras]))
    pose = np.eye(4)
    pose[:3, :3] = turns.mean(shares).as_matrix().T
    pose[:3, 3] = -pose[:3, :3] @ sum(s * c.center for s, c in zip(shares, cameras, strict=True))
    return cameras[0].placed(pose)


def _surface(points: list[np.ndarray], target: Camera) -> tuple[Camera, np.ndarray]:
    """`target`, and the nearest depth [h, w] that it has of points [P, 3]; inf where none."""
    surface = np.full((target.height, target.width), np.inf, np.float32)
    for part in points:
        splat(part, target.K, target.camera_from_world, surface)
    return target, surface


def _warped(source, target, surface, images, known, full, device) -> View:
    """What `source` sees, from `target`: only where it sees the surface that `target` does."""
    image = images[source]
    seen = np.isfinite(surface)
    points = target.unproject(pixel_grid(target)[seen], surface[seen].astype(np.float64))
    small = known[source].camera
    pixels, depth = small.project(points)
    inside = (depth > 0) & (pixels >= 0).all(1) & (pixels < (small.width, small.height)).all(1)
    column, row = np.where(inside[:, None], pixels, 0).astype(int).T
    agreed = inside & (np.abs(full[source][row, column] - depth) < _SAME * depth)
    weight = np.zeros(surface.shape, np.float32)
    trusted = np.isfinite(known[source].depth)[row, column]
    weight[seen] = agreed * np.where(trusted, 1, _GUESSED)
    at = np.zeros((*surface.shape, 2), np.float32)
    at[seen] = pixels * (image.shape[1] / small.width) - 0.5
    rgb = cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_CUBIC,
                    borderMode=cv2.BORDER_REPLICATE).astype(np.float32) / 255
    return View(target, source, torch.from_numpy(rgb).to(device),
                torch.from_numpy(weight[..., None]).to(device))


def _points(depth: np.ndarray, camera: Camera) -> np.ndarray:
    """World points [P, 3] of a depth map without its edges, dense enough to leave no cracks."""
    twice = camera.resized(2 * camera.width)
    larger = cv2.resize(depth, (twice.width, twice.height), interpolation=cv2.INTER_LINEAR)
    far = cv2.dilate(np.nan_to_num(larger), np.ones((3, 3), np.uint8))
    near = cv2.erode(np.nan_to_num(larger), np.ones((3, 3), np.uint8))
    good = np.isfinite(larger) & (far - near < _STEEP * near)
    return twice.unproject(pixel_grid(twice)[good], larger[good].astype(np.float64))
