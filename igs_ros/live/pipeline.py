# SPDX-License-Identifier: Apache-2.0
"""The live pipeline: its threads, and what the outside sees of them."""
from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from igs_ros.core.camera import Camera
from igs_ros.core.config import Config, check_change
from igs_ros.core.errors import InputError, shown
from igs_ros.core.frames import FrameSet, RawFrameSet
from igs_ros.core.machine import gpu_mb, rss_mb, yield_to_others
from igs_ros.core.points import Points
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import Snapshot, View
from igs_ros.core.status import Status
from igs_ros.core.timing import Recorder, span, spans_to
from igs_ros.core.trace import Trace
from igs_ros.live.budget import Budget
from igs_ros.live.exchange import Exchange
from igs_ros.live.health import STALL_AFTER_S, Facts, judge
from igs_ros.live.heartbeat import Heartbeat
from igs_ros.live.motion_worker import MotionWorker
from igs_ros.live.refine_worker import RefineWorker
from igs_ros.live.streams import Stream
from igs_ros.live.threads import WatchedThread
from igs_ros.live.views import draw
from igs_ros.pipeline import Pipeline
from igs_ros.render.choose import make_rasterizer
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.stages.bootstrap.first_scene import BootstrapReport

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Shown:
    """A scene and the pictures that it shows."""

    snapshot: Snapshot
    frame_set: FrameSet  # of the same stamp
    step_s: float  # since the frame set before: velocities are measured over it


