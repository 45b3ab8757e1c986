# SPDX-License-Identifier: Apache-2.0
"""One key refinement from start to end."""
from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.config import RefineConfig
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene, concatenated
from igs_ros.core.timing import span
from igs_ros.render.importance import importance
from igs_ros.render.loss import Target
from igs_ros.render.optimize import Densify, LearningRates
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.stages.refine.births import fade, inconsistent, spawn_from_stereo
from igs_ros.stages.refine.draft import KeyDraft
from igs_ros.stages.refine.optimization import (
    HYPERPARAMETERS,
    Hyperparameters,
    Schedule,
    ViewTask,
    optimize,
)
from igs_ros.stages.refine.places import remembered
from igs_ros.stages.refine.reference import ReferenceImages
from igs_ros.stages.refine.residuals import ViewResidual, compare_views
from igs_ros.stages.refine.selection import (
    cap_by_change,
    center_mask,
    fitting_area,
    select_changed,
    tiles_at,
    top_k,
)
from igs_ros.vision.visibility import Visibility

log = logging.getLogger(__name__)
_BIRTH_SHARE = 0.1  # of the limit: most births per key
_SPLIT_SHARE = 0.01  # of the limit: most room for splits, when something has to give way
_FAINT = 0.1  # of the mean weight: what shows less gives way to splits; who shows more and gives
# way is missed: in hundreds of keys all views, the unseen ones first, lose by it
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
    parents: np.ndarray | None = None
    # [len(scene)] int64 row of the given scene that a Gaussian is, or descends from; -1 = newborn
    seconds: Mapping[str, float] = field(default_factory=dict)  # CPU: stereo, select, optimize
    reference: ReferenceImages | None = None  # what the scene is fitted to; None = as before


