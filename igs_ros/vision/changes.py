# SPDX-License-Identifier: Apache-2.0
"""What changed: pixels between two pictures, and the Gaussians that several views see change.

Pixels: reference/quality_calibration.md section 3. Gaussians vote by what the views see at their
centers; with the depths that the scene itself has in a view, hidden ones do not vote there.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene

CHANGE = 8 / 255  # blurred difference above which a pixel has changed
_SIGMA = 1.5  # px, blur of the difference
_GROWN = np.ones((9, 9), np.uint8)  # changed areas are dilated by this
_SHARE = 0.4  # of the views that see a Gaussian, and two where two do, must see it change
_DEPTH_TOLERANCE = 0.02  # of the depth: centers lie a little behind the surface they draw
_THICKNESS = 2.0  # times the largest scale that a center may lie behind the surface


def difference(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """[H, W] float32 0..1: largest difference over RGB, then blurred (sigma 1.5 px).

    image, reference: [H, W, 3], both uint8 or both float32 0..1.
    """
    apart = cv2.absdiff(image, reference).max(-1)
    if apart.dtype == np.uint8:
        apart = apart.astype(np.float32) * np.float32(1 / 255)
    return cv2.GaussianBlur(apart, (0, 0), _SIGMA, borderType=cv2.BORDER_REFLECT_101)


def changed_pixels(image: np.ndarray, reference: np.ndarray, threshold: float = CHANGE
                   ) -> np.ndarray:
    """[H, W] bool: where `difference` is above `threshold`, grown."""
    return grown(difference(image, reference) > threshold)


def grown(mask: np.ndarray) -> np.ndarray:
    """`mask`, bool [H, W], dilated 9x9."""
    return cv2.dilate(mask.astype(np.uint8), _GROWN).astype(bool)


@dataclass(frozen=True, eq=False)
class Sight:
    """Where one view has the centers of N Gaussians."""

    columns: np.ndarray  # [N] int64 px, 0 where not seen
    rows: np.ndarray  # [N] int64 px, 0 where not seen
    seen: np.ndarray  # [N] bool: in the picture, and not known to be hidden

    @classmethod
    def of(cls, scene: GaussianScene, camera: Camera, depth: np.ndarray | None = None) -> Sight:
        """What `camera` sees of `scene`.

        depth: [H, W] that the scene has in this view, m, NaN = nothing there; None: not known,
        then all that lies in the picture counts as seen.
        """
        pixels, distance = camera.project(scene.means.detach().cpu().numpy())
        seen = (distance > 0) & ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(1)
        columns, rows = np.where(seen[:, None], pixels, 0).astype(np.int64).T
        if depth is not None:
            thickness = scene.scales.detach().cpu().numpy().max(1, initial=0.0)
            surface = depth[rows, columns]
            hidden = distance > surface * (1 + _DEPTH_TOLERANCE) + _THICKNESS * thickness
            seen &= ~hidden  # where nothing is drawn, nothing hides
        return cls(columns, rows, seen)

    def at(self, picture: np.ndarray) -> np.ndarray:
        """[N] values of `picture` [H, W] at the centers; zero (False) where not seen."""
        values = picture[self.rows, self.columns]
        return np.where(self.seen, values, np.zeros((), picture.dtype))


def agreed(masks: Mapping[str, np.ndarray], sights: Mapping[str, Sight],
           share: float = _SHARE) -> np.ndarray:
    """[N] bool: Gaussians that lie in the masks of enough views.

    masks: [H, W] bool by camera; sights: of at least these cameras. Enough are two views, or the
    only one that sees a Gaussian, and at least `share` of those that see it.
    """
    count = len(next(iter(sights.values())).seen) if sights else 0
    hits, votes = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for name, mask in masks.items():
        hits += sights[name].at(mask)
        votes += sights[name].seen
    return (votes > 0) & (hits >= np.maximum(np.minimum(2, votes), share * votes))


def changed_gaussians(scene: GaussianScene, masks: Mapping[str, np.ndarray],
                      cameras: Mapping[str, Camera], share: float = _SHARE) -> np.ndarray:
    """[N] bool: Gaussians of `scene` whose centers several views have in their masks.

    masks: changed pixels [H, W] bool by camera; cameras: working cameras, of at least these
    pictures. Hidden Gaussians vote, too; enough views as in `agreed`.
    """
    if not masks:
        return np.zeros(len(scene), bool)
    return agreed(masks, {name: Sight.of(scene, cameras[name]) for name in masks}, share)


def changed_share(images: Mapping[str, np.ndarray], references: Mapping[str, np.ndarray]) -> float:
    """Share of the pixels, 0..1, by which `images` differ from `references`; not dilated.

    uint8 RGB [H, W, 3] by camera; the mean over the cameras that are in both, 0 without any.
    """
    shares = [float((difference(images[name], references[name]) > CHANGE).mean())
              for name in sorted(images) if name in references]
    return float(np.mean(shares)) if shares else 0.0
