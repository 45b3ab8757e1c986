# SPDX-License-Identifier: Apache-2.0
"""New Gaussians where the rendering is wrong, and which old ones are wrong there.

Stereo on the new pictures (reference/quality_calibration.md sections 2 and 7): things that
appear, or move too fast for optical flow, have no Gaussians near them to be optimized.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from igs_ros.core.camera import pixel_grid
from igs_ros.core.scene import GaussianScene, empty_scene
from igs_ros.stages.bootstrap.coverage import covering_points
from igs_ros.stages.bootstrap.seeds import scene_from_points
from igs_ros.stages.refine.residuals import ViewResidual
from igs_ros.vision.stereo import DepthMap, StereoSettings, find_depth
from igs_ros.vision.visibility import Visibility, agreed, count_votes

OPACITY = 0.3  # of the newborn
_FADED = 0.2  # maximum opacity of what residuals wrong wherever it is seen
_SETTINGS = StereoSettings(pixels=120 * 90, planes=64, rounds=3, agree=0.02)
_VIEWS = 8  # most that are swept, those with most wrong: twelve cost half as much again
_WRONG_SHARE = 0.5  # of the views that see a newborn must be wrong there, and two of them
_FADE_SHARE = 0.9  # of the views that see an old Gaussian must be wrong there, and two of them
_HIDDEN = 0.05  # relative depth behind a view's stereo surface beyond which it has no say
_LARGEST = 0.01  # largest scale of the newborn, in distances to the nearest camera


def spawn_from_stereo(residuals: Mapping[str, ViewResidual], scene: GaussianScene,
                      max_count: int, seed: int, threads: int) -> GaussianScene:
    """New Gaussians on surfaces that the new pictures show and `scene` does not.

    Empty where fewer than two views see something wrong.

    Args:
        residuals: of `scene`, by camera.
        scene: what is there.
        max_count: at most so many new ones.
        seed: fixes everything random.
        threads: of stereo.
    """
    none = empty_scene(scene.sh_degree, scene.device)
    if max_count < 1 or sum(bool(one.wrong.any()) for one in residuals.values()) < 2:
        return none
    residuals = _most_wrong(residuals)
    images = {name: one.image for name, one in residuals.items()}
    cameras = {name: one.camera for name, one in residuals.items()}
    maps = find_depth(images, cameras, settings=_SETTINGS, threads=threads,
                      points=scene.means.cpu().numpy().astype(np.float64),
                      where={name: one.wrong for name, one in residuals.items()})
    maps = {name: _only_wrong(found, residuals, maps) for name, found in maps.items()}
    points = covering_points(images, maps, max_count, seed)
    if not len(points.xyz):
        return none
    return scene_from_points(points, cameras, opacity=OPACITY, sh_degree=scene.sh_degree,
                             largest=_LARGEST).to(scene.device)


def inconsistent(residuals: Mapping[str, ViewResidual]) -> np.ndarray:
    """[N] bool: Gaussians that look wrong in nearly all of the views that see them."""
    return agreed({name: one.wrong for name, one in residuals.items()},
                  {name: one.visibility for name, one in residuals.items()}, _FADE_SHARE)


def fade(scene: GaussianScene, faded: np.ndarray) -> GaussianScene:
    """`scene` with the opacities of `faded`, [N] bool, cut: they go at once, not step by step."""
    dim = torch.from_numpy(faded).to(scene.device)
    return scene.replaced(opacities=torch.where(dim, scene.opacities.clamp_max(_FADED),
                                                scene.opacities))


def _most_wrong(residuals: Mapping[str, ViewResidual]) -> dict[str, ViewResidual]:
    chosen = sorted(residuals, key=lambda name: (-residuals[name].wrong.sum(), name))[:_VIEWS]
    return {name: one for name, one in residuals.items() if name in chosen}


def _only_wrong(found: DepthMap, residuals: Mapping[str, ViewResidual],
                maps: Mapping[str, DepthMap]) -> DepthMap:
    """The depth map with only the points where enough of the views that see them are wrong."""
    known = np.isfinite(found.depth)
    points = found.camera.unproject(pixel_grid(found.camera)[known], found.depth[known])
    visible = {name: Visibility.of_points(points, one.camera).before(maps[name].depth, _HIDDEN)
               for name, one in residuals.items()}
    hits, votes = count_votes({name: one.wrong for name, one in residuals.items()}, visible)
    keep = (hits >= 2) & (hits >= _WRONG_SHARE * votes)
    depth = found.depth.copy()
    depth[known] = np.where(keep, depth[known], np.float32(np.nan))
    return replace(found, depth=depth)
