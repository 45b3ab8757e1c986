# SPDX-License-Identifier: Apache-2.0
"""Where the first Gaussians stand: sparse points, stereo points, and points on random rays."""
from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.points import Points
from igs_ros.core.scene import SH_C0, GaussianScene, sh_terms
from igs_ros.stages.bootstrap.coverage import Seeds, covering_points, hole, hole_points
from igs_ros.vision.fill import filled
from igs_ros.vision.neighbors import knn
from igs_ros.vision.stereo import DepthMap, find_depth, known_points

log = logging.getLogger(__name__)
# Shares of the Gaussian limit. A dense start pays (quality_calibration 7.2); what is left over is
# for densification, which knows better where detail is missing.
_STEREO_SHARE, _GUESS_SHARE, _SHARE = 0.47, 0.25, 0.8  # the last one of all seeds together
_FLAT = 0.15  # thickness of a seed whose surface is known, in its other scales
_LARGEST = 0.05  # largest initial scale, in distances to the nearest camera


def known_depth(images: Mapping[str, np.ndarray], cameras: Mapping[str, Camera],
                points: Points | None, *, threads: int,
                depths: Mapping[str, DepthMap] | None = None) -> dict[str, DepthMap]:
    """What is known of the depth of each picture, by camera.

    Args:
        images: [H, W, 3] uint8 RGB by camera.
        cameras: working cameras.
        points: sparse points of this instant, or None; they tell stereo where to search.
        threads: of stereo; the maps do not depend on them.
        depths: measured ones of some cameras, which take the place of stereo.
    """
    maps = dict(depths or {})
    if set(maps) != set(images):
        known = [found for found in _known(points, maps) if len(found)]
        maps = find_depth(images, cameras, points=np.concatenate(known) if known else None,
                          threads=threads) | maps
    log.info('first scene: depth of %d pictures from depth pictures, of %d from stereo, '
             'confirmed: %s', len(depths or {}), len(images) - len(depths or {}),
             ', '.join(f'{name} {100 * maps[name].confirmed_share:.0f} %' for name in images))
    return {name: maps[name] for name in images}


def guessed_depth(images: Mapping[str, np.ndarray], maps: Mapping[str, DepthMap]
                  ) -> dict[str, DepthMap]:
    """Depth where `maps` have none, confirmed by nothing, for pictures with some known depth."""
    guessed = {}
    for name, found in maps.items():
        full = DepthMap.of_depth(filled(found.depth, found.slope, images[name]), found.camera, 0)
        guessed[name] = replace(full, depth=np.where(hole(found), full.depth, np.float32(np.nan)))
    return guessed


def seed_points(images: Mapping[str, np.ndarray], maps: Mapping[str, DepthMap],
                guessed: Mapping[str, DepthMap], points: Points | None, *, max_gaussians: int,
                seed: int) -> Seeds:
    """Seeds of the first scene, in the world frame, m.

    Args:
        images: [H, W, 3] uint8 RGB by camera.
        maps: what is known of their depth.
        guessed: depth between (`guessed_depth`).
        points: sparse points of this instant, or None.
        max_gaussians: of the scene, a bound for the seeds, too.
        seed: fixes everything random.

    Raises:
        InputError: there is nothing to start from.
    """
    room = int(_SHARE * max_gaussians)
    dense = covering_points(images, maps, int(_STEREO_SHARE * max_gaussians), seed)
    sparse = _some(points or Points(dense.xyz[:0], dense.rgb[:0]),
                   room - len(dense), seed)
    room -= len(dense) + len(sparse)
    between = covering_points(images, guessed,
                              min(room, int(_GUESS_SHARE * max_gaussians)), seed)
    parts = [dense, sparse, between]
    if not any(map(len, parts)):  # no picture shares anything with another
        parts.append(hole_points(images, maps, room, seed))
    seeds = Seeds.joined(parts)
    if not len(seeds):
        raise InputError(f'{len(images)} pictures ({", ".join(sorted(images))}): found nothing to '
                         f'start a scene from with max_gaussians {max_gaussians}; expected '
                         f'pictures of overlapping calibrated cameras. Raise the limit, or check '
                         f'the calibration.')
    log.info('first scene: %d seeds where depth is known, %d sparse points, %d between, %d on '
             'random rays', len(dense), len(sparse), len(between),
             len(seeds) - sum(map(len, parts[:3])))
    return seeds


def _known(points: Points | None, maps: Mapping[str, DepthMap]) -> list[np.ndarray]:
    """World points [P, 3] that tell stereo where to search."""
    measured = [known_points(found)[0] for found in maps.values()]
    return measured if points is None else [points.xyz, *measured]


def _some(points: Points, count: int, seed: int) -> Points:
    if len(points) <= count:
        return points
    rows = np.sort(np.random.default_rng(seed).permutation(len(points))[:max(0, count)])
    log.info('taking %d of %d sparse points', len(rows), len(points))
    return Points(points.xyz[rows], points.rgb[rows])


def scene_from_points(points: Points, cameras: Mapping[str, Camera], *, opacity: float,
                      sh_degree: int, size: float = 1.0, largest: float = _LARGEST
                      ) -> GaussianScene:
    """One Gaussian per point, in its color from all directions: round, or flat on its surface.

    Args:
        points: where they are.
        cameras: that see them.
        opacity: of all, 0..1.
        sh_degree: 0..3; all but the constant coefficient are 0.
        size: standard deviation, in RMS distances to the three nearest points,
        largest: but at most, in distances to the nearest camera: lone points would hide a
            picture.
    """
    xyz = points.xyz.astype(np.float64)
    centers = np.array([camera.center for camera in cameras.values()])
    distance = knn(xyz, centers, 1)[0][:, 0]
    limits = largest * np.maximum(distance, 1e-3 * np.median(distance))
    gaps = knn(xyz, xyz, 4)[0][:, 1:]
    spacing = size * np.sqrt((gaps ** 2).mean(1)) if gaps.shape[1] else limits
    scales = np.repeat(np.clip(spacing, 1e-3 * limits, limits)[:, None], 3, 1)
    sh = np.zeros((len(xyz), sh_terms(sh_degree), 3), np.float32)
    sh[:, 0] = (points.rgb / 255.0 - 0.5) / SH_C0
    quats = np.tile([1.0, 0, 0, 0], (len(xyz), 1))
    if isinstance(points, Seeds):
        lying = np.isfinite(points.normals).all(1)
        quats[lying] = _upright(points.normals[lying])
        scales[lying, 2] *= _FLAT
    return GaussianScene(
        torch.from_numpy(points.xyz.copy()), torch.from_numpy(quats.astype(np.float32)),
        torch.from_numpy(scales.astype(np.float32)),
        torch.full((len(xyz),), opacity), torch.from_numpy(sh))


def _upright(normals: np.ndarray) -> np.ndarray:
    """[N, 4] unit quaternions wxyz that turn the z axis to unit `normals` [N, 3]."""
    turned = normals * np.where(normals[:, 2:] < 0, -1.0, 1.0)  # a disc has no front
    quats = np.stack([1 + turned[:, 2], -turned[:, 1], turned[:, 0],
                      np.zeros(len(turned))], 1)
    return quats / np.linalg.norm(quats, axis=1, keepdims=True)
