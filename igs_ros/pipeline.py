# SPDX-License-Identifier: Apache-2.0
"""The main path: frame sets in, a moving Gaussian scene out.

    prepare   raw pictures -> working images
    update    are they plausible? -> does much change at once? -> motion moves the key to them
              -> is a key due?
    refine    the moved scene -> the next key
    take_key  it is moved to the newest frame set, and shown

That is one step, whoever takes it. `Pipeline.step` takes it in lockstep, in one thread and
without a clock, so that the same recording and seed give the same scenes; `Pipeline.run` takes one
for each of many frame sets, and `reconstruct` those of a recording.
`live.pipeline.LivePipeline`, which the node runs, only decides when and in which thread these
four are called. What comes out are `Snapshot`s.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.config import Config, check_change
from igs_ros.core.frames import FrameSet, RawFrameSet
from igs_ros.core.points import Points
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import Snapshot
from igs_ros.core.timing import span, spending
from igs_ros.io.recordings.recording import Recording, train_views
from igs_ros.stages.bootstrap.first_scene import FirstScene, takes_points
from igs_ros.stages.expectation import Expectation, glance
from igs_ros.stages.knowledge import Knowledge
from igs_ros.stages.motion.models import MotionEffort, MotionModel
from igs_ros.stages.plausibility import Change, PlausibilityCheck
from igs_ros.stages.refine.refiner import Refined, RefineEffort
from igs_ros.stages.schedule import KeySchedule
from igs_ros.stages.stages import Stages
from igs_ros.stages.steps import NOTHING_SPENT, Key, KeyJob, Step, Update
from igs_ros.stages.timeline import Timeline


class Pipeline:
    """One scene that follows frame sets.

    `refine` and `polish` may run in another thread than the rest; they change nothing here.

    Args:
        config: all settings.
        cameras: calibrated cameras of the raw pictures, by name, distorted or not.

    Raises:
        InputError: the settings ask for something that is not there.
    """

    def __init__(self, config: Config, cameras: Mapping[str, Camera]):
        self.stages = Stages(config, cameras)
        self.epoch = 0
        self._knowledge = Knowledge()
        self._schedule = KeySchedule(config.key_interval, config.key_frames, config.early_key)
        self._plausibility = PlausibilityCheck(config.hold_s)
        self._timeline: Timeline | None = None
        self._model: MotionModel | None = None  # of the timeline
        self._effort: MotionEffort | None = None
        self._updates = self._keys = self._polishes = 0
        self._key_owed = False  # something sudden happened, and no key has been begun since

    # -- the four of a step ----------------------------------------

    def prepare(self, frame_set: RawFrameSet) -> FrameSet:
        """Working images of the pictures that can be used."""
        with span('decode'):
            return self.stages.preparer.prepare(frame_set)

    def update(self, frame_set: FrameSet) -> Update:
        """Move the scene to a frame set, in time order; implausible images are left out.

        Where too few are left, the scene stays as it is.
        """
        timeline = self.timeline
        with span('plausibility'):
            cameras = frame_set.in_place(self.stages.cameras)
            checked = self._plausibility.check(frame_set, lambda name: glance(
                timeline.snapshot.scene, cameras[name], self.stages.rasterizer))
        if checked.held:
            return Update(checked)
        frame_set, change = checked.frame_set, checked.change
        jumped = frame_set.stamp_ns < timeline.newest.stamp_ns
        if jumped or change is Change.BACK:
            self.epoch += 1
        self._key_owed |= self._schedule.sudden(
            frame_set, timeline.newest, change,
            (lambda: self._references(frame_set)) if timeline.cameras_moved(frame_set) else None)
        with spending() as spent, span('motion'):
            moved = timeline.advance(frame_set, change)
        self._updates += 1
        due = self._schedule.due(self._updates)
        return Update(checked, moved, due or self._key_owed, jumped, spent())

    def _references(self, frame_set: FrameSet) -> dict[str, np.ndarray]:
        """What images of cameras that may have moved are to be compared with, by camera."""
        newest, rig = self.timeline.newest, self.stages.cameras
        shown = Expectation.of(self.timeline.snapshot.scene, newest, rig, self.stages.rasterizer)
        return shown.references(frame_set.images, frame_set.in_place(rig))

    def refine(self, job: KeyJob, cancelled: Callable[[], bool] = lambda: False,
               effort: RefineEffort | None = None) -> Key:
        """The key of a job.

        Args:
            job: from `new_job`.
            cancelled: asked now and then; true = the key is not wanted any more.
            effort: what it may cost; None = what the settings say.

        Raises:
            FloatingPointError: it diverges.
            Cancelled: soon after `cancelled()` is true.
        """
        with span('refine'):
            refined = self.stages.refiner.refine(
                job.scene, job.frame_set, job.number, cancelled, reference=job.reference,
                moved=job.moved, effort=effort, catch_up=job.catch_up)
            return self._key(job, refined)

    def _key(self, job: KeyJob, refined: Refined) -> Key:
        known = self.stages.supported(refined.scene, job.frame_set)
        refined = replace(refined, scene=known.scene)
        return Key(job, refined, job.follow(refined.scene, job.frame_set), known.confirmed)

    def take_key(self, key: Key) -> None:
        """Show a key from now on, moved to the newest frame set."""
        with span('swap'):
            self.timeline.take_key(key.refined.scene, key.job.frame_set, key.refined.reference,
                                   key.follower, key.refined.parents)
            self._knowledge.update(key.confirmed)

    # -- what comes before and between ----------------------------------------

    def begin(self, frame_set: FrameSet, points: Points | None = None,
              progress: Callable[[str, float], None] | None = None, scene_id: int = 1,
              scene: GaussianScene | None = None) -> FirstScene:
        """Make the first scene.

        Args:
            frame_set: what it shows.
            points: sparse points of the recording, if it has some.
            progress: gets a stage and which share of it is done, 0..1; what it raises ends it.
            scene_id: of all snapshots.
            scene: what to begin with; None = it is made as the settings say.

        Raises:
            InputError: nothing can be made of these images.
        """
        self.stages.warm_up(*([progress] if progress else []))
        with span('bootstrap'):
            cameras = frame_set.in_place(self.stages.cameras)
            self._knowledge = Knowledge()
            self._knowledge.begin(frame_set, cameras, None if points is None else points.xyz)
            first = self.stages.first_scene(frame_set, points, progress, scene)
            known = self.stages.supported(first.scene, frame_set, refining=False)
            self._knowledge.first(known, frame_set, cameras)
            first = replace(first, scene=known.scene,
                            report=replace(first.report, confirmed=known.confirmed))
        self._plausibility = PlausibilityCheck(self.stages.config.hold_s)
        self._plausibility.check(frame_set)  # what comes next is compared with it
        self._timeline = Timeline(self._new_motion, first.scene, frame_set, scene_id)
        return first

    def new_job(self, update: Update, polish: bool = False) -> KeyJob:
        """The job of the key that `update` wants, which is owed no more; or of a polish.

        Raises:
            ValueError: `update` made nothing of its frame set.
        """
        moved, timeline = update.moved, self.timeline
        if moved is None:
            raise ValueError('a frame set of which nothing was made makes no key')
        if not polish:
            self._key_owed = False
            self._keys += 1
        return KeyJob(self._keys, self.epoch, moved.scene, moved.rows, timeline.reference,
                      update.checked.frame_set, timeline.follow,
                      update.checked.change is not Change.NONE)

    def polish(self, job: KeyJob, cancelled: Callable[[], bool] = lambda: False) -> Key:
        """All of a scene fitted a little better, at low rates.

        Raises:
            FloatingPointError: it diverges.
            Cancelled: soon after `cancelled()` is true.
        """
        self._polishes += 1
        with span('polish'):
            refined = self.stages.refiner.polish(job.scene, job.frame_set, self._polishes,
                                                 self.stages.config.refine.polish_iterations,
                                                 cancelled)
            # it moves next to nothing: what was known still is
            scene = refined.scene.replaced(support=job.scene.support)
            return self._key(job, replace(refined, scene=scene))

    def is_current(self, job: KeyJob) -> bool:
        """Whether the key of a job can still be taken."""
        return job.epoch == self.epoch

    def forget(self) -> None:
        """Drop the scene: the next thing is `begin`."""
        self._timeline = None
        self._key_owed = False
        self.epoch += 1

    def close(self) -> None:
        """End the threads that decode; the scene stays, and `prepare` would start them again."""
        self.stages.preparer.close()

    def ask_for_key(self) -> None:
        """The next frame set that moves the scene makes a key, whatever the schedule says."""
        self._key_owed = True

    def change(self, config: Config) -> None:
        """Go on with other settings from the next step; a refinement in hand keeps its own.

        Args:
            config: of which only those of `core.config.changeable(Config)` may be others.

        Raises:
            InputError: a value that is not allowed, or of a setting that cannot change.
        """
        check_change(self.stages.config, config)
        self._schedule = KeySchedule(config.key_interval, config.key_frames, config.early_key)
        self.stages.change(config)

    def set_motion_effort(self, effort: MotionEffort) -> None:
        """What motion may cost per frame set from now on."""
        self._effort = effort
        if self._model is not None:
            self._model.set_effort(effort)

    def _new_motion(self) -> MotionModel:
        self._model = self.stages.new_motion()
        if self._effort is not None:
            self._model.set_effort(self._effort)
        return self._model

    @property
    def confirmed_share(self) -> float:
        """Share of the pictures of the key that a second camera confirms; NaN before a scene."""
        return self._knowledge.share

    @property
    def doubt(self) -> str:
        """Why views from elsewhere than the cameras may not be believed; '' = they may."""
        return self._knowledge.doubt

    @property
    def started(self) -> bool:
        """Whether there is a scene."""
        return self._timeline is not None

    @property
    def timeline(self) -> Timeline:
        """The scene over time.

        Raises:
            RuntimeError: there is none before `begin`.
        """
        if self._timeline is None:
            raise RuntimeError('there is no scene yet: call begin (or start) first')
        return self._timeline

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest scene, None before there is one."""
        return None if self._timeline is None else self._timeline.snapshot

    # -- lockstep ----------------------------------------

    def run(self, frame_sets: Iterable[RawFrameSet], points: Points | None = None,
            progress: Callable[[str, float], None] | None = None) -> Iterator[Step]:
        """`start` with the first frame set if there is no scene yet, and `step` with the others.

        Args:
            frame_sets: in time order.
            points: sparse points for the first scene, if there are some.
            progress: of the first scene, see `begin`.

        Yields:
            One step per frame set, taken when it is asked for.

        Raises:
            InputError: no first scene can be made of the first frame set.
        """
        for frame_set in frame_sets:
            if self.started:
                yield self.step(frame_set)
                continue
            prepared = self.prepare(frame_set)
            self.begin(prepared, points, progress)
            yield Step('first', self.timeline.snapshot, NOTHING_SPENT, NOTHING_SPENT, None,
                       tuple(problem.text for problem in prepared.problems))

    def start(self, frame_set: RawFrameSet, points: Points | None = None,
              progress: Callable[[str, float], None] | None = None) -> FirstScene:
        """`prepare` and `begin`.

        Args:
            frame_set: what the first scene shows.
            points: see `begin`.
            progress: see `begin`.

        Raises:
            InputError: nothing can be made of these pictures.
        """
        return self.begin(self.prepare(frame_set), points, progress)

    def step(self, frame_set: RawFrameSet) -> Step:
        """Bring the scene to `frame_set`; a key that is wanted is refined and taken at once."""
        with span('update'):
            prepared = self.prepare(frame_set)
            update = self.update(prepared)
        checked = update.checked
        problems = [*(problem.text for problem in prepared.problems), *checked.notes]
        refined = None
        with spending() as refinement:
            if update.key_wanted:
                refined = self._refine_now(self.new_job(update), problems)
        return Step('key' if update.key_wanted else 'candidate', self.timeline.snapshot,
                    update.spent, refinement() if update.key_wanted else NOTHING_SPENT, refined,
                    tuple(problems), checked.implausible, checked.held)

    def _refine_now(self, job: KeyJob, problems: list[str]) -> Refined | None:
        """Refine, polish if the settings say so, and take the key."""
        try:
            key = self.refine(job)
        except FloatingPointError as error:
            problems.append(f'refinement discarded: {error}')
            return None
        refined = key.refined
        if self.stages.config.refine.polish_iterations:
            try:
                polished = self.polish(replace(job, scene=refined.scene))
                key = replace(polished, refined=replace(polished.refined,
                                                        reference=refined.reference))
            except FloatingPointError as error:
                problems.append(f'polish discarded: {error}')
        self.take_key(key)
        return refined


