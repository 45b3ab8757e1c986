# SPDX-License-Identifier: Apache-2.0
"""One key refinement from start to end."""
from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.config import RefineConfig
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene, concatenated
from igs_ros.core.timing import span
from igs_ros.render.importance import importance
from igs_ros.render.loss import Target
from igs_ros.render.optimize import Densify, LearningRates, Moments
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.stages.refine.births import born, dimmed, looking_wrong
from igs_ros.stages.refine.draft import Draft
from igs_ros.stages.refine.fitted import Fitted
from igs_ros.stages.refine.looks import Look, look
from igs_ros.stages.refine.optimization import Outcome, Schedule, Task, optimize
from igs_ros.stages.refine.selection import fitted_area, freed, highest, shown, strongest, tiles_at
from igs_ros.vision.changes import Sight

log = logging.getLogger(__name__)
_BIRTH_SHARE = 0.1  # of the limit: most births per key
_SPLIT_SHARE = 0.01  # of the limit: room for splits, when something has to give way
_COLLAPSE = 0.5  # share of the Gaussians whose loss in one key is no refinement any more
_CATCH_UP = 3  # times the usual iterations; twice left 0.1 dB more behind, one 0.2
_POLISH = 0.1  # of the learning rates


@dataclass(frozen=True)
class RefineEffort:
    """What the refinement of one key may spend."""

    iterations: int  # optimization steps, >= 0
    scale: float  # of the pictures, 0 < scale <= 1
    max_free: int  # most Gaussians that are optimized at once, >= 1


@dataclass(frozen=True, eq=False)
class Refined:
    """A refined key scene; `iterations` is 0 when there was nothing to refine."""

    scene: GaussianScene
    iterations: int
    loss: float  # mean over the last pass through the cameras; NaN without iterations
    split: int = 0
    pruned: int = 0  # transparent ones, and those that gave way to births
    born: int = 0
    free: int = 0  # Gaussians that were optimized, newborn ones among them
    tiles_share: float = 0.0  # of the tiles that were drawn, mean over the cameras
    rows: np.ndarray | None = None
    # [len(scene)] int64 row of the given scene that a Gaussian is, bit for bit; -1 = optimized.
    # None: none was optimized
    seconds: Mapping[str, float] = field(default_factory=dict)  # CPU: stereo, select, optimize
    fitted: Fitted | None = None  # what the scene is fitted to; None = the same as before


