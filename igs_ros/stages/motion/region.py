# SPDX-License-Identifier: Apache-2.0
"""The dynamic region: who may move at all, and among whom anchors are picked.

The paper's region is an axis-aligned box, made by hand, from a `bbox.json`
(reference/igs_reference.md 5). `ChangedRegion` finds it in the pictures: Gaussians that several
views see change, grown a little; anchors are picked in the box around them, as the published
network had some on what stands still, too.
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError, shown
from igs_ros.core.files import read_json
from igs_ros.core.scene import GaussianScene
from igs_ros.render.rasterizer import Rasterizer, render_view
from igs_ros.vision.changes import changed_pixels
from igs_ros.vision.neighbors import knn
from igs_ros.vision.visibility import Visibility, agreed

AUTO = 'auto'  # as a text: the region follows from the data
_ALL = 'all'  # as a text: no box, everything may move
_EXPECTED = (f"expected {AUTO}, {_ALL}, six numbers 'xmin ymin zmin xmax ymax zmax' (m, world), a "
             f'bbox.json, or bbox.json:SCENE')
_REACH = 1.0  # times their usual distance: how far the region goes beyond what changed
_NEIGHBORS = 8  # that tell the usual distance, and whether a Gaussian changed on its own
_NEWS = 0.02  # share of the region by which it must grow, or anchors would be new all the time


class Region(Protocol):
    """The region of one key."""

    rows: np.ndarray  # [M] int64 ascending: Gaussians of the key that may move
    around: np.ndarray  # [L] int64 ascending, M of them in `rows`: anchors are picked among these

    def update(self, images: Mapping[str, np.ndarray]) -> bool:
        """Look at the pictures of a newer frame set; True when the region has grown."""
        ...


class BoxRegion:
    """All Gaussians [N, 3] (m, world) in a box, or all where there is none."""

    def __init__(self, points: np.ndarray, box: np.ndarray | None):
        self.rows = self.around = in_box(points, box)

    def update(self, images: Mapping[str, np.ndarray]) -> bool:
        """False: a box stays what it is."""
        return False


class ChangedRegion:
    """What the pictures show to have changed since the key; it only grows.

    Args:
        scene: the key.
        images: [H, W, 3] uint8 by camera, its pictures.
        cameras: of those that are asked, in their working size.
        rasterizer: draws the key's depth, so that hidden Gaussians do not vote.
    """

    def __init__(self, scene: GaussianScene, images: Mapping[str, np.ndarray],
                 cameras: Mapping[str, Camera], rasterizer: Rasterizer):
        self.rows = self.around = np.zeros(0, np.int64)
        self._scene = scene
        self._images = {name: images[name] for name in cameras if name in images}
        self._cameras = cameras
        self._rasterizer = rasterizer
        # by camera: with what hides them, and merely in the picture
        self._visible: dict[str, tuple[Visibility, Visibility]] = {}
        self._mask = np.zeros(len(scene), bool)

    def update(self, images: Mapping[str, np.ndarray]) -> bool:
        """Add what changed between the key and `images`; True when the region has grown.

        Where nothing changed it is empty. A few more Gaussians do not count as growth.
        """
        points = self._scene.means.detach().cpu().numpy()
        changed = in_company(points, self._changed(images))
        news = np.count_nonzero(changed & ~self._mask)
        if news <= _NEWS * np.count_nonzero(self._mask):
            return False
        self._mask |= grown(points, changed)
        self.rows = np.flatnonzero(self._mask)
        inside = points[self.rows]
        self.around = in_box(points, np.stack([inside.min(0), inside.max(0)]))
        return True

    def _changed(self, images: Mapping[str, np.ndarray]) -> np.ndarray:
        masks = {name: _filled(changed_pixels(images[name], image))
                 for name, image in self._images.items() if name in images}
        if not any(mask.any() for mask in masks.values()):
            return np.zeros(len(self._scene), bool)
        for name in masks.keys() - self._visible.keys():
            self._look(name)
        seen = {name: self._visible[name][0] for name in masks}
        there = {name: self._visible[name][1] for name in masks}
        hidden = ~np.any([visibility.seen for visibility in seen.values()], 0)
        # backs and insides, which no view sees, go with what hides them from all views
        return agreed(masks, seen) | (hidden & agreed(masks, there, 1.0))

    def _look(self, name: str) -> None:
        camera = self._cameras[name]
        depth = render_view(self._rasterizer, self._scene, camera).depth
        self._visible[name] = (Visibility.of(self._scene, camera, depth),
                               Visibility.of(self._scene, camera))


def in_company(points: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[N] bool: those of `mask` of whose nearest neighbors at least half are in it, too.

    What changed on its own was seen by chance, in front of what did move.

    Args:
        points: [N, 3] m.
        mask: [N] bool.
    """
    result = mask.copy()
    _, indices = knn(points[mask], points, _NEIGHBORS + 1)
    result[mask] = mask[indices[:, 1:]].mean(1) >= 0.5 if indices.shape[1] > 1 else True
    return result


