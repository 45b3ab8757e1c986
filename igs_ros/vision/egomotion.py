# SPDX-License-Identifier: Apache-2.0
"""A picture as its camera would have taken it from where it is now.

Two pictures of a camera that moves differ everywhere. Through the depth of the scene, the earlier
one is brought to where the camera is now: what still differs moved or changed by itself. What the
earlier picture does not show (beyond its border, behind something) is not known, and not guessed.
"""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from igs_ros.core.camera import Camera

_HIDDEN = 0.05  # relative depth behind what is nearest there from which a pixel was hidden
_STEP = 0.15  # the same of what is nearest a pixel beside it: noise of the depth is less
_NEAR = np.ones((3, 3), np.uint8)
_REACH = 0.5  # px by which details may be off, as depths are not exact (docs/moving_rig.md)


@dataclass(frozen=True, eq=False)
class Expected:
    """What a camera should see from where it is now, if nothing else had moved."""

    before: Camera  # where it took the picture that this is made of
    camera: Camera  # where it is now
    image: np.ndarray  # uint8 [H, W, 3]
    known: np.ndarray  # bool [H, W]: that picture shows it

    def completed(self, image: np.ndarray) -> np.ndarray:
        """The expected picture, uint8 [H, W, 3]; `image`, the true one, where it is not known."""
        return np.where(self.known[..., None], self.image, image)

    def reference(self, image: np.ndarray) -> np.ndarray:
        """What `image`, the true picture, uint8 [H, W, 3], is to be compared with.

        Each pixel as near to the true one as the expected picture is within half a pixel: what is
        off by less is no change. Where nothing is known, nothing differs.
        """
        completed = self.completed(image)
        low, high = (cv2.addWeighted(completed, 1 - _REACH, extreme, _REACH, 0)
                     for extreme in (cv2.erode(completed, _NEAR), cv2.dilate(completed, _NEAR)))
        return np.clip(image, low, high)


def seen_from(camera: Camera, depth: np.ndarray, image: np.ndarray, before: Camera) -> Expected:
    """A picture as seen from where the camera is now.

    Args:
        camera: where it is now.
        depth: [H, W] m of what `camera` sees, when `image` was taken; NaN = nothing there.
        image: uint8 [H, W, 3], the picture that `before` took.
        before: the camera where it was.
    """
    x, y, far = _elsewhere(camera, depth, before)
    height, width = image.shape[:2]
    inside = (far > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    if before.valid is not None:
        inside[inside] = before.valid[y[inside].astype(np.int64), x[inside].astype(np.int64)]
    warped = cv2.remap(image, x - np.float32(0.5), y - np.float32(0.5), cv2.INTER_LINEAR,
                       borderMode=cv2.BORDER_REPLICATE)
    return Expected(before, camera, warped, inside & ~_hidden(x, y, far, inside, image.shape[:2]))


def carried(pixels: np.ndarray, points: np.ndarray, before: Camera, camera: Camera
            ) -> tuple[np.ndarray, np.ndarray]:
    """Where `camera` sees what `before` saw, and what of it is in its picture.

    Args:
        pixels: [N, 2] px, where `before` saw it.
        points: [N, 3] m, about where those things are: their depths count.
        before: the camera where it was.
        camera: where it is now.

    Returns:
        [N, 2] float32 px (unchanged where not in the picture) and [N] bool, what is in it.
    """
    depth = before.to_camera(points)[:, 2]
    moved, far = camera.project(before.unproject(pixels, depth))
    inside = (depth > 0) & (far > 0) & ((moved > 0) & (moved < (camera.width, camera.height))
                                        ).all(1)
    return np.where(inside[:, None], moved, pixels).astype(np.float32), inside


def _elsewhere(camera: Camera, depth: np.ndarray, other: Camera) -> tuple[np.ndarray, ...]:
    """Pixels x and y in `other` of what `camera` sees at `depth`, and its depth there.

    All [H, W] float32; NaN and infinity do not raise.
    """
    relative = other.camera_from_world @ camera.world_from_camera
    ways = relative[:3, :3] @ np.linalg.inv(camera.K)  # from pixels at depth 1 m
    columns, rows = (np.arange(n, dtype=np.float32) + np.float32(0.5)
                     for n in (camera.width, camera.height))
    there = [depth * (way[0] * columns + (way[1] * rows[:, None] + way[2])) + shift
             for way, shift in zip(ways.astype(np.float32), relative[:3, 3].astype(np.float32),
                                   strict=True)]
    far = np.where(np.isfinite(there[2]), there[2], np.float32(-1))
    safe = np.where(far > 0, far, np.float32(1))
    flat = [np.where(far > 0, value / safe, np.float32(-1e4)) for value in there[:2]]
    focal, middle = np.diag(other.K).astype(np.float32), other.K[:2, 2].astype(np.float32)
    return flat[0] * focal[0] + middle[0], flat[1] * focal[1] + middle[1], far


def _hidden(x: np.ndarray, y: np.ndarray, far: np.ndarray, inside: np.ndarray,
            size: tuple[int, int]) -> np.ndarray:
    """[H, W] bool: those that had something before them that is in sight now, too."""
    at = y[inside].astype(np.int64) * size[1] + x[inside].astype(np.int64)
    nearest = np.full(size[0] * size[1], np.inf, np.float32)
    np.minimum.at(nearest, at, far[inside])
    hidden = np.zeros(far.shape, bool)
    hidden[inside] = far[inside] > nearest[at] * np.float32(1 + _HIDDEN)
    # where the camera has gone back, what is near has gaps: steps of depth around hide, too
    around = cv2.erode(nearest.reshape(size), _NEAR).ravel()
    hidden[inside] |= far[inside] > around[at] * np.float32(1 + _STEP)
    return hidden
