# SPDX-License-Identifier: Apache-2.0
"""The first scene: from a PLY file, from sparse points with stereo, or from the images alone."""
from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from igs_ros.bootstrap.fitting import Fitted, fit
from igs_ros.bootstrap.seeds import scene_from_points, seed_points
from igs_ros.camera import Camera
from igs_ros.codec.ply import read_scene
from igs_ros.config import Config
from igs_ros.data.points import Points
from igs_ros.errors import InputError
from igs_ros.frames import FrameSet
from igs_ros.optimize import bounded
from igs_ros.raster import Rasterizer, render_view
from igs_ros.scene import GaussianScene
from igs_ros.timing import spending

log = logging.getLogger(__name__)
_METHODS = ('auto', 'points', 'images')


@dataclass(frozen=True)
class BootstrapReport:
    """How the first scene was made and how well it fits."""

    method: str  # points, images or ply
    seconds: float  # wall time of everything
    cpu_s: float  # CPU time of all threads
    iterations: int  # done
    stopped_by: str  # iterations or seconds
    gaussians: int
    psnr_train: float  # dB, mean over views; NaN without a picture
    psnr_views: Mapping[str, float] = field(default_factory=dict)  # dB by camera


@dataclass(frozen=True, eq=False)
class FirstScene:
    """The first key scene."""

    scene: GaussianScene
    report: BootstrapReport


def first_scene(method: str, frame_set: FrameSet, cameras: Mapping[str, Camera],
                points: Points | None, rasterizer: Rasterizer, config: Config,
                progress: Callable[[str, float], None] | None = None) -> FirstScene:
    """The first scene, of at most `config.max_gaussians` Gaussians.

    method: auto (points if there are some, else images), points, images, or the path of a 3DGS
    PLY, which is taken as it is unless `config.bootstrap.optimise_ply`. frame_set: prepared;
    cameras: working cameras that train. progress: called with a stage for people and its share
    done, 0..1.
    The same input, seed and iterations give the same bytes for any number of threads.
    Raises `InputError`: unknown method, points asked for but not given, no picture, a bad PLY, an
    optimisation that diverged.
    """
    tell = progress or (lambda stage, done: None)
    images = {name: frame_set.images[name] for name in cameras if name in frame_set.images}
    chosen = _chosen(method, points)
    as_it_is = chosen == 'ply' and not config.bootstrap.optimise_ply
    if not images and not as_it_is:
        raise InputError(f'no picture of any of the cameras {", ".join(cameras)}: expected at '
                         f'least one to make the first scene. Check the camera topics or files.')
    with spending() as spent:
        if chosen == 'ply':
            tell('reading the scene', 0.0)
            scene = bounded(read_scene(method), config.max_gaussians)
            scene = scene.with_sh_degree(config.sh_degree).to(rasterizer.device)
        else:
            scene = _seeded(chosen, images, cameras, points, config, tell)
        if as_it_is:
            log.info('first scene: %d Gaussians from %s, taken as they are (optimise_ply is off)',
                     len(scene), method)
            fitted = Fitted(scene, 0, 'iterations')
        else:
            fitted = _fitted(scene, images, cameras, rasterizer, config, tell)
        views = _psnr_views(fitted.scene, images, cameras, rasterizer)
    mean = float(np.mean(list(views.values()))) if views else float('nan')
    log.info('first scene: train PSNR in dB: %s',
             ', '.join(f'{name} {score:.1f}' for name, score in views.items()))
    tell('first scene', 1.0)
    return FirstScene(fitted.scene, BootstrapReport(
        chosen, spent().wall_s, spent().cpu_s, fitted.iterations, fitted.stopped_by,
        len(fitted.scene), mean, views))


def _chosen(method: str, points: Points | None) -> str:
    """points, images or ply."""
    there = points is not None and len(points) > 0
    if method == 'auto':
        return 'points' if there else 'images'
    if method == 'points' and not there:
        raise InputError('bootstrap method points: this recording brings no points; expected '
                         'points3d.ply or COLMAP points. Add them, or use --bootstrap images.')
    if method in _METHODS:
        return method
    if not Path(method).is_file():
        raise InputError(f"bootstrap method '{method}' is neither auto, points nor images, nor an "
                         f'existing file; expected one of them. Check the path.')
    return 'ply'


def _seeded(chosen, images, cameras, points, config, tell) -> GaussianScene:
    """The Gaussians to start from."""
    tell('finding depth', 0.0)
    seeds = seed_points(images, cameras, points if chosen == 'points' else None,
                        max_gaussians=config.max_gaussians, threads=config.threads,
                        seed=config.seed)
    return scene_from_points(seeds, {name: cameras[name] for name in images},
                             opacity=config.bootstrap.initial_opacity,
                             sh_degree=config.sh_degree)


def _fitted(scene, images, cameras, rasterizer, config, tell) -> Fitted:
    """The bounded optimisation."""
    try:
        return fit(scene, images, cameras, rasterizer, config.bootstrap,
                   max_gaussians=config.max_gaussians, seed=config.seed,
                   progress=lambda done: tell('optimising the first scene', done))
    except FloatingPointError as error:
        raise InputError(f'the first scene diverged: {error}; expected pictures and calibrations '
                         f'that fit together. Check the rig, or take another seed.') from error


def _psnr_views(scene, images, cameras, rasterizer) -> dict[str, float]:
    """PSNR in dB of every training view."""
    scores = {}
    for name, image in images.items():
        drawn = render_view(rasterizer, scene, cameras[name]).rgb
        error = np.mean((drawn - image.astype(np.float32) / 255) ** 2, dtype=np.float64)
        scores[name] = float(-10 * np.log10(max(error, 1e-12)))
    return scores