class Refiner:
    """Refines key scenes of one rig of working cameras.

    config: settings; max_gaussians: bound of the scene at all times; seed: of everything random;
    threads: of stereo.
    """

    def __init__(self, rasterizer: Rasterizer, cameras: Mapping[str, Camera],
                 config: RefineConfig, max_gaussians: int, seed: int, threads: int = 1):
        self._rasterizer = rasterizer
        self._cameras = dict(cameras)
        self._config = config
        self._max_gaussians = max_gaussians
        self._seed = seed
        self._threads = threads

    def refine(self, scene: GaussianScene, frame_set: FrameSet, key_number: int,
               cancelled: Callable[[], bool] = lambda: False, *, fitted: Fitted | None = None,
               moved: np.ndarray | None = None, effort: RefineEffort | None = None,
               catch_up: bool = False) -> Refined:
        """`scene` (which is left as it is) fitted to the pictures of `frame_set` (prepared).

        key_number: counts the keys of a run; with the seed it fixes everything random. fitted:
        what the key was fitted to; None = nothing is known, then all is free. moved: rows of
        `scene` that motion moved. effort: None = that of the settings,
        and three times the iterations if the key is to `catch_up` with sets that were held.
        Cameras without a picture are left out.
        Raises `FloatingPointError` when the optimization diverges: the caller keeps the scene it
        has; `Cancelled` soon after `cancelled()` is true.
        """
        effort = effort or RefineEffort(self._config.iterations * (_CATCH_UP if catch_up else 1),
                                        1.0, self._max_gaussians)
        images = self._images(frame_set)
        draft, spent = self._bounded(scene), _Spent()
        if not images or not effort.iterations:
            return Refined(draft.scene, 0, float('nan'), pruned=len(scene) - len(draft.scene))
        fitted = fitted or Fitted()
        if not self._config.selective:
            fitted = Fitted(moments=fitted.moments)
        with spent.on('select'):
            looks = look(draft.scene, images, self._cameras, self._rasterizer, fitted)
        newborn = draft.scene.select(slice(0))
        if self._config.births:
            with spent.on('stereo'):
                most = min(round(_BIRTH_SHARE * self._max_gaussians), effort.max_free)
                newborn = born(looks, draft.scene, most, self._seed, self._threads)
        with spent.on('select'):
            bright = draft.scene.opacities
            draft = self._freed(draft, looks, _marked(moved, len(scene))[draft.rows],
                                effort.max_free - len(newborn))
            dimming = (draft.scene.opacities / bright.clamp_min(1e-9)).cpu().numpy()
            draft = self._with_newborn(draft, newborn, looks, dimming)
        with spent.on('optimize'):
            refined = self._optimized(draft, looks, fitted, key_number, effort, cancelled)
        if len(refined.scene) < (1 - _COLLAPSE) * min(len(scene), self._max_gaussians):
            raise FloatingPointError(f'{len(scene)} Gaussians collapsed to {len(refined.scene)}')
        gone = len(scene) + len(newborn) + refined.split - len(refined.scene)
        return replace(refined, born=len(newborn), seconds=spent.seconds, pruned=gone)

    def polish(self, scene: GaussianScene, frame_set: FrameSet, number: int, iterations: int,
               cancelled: Callable[[], bool] = lambda: False) -> Refined:
        """All of `scene` fitted a little better to `frame_set` (prepared), which it shows already.

        A tenth of the rates, no births, no splits, nothing pruned: rows stay what they are.
        number: counts polishes; with the seed it fixes the order of the cameras. Raises as
        `refine` does.
        """
        spent = _Spent()
        tasks = {name: Task(self._cameras[name], Target(image, self._rasterizer.device))
                 for name, image in self._images(frame_set).items()}
        if not tasks or not iterations or not len(scene):
            return Refined(scene, 0, float('nan'))
        schedule = Schedule(iterations, self._rates(_POLISH), self._config.dssim, self._seed,
                            number)
        with spent.on('optimize'):
            outcome = optimize(scene, tasks, self._rasterizer, schedule, cancelled=cancelled)
        log.info('polished %d Gaussians in %d iterations, loss %.4f', len(scene), iterations,
                 outcome.loss)
        return Refined(outcome.scene, iterations, outcome.loss, free=len(scene), tiles_share=1.0,
                       rows=np.full(len(scene), -1), seconds=spent.seconds)

    def _images(self, frame_set: FrameSet) -> dict[str, np.ndarray]:
        return {name: image for name, image in sorted(frame_set.images.items())
                if name in self._cameras}

    def _bounded(self, scene: GaussianScene) -> Draft:
        """All that the limit allows, those that matter most; none is free yet."""
        draft = Draft(scene, np.arange(len(scene)), np.zeros(len(scene), bool))
        if len(scene) <= self._max_gaussians:
            return draft
        log.warning('scene of %d Gaussians is above the limit of %d: keeping those that the '
                    'cameras see most of', len(scene), self._max_gaussians)
        return draft.select(self._most_important(scene, self._max_gaussians))

    def _most_important(self, scene: GaussianScene, count: int) -> np.ndarray:
        """Rows [count] ascending of the Gaussians that matter most; small pictures will do."""
        small = {name: camera.resized(max(1, camera.width // 2))
                 for name, camera in self._cameras.items()}
        return highest(importance(scene, self._rasterizer, small).cpu().numpy(), count)

    def _freed(self, draft: Draft, looks: Mapping[str, Look], moved: np.ndarray, most: int
               ) -> Draft:
        """With at most `most` free: what changed, moved (bool, of the draft) or looks wrong."""
        faded = np.zeros(len(moved), bool)
        if self._config.births:
            faded = looking_wrong(looks)
        free = strongest(freed(looks) | moved | faded, looks, most)
        return replace(draft, free=free, scene=dimmed(draft.scene, faded & free))

    def _with_newborn(self, draft: Draft, newborn: GaussianScene, looks: Mapping[str, Look],
                      dimming: np.ndarray) -> Draft:
        """What matters least gives way to the newborn. dimming: [N] of the opacities, 0..1."""
        room = self._max_gaussians - len(newborn)
        if len(newborn) and len(draft.scene) > room:
            room -= round(_SPLIT_SHARE * self._max_gaussians)
            if len(looks) < len(self._cameras):  # what only the absent see matters, too
                rows = self._most_important(draft.scene, room)
            else:
                weights = sum(one.weight.astype(np.float64) for one in looks.values())
                rows = highest(weights * dimming, room)
            draft = draft.select(rows)
        return draft.joined(newborn)

    def _optimized(self, draft: Draft, looks, fitted: Fitted, key_number: int,
                   effort: RefineEffort, cancelled) -> Refined:
        free, frozen = draft.select(draft.free), draft.select(~draft.free)
        sights = {name: Sight.of(draft.scene, one.camera) for name, one in looks.items()}
        centers = {name: shown(sights[name], draft.free, one.wrong.shape)
                   for name, one in looks.items()}
        tasks = self._tasks(looks, centers, frozen.scene, effort.scale)
        if not tasks or not len(free.scene):
            return Refined(draft.scene, 0, float('nan'), rows=draft.rows)
        how = Densify(self._config.densify_threshold, self._max_gaussians - len(frozen.scene),
                      self._config.prune_opacity)
        schedule = Schedule(effort.iterations, self._rates(), self._config.dssim, self._seed,
                            key_number, how, self._config.densify_every)
        outcome = optimize(free.scene, tasks, self._rasterizer, schedule, cancelled=cancelled,
                           moments=self._kept_moments(fitted, free.rows))
        share = np.mean([1.0 if task.tiles is None else task.tiles.mean()
                         for task in tasks.values()])
        scene = concatenated([frozen.scene, outcome.scene])
        return Refined(scene, effort.iterations,
                       outcome.loss, outcome.split, free=len(free.scene),
                       tiles_share=float(share),
                       rows=np.concatenate([frozen.rows, np.full(len(outcome.scene), -1)]),
                       fitted=self._refitted(fitted, looks, centers, frozen.rows, outcome))

    def _kept_moments(self, fitted: Fitted, rows: np.ndarray) -> Moments | None:
        """Of the Gaussians `rows` of the scene before, if they are kept from key to key."""
        if not self._config.keep_moments or fitted.moments is None:
            return None
        return fitted.moments.select(torch.from_numpy(rows))

    def _refitted(self, fitted: Fitted, looks: Mapping[str, Look], centers, frozen: np.ndarray,
                  outcome: Outcome) -> Fitted:
        """What the new key is fitted to. frozen: rows of the scene before that stay."""
        moments = None
        if self._config.keep_moments and outcome.moments is not None:
            still = outcome.moments.select(torch.full((len(frozen),), -1))  # zeros
            moments = still.joined(outcome.moments)
        areas = {name: fitted_area(one, centers[name]) for name, one in looks.items()}
        return fitted.refitted({name: one.image for name, one in looks.items()}, areas, moments)

    def _tasks(self, looks: Mapping[str, Look], centers: Mapping[str, np.ndarray],
               frozen: GaussianScene, scale: float) -> dict[str, Task]:
        """The views to fit, without those that show nothing free."""
        tasks = {}
        for name, one in looks.items():
            camera, image, tiles = one.camera, one.image, None
            if scale < 1:
                camera = camera.resized(max(1, round(camera.width * scale)))
                image = cv2.resize(image, (camera.width, camera.height),
                                   interpolation=cv2.INTER_AREA)
            if len(frozen):
                tiles = tiles_at(centers[name], camera)
            if tiles is None or tiles.any():
                tasks[name] = Task(camera, Target(image, self._rasterizer.device), tiles,
                                   self._rasterizer.context(frozen, camera, tiles=tiles))
        return tasks

    def _rates(self, share: float = 1.0) -> LearningRates:
        c = self._config
        return LearningRates(means=share * c.lr_means, quats=share * c.lr_quats,
                             log_scales=share * c.lr_scales, logits=share * c.lr_opacities,
                             sh_dc=share * c.lr_sh_dc, sh_rest=share * c.lr_sh)


class _Spent:
    """CPU seconds by part."""

    def __init__(self):
        self.seconds = dict.fromkeys(('stereo', 'select', 'optimize'), 0.0)

    @contextmanager
    def on(self, part: str):
        """The block belongs to `part`."""
        start = time.process_time()
        with span(part):
            yield
        self.seconds[part] += time.process_time() - start


def _marked(rows: np.ndarray | None, count: int) -> np.ndarray:
    """[count] bool: the rows."""
    marks = np.zeros(count, bool)
    marks[[] if rows is None else rows] = True
    return marks
