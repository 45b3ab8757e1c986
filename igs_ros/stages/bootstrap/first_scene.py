# SPDX-License-Identifier: Apache-2.0
"""The first scene: from a PLY file, from depth pictures, from points, or from the images alone."""
from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.config import Config
from igs_ros.core.errors import InputError
from igs_ros.core.frames import FrameSet
from igs_ros.core.points import Points
from igs_ros.core.scene import GaussianScene
from igs_ros.core.timing import spending
from igs_ros.io.codec.ply import load_ply
from igs_ros.render.exposure import Exposures, estimated
from igs_ros.render.importance import bounded_by_importance
from igs_ros.render.loss import Target
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.stages.bootstrap.depth import depth_maps
from igs_ros.stages.bootstrap.fitting import FittedScene, Watch, fit
from igs_ros.stages.bootstrap.guide import Guide
from igs_ros.stages.bootstrap.seeds import (
    guessed_depth,
    known_depth,
    scene_from_points,
    seed_points,
)
from igs_ros.vision.metrics import fitted, psnr

log = logging.getLogger(__name__)
# Initial standard deviation in distances to the neighbors: at 1 some 30 splats cover a pixel,
# which costs twice the time per iteration and starts blurred.
_SIZE = 0.6
_OPACITY = 0.5  # of seeds; measured better than the usual 0.1, as they are dense
_MISSING = {
    'depth': 'no camera of this frame set brings a depth picture; expected some, as '
             'docs/recordings.md describes.',
    'points': 'this recording brings no points; expected points3d.ply or COLMAP points.'}
METHODS = ('auto', 'depth', 'points', 'images')


@dataclass(frozen=True)
class BootstrapReport:
    """How the first scene was made and how well it fits."""

    method: str  # depth, points, images or ply
    seconds: float  # wall time of everything
    cpu_s: float  # CPU time of all threads
    iterations: int  # done
    stopped_by: str  # iterations or seconds
    gaussians: int
    psnr_train: float  # dB, mean over views; NaN without a picture
    psnr_views: Mapping[str, float] = field(default_factory=dict)  # dB by camera, as it exposes
    exposures: Mapping[str, Mapping[str, list[float]]] = field(default_factory=dict)
    # learned gain and offset by camera and channel
    psnr_train_fitted: float = float('nan')  # dB, each view in the exposure that fits it best
    confirmed: Mapping[str, float] = field(default_factory=dict)
    # share of each picture that a second camera confirms, 0..1 (docs/confidence.md)


@dataclass(frozen=True, eq=False)
class FirstScene:
    """The first key scene, in the colors of the mean camera."""

    scene: GaussianScene
    report: BootstrapReport
    exposures: Exposures = Exposures()  # of the cameras that trained; for losses only


def first_scene(method: str, frame_set: FrameSet, cameras: Mapping[str, Camera],
                points: Points | None, rasterizer: Rasterizer, config: Config,
                progress: Callable[[str, float], None] | None = None,
                watch: Watch | None = None,
                clock: Callable[[], float] = time.perf_counter,
                given: GaussianScene | None = None) -> FirstScene:
    """The first scene, of at most `config.max_gaussians` Gaussians.

    The same input, seed and iterations give the same bytes for any number of threads.

    Args:
        method: auto (the first of the following that the recording has), depth (pictures of depth
            cameras, with the points if there are some), points, images, or the path of a 3DGS PLY,
            which is taken as it is unless `config.bootstrap.optimize_ply`.
        frame_set: prepared; what the scene is to show.
        cameras: working cameras that train, by name.
        points: sparse points of the recording, None = it has none.
        rasterizer: draws; the scene lies on its device.
        config: all settings.
        progress: called with a readable stage and its share done, 0..1.
        watch: looks at the scene while it is optimized.
        clock: s, of the cap of time, which begins with this call.
        given: a scene in place of that of a PLY, whatever the method.

    Raises:
        InputError: unknown method, points asked for but not given, no picture, a bad PLY, an
            optimization that diverged.
    """
    tell = progress or (lambda stage, done: None)
    images = {name: frame_set.images[name] for name in cameras if name in frame_set.images}
    chosen = 'ply' if given is not None else _chosen(method, points, frame_set)
    as_it_is = chosen == 'ply' and not config.bootstrap.optimize_ply
    if not images and not as_it_is:
        raise InputError(f'no picture of any of the cameras {", ".join(cameras)}: expected at '
                         f'least one to make the first scene. Check the camera topics or files.')
    begun_s, guide = clock(), None
    with spending() as spent:
        if chosen == 'ply':
            tell('reading the scene', 0.0)
            scene = load_ply(method) if given is None else given
            scene = scene.with_sh_degree(config.sh_degree).to(rasterizer.device)
            scene = bounded_by_importance(scene, rasterizer, cameras, config.max_gaussians)
        else:
            scene, guide = _seeded(chosen, frame_set.depths, images, cameras, points, config,
                                   rasterizer, tell)
        if as_it_is:
            log.info('first scene: %d Gaussians from %s, taken as they are (optimize_ply is off)',
                     len(scene), method if given is None else 'what was loaded')
            made = FittedScene(scene, 0, 'iterations', _exposures(scene, images, cameras,
                                                                    rasterizer, config))
        else:
            made = _fitted(scene, images, cameras, rasterizer, config, guide, tell, watch, clock,
                           begun_s)
        views, best = _psnr_views(made, images, cameras, rasterizer)
    mean = float(np.mean(list(views.values()))) if views else float('nan')
    log.info('first scene: train PSNR in dB: %s',
             ', '.join(f'{name} {score:.1f}' for name, score in views.items()))
    tell('first scene', 1.0)
    report = BootstrapReport(
        chosen, spent().wall_s, spent().cpu_s, made.iterations, made.stopped_by,
        len(made.scene), mean, views, _listed(made.exposures), best)
    return FirstScene(made.scene, report, made.exposures)


