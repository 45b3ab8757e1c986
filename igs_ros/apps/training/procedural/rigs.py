# SPDX-License-Identifier: Apache-2.0
"""Random camera rigs around the origin: an arc, a ring, or a few cameras side by side.

World z is up. Every camera has its own lens: focal length, principal point off the center.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from igs_ros.core.camera import Camera

_SIZES = ((240, 180), (320, 240), (400, 300), (480, 360))  # px
_SIZE_SHARES = (0.3, 0.4, 0.2, 0.1)


@dataclass(frozen=True, eq=False)
class Rig:
    """Cameras and what they are for."""

    kind: str  # arc, ring, few
    cameras: dict[str, Camera]
    unseen: tuple[str, ...]  # cameras that no key may be fitted to
    distance: float  # m, from the cameras to what they look at

    @property
    def pixel(self) -> float:
        """Size in m of a pixel at that distance."""
        return self.distance / float(np.median([c.K[0, 0] for c in self.cameras.values()]))


def random_rig(rng: np.random.Generator) -> Rig:
    """A rig of 4 to 12 cameras, one or two of which are kept unseen."""
    width, height = _SIZES[rng.choice(len(_SIZES), p=_SIZE_SHARES)]
    kind = ('arc', 'ring', 'few')[rng.choice(3, p=(0.45, 0.25, 0.3))]
    places, distance = {'arc': _arc, 'ring': _ring, 'few': _few}[kind](rng)
    view = rng.uniform(55, 80) if kind == 'ring' else rng.uniform(45, 75)  # degrees
    focal = width / 2 / np.tan(np.radians(view) / 2)
    cameras = {}
    for number, place in enumerate(places):
        target = rng.normal(0, 0.04 * distance, 3)
        center = np.array([width, height]) * (0.5 + rng.uniform(-0.04, 0.04, 2))
        lens = focal * rng.uniform(0.93, 1.07) * np.array([1, rng.uniform(0.99, 1.01)])
        K = np.array([[lens[0], 0, center[0]], [0, lens[1], center[1]], [0, 0, 1]])
        name = f'cam{number:02d}'
        cameras[name] = Camera(name, width, height, K, looking(place, target))
    names = list(cameras)
    if kind == 'few':
        unseen = (names[int(rng.integers(1, len(names) - 1))],)
    else:
        unseen = tuple(names[i] for i in sorted(rng.choice(len(names), 2, replace=False)))
    return Rig(kind, cameras, unseen, distance)


def looking(place: np.ndarray, target: np.ndarray) -> np.ndarray:
    """[4, 4] camera_from_world of a camera at `place` [3] m that looks at `target`, upright."""
    forward = (target - place) / np.linalg.norm(target - place)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ place
    return pose


def _arc(rng) -> tuple[np.ndarray, float]:
    count, distance = int(rng.integers(7, 13)), rng.uniform(2.0, 3.5)
    spread = np.radians(rng.uniform(20, 80))
    angle = np.linspace(-spread / 2, spread / 2, count)
    height = rng.uniform(-0.1, 0.3) + 0.12 * (np.arange(count) % 2) * rng.uniform(0.5, 2)
    places = np.stack([np.sin(angle), -np.cos(angle), height], 1) * distance
    return places + rng.normal(0, 0.02, places.shape) * distance, distance


def _ring(rng) -> tuple[np.ndarray, float]:
    count, distance = int(rng.integers(7, 11)), rng.uniform(1.8, 2.8)
    angle = (np.arange(count) + rng.uniform(-0.15, 0.15, count)) / count * 2 * np.pi
    height = rng.uniform(0.05, 0.4, count)
    return np.stack([np.sin(angle), -np.cos(angle), height], 1) * distance, distance


def _few(rng) -> tuple[np.ndarray, float]:
    count, distance = int(rng.integers(4, 6)), rng.uniform(1.0, 2.5)
    gap = distance * rng.uniform(0.06, 0.2)
    across = (np.arange(count) - (count - 1) / 2) * gap
    places = np.stack([across, np.full(count, -distance), np.full(count, 0.2 * distance)], 1)
    return places + rng.normal(0, 0.1 * gap, places.shape), distance
