# SPDX-License-Identifier: Apache-2.0
"""Virtual cameras: each shows the newest scene from its newest pose, at a rate of its own.

All are drawn by one thread, one after another: drawing uses all cores anyway, and who draws from
two threads at once has both pictures late. Nothing queues: a pose takes the place of the one
before, and the scene is whatever is newest when its turn comes.
"""
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.snapshot import Snapshot, View
from igs_ros.core.timing import Drops
from igs_ros.live.threads import PeriodicThread, next_due_s

_LOOK_S = 0.2  # how often to look, at least, whether somebody wants to see
_AFTER_ERROR_S = 1.0
_SOON_S = 5e-4  # what is due so soon is drawn now: no timer wakes that exactly


class ViewSource(Protocol):
    """Where views come from: `LivePipeline`."""

    def snapshot(self) -> Snapshot | None:
        """The newest scene to show, None before the first."""
        ...

    def view(self, camera: Camera, snapshot: Snapshot | None = None, confidence: bool = False
             ) -> View | None:
        """What `camera` sees of `snapshot`.

        Args:
            camera: without distortion.
            snapshot: None = the newest.
            confidence: whether the view is to tell how sure it is.
        """
        ...

    def expect_views(self, per_second: float) -> None:
        """So many pictures per second will be asked for from now on."""
        ...


class Outlet(Protocol):
    """Where the views of one virtual camera go; called in the thread that draws."""

    def wanted(self) -> bool:
        """Whether anybody would see them."""
        ...

    def send(self, views: tuple[View, ...]) -> None:
        """Pass on one picture of each eye; the same tuple again when nothing has changed."""
        ...


class VirtualCamera:
    """One camera or, with a baseline, a stereo pair; moved and changed from any thread.

    A pose is drawn at once, unless the last drawing began less than 1 / `rate_hz` ago; then as
    soon as that is over. What has not changed is sent again at that rate without being drawn.

    Args:
        name: for the counts of `drops`.
        camera: at first, without distortion; of a pair, the left one.
        rate_hz: drawings per second at most, above 0.
        outlet: takes the views.
        every_scene: draw each new scene at once, whatever the rate.
        baseline: m along x from the left to the right camera of a pair; 0 = one camera.
        follow: asked for camera_from_world [4, 4] each time that a picture is due; None from it =
            stay.
        drops: counts poses that a newer one replaced before they were drawn.
        confidence: asked each time that a picture is due whether its confidence is wanted.
    """

    def __init__(self, name: str, camera: Camera, rate_hz: float, outlet: Outlet, *,
                 every_scene: bool = True, baseline: float = 0.0,
                 follow: Callable[[], np.ndarray | None] | None = None,
                 drops: Drops | None = None,
                 confidence: Callable[[], bool] = lambda: False):
        self.name = name
        self.outlet = outlet
        self._lock = threading.Lock()  # of the next three, which any thread changes
        self._camera = camera
        self._rate_hz = rate_hz
        self._poses = 0  # since the last drawing
        self._wake: Callable[[], object] = lambda: None
        self._every_scene = every_scene
        self._baseline = baseline
        self._follow = follow
        self._confidence = confidence
        self._drops = drops or Drops()
        # of the thread that draws:
        self.watched = False  # when looked last
        self._looked_s = 0.0
        self._drawn: tuple[Snapshot, Camera] | None = None
        self._views: tuple[View, ...] = ()
        self._begun_s = self._ended_s = self._drawn_s = 0.0  # of the last sending and drawing
        self._failed_s = 0.0  # until when it rests

    @property
    def camera(self) -> Camera:
        """Where it is now, and what with; of a pair, the left one."""
        return self._camera

    @property
    def rate_hz(self) -> float:
        """Drawings per second at most."""
        return self._rate_hz

    @property
    def pictures(self) -> int:
        """How many are drawn each time."""
        return 2 if self._baseline else 1

    def place(self, camera_from_world: np.ndarray) -> None:
        """Move it: [4, 4] m. Newer poses replace those that are not drawn yet."""
        with self._lock:
            self._camera = self._camera.placed(camera_from_world)
            self._poses += 1
        self._wake()

    def change(self, camera: Camera | None = None, rate_hz: float | None = None,
               every_scene: bool | None = None) -> None:
        """Change it while it runs.

        Args:
            camera: another size, intrinsics and pose; None = as before.
            rate_hz: another rate, above 0; None = as before.
            every_scene: draw each new scene at once, whatever the rate; None = as before.
        """
        with self._lock:
            self._camera = camera or self._camera
            self._rate_hz = rate_hz or self._rate_hz
            self._every_scene = self._every_scene if every_scene is None else every_scene
        self._wake()

    def on_change(self, wake: Callable[[], object]) -> None:
        """Call `wake` after every change, from whatever thread made it; it must not block."""
        self._wake = wake

    def look(self, now_s: float) -> bool:
        """See whether anybody wants to see it; whether somebody does."""
        if not self.watched:  # until now: then at once
            self._begun_s = self._ended_s = now_s - 1 / self._rate_hz
        self.watched, self._looked_s = self.outlet.wanted(), now_s
        if not self.watched:
            with self._lock:
                self._poses = 0
        return self.watched

    def due_s(self, snapshot: Snapshot, now_s: float) -> float:
        """When it is to be sent next, or looked at again while nobody wants to see it.

        Args:
            snapshot: the newest.
            now_s: the time now, on the monotonic clock, as the result.
        """
        period_s = 1 / self._rate_hz
        if not self.watched:
            return self._looked_s + min(_LOOK_S, period_s)
        scene, camera = self._drawn or (None, None)
        regular_s = next_due_s(self._begun_s, period_s, self._ended_s)
        if scene is not snapshot and (scene is None or self._every_scene):
            due_s = now_s
        elif scene is not snapshot or camera is not self._camera:
            due_s = min(regular_s, self._drawn_s + period_s)
        else:
            due_s = regular_s
        return max(due_s, self._failed_s)

    def send(self, source: ViewSource, snapshot: Snapshot) -> None:
        """Draw `snapshot`, if it or the camera has changed, and send what it shows."""
        start_s = time.monotonic()
        self._failed_s = start_s + _AFTER_ERROR_S  # unless all goes well
        self._begun_s = min(start_s, next_due_s(self._begun_s, 1 / self._rate_hz, self._ended_s))
        self._follow_on()
        with self._lock:
            camera, poses, self._poses = self._camera, self._poses, 0
        confidence = self._confidence()
        lacking = confidence and any(view.confidence is None for view in self._views)
        if lacking or self._drawn is None or self._drawn[0] is not snapshot \
                or self._drawn[1] is not camera:
            if poses > 1:
                self._drops.add(f'superseded_pose:{self.name}', poses - 1)
            self._drawn_s = start_s
            self._views = tuple(self._draw(source, snapshot, eye, confidence)
                                for eye in self._eyes(camera))
            self._drawn = snapshot, camera
        self.outlet.send(self._views)
        self._ended_s, self._failed_s = time.monotonic(), 0.0

    def _follow_on(self) -> None:
        pose = self._follow() if self._follow else None
        if pose is not None and not self._camera.is_at(pose):
            with self._lock:
                self._camera = self._camera.placed(pose)

    def _eyes(self, camera: Camera) -> list[Camera]:
        if not self._baseline:
            return [camera]
        right_from_left = np.eye(4)
        right_from_left[0, 3] = -self._baseline
        return [camera, camera.placed(right_from_left @ camera.camera_from_world)]

    def _draw(self, source: ViewSource, snapshot: Snapshot, camera: Camera, confidence: bool
              ) -> View:
        view = source.view(camera, snapshot, confidence)
        if view is None:
            raise RuntimeError('the scene is gone')
        return view


