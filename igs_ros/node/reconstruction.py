# SPDX-License-Identifier: Apache-2.0
"""What the node `igs` does while it is configured: cameras in, a live scene and its views out."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from rclpy.clock import ROSClock
from rclpy.node import Node

from igs_ros.core.camera import Camera
from igs_ros.core.config import Config
from igs_ros.core.errors import InputError
from igs_ros.core.frames import RawFrameSet
from igs_ros.core.logs import ThrottledWarnings
from igs_ros.core.snapshot import Snapshot
from igs_ros.core.status import Status
from igs_ros.core.timing import Drops
from igs_ros.io.codec.ply import read_points
from igs_ros.io.recordings.open import read_cameras
from igs_ros.live.health import Facts, judge
from igs_ros.live.pipeline import LivePipeline
from igs_ros.live.set_watch import SetWatch
from igs_ros.msg import SceneStatus
from igs_ros.node import convert, convert_scene, params
from igs_ros.node.depths import Depths
from igs_ros.node.diagnostics import Diagnostics, Known
from igs_ros.node.inputs import Inputs, steady_clock
from igs_ros.node.logs import RosHandler, with_traceback
from igs_ros.node.outputs import StateOutput
from igs_ros.node.params import NodeConfig, Views
from igs_ros.node.planner_outputs import PlannerOutput
from igs_ros.node.splats import splat_output
from igs_ros.node.tf_in import transform_source
from igs_ros.node.tf_out import TransformOutput
from igs_ros.node.view_cameras import camera_of
from igs_ros.node.view_outputs import ViewOutputs
from igs_ros.node.watchdog import Watchdog
from igs_ros.stages.motion import choose as motion

_LOOK_S = 0.1
_INACTIVE = 'inactive: no pictures are taken until the node is activated'


class Reconstruction:
    """Reconstructs the scene in front of a rig: `start` begins, `stop` rests, `close` ends.

    Args:
        node: that it works for; somebody spins it in between.
        settings: those of the node.
        config: those of the pipeline.

    Raises:
        InputError: unusable parameters.
    """

    def __init__(self, node: Node, settings: NodeConfig, config: Config):
        self._node = node
        self._log = node.get_logger()
        self._handler = RosHandler(self._log)
        self.settings, self.config = settings, config
        self._active = False
        motion.check_motion(self.config.motion, self.config.motion_model)
        self._from_tf = self.settings.extrinsics == 'tf' \
            or (self.settings.extrinsics == 'auto' and not self.settings.rig_file)
        rig = self._read_rig()
        names = self._input_names(rig)
        self._expected = len(names)
        self.pipeline: LivePipeline | None = None  # once the cameras are calibrated
        self._early: RawFrameSet | None = None  # the newest one from before the pipeline
        self._drops = Drops()
        self._warnings = ThrottledWarnings(self._log.warning, self._drops)
        self._watchdog = Watchdog(self._log, self.settings.stall_after_s, self._simulated_ns)
        self._depths = Depths(node, self.settings, names, self._on_frame_set,
                              self._first_scene_wanted) if self.settings.depth_topic else None
        views = params.declared_views(node, self.settings)
        followed = any(view.frame for view in views.values())
        transforms = transform_source(node, self._warnings) if self._from_tf or followed else None
        self._inputs = Inputs(node, self.settings, {name: rig.get(name) for name in names},
                              self._depths.take if self._depths else self._on_frame_set,
                              transforms if self._from_tf else None)
        # poses of TF are known later: those of the rig file are about another world
        self._rig = {name: rig.get(name) or nominal(name) for name in names} \
            if self._from_tf else rig
        self._cameras: dict[str, Camera] = {}  # once they are calibrated
        self._transforms = TransformOutput(node, self.settings, {} if self._from_tf else rig)
        self._views = ViewOutputs(node, self.settings, self.config, views, self._rig,
                                  self._warnings, self._drops, on_view=self._transforms.view,
                                  transforms=transforms)
        self._states = StateOutput(node, self.settings, self._status)
        self._planner = PlannerOutput(node, self.settings, self.config)
        self._sets = SetWatch()
        self._diagnostics = Diagnostics(node, self.settings, self._known)
        self._splats = splat_output(node, self.settings)
        self._outputs = [output for output in (self._views, self._states, self._planner,
                         self._diagnostics, self._splats) if output is not None]
        self._handler.attach()
        self._starter = node.create_timer(_LOOK_S, self._start_when_calibrated,
                                          clock=steady_clock())
        node.create_timer(min(1.0, self.settings.stall_after_s / 2), self._look,
                          clock=steady_clock())

    def start(self) -> None:
        """Subscribe to the cameras and start the threads of the outputs."""
        self._active = True
        self._watchdog.begin()
        if self._depths is not None:
            self._depths.start()
        self._inputs.start()
        for output in self._outputs:
            output.thread.start()
        self._log.info(f'waiting for {self._expected} cameras on {self._inputs.topics()} '
                       f'({self.settings.transport}, {self.settings.input_reliability})')

    def stop(self) -> None:
        """Stop inputs and outputs; the scene stays, and what is being made is finished."""
        if not self._active:
            return
        self._active = False
        self._inputs.stop()
        if self._depths is not None:
            self._depths.stop()
        for output in self._outputs:
            output.thread.stop()
        self._states.publish_status()  # the last word: late subscribers get it as well

    def close(self) -> None:
        """Stop all threads; the scene is forgotten."""
        self.stop()
        if self.pipeline is not None:
            self.pipeline.stop()
        self._handler.detach()

    def change(self, settings: NodeConfig, config: Config, views: Views) -> None:
        """Go on with other settings, of those that may change.

        Args:
            settings, config, views: that `check` has passed.
        """
        self.settings, self.config = settings, config
        self._views.change(settings, config, views, {**self._rig, **self._cameras})
        for output in self._states, self._planner, self._diagnostics:
            output.change(settings)
        if self.pipeline is not None:
            self.pipeline.change(config)

    def check(self, settings: NodeConfig, config: Config, views: Views) -> None:
        """Check the settings of views against the cameras that are here.

        Args:
            settings, config, views: of the node, of the pipeline, and of the views by name.

        Raises:
            InputError: a view cannot be as they have it.
        """
        for name, view in views.items():
            camera_of(name, view, settings, config, {**self._rig, **self._cameras})

    # -- start ----------------------------------------------------------------------------------

    def _read_rig(self) -> dict[str, Camera]:
        if self.settings.rig_file:
            return read_cameras(self.settings.rig_file)
        if not self._from_tf:
            raise InputError('parameter rig_file is empty; expected a rig.json with the poses of '
                             'the cameras. Set it with --ros-args -p rig_file:=PATH, or set '
                             'extrinsics to tf.')
        if not self.settings.cameras:
            raise InputError('parameters rig_file and cameras are both empty; expected a rig file '
                             'with the poses of the cameras (rig_file:=PATH), or the names of '
                             'cameras whose poses come from TF (cameras:=[left,right]).')
        return {}

    def _input_names(self, rig: dict[str, Camera]) -> tuple[str, ...]:
        names = self.settings.cameras or tuple(rig)
        unknown = [name for name in names if rig and name not in rig]
        if unknown:
            raise InputError(f"parameter cameras names {', '.join(unknown)}; expected cameras of "
                             f"{self.settings.rig_file}: {', '.join(rig)}.")
        return tuple(dict.fromkeys(names))

    def _start_when_calibrated(self) -> None:
        cameras = self._inputs.cameras() if self._active else None
        if cameras is None:
            return
        self._starter.cancel()
        with self._handler.owning():
            pipeline = LivePipeline(self.config, cameras, points=self._points(),
                                    now_ns=self._now_ns, listeners=[self._on_snapshot],
                                    stall_after_s=self.settings.stall_after_s)
        pipeline.start()
        self.pipeline = pipeline
        self._cameras = cameras
        # views see as their cameras do, also where CameraInfo won over the rig file
        self._views.calibrate({**self._rig, **cameras}, placed=self._from_tf)
        self._transforms.cameras(cameras, self._inputs.optical_frames())
        self._views.begin(pipeline)
        self._states.begin(pipeline)
        self._planner.begin(pipeline)
        if self._splats is not None:
            self._splats.begin(pipeline)
        self._log.info(f'{len(cameras)} cameras calibrated: {", ".join(cameras)}')
        if self._early is not None:
            pipeline.offer(self._early)

    def _points(self):
        if not self.settings.points_file:
            return None
        try:
            return read_points(Path(self.settings.points_file))
        except InputError as error:
            self._log.warning(f'{error} The first scene is made from the images alone.')
            return None

    # -- in and out -----------------------------------------------------------------------------

    def _now_ns(self) -> int:
        return self._node.get_clock().now().nanoseconds

    def _simulated_ns(self) -> int | None:
        clock = self._node.get_clock()
        simulated = isinstance(clock, ROSClock) and clock.ros_time_is_active
        return self._now_ns() if simulated else None

    def _on_frame_set(self, frame_set: RawFrameSet) -> None:
        self._watchdog.set_came()
        self._sets.came(frame_set)
        if self.pipeline is None:
            if self._early is not None:
                self._drops.add('before_calibration')
            self._early = frame_set
        else:
            self.pipeline.offer(frame_set)

    def _first_scene_wanted(self) -> bool:
        return self.pipeline is None or self.pipeline.snapshot() is None

    def _on_snapshot(self, _: Snapshot) -> None:
        self._views.wake()
        self._states.thread.wake()
        self._planner.thread.wake()

    def failed(self, error: Exception) -> None:
        """A callback failed: that costs one message, once the node is at work."""
        if self.pipeline is None:
            raise error
        self._warnings.add('internal_error', 'node', with_traceback(
            'internal error in a callback; the node goes on, please report it', error))

    # -- how it does ----------------------------------------------------------------------------

    def _look(self) -> None:
        """On a steady clock: what is missing; and the status, where its own thread fails."""
        if not self._active:
            return
        self._watchdog.look(self._inputs.reports(self._core_status()))
        self._states.publish_overdue_status()

    def _core_status(self, facts: Facts | None = None) -> Status:
        if self.pipeline is not None:
            return self.pipeline.status(facts)
        state, message = judge(facts or Facts(), self.settings.stall_after_s)
        return Status(state, message, cameras_expected=self._expected)

    def _facts(self) -> Facts:
        facts = Facts(message=self._inputs.lacking or 'waiting for calibrations') \
            if self.pipeline is None else self.pipeline.facts()
        if not self._active:
            facts = replace(facts, paused=_INACTIVE)
        dead = {one.thread.name: one.thread.died_of for one in self._outputs if one.thread.died_of}
        return replace(facts, dead={**facts.dead, **dead}, missing=self._watchdog.missing,
                       clock=self._watchdog.clock)

    def _known(self) -> Known:
        status = self._core_status(self._facts())
        status = replace(status, queues={'pictures': self._inputs.waiting(), **status.queues})
        drops = {**self._inputs.drops(), **self._drops.snapshot(),
                 **(self._depths.drops() if self._depths else {})}
        return Known(status, drops, self._inputs.reports(status), self._sets.report())

    def _status(self) -> SceneStatus:
        known = self._known()
        return convert_scene.status_message(
            known.status, known.drops, known.cameras,
            convert.header(self._now_ns(), self.settings.world_frame))


def nominal(name: str) -> Camera:
    """What stands for a camera of which nothing is known yet; nothing is drawn for it."""
    return Camera(name, 640, 480, np.array([[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]]),
                  np.eye(4))