class LivePipeline:
    """A reconstruction that never blocks its callers.

    Use it as a context manager, which starts and stops its threads, or call `start` and `stop`.
    Everything else may be called from any thread at any time; before the first scene there is no
    snapshot and no view, and after the end the newest ones stay.

    Args:
        config: all settings.
        cameras: calibrated cameras of the raw pictures, by name, distorted or not.
        points: sparse points for the first scene.
        now_ns: clock of the stamps.
        listeners: called in the motion thread with every new snapshot; must not block.
        complete_wait_s: how long the first scene waits for a frame set of all cameras before it
            is made from what there is.
        stall_after_s: how long the scene may not follow the frame sets before the status says so
            (health.py).
        trace: takes what every thread does.

    Raises:
        InputError: the settings ask for something that is not there.
    """

    def __init__(self, config: Config, cameras: Mapping[str, Camera], *,
                 points: Points | None = None, now_ns: Callable[[], int] = time.time_ns,
                 listeners: Sequence[Callable[[Snapshot], None]] = (),
                 complete_wait_s: float = 5.0, stall_after_s: float = STALL_AFTER_S,
                 trace: Trace | None = None):
        self._pipeline = Pipeline(config, cameras)
        # its own threads: views must not queue behind the work of refinement
        self._view_rasterizer = make_rasterizer(config.device, config.threads)
        self._now_ns = now_ns
        self._config = config
        self._trace = trace
        self._stall_after_s = stall_after_s
        self._exchange = Exchange(len(cameras), self._pipeline.is_current,
                                  [self._note, *listeners])
        self._sinks = (self._exchange.timings, *([trace] if trace else ()))
        self._budget = Budget(config)
        device = self._view_rasterizer.device
        streams = {'motion': Stream(device, urgent=True), 'refine': Stream(device, urgent=False)}
        self._view_stream = Stream(device, urgent=True)
        self._motion_worker = MotionWorker(self._pipeline, self._exchange, self._budget,
                                           streams['motion'], points, complete_wait_s)
        self._refine_worker = RefineWorker(self._pipeline, self._exchange, self._budget,
                                           streams['refine'])
        rounds = {'motion': self._motion_worker.run_once, 'refine': self._refine_worker.run_once}
        self._threads = [WatchedThread(name, partial(self._run, name, run_once, streams[name]))
                         for name, run_once in rounds.items()]
        self._recorders: dict[str, Recorder] = {}  # of the threads, by name
        self._shown: Shown | None = None
        self._heartbeat = Heartbeat(self.status)

    @property
    def rasterizer(self) -> Rasterizer:
        """The rasterizer of views."""
        return self._view_rasterizer

    @property
    def working_cameras(self) -> dict[str, Camera]:
        """The cameras of the undistorted, resized pictures."""
        return self._pipeline.stages.cameras

    @property
    def first_report(self) -> BootstrapReport | None:
        """How the newest first scene was made."""
        return self._motion_worker.first_report

    @property
    def idle(self) -> bool:
        """Whether every frame set offered is dealt with, and no key is on its way."""
        return self._exchange.idle

    def __enter__(self) -> LivePipeline:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the threads; once."""
        for thread in self._threads:
            thread.start()
        self._heartbeat.thread.start()

    def stop(self) -> None:
        """Call off the work in hand and end the threads; the newest snapshot stays readable."""
        self._exchange.stop()
        self._heartbeat.thread.stop()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._pipeline.close()
        self._exchange.clear()

    def offer(self, frame_set: RawFrameSet) -> None:
        """Hand over a frame set (pictures may be encoded); an unread older one is dropped.

        Raises:
            InputError: it has a picture of a camera that is none of the pipeline's.
        """
        unknown = [name for name in frame_set.pictures if name not in self.working_cameras]
        if unknown:
            raise InputError(f'a frame set with pictures of {", ".join(map(shown, unknown))}; '
                             f'expected of {", ".join(self.working_cameras)}. Name them as the '
                             f'cameras are named.')
        self._exchange.offer(frame_set)

    def reset(self) -> None:
        """Forget the scene and make a new first one from the next frame set."""
        self._exchange.ask_for_reset()

    def load(self, scene: GaussianScene) -> None:
        """Forget the scene and begin with `scene` at the next frame set.

        It is taken as it is, or optimized where the settings say so (`bootstrap.optimize_ply`).
        """
        self._exchange.ask_for_reset(scene)

    def pause(self) -> None:
        """Take no frame sets until `resume`; the scene stays as it is, and so do its views.

        What is in hand is finished: a first scene, or a key that is being refined.
        """
        self._exchange.pause(True)

    def resume(self) -> None:
        """Take frame sets again."""
        self._exchange.pause(False)

    @property
    def paused(self) -> bool:
        """Whether no frame sets are taken."""
        return self._exchange.paused

    def refine_now(self) -> None:
        """Make a key of the next frame set, or the first one after the key in the making."""
        self._exchange.ask_for_key()

    @property
    def config(self) -> Config:
        """The settings, as they were last asked for."""
        return self._config

    def change(self, config: Config) -> None:
        """Go on with other settings, from the next frame set or key.

        Args:
            config: of which only those of `core.config.changeable(Config)` may be others.

        Raises:
            InputError: a value that is not allowed, or of a setting that cannot change.
        """
        check_change(self._config, config)
        self._config = config
        self._exchange.ask_for_config(config)

    def snapshot(self) -> Snapshot | None:
        """The newest scene to show, None before the first."""
        return self._exchange.snapshot

    def shown(self) -> Shown | None:
        """The newest scene with its pictures, None before the first."""
        return self._shown if self.snapshot() is not None else None

    def view(self, camera: Camera, snapshot: Snapshot | None = None, confidence: bool = False
             ) -> View | None:
        """What `camera` (no distortion) sees of `snapshot`, or of the newest scene.

        None before the first scene. When the budget of views is short, the picture is drawn
        coarser and enlarged. Safe from any one thread at a time.

        Args:
            camera: without distortion.
            snapshot: None = the newest.
            confidence: whether `View.confidence` and `known_depth` are wanted (it draws twice).
        """
        snapshot = snapshot or self.snapshot()
        if snapshot is None:
            return None
        age_s = (self._now_ns() - snapshot.stamp_ns) * 1e-9
        begun_s = time.perf_counter()
        with spans_to(*self._sinks), span('view'), self._view_stream.current():
            view = draw(self._view_rasterizer, snapshot, camera, age_s, self._budget.view_scale,
                        confidence)
        self._budget.note('view', time.perf_counter() - begun_s)
        return view

    def expect_views(self, per_second: float) -> None:
        """Tell how many views per second will be asked for, where not `budget.view_hz`."""
        self._budget.expect_views(per_second)

    def last_s(self, stage: str) -> float:
        """How long the newest run of a stage (by path) took; 0 before the first."""
        return self._exchange.timings.last_s(stage)

    def facts(self) -> Facts:
        """What is known of its progress, for `igs_ros.live.health.judge`."""
        inside = {name: recorder.inside() for name, recorder in self._recorders.copy().items()}
        stage, stage_s = inside.get('motion', ('', 0.0))
        refining, refining_s = inside.get('refine', ('', 0.0))
        died = {worker.name: worker.died_of for worker in (*self._threads, self._heartbeat.thread)
                if worker.died_of}
        return replace(self._exchange.facts(), stage=stage, stage_s=stage_s, refining=refining,
                       refining_s=refining_s, dead=died)

    def status(self, facts: Facts | None = None) -> Status:
        """How things stand now.

        Args:
            facts: where the caller knows more than `facts` does; None = what that says.
        """
        shown = self.snapshot()
        state, message = judge(facts or self.facts(), self._stall_after_s)
        status = replace(
            self._exchange.status(), state=state, message=message, levels=self._budget.levels,
            reduced=self._budget.reduced(), rss_mb=rss_mb(), gpu_mb=gpu_mb())
        if shown is None:
            return status
        return replace(
            status, stamp_ns=shown.stamp_ns, scene_id=shown.scene_id, sequence=shown.sequence,
            scene_age_s=self._age_s(shown), key_sequence=shown.key_sequence,
            gaussians=len(shown.scene))

    def _age_s(self, snapshot: Snapshot) -> float:
        return (self._now_ns() - snapshot.stamp_ns) * 1e-9

    def _note(self, snapshot: Snapshot) -> None:
        timeline = self._pipeline.timeline
        self._shown = Shown(snapshot, timeline.newest, timeline.step_s)
        age_s = self._age_s(snapshot)
        self._exchange.timings.add('age', age_s)
        if self._trace is not None:
            self._trace.gauge('scene age', {'ms': 1000 * age_s})
            self._trace.gauge('Gaussians', {'count': len(snapshot.scene)})
            self._trace.gauge('rungs below full effort', self._budget.levels)

    def _run(self, name: str, run_once: Callable[[], bool], stream: Stream) -> None:
        """Work until the end; an `Exception` costs one round, never the thread."""
        if name == 'refine':
            yield_to_others()
        with spans_to(*self._sinks) as recorder, stream.current():
            self._recorders[name] = recorder
            while True:
                try:
                    if not run_once():
                        return
                except Exception as error:
                    self._exchange.warn(f'internal error in the {name} thread; the scene is kept: '
                                        f'{error!r}', exc_info=True)