class ViewLoop:
    """The thread that draws virtual cameras, who is longest due first.

    Args:
        cameras: to draw.
        on_error: gets an unexpected error, which costs that camera a second, and no other.
    """

    def __init__(self, cameras: Sequence[VirtualCamera], on_error: Callable[[Exception], object]):
        self._cameras = cameras
        self._on_error = on_error
        self._source: ViewSource | None = None
        self._expected = 0.0
        self.thread = PeriodicThread('view', self._run_once, on_error)
        for camera in cameras:
            camera.on_change(self.thread.wake)

    def begin(self, source: ViewSource) -> None:
        """Draw from `source`."""
        self._source = source

    def _run_once(self) -> float:
        begun_s = time.monotonic()
        source = self._source
        snapshot = source.snapshot() if source else None
        if source is None or snapshot is None:
            return _LOOK_S
        for one in sorted(self._cameras, key=lambda one: one.due_s(snapshot, begun_s)):
            newest, now_s = source.snapshot() or snapshot, time.monotonic()
            if one.due_s(newest, now_s) <= now_s + _SOON_S and one.look(now_s):
                try:
                    one.send(source, newest)
                except Exception as error:
                    self._on_error(error)
        self._expect(source, sum(one.rate_hz * one.pictures for one in self._cameras
                                 if one.watched))
        now_s = time.monotonic()
        newest = source.snapshot() or snapshot
        return min((one.due_s(newest, now_s) for one in self._cameras),
                   default=now_s + _LOOK_S) - begun_s

    def _expect(self, source: ViewSource, per_second: float) -> None:
        if per_second and per_second != self._expected:
            self._expected = per_second
            source.expect_views(per_second)
