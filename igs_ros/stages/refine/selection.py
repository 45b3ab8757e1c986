# SPDX-License-Identifier: Apache-2.0
"""Which Gaussians of a key are free, and which tiles of the pictures they are fitted in."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.render.tiles import TILE, tile_grid
from igs_ros.stages.refine.residuals import ViewResidual
from igs_ros.vision.changes import grown
from igs_ros.vision.visibility import Visibility, agreed

_SHARE = 0.6  # of the views that see a Gaussian, and two where two do, must see it change; at 0.4
# static Gaussians before moving things shimmer, and quality is the same


def select_changed(residuals: Mapping[str, ViewResidual]) -> np.ndarray:
    """[N] bool: Gaussians that several views see changed.

    All of them where no view knows what was fitted.
    """
    changed = {name: one.changed for name, one in residuals.items() if one.changed is not None}
    if not changed:
        return np.ones(len(next(iter(residuals.values())).visibility.seen), bool)
    return agreed(changed, {name: residuals[name].visibility for name in changed}, _SHARE)


def top_k(scores: np.ndarray, count: int) -> np.ndarray:
    """Rows, ascending, of the `count` highest of `scores` [N]; the first ones of equals."""
    return np.sort(np.argsort(-scores, kind='stable')[:max(0, count)])


def cap_by_change(free: np.ndarray, residuals: Mapping[str, ViewResidual], max_free: int
                  ) -> np.ndarray:
    """`free` with no more than so many True: whose pixels changed most, over all views.

    Args:
        free: [N] bool.
        residuals: by camera.
        max_free: at most so many.
    """
    rows = np.flatnonzero(free)
    if len(rows) <= max_free:
        return free
    change = np.zeros(len(free))
    for one in residuals.values():
        change += one.visibility.at(one.change)
    chosen = np.zeros_like(free)
    chosen[rows[np.argsort(-change[rows], kind='stable')[:max_free]]] = True
    return chosen


def center_mask(visibility: Visibility, free: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """[H, W] bool: pixels with the center of a free Gaussian.

    Args:
        visibility: of the N Gaussians in the view.
        free: [N] bool.
        shape: H, W.
    """
    pixels = np.zeros(shape, bool)
    use = free & visibility.seen
    pixels[visibility.rows[use], visibility.columns[use]] = True
    return pixels


def fitting_area(one: ViewResidual, centers: np.ndarray) -> np.ndarray:
    """[H, W] bool: what refinement fits of a view: changed or wrong, and near free Gaussians.

    Where it is not known what changed, all near them.

    Args:
        one: the view.
        centers: [H, W] bool as from `center_mask`.
    """
    near = grown(centers)
    return near if one.changed is None else near & (one.changed | grown(one.wrong))


def tiles_at(pixels: np.ndarray, camera: Camera) -> np.ndarray:
    """The tiles of `camera`, bool [rows, columns], that hold a True of `pixels`, bool [H, W].

    `camera` may have smaller pictures than `pixels`.
    """
    rows, columns = np.nonzero(pixels)
    tiles = np.zeros(tile_grid(camera.height, camera.width), bool)
    tiles[rows * camera.height // pixels.shape[0] // TILE,
          columns * camera.width // pixels.shape[1] // TILE] = True
    return tiles
