# SPDX-License-Identifier: Apache-2.0
"""Which points a view sees, and the vote of several views about them.

Gaussians and points vote by what the views see at their centers; with the depths that a view
knows, those that are hidden there have no vote in it.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene

_SHARE = 0.4  # of the views that see a Gaussian, and two where two do, must agree
_DEPTH_TOLERANCE = 0.02  # of the depth: centers lie a little behind the surface they draw
_THICKNESS = 2.0  # times the largest scale that a center may lie behind the surface


def in_picture(pixels: np.ndarray, depth: np.ndarray, camera: Camera) -> np.ndarray:
    """[N] bool: points in front of a camera and in its picture, as `Camera.project` has them.

    Args:
        pixels: [N, 2] px, pixel centers at +0.5.
        depth: [N] m along the optical axis.
        camera: whose picture it is.
    """
    return (depth > 0) & camera.shows(pixels)


@dataclass(frozen=True, eq=False)
class Visibility:
    """Where one view has N points, such as the centers of Gaussians."""

    columns: np.ndarray  # [N] int64 px, 0 where not seen
    rows: np.ndarray  # [N] int64 px, 0 where not seen
    seen: np.ndarray  # [N] bool: in the picture, and not known to be hidden
    pixels: np.ndarray  # [N, 2] float64 px, without meaning behind the camera
    depth: np.ndarray  # [N] float64 m along the optical axis
    size: tuple[int, int]  # width and height of the picture, px

    @classmethod
    def of_points(cls, points: np.ndarray, camera: Camera) -> Visibility:
        """Of world points [N, 3] m, all of which count as seen that lie in the picture."""
        pixels, depth = camera.project(points)
        seen = in_picture(pixels, depth, camera)
        columns, rows = np.where(seen[:, None], pixels, 0).astype(np.int64).T
        return cls(columns, rows, seen, pixels, depth, (camera.width, camera.height))

    @classmethod
    def of(cls, scene: GaussianScene, camera: Camera, depth: np.ndarray | None = None
           ) -> Visibility:
        """Of the Gaussians of a scene.

        Args:
            scene: whose centers are looked for.
            camera: of the view.
            depth: [H, W] m that the scene has in this view, NaN = nothing there; None: not known,
                then all that lies in the picture counts as seen.
        """
        found = cls.of_points(scene.means.detach().cpu().numpy(), camera)
        if depth is None:
            return found
        thickness = scene.scales.detach().cpu().numpy().max(1, initial=0.0)
        return found.before(depth, _DEPTH_TOLERANCE, _THICKNESS * thickness)

    def before(self, surface: np.ndarray, tolerance: float, slack: np.ndarray | float = 0.0
               ) -> Visibility:
        """Without what lies behind a surface.

        Args:
            surface: [h, w] depths m of the view, of any size, NaN = nothing there: hides nothing.
            tolerance: relative depth that a point may lie behind it.
            slack: [N] m that a point may lie behind it besides.
        """
        height, width = surface.shape
        there = surface[self.rows * height // self.size[1], self.columns * width // self.size[0]]
        hidden = self.depth > there * (1 + tolerance) + slack
        return replace(self, seen=self.seen & ~hidden)

    def at(self, picture: np.ndarray) -> np.ndarray:
        """[N] values of `picture` [H, W] at the points; zero (False) where not seen."""
        values = picture[self.rows, self.columns]
        return np.where(self.seen, values, np.zeros((), picture.dtype))


def count_votes(masks: Mapping[str, np.ndarray], visible: Mapping[str, Visibility]
                ) -> tuple[np.ndarray, np.ndarray]:
    """How many views have each point in their mask, and how many see it; both [N] int64.

    Args:
        masks: [H, W] bool by camera.
        visible: where at least these views have the points.
    """
    count = len(next(iter(visible.values())).seen) if visible else 0
    hits, votes = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for name, mask in masks.items():
        hits += visible[name].at(mask)
        votes += visible[name].seen
    return hits, votes


def majority(hits: np.ndarray, votes: np.ndarray, share: float) -> np.ndarray:
    """[N] bool: points that enough of the votes are for.

    Enough are two views, or the only one that has a vote, and at least `share` of those that have.

    Args:
        hits: [N] votes for each.
        votes: [N] votes cast.
        share: 0..1.
    """
    return (votes > 0) & (hits >= np.maximum(np.minimum(2, votes), share * votes))


def agreed(masks: Mapping[str, np.ndarray], visible: Mapping[str, Visibility],
           share: float = _SHARE) -> np.ndarray:
    """[N] bool: points that lie in the masks of enough views (`count_votes`, `majority`).

    Args:
        masks: [H, W] bool by camera.
        visible: where each of these views has the points.
        share: 0..1 of the views that see a point, as in `majority`.
    """
    return majority(*count_votes(masks, visible), share)


def changed_gaussians(scene: GaussianScene, masks: Mapping[str, np.ndarray],
                      cameras: Mapping[str, Camera], share: float = _SHARE) -> np.ndarray:
    """[N] bool: Gaussians of `scene` whose centers several views have in their masks.

    Hidden Gaussians vote, too; enough views as in `agreed`.

    Args:
        scene: of N Gaussians.
        masks: changed pixels, [H, W] bool by camera.
        cameras: working cameras, of at least these pictures.
        share: 0..1 of the views that see a Gaussian, as in `majority`.
    """
    if not masks:
        return np.zeros(len(scene), bool)
    return agreed(masks, {name: Visibility.of(scene, cameras[name]) for name in masks}, share)