def reconstruct(recording: Recording, config: Config | None = None, *,
                cameras: Iterable[str] | None = None, first: int = 0, last: int | None = None,
                progress: Callable[[str, float], None] | None = None) -> Iterator[Step]:
    """A recording in lockstep: its first scene, then a candidate or key per frame.

    The same recording, settings and seed give the same scenes on one machine.

    Args:
        recording: what `open_recording` returns.
        config: all settings; None for the defaults.
        cameras: names of those to reconstruct from; None for all that are not held out.
        first: frame of the first scene.
        last: frame to end before; None for the end of the recording.
        progress: of the first scene: gets a stage and which share of it is done, 0..1; what it
            raises ends it.

    Returns:
        One step per frame, each taken when it is asked for.

    Raises:
        InputError: the settings, cameras or frames asked for are not there, or their files cannot
            be read (at the call); no first scene can be made (at the first step).
    """
    config = config or Config()
    held_out = next(iter(recording.held_out), None) if cameras is None else None
    names = train_views(recording, held_out, cameras)
    frame_sets = recording.frame_sets(first, last, names)
    points = recording.points() if takes_points(config.bootstrap.method) else None
    pipeline = Pipeline(config, {name: recording.cameras[name] for name in names})
    return pipeline.run(frame_sets, points, progress)
