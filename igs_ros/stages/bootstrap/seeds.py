# SPDX-License-Identifier: Apache-2.0
"""Where the first Gaussians stand: sparse points, stereo points, and points on random rays."""
from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.points import Points
from igs_ros.core.scene import SH_C0, GaussianScene, sh_terms
from igs_ros.stages.bootstrap.coverage import covering_points, hole_points
from igs_ros.vision.neighbors import knn
from igs_ros.vision.stereo import DepthMap, known_points, plane_sweep

log = logging.getLogger(__name__)
# Shares of the Gaussian limit. A dense start pays (quality_calibration 7.2); what is left over is
# for densification, which knows better where detail is missing.
_STEREO_SHARE, _SPARSE_SHARE, _HOLE_SHARE = 0.47, 0.33, 0.25
_LARGEST = 0.05  # largest initial scale, in distances to the nearest camera


def seed_points(images: Mapping[str, np.ndarray], cameras: Mapping[str, Camera],
                points: Points | None, *, max_gaussians: int, threads: int, seed: int,
                depths: Mapping[str, DepthMap] | None = None) -> Points:
    """Seeds of the first scene, in the world frame, m.

    Args:
        images: [H, W, 3] uint8 RGB by camera.
        cameras: working cameras.
        points: sparse points of this instant, or None: then random points on the rays of pixels
            without depth cover what would stay empty.
        max_gaussians: of the scene, a bound for the seeds, too.
        threads: of stereo; the seeds do not depend on them.
        seed: fixes everything random.
        depths: measured ones of some cameras, which take the place of stereo.

    Raises:
        InputError: there is nothing to start from.
    """
    maps = dict(depths or {})
    if set(maps) != set(images):
        known = [found for found in _known(points, maps) if len(found)]
        maps = plane_sweep(images, cameras, points=np.concatenate(known) if known else None,
                           threads=threads) | maps
    dense = covering_points(images, maps, int(_STEREO_SHARE * max_gaussians), seed)
    parts = [dense]
    if points is not None:
        # what stereo leaves of its share goes to the sparse points
        room = int((_STEREO_SHARE + _SPARSE_SHARE) * max_gaussians) - len(dense)
        parts.append(_some(points, room, seed))
    else:
        empty = np.mean([np.mean(~np.isfinite(found.depth)) for found in maps.values()])
        room = int((_STEREO_SHARE + _HOLE_SHARE) * max_gaussians) - len(dense)
        parts.append(hole_points(images, maps, int(room * min(1.0, 2 * empty)), seed))
    xyz = np.concatenate([part.xyz for part in parts])
    if not len(xyz):
        raise InputError(f'{len(images)} pictures ({", ".join(sorted(images))}): found nothing to '
                         f'start a scene from with max_gaussians {max_gaussians}; expected '
                         f'pictures of overlapping calibrated cameras. Raise the limit, or check '
                         f'the calibration.')
    log.info('first scene: %d seeds from %s, %d from %s', len(parts[0]),
             'depth pictures' if depths else 'stereo', len(parts[1]),
             'sparse points' if points is not None else 'random rays')
    return Points(xyz, np.concatenate([part.rgb for part in parts]))


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
    """One round Gaussian per point, in its color from all directions.

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
    scales = np.clip(spacing, 1e-3 * limits, limits)
    sh = np.zeros((len(xyz), sh_terms(sh_degree), 3), np.float32)
    sh[:, 0] = (points.rgb / 255.0 - 0.5) / SH_C0
    quats = torch.zeros(len(xyz), 4)
    quats[:, 0] = 1
    return GaussianScene(
        torch.from_numpy(points.xyz.copy()), quats,
        torch.from_numpy(np.repeat(scales[:, None], 3, 1).astype(np.float32)),
        torch.full((len(xyz),), opacity), torch.from_numpy(sh))
