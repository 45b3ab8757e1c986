# SPDX-License-Identifier: Apache-2.0
"""The main path: frame sets in, a live Gaussian scene out.

    first frame set  -> bootstrap                        -> the first key scene
    every frame set  -> plausibility: pictures that cannot be are left out, or the scene is held
                     -> motion: the key scene, moved to it
    every k-th       -> refine: the moved scene becomes the next key scene

`Pipeline` walks that line in lockstep, one frame set after the other: it never looks at a clock,
so the same recording and seed give the same scenes. `igs_ros.live.LivePipeline` runs the same
stages at their own pace. Both hand out `Snapshot`s.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from igs_ros.core.camera import Camera
from igs_ros.core.config import Config
from igs_ros.core.frames import FrameSet, RawFrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import Moved, Snapshot
from igs_ros.core.timing import Spent, span, spending
from igs_ros.render.choose import make_rasterizer
from igs_ros.stages.bootstrap import first_scene as bootstrap
from igs_ros.stages.bootstrap.first_scene import FirstScene
from igs_ros.stages.motion import choose as motion
from igs_ros.stages.motion.models import MotionModel
from igs_ros.stages.plausibility import Change, Checked, PlausibilityCheck
from igs_ros.stages.refine.refiner import Refined, Refiner
from igs_ros.stages.schedule import KeySchedule
from igs_ros.stages.timeline import Timeline
from igs_ros.stages.warm_up import Progress, warm_up
from igs_ros.vision.preparer import Preparer

_NOTHING_SPENT = Spent(0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Step:
    """What one frame set did in lockstep."""

    kind: str  # 'key' or 'candidate'
    snapshot: Snapshot
    motion: Spent
    refinement: Spent  # zeros for candidates
    refined: Refined | None
    problems: tuple[str, ...]  # pictures that could not be used, and refinements that diverged
    implausible: Mapping[str, str] = field(default_factory=dict)  # why, by camera left out
    held: str = ''  # why nothing was made of the frame set and the scene stays; '' = it moved


class Stages:
    """The stages of the line for one rig, made once.

    config: settings; cameras: calibrated cameras (raw, maybe distorted) that feed the scene.
    """

    def __init__(self, config: Config, cameras: Mapping[str, Camera]):
        # small tensors: more torch threads only fight with the rasterizer's own pool
        torch.set_num_threads(1)
        motion.check_motion(config.motion, config.motion_model)  # before a first scene is made
        self.config = config
        self.preparer = Preparer(cameras, config.width or None)
        self.cameras = self.preparer.cameras
        self.rasterizer = make_rasterizer(config.device, config.threads)
        # with threads of its own: live, they yield to those of motion and views
        self.refiner = Refiner(make_rasterizer(config.device, config.threads), self.cameras,
                               config.refine, config.max_gaussians, config.seed, config.threads)

    def new_motion(self) -> MotionModel:
        """A motion model that has seen nothing yet."""
        return motion.make_motion(self.config.motion, self.cameras, self.rasterizer,
                             self.config.motion_model, self.config.threads)

    def warm_up(self, progress: Progress = lambda stage, done: None) -> None:
        """Load or compile what frames would wait for; see `igs_ros.stages.warm_up`."""
        with span('warm_up'):
            warm_up(self.rasterizer, progress)

    def first_scene(self, frame_set: FrameSet, points=None, progress=None) -> FirstScene:
        """The first key scene from a prepared frame set (see `stages.bootstrap`)."""
        return bootstrap.first_scene(self.config.bootstrap.method, frame_set, self.cameras,
                                     points, self.rasterizer, self.config, progress)


class Pipeline:
    """The line in lockstep: `start` once, then `step` for every frame set, in time order."""

    def __init__(self, config: Config, cameras: Mapping[str, Camera]):
        self.stages = Stages(config, cameras)
        self._schedule = KeySchedule(config.key_interval, config.key_frames,
                                     config.early_key)
        self._plausibility = PlausibilityCheck(config.hold_s)
        self._steps = 0  # frame sets that moved the scene
        self._keys = 0
        self._timeline: Timeline | None = None

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest scene, None before `start`."""
        return None if self._timeline is None else self._timeline.snapshot

    def start(self, frame_set: RawFrameSet, points=None,
              progress: Callable[[str, float], None] | None = None) -> FirstScene:
        """Make the first scene. points: sparse `Points` of the recording, if it has some.

        Raises `InputError` when nothing can be made of these pictures.
        """
        with span('decode'):
            prepared = self.stages.preparer.prepare(frame_set)
        self.stages.warm_up(*([progress] if progress else []))
        with span('bootstrap'):
            first = self.stages.first_scene(prepared, points, progress)
        self._plausibility.check(prepared)  # what comes next is compared with it
        self._timeline = Timeline(self.stages.new_motion, first.scene, prepared)
        return first

    def step(self, frame_set: RawFrameSet) -> Step:
        """Bring the scene to `frame_set`; when it is due, it is refined, too.

        Implausible pictures are left out; where too few are left, the scene stays as it is.
        """
        with span('update'):
            with span('decode'):
                prepared = self.stages.preparer.prepare(frame_set)
            with span('plausibility'):
                checked = self._plausibility.check(prepared)
            problems = [*(problem.text for problem in prepared.problems), *checked.notes]
            if checked.held:
                return self._step('candidate', checked, problems)
            prepared = checked.frame_set
            early = self._schedule.sudden(prepared, self._timeline.newest, checked.change)
            with spending() as motion_spent, span('motion'):
                moved = self._timeline.advance(prepared, checked.change)
        self._steps += 1
        is_key = self._schedule.due(self._steps) or early
        refined = None
        with spending() as refine_spent:
            if is_key:
                refined = self._refine(moved, prepared, checked.change, problems)
        return self._step('key' if is_key else 'candidate', checked, problems, motion_spent(),
                          refine_spent() if is_key else _NOTHING_SPENT, refined)

    def _step(self, kind: str, checked: Checked, problems: list[str],
              motion: Spent = _NOTHING_SPENT, refinement: Spent = _NOTHING_SPENT,
              refined: Refined | None = None) -> Step:
        return Step(kind, self.snapshot, motion, refinement, refined, tuple(problems),
                    checked.implausible, checked.held)

    def _refine(self, moved: Moved, frame_set: FrameSet, change: Change, problems: list[str]
                ) -> Refined | None:
        self._keys += 1
        try:
            with span('refine'):
                refined = self.stages.refiner.refine(
                    moved.scene, frame_set, self._keys, reference=self._timeline.reference,
                    moved=moved.rows, catch_up=change is not Change.NONE)
        except FloatingPointError as error:
            problems.append(f'refinement discarded: {error}')
            return None
        key = self._polished(refined.scene, frame_set, problems)
        with span('swap'):
            self._timeline.take_key(key, frame_set, refined.reference)
        return refined

    def _polished(self, key: GaussianScene, frame_set: FrameSet, problems: list[str]
                  ) -> GaussianScene:
        """The key after its polish, if there is one."""
        iterations = self.stages.config.refine.polish_iterations
        if not iterations:
            return key
        try:
            with span('polish'):
                return self.stages.refiner.polish(key, frame_set, self._keys, iterations).scene
        except FloatingPointError as error:
            problems.append(f'polish discarded: {error}')
            return key
