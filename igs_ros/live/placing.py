# SPDX-License-Identifier: Apache-2.0
"""Where the cameras stand, by transforms; no ROS inside.

Cameras whose way to the world is static are looked up once. Of those that move, each picture waits
a short time for the transform at its stamp, and carries the pose from there on.
"""
from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.frames import Frame
from igs_ros.core.transforms import PastTransform, TransformError, TransformSource


@dataclass(eq=False)
class _Placed:
    """What is known of one camera."""

    frame: str = ''  # its optical frame, '' = not heard of
    waiting: deque[tuple[Frame, float]] = field(default_factory=deque)  # until when, s
    in_use: np.ndarray | None = None  # camera_from_world that `place` gave out
    still: np.ndarray | None = None  # camera_from_world, None where it moves
    version: int | None = None  # of the source, that `still` is about
    turn: np.ndarray | None = None  # [4, 4] from its frame to the axes of its pictures


class Placing:
    """Gives cameras and pictures their poses. One thread uses it; `waiting` is for all.

    Args:
        source: of the transforms.
        world: the frame that poses are about.
        names: of the cameras.
        wait_s: how long a picture waits for its transform, s.
        queue: pictures of each camera that may wait.
        on_lost: told of each picture that goes no further, with camera and reason.
        now: s, monotonic.
    """

    def __init__(self, source: TransformSource, world: str, names: Iterable[str], wait_s: float,
                 queue: int, on_lost: Callable[[str, str], object],
                 now: Callable[[], float] = time.monotonic):
        self._source = source
        self._world = world
        self._cameras = {name: _Placed() for name in names}
        self._wait_s = wait_s
        self._queue = queue
        self._on_lost = on_lost
        self._now = now

    # -- frames -----------------------------------------------------------------------------------

    def heard(self, name: str, frame: str) -> str:
        """Take the optical frame of camera `name` from a header.

        The first one that is not empty stays. One line where `frame` is another, '' = all well.
        """
        known, frame = self._cameras[name], frame.removeprefix('/')
        if not known.frame:
            known.frame = frame
        if frame in ('', known.frame):
            return ''
        return (f"camera '{name}': header.frame_id is '{frame}', it was '{known.frame}', which "
                f'stays in use. Expected one optical frame in its pictures and CameraInfo.')

    def turn(self, name: str, turn: np.ndarray | None) -> None:
        """A camera's pictures are of a camera turned in its frame.

        Args:
            name: of the camera.
            turn: [4, 4] from its frame to the optical axes of the pictures; None = the same.
        """
        self._cameras[name].turn = turn

    def frames(self) -> dict[str, str]:
        """The optical frames by camera, of those that have one."""
        return {name: known.frame for name, known in self._cameras.items() if known.frame}

    # -- cameras ----------------------------------------------------------------------------------

    def lacking(self) -> dict[str, str]:
        """Why cameras cannot be placed now, by name."""
        reasons = {}
        for name, known in self._cameras.items():
            try:
                self._lookup(name, known, None)
            except TransformError as error:
                reasons[name] = str(error)
        return reasons

    def place(self, cameras: Mapping[str, Camera]) -> dict[str, Camera]:
        """The cameras where they stand, or where those that move stood last.

        Raises:
            TransformError: for one that is `lacking`.
        """
        placed = {}
        for name, camera in cameras.items():
            known = self._cameras[name]
            known.in_use = self._lookup(name, known, None)
            placed[name] = camera.placed(known.in_use)
        return placed

    def told(self) -> str:
        """Where the poses come from, in one line."""
        moving = [f"'{name}'" for name, known in self._cameras.items() if known.still is None]
        how = f'looked up for every picture of {", ".join(moving)}' if moving else 'all static'
        odd = [f"'{known.frame}'" for known in self._cameras.values()
               if 'optical' not in known.frame]
        doubt = f'; {", ".join(odd)} must have optical axes (z forward, REP-103), too' \
            if odd else ''
        return f"poses of {len(self._cameras)} cameras in '{self._world}' from TF, {how}{doubt}"

    # -- pictures ---------------------------------------------------------------------------------

    def add(self, frame: Frame) -> list[Frame]:
        """Take a picture; those of its camera that can go on, in the order in which they came."""
        waiting = self._cameras[frame.camera].waiting
        waiting.append((frame, self._now() + self._wait_s))
        ready = self._release(frame.camera)
        if len(waiting) > self._queue:
            # Neither the first, whose transform is nearest, nor the newest: were the first to
            # go, none would ever wait long enough.
            place = 1 if len(waiting) > 2 else 0
            lost = waiting[place][0]
            del waiting[place]
            self._on_lost(lost.camera, f"camera '{lost.camera}': more than {self._queue} pictures "
                          f'wait for their transforms')
        return ready

    def poll(self) -> list[Frame]:
        """The pictures that can go on by now."""
        return [frame for name in self._cameras for frame in self._release(name)]

    def waiting(self) -> int:
        """Pictures that wait for their transform."""
        return sum(len(known.waiting) for known in self._cameras.values())

    def clear(self) -> None:
        """The stamps of the pictures were set back: so are those of the transforms."""
        self._source.clear_timed()

    def _release(self, name: str) -> list[Frame]:
        ready, known = [], self._cameras[name]
        while known.waiting:
            frame, until_s = known.waiting[0]
            try:
                pose = self._lookup(name, known, frame.stamp_ns)
            except TransformError as error:
                if not isinstance(error, PastTransform) and self._now() < until_s:
                    break
                self._on_lost(name, f"camera '{name}': {error}")
            else:
                # where it stands for good no pose goes along: all stays as it is without TF
                as_placed = known.still is not None and (
                    known.in_use is None or np.array_equal(pose, known.in_use))
                ready.append(frame if as_placed else replace(frame, camera_from_world=pose))
            known.waiting.popleft()
        return ready

    def _lookup(self, name: str, known: _Placed, stamp_ns: int | None) -> np.ndarray:
        """camera_from_world [4, 4]; None = the newest. Raises `TransformError`."""
        if not known.frame:
            raise TransformError(f"no transform to camera '{name}': neither its pictures nor its "
                                 f'CameraInfo name a frame in header.frame_id')
        version = self._source.version
        if known.version != version:
            still = self._source.is_static(known.frame, self._world)
            known.still = self._pose(known, None) if still else None
            known.version = version
        return self._pose(known, stamp_ns) if known.still is None else known.still

    def _pose(self, known: _Placed, stamp_ns: int | None) -> np.ndarray:
        pose = self._source.lookup(known.frame, self._world, stamp_ns)
        return pose if known.turn is None else known.turn @ pose