class Refiner:
    """Refines key scenes of one rig of working cameras.

    Args:
        rasterizer: draws.
        cameras: the working cameras that feed the scene, by name.
        config: settings.
        max_gaussians: bound of the scene at all times.
        seed: of everything random.
        threads: of stereo.
        hyperparameters: None = those that the settings choose.
    """

    def __init__(self, rasterizer: Rasterizer, cameras: Mapping[str, Camera],
                 config: RefineConfig, max_gaussians: int, seed: int, threads: int = 1,
                 hyperparameters: Hyperparameters | None = None):
        self._rasterizer = rasterizer
        self._cameras = dict(cameras)
        self._config = config
        self._fixed = hyperparameters or HYPERPARAMETERS[config.learning_rates]
        self._max_gaussians = max_gaussians
        self._seed = seed
        self._threads = threads

    def refine(self, scene: GaussianScene, frame_set: FrameSet, key_number: int,
               cancelled: Callable[[], bool] = lambda: False, *,
               reference: ReferenceImages | None = None, moved: np.ndarray | None = None,
               effort: RefineEffort | None = None, catch_up: bool = False) -> Refined:
        """`scene` (which is left as it is) fitted to the images of `frame_set`.

        Cameras without an image are left out.

        Args:
            scene: the moved key, N Gaussians.
            frame_set: what `scene` shows.
            key_number: counts the keys of a run; with the seed it fixes everything random.
            cancelled: asked now and then; once it is true, `Cancelled` is raised.
            reference: what the key was fitted to; None = nothing is known, then all is free.
            moved: [M] rows of `scene` that motion moved.
            effort: None = that of the settings.
            catch_up: three times the iterations of the settings, after sets that were held.

        Raises:
            FloatingPointError: the optimization diverges; the caller keeps the scene it has.
            Cancelled: soon after `cancelled()` is true.
        """
        effort = effort or RefineEffort(self._config.iterations * (_CATCH_UP if catch_up else 1),
                                        1.0, self._max_gaussians)
        images, cameras = self._images(frame_set), frame_set.in_place(self._cameras)
        visited = self._visited(scene, frame_set, reference)
        places = (*cameras.values(), *visited)
        draft, spent = self._bounded(scene, places), _Spent()
        if not images or not effort.iterations:
            return Refined(draft.scene, 0, float('nan'), pruned=len(scene) - len(draft.scene),
                           parents=draft.rows)
        if reference is None or not self._config.selective:
            reference = ReferenceImages()
        reference = replace(reference, visited=visited)
        with spent.on('select'):
            residuals = compare_views(draft.scene, images, cameras, self._rasterizer,
                                      reference, self._cameras)
        newborn = draft.scene.select(slice(0))
        if self._config.births:
            with spent.on('stereo'):
                max_newborn = min(round(_BIRTH_SHARE * self._max_gaussians), effort.max_free)
                newborn = spawn_from_stereo(residuals, draft.scene, max_newborn, self._seed,
                                            self._threads)
        with spent.on('select'):
            bright = draft.scene.opacities
            draft = self._select(draft, residuals, _marked(moved, len(scene))[draft.rows],
                                 effort.max_free - len(newborn))
            dimming = (draft.scene.opacities / bright.clamp_min(1e-9)).cpu().numpy()
            draft = self._with_newborn(draft, newborn, residuals, dimming, places)
        with spent.on('optimize'):
            refined = self._optimized(draft, residuals, reference, frame_set, key_number, effort,
                                      cancelled)
        if len(refined.scene) < (1 - _COLLAPSE) * min(len(scene), self._max_gaussians):
            raise FloatingPointError(f'{len(scene)} Gaussians collapsed to {len(refined.scene)}')
        gone = len(scene) + len(newborn) + refined.split - len(refined.scene)
        return replace(refined, born=len(newborn), seconds=spent.seconds, pruned=gone)

    def polish(self, scene: GaussianScene, frame_set: FrameSet, number: int, iterations: int,
               cancelled: Callable[[], bool] = lambda: False) -> Refined:
        """All of `scene` fitted a little better to `frame_set` (prepared), which it shows already.

        A tenth of the rates, no births, no splits, nothing pruned: rows stay what they are.

        Args:
            scene: all of it is free.
            frame_set: what `scene` shows.
            number: counts polishes; with the seed it fixes the order of the cameras.
            iterations: 0 = nothing is done.
            cancelled: asked now and then; once it is true, `Cancelled` is raised.

        Raises:
            FloatingPointError: the optimization diverges.
            Cancelled: soon after `cancelled()` is true.
        """
        spent = _Spent()
        cameras = frame_set.in_place(self._cameras)
        tasks = {name: ViewTask(cameras[name], Target(image, self._rasterizer.device,
                                                       cameras[name].valid))
                 for name, image in self._images(frame_set).items()}
        if not tasks or not iterations or not len(scene):
            return Refined(scene, 0, float('nan'), parents=np.arange(len(scene)))
        schedule = Schedule(iterations, self._rates(_POLISH), self._fixed.dssim, self._seed,
                            number)
        with spent.on('optimize'):
            outcome = optimize(scene, tasks, self._rasterizer, schedule, cancelled=cancelled)
        log.info('polished %d Gaussians in %d iterations, loss %.4f', len(scene), iterations,
                 outcome.loss)
        return Refined(outcome.scene, iterations, outcome.loss, free=len(scene), tiles_share=1.0,
                       rows=np.full(len(scene), -1), parents=np.arange(len(scene)),
                       seconds=spent.seconds)

    def _images(self, frame_set: FrameSet) -> dict[str, np.ndarray]:
        return {name: image for name, image in sorted(frame_set.images.items())
                if name in self._cameras}

    def _visited(self, scene: GaussianScene, frame_set: FrameSet,
                 reference: ReferenceImages | None) -> tuple[Camera, ...]:
        """From where the scene has been seen, if cameras move."""
        before = reference or ReferenceImages()
        if not (frame_set.cameras or before.cameras or before.visited):
            return ()
        seen = [before.in_place(self._cameras), frame_set.in_place(self._cameras)]
        return remembered(before.visited, [camera for places in seen
                                           for camera in places.values()],
                          scene.means.cpu().numpy())

    def _bounded(self, scene: GaussianScene, places: Sequence[Camera]) -> KeyDraft:
        """All that the limit allows, those that matter most; none is free yet."""
        draft = KeyDraft(scene, np.arange(len(scene)), np.zeros(len(scene), bool))
        if len(scene) <= self._max_gaussians:
            return draft
        log.warning('scene of %d Gaussians is above the limit of %d: keeping those that the '
                    'cameras see most of', len(scene), self._max_gaussians)
        return draft.select(top_k(self._importance(scene, places), self._max_gaussians))

    def _importance(self, scene: GaussianScene, places: Sequence[Camera]) -> np.ndarray:
        """[N] how much of the Gaussians is seen from some places; small pictures will do."""
        small = {str(number): camera.resized(max(1, camera.width // 2))
                 for number, camera in enumerate(places)}
        return importance(scene, self._rasterizer, small).cpu().numpy()

    def _select(self, draft: KeyDraft, residuals: Mapping[str, ViewResidual], moved: np.ndarray,
                max_free: int) -> KeyDraft:
        """With at most `max_free` free: what changed, moved (bool, of the draft) or is wrong."""
        faded = np.zeros(len(moved), bool)
        if self._config.births:
            faded = inconsistent(residuals)
        free = cap_by_change(select_changed(residuals) | moved | faded, residuals,
                             max_free)
        return replace(draft, free=free, scene=fade(draft.scene, faded & free))

    def _with_newborn(self, draft: KeyDraft, newborn: GaussianScene,
                      residuals: Mapping[str, ViewResidual], dimming: np.ndarray,
                      places: Sequence[Camera]) -> KeyDraft:
        """What matters least gives way to the newborn. dimming: [N] of the opacities, 0..1."""
        room = self._max_gaussians - len(newborn)
        if len(newborn) and len(draft.scene) > room:
            # what only the absent see, or was seen from elsewhere, matters, too
            if len(places) > len(self._cameras):
                weights = self._importance(draft.scene, places) * dimming
            elif len(residuals) < len(self._cameras):
                weights = self._importance(draft.scene, places)
            else:
                weights = sum(one.weight.astype(np.float64) for one in residuals.values()) \
                    * dimming
            faint = int((weights < _FAINT * weights.mean()).sum())
            splits = min(round(_SPLIT_SHARE * self._max_gaussians),
                         max(0, faint - (len(weights) - room)))
            draft = draft.select(top_k(weights, room - splits))
        return draft.joined(newborn)

    def _optimized(self, draft: KeyDraft, residuals, reference: ReferenceImages,
                   frame_set: FrameSet, key_number: int, effort: RefineEffort, cancelled
                   ) -> Refined:
        free, frozen = draft.select(draft.free), draft.select(~draft.free)
        centers = {name: center_mask(Visibility.of(draft.scene, one.camera), draft.free,
                                     one.wrong.shape) for name, one in residuals.items()}
        tasks = self._tasks(residuals, centers, frozen.scene, effort.scale)
        fitted = reference.updated(frame_set, {name: fitting_area(one, centers[name])
                                               for name, one in residuals.items()})
        if not tasks or not len(free.scene):
            moved = any(one.moved for one in residuals.values())
            return Refined(draft.scene, 0, float('nan'), rows=draft.rows, parents=draft.rows,
                           reference=fitted if moved else None)
        how = Densify(self._fixed.densify_threshold, self._max_gaussians - len(frozen.scene),
                      self._fixed.prune_opacity)
        schedule = Schedule(effort.iterations, self._rates(), self._fixed.dssim, self._seed,
                            key_number, how, self._fixed.densify_every)
        outcome = optimize(free.scene, tasks, self._rasterizer, schedule, cancelled=cancelled)
        share = np.mean([1.0 if task.tiles is None else task.tiles.mean()
                         for task in tasks.values()])
        scene = concatenated([frozen.scene, outcome.scene])
        return Refined(scene, effort.iterations,
                       outcome.loss, outcome.split, free=len(free.scene),
                       tiles_share=float(share),
                       rows=np.concatenate([frozen.rows, np.full(len(outcome.scene), -1)]),
                       parents=np.concatenate([frozen.rows, free.rows[outcome.origins]]),
                       reference=fitted)

    def _tasks(self, residuals: Mapping[str, ViewResidual], centers: Mapping[str, np.ndarray],
               frozen: GaussianScene, scale: float) -> dict[str, ViewTask]:
        """The views to fit, without those that show nothing free."""
        tasks = {}
        for name, one in residuals.items():
            camera, image, tiles = one.camera, one.image, None
            if scale < 1:
                camera = camera.resized(max(1, round(camera.width * scale)))
                image = cv2.resize(image, (camera.width, camera.height),
                                   interpolation=cv2.INTER_AREA)
            if len(frozen):
                tiles = tiles_at(centers[name], camera)
            if tiles is None or tiles.any():
                tasks[name] = ViewTask(camera, Target(image, self._rasterizer.device,
                                                     camera.valid), tiles,
                                       self._rasterizer.context(frozen, camera, tiles=tiles))
        return tasks

    def _rates(self, share: float = 1.0) -> LearningRates:
        return LearningRates(**{name: share * rate
                                for name, rate in vars(self._fixed.rates).items()})


class _Spent:
    """CPU seconds by part."""

    def __init__(self):
        self.seconds: dict[str, float] = {'stereo': 0.0, 'select': 0.0, 'optimize': 0.0}

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
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