def takes_points(method: str) -> bool:
    """Whether a first scene made with `method` looks at the points of a recording."""
    return method in ('auto', 'points')


def _chosen(method: str, points: Points | None, frame_set: FrameSet) -> str:
    """depth, points, images or ply."""
    there = {'depth': bool(frame_set.depths), 'points': points is not None and len(points) > 0,
             'images': True}
    if method == 'auto':
        return next(name for name, known in there.items() if known)
    if not there.get(method, True):
        raise InputError(f'bootstrap method {method}: {_MISSING[method]} Add them, or use '
                         f'--bootstrap images.')
    if method in METHODS:
        return method
    if not Path(method).is_file():
        raise InputError(f"bootstrap method '{method}' is neither {', '.join(METHODS)}, nor an "
                         f'existing file; expected one of them. Check the path.')
    return 'ply'


def _seeded(chosen, depths, images, cameras, points, config, rasterizer, tell
            ) -> tuple[GaussianScene, Guide | None]:
    """The Gaussians to start from, and what stereo says to their optimization."""
    tell('finding depth', 0.0)
    measured = depth_maps(depths, {name: cameras[name] for name in images})
    points = points if chosen != 'images' else None
    maps = known_depth(images, cameras, points, threads=config.threads,
                       depths=measured if chosen == 'depth' else None)
    guessed = guessed_depth(images, maps)
    seeds = seed_points(images, maps, guessed, points, max_gaussians=config.max_gaussians,
                        seed=config.seed)
    guide = Guide.of(images, maps, guessed, seed=config.seed, device=rasterizer.device)
    return scene_from_points(seeds, {name: cameras[name] for name in images},
                             opacity=_OPACITY,
                             sh_degree=config.sh_degree, size=_SIZE), guide


def _fitted(scene, images, cameras, rasterizer, config, guide, tell, watch, clock, begun_s
            ) -> FittedScene:
    """The bounded optimization."""
    cap_s, spent_s = config.bootstrap.seconds, clock() - begun_s
    if 0 < cap_s <= spent_s:
        log.warning('first scene: finding depth took %.0f s of the %g s that bootstrap.seconds '
                    'allows: nothing is optimized. Allow more, or set a smaller width.', spent_s,
                    cap_s)
    try:
        return fit(scene, images, cameras, rasterizer, config.bootstrap,
                   max_gaussians=config.max_gaussians, seed=config.seed,
                   progress=lambda done: tell('optimizing the first scene', done),
                   guide=guide, watch=watch, clock=clock, begun_s=begun_s)
    except FloatingPointError as error:
        raise InputError(f'the first scene diverged: {error}; expected pictures and calibrations '
                         f'that fit together. Check the rig, or take another seed.') from error


@torch.no_grad()
def _exposures(scene, images, cameras, rasterizer, config) -> Exposures:
    """Of a scene that is taken as it is."""
    if not config.bootstrap.exposure:
        return Exposures()
    return estimated({
        name: (rasterizer.render(scene, cameras[name], depth=False).rgb,
               Target(image, rasterizer.device, cameras[name].valid).telling)
        for name, image in images.items()})


def _psnr_views(fitted_scene: FittedScene, images, cameras, rasterizer
                ) -> tuple[dict[str, float], float]:
    """PSNR in dB of every training view, exposed as its camera does; the mean, fitted."""
    scores, best = {}, []
    for name, image in images.items():
        with torch.no_grad():
            drawn = rasterizer.render(fitted_scene.scene, cameras[name], depth=False).rgb
            seen = fitted_scene.exposures.apply(name, drawn).clamp(0, 1).cpu().numpy()
        valid = cameras[name].valid
        if valid is None or valid.any():  # else the lens shows nothing in its picture
            scores[name] = psnr(image, seen, valid)
            best.append(psnr(image, fitted(image, seen, valid), valid))
    return scores, float(np.mean(best)) if best else float('nan')


def _listed(exposures: Exposures) -> dict[str, dict[str, list[float]]]:
    return {name: {'gain': known.gain.tolist(), 'offset': known.offset.tolist()}
            for name, known in exposures.cameras.items()}