def grown(points: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[N] bool: `mask` and those that are close to it.

    Close is the usual distance of the marked ones to their neighbors: what is hidden just below a
    surface belongs to it, and centers lie off edges.

    Args:
        points: [N, 3] m.
        mask: [N] bool.
    """
    marked = points[mask]
    if len(marked) < 2:
        return mask.copy()
    reach = _REACH * np.median(knn(marked, marked, _NEIGHBORS + 1)[0][:, 1:])
    box = np.stack([marked.min(0) - reach, marked.max(0) + reach])
    near = np.setdiff1d(in_box(points, box), np.flatnonzero(mask), assume_unique=True)
    distances, _ = knn(points[near], marked, 1)
    result = mask.copy()
    result[near[distances[:, 0] <= reach]] = True
    return result


def _filled(mask: np.ndarray) -> np.ndarray:
    """`mask` [H, W] bool without holes: what moves is often plain inside its outline."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL,
                                   cv2.CHAIN_APPROX_SIMPLE)
    return cv2.drawContours(np.zeros(mask.shape, np.uint8), outlines, -1, 1, cv2.FILLED) > 0


def follows_data(text: str) -> bool:
    """Whether an option asks for a region from the data: 'auto' or nothing at all."""
    return text.strip() in ('', AUTO)


def read_box(text: str) -> np.ndarray | None:
    """The box [2, 3] float64 (least, greatest corner; m, world) that an option names.

    Args:
        text: six numbers, the path of a JSON file with [[min], [max]] or {scene: [[min], [max]]},
            PATH:SCENE where it holds several, or 'all', which is no box: None.

    Raises:
        InputError: it is none of these, or the file cannot be read.
    """
    if text.strip() == _ALL:
        return None
    try:
        numbers = [float(word) for word in text.replace(',', ' ').split()]
    except ValueError:
        return _checked(_from_file(text), text)
    return _checked([numbers[:3], numbers[3:]], text)


def in_box(points: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """[M] int64 ascending: the points [N, 3] in `box`, its faces included; all without a box."""
    if box is None:
        return np.arange(len(points))
    return np.flatnonzero(((points >= box[0]) & (points <= box[1])).all(1))


def _from_file(text: str):
    path, scene = Path(text), ''
    if not path.is_file() and ':' in text:
        name, _, scene = text.rpartition(':')
        path = Path(name)
    if not path.is_file():
        raise InputError(f"bbox '{text}': there is no file '{path}'; {_EXPECTED}.")
    content = read_json(path, '{"scene": [[xmin, ymin, zmin], [xmax, ymax, zmax]]}')
    if not isinstance(content, dict):
        return content
    if not scene and len(content) == 1:
        return next(iter(content.values()))
    if scene not in content:
        came = f'no scene {shown(scene)}' if scene else f'{len(content)} scenes'
        raise InputError(f'{path}: {came}; expected one of {shown(sorted(content))}, named as '
                         f'{path}:SCENE.')
    return content[scene]


def _checked(corners, text: str) -> np.ndarray:
    try:
        box = np.array(corners, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        box = np.zeros(0)
    if box.shape != (2, 3) or not np.isfinite(box).all() or (box[0] > box[1]).any():
        raise InputError(f'bbox {shown(text)}: found {shown(corners)}; {_EXPECTED}, no minimum '
                         f'above its maximum.')
    return box
