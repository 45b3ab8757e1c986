# SPDX-License-Identifier: Apache-2.0
"""Frames of single cameras become frame sets; no ROS inside.

Every message costs time linear in the number of cameras: only the oldest waiting frame of each
camera (its head) is looked at. The frames that belong together are found in three steps:

1. window: the heads within `max_spread_s` of the oldest head;
2. cut: a frame set may be formed by heads of two instants where a camera lost a picture. If the
   later part of the window would sit closer to the next frames of the earlier part (already
   there, or foreseen from the camera's period), the earlier part is an instant of its own;
3. emission: when every camera takes part, has already moved on to a later instant, or is not
   expected (`_expected`), or when the first frame of the set has waited for `max_wait_s`.

Stamps are nanoseconds of the cameras' clock; waiting is measured on a clock of its own.
"""
from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median_low

import numpy as np

from igs_ros.core.errors import InputError
from igs_ros.core.frames import Frame, RawFrameSet

CAUSES = ('late', 'superseded', 'incomplete', 'jump')
_CLEARLY_CLOSER = 0.75  # evenly phased free-running cameras fit any grouping about equally well
_AWAY_WAITS = 3  # a camera is away after so many times max_wait_s without a frame,
_AWAY_PERIODS = 4  # and so many periods of its own,
_AWAY_UNKNOWN_S = 1.0  # and where its period is not known, after so long
_JUMP_SETTLES_S = 1.0  # by then every camera's frames from before a jump have come in
JUMP_S = 0.25  # far more than pictures overtake each other by, less than any recording lasts

_WAYS = 5  # frames of a camera whose way is remembered


@dataclass
class _Waiting:
    frame: Frame
    arrival_s: float


@dataclass
class _Camera:
    """What is known of one camera."""

    frames: list[_Waiting] = field(default_factory=list)  # by stamp, oldest first, bounded
    newest_ns: int | None = None  # greatest stamp since the last jump
    # between the last stamps
    steps_ns: deque[int] = field(default_factory=lambda: deque(maxlen=5))
    period_ns: int | None = None  # their median; None before the second frame
    # times of arrival minus stamps, of the last frames: how long they are on their way
    ways_s: deque[float] = field(default_factory=lambda: deque(maxlen=_WAYS))
    seen_s: float | None = None  # when the last frame came
    before_jump_ns: int | None = None  # stamps from here on predate a jump of another camera

    def head_ns(self) -> int:
        return self.frames[0].frame.stamp_ns

    def next_ns(self) -> int | None:
        """Stamp of the frame after the head: the waiting one, else the foreseen one."""
        if len(self.frames) > 1:
            return self.frames[1].frame.stamp_ns
        return None if self.period_ns is None else self.head_ns() + self.period_ns


def usual_min_cameras(cameras: int) -> int:
    """Fewest pictures that are worth a frame set: half of the cameras (docs/engine.md)."""
    return (cameras + 1) // 2


def poses_of(frames: Iterable[Frame]) -> dict[str, np.ndarray]:
    """camera_from_world [4, 4] by camera, of the frames that carry it."""
    return {frame.camera: frame.camera_from_world for frame in frames
            if frame.camera_from_world is not None}


class FrameSetAssembler:
    """Joins the frames of `cameras` into frame sets with increasing stamps.

    `counts[cause][camera]` counts frames that were not used: *late* (a set at or after their
    instant was already emitted), *superseded* (a newer frame, or one of the same stamp, took
    their place), *incomplete* (fewer than `min_cameras` came together), *jump* (dropped when the
    clock was set back); *missing* counts emitted sets without the camera; *used* emitted frames.
    `jumps` counts how often the clock was set back. Every frame added is used, waiting, or
    counted under exactly one cause. Not thread-safe.

    Args:
        cameras: names of the rig's cameras.
        max_spread_s: greatest difference of the stamps in one set.
        max_wait_s: how long the first frame of a set waits for the others, but for cameras that
            have been away for a while, or whose frames always come later than that.
        min_cameras: sets of fewer cameras are dropped.
        queue: waiting frames per camera.
        jump_s: a stamp further behind its camera's newest one means that the clock was set back
            (a looping bag).
        now: a steady clock, s.

    Raises:
        InputError: the settings cannot work.
    """

    def __init__(self, cameras: Iterable[str], max_spread_s: float, max_wait_s: float,
                 min_cameras: int, queue: int = 4, *, jump_s: float = JUMP_S,
                 now: Callable[[], float] = time.monotonic):
        self._cameras = {name: _Camera() for name in cameras}
        if not 1 <= min_cameras <= len(self._cameras):
            raise InputError(f'min_cameras is {min_cameras}; expected 1 to the number of cameras, '
                             f'{len(self._cameras)}.')
        if max_spread_s < 0 or max_wait_s < 0 or queue < 1 or jump_s <= 0:
            raise InputError(f'max_spread_s {max_spread_s}, max_wait_s {max_wait_s}, queue '
                             f'{queue}, jump_s {jump_s}; expected times >= 0, queue >= 1 and '
                             f'jump_s > 0.')
        self._spread_ns = round(max_spread_s * 1e9)
        self._wait_s = max_wait_s
        self._min_cameras = min_cameras
        self._queue = queue
        self._jump_ns = round(jump_s * 1e9)
        self._now = now
        self._last_ns: int | None = None  # stamp of the last emitted set
        self._jumped_s = 0.0
        self._begun_s: float | None = None  # when the first frame of all came
        self._finished_s: float | None = None  # when the last instant was done with
        self.counts = {cause: Counter() for cause in (*CAUSES, 'missing', 'used')}
        self.jumps = 0

    def add(self, frame: Frame) -> list[RawFrameSet]:
        """Take one frame; the frame sets that can be emitted now, oldest first.

        Raises:
            InputError: its camera is not part of the rig.
        """
        if frame.camera not in self._cameras:
            raise InputError(f"camera '{frame.camera}' is not part of the rig; expected one of "
                             f'{", ".join(self._cameras)}.')
        sets = []
        if self._admit(frame):
            sets = self._make_room(frame)
            if self._is_late(frame):
                self.counts['late'][frame.camera] += 1
            else:
                self._insert(frame)
        return sets + self.poll()

    def poll(self) -> list[RawFrameSet]:
        """The frame sets that are ready, or have waited long enough; call it now and then."""
        sets = []
        while (members := self._instant()) is not None:
            if not self._settled(members) and not self._overdue(members):
                break
            sets += self._finish(members)
        return sets

    def waiting(self) -> dict[str, int]:
        """Number of waiting frames by camera."""
        return {name: len(camera.frames) for name, camera in self._cameras.items()}

    def drops(self) -> dict[str, int]:
        """Counts as 'cause:camera' for reports, those above zero; emitted frames left out."""
        return {f'{cause}:{camera}': count for cause in (*CAUSES, 'missing')
                for camera, count in sorted(self.counts[cause].items()) if count}

    def fates(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """By camera: frames that were used, those that came late, and all that were not used."""
        unused = sum((self.counts[cause] for cause in CAUSES), Counter())
        return dict(self.counts['used']), dict(self.counts['late']), dict(unused)

    def _admit(self, frame: Frame) -> bool:
        """Follow the camera's clock; False for a frame from before a jump of it."""
        camera, now = self._cameras[frame.camera], self._now()
        camera.seen_s = now
        if self._begun_s is None:
            self._begun_s = now
        if camera.before_jump_ns is not None:
            # bounded in time: this camera's clock may not have been set back at all
            fresh = now - self._jumped_s < _JUMP_SETTLES_S
            if fresh and frame.stamp_ns >= camera.before_jump_ns:
                self.counts['jump'][frame.camera] += 1
                return False
            camera.before_jump_ns = None
        if camera.newest_ns is not None:
            step = frame.stamp_ns - camera.newest_ns
            if step < -self._jump_ns:
                self._jump(frame, camera.newest_ns)
            elif step > 0:
                camera.steps_ns.append(step)
                camera.period_ns = median_low(camera.steps_ns)
        if camera.newest_ns is None or frame.stamp_ns > camera.newest_ns:
            camera.newest_ns = frame.stamp_ns
        camera.ways_s.append(now - frame.stamp_ns * 1e-9)
        return True

    def _jump(self, frame: Frame, newest_ns: int) -> None:
        """Forget what waits and what was emitted: the clock was set back.

        The other cameras follow one by one. Their frames from before the jump are told by being
        nearer to the old time than to the new one.
        """
        self.jumps += 1
        self._jumped_s = self._now()
        self._last_ns = None
        for name, camera in self._cameras.items():
            self.counts['jump'][name] += len(camera.frames)
            camera.frames.clear()
            camera.ways_s.clear()
            camera.newest_ns = None
            if name != frame.camera:
                camera.before_jump_ns = (newest_ns + frame.stamp_ns) // 2

    def _is_late(self, frame: Frame) -> bool:
        return self._last_ns is not None and frame.stamp_ns <= self._last_ns

    def _make_room(self, frame: Frame) -> list[RawFrameSet]:
        """Finish instants early rather than let a full queue overtake them."""
        sets = []
        frames = self._cameras[frame.camera].frames
        while len(frames) >= self._queue and not self._is_late(frame):
            members = self._instant()
            if members and frame.camera in members:
                sets += self._finish(members)
            else:
                self._drop(frame.camera, 'superseded')
        return sets

    def _insert(self, frame: Frame) -> None:
        frames = self._cameras[frame.camera].frames
        waiting = _Waiting(frame, self._now())
        place = len(frames)
        while place and frames[place - 1].frame.stamp_ns > frame.stamp_ns:
            place -= 1
        if place and frames[place - 1].frame.stamp_ns == frame.stamp_ns:
            frames[place - 1] = waiting
            self.counts['superseded'][frame.camera] += 1
        else:
            frames.insert(place, waiting)

    def _instant(self) -> list[str] | None:
        """The cameras whose heads form the oldest instant, by stamp; None if nothing waits."""
        heads = sorted((camera.head_ns(), name) for name, camera in self._cameras.items()
                       if camera.frames)
        if not heads:
            return None
        window = [(stamp, name) for stamp, name in heads if stamp <= heads[0][0] + self._spread_ns]
        return [name for _, name in self._cut(window)]

    def _cut(self, window: list[tuple[int, str]]) -> list[tuple[int, str]]:
        """The part of `window` before its widest gap if the rest fits the next frames better."""
        stamps = [stamp for stamp, _ in window]
        gaps = [later - earlier for earlier, later in zip(stamps, stamps[1:], strict=False)]
        if not gaps or max(gaps) == 0:
            return window
        place = gaps.index(max(gaps)) + 1
        following = [ns for _, name in window[:place]
                     if (ns := self._cameras[name].next_ns()) is not None]
        if len(following) < place:
            return window  # nothing to compare with in the first moments
        joined = following + stamps[place:]
        closer = max(joined) - min(joined) < _CLEARLY_CLOSER * (stamps[-1] - stamps[0])
        return window[:place] if closer else window

    def _settled(self, members: list[str]) -> bool:
        """Whether no camera outside `members` can still send a frame of that instant in time."""
        return all(name in members or camera.frames or not self._expected(camera, members)
                   for name, camera in self._cameras.items())

    def _expected(self, camera: _Camera, members: list[str]) -> bool:
        """Whether waiting for `camera` can be of use to the instant of `members`."""
        seen_s = self._begun_s if camera.seen_s is None else camera.seen_s
        if self._finished_s is not None and seen_s is not None:
            own_s = _AWAY_UNKNOWN_S if camera.period_ns is None \
                else _AWAY_PERIODS * camera.period_ns * 1e-9
            # not by now: when all cameras pause, none of them is away
            if self._finished_s - seen_s > max(_AWAY_WAITS * self._wait_s, own_s):
                return False
        if len(camera.ways_s) < _WAYS:
            return True
        first = self._cameras[members[0]].frames[0]
        way_s = first.arrival_s - first.frame.stamp_ns * 1e-9
        return min(camera.ways_s) <= way_s + self._wait_s

    def _overdue(self, members: list[str]) -> bool:
        arrival = min(self._cameras[name].frames[0].arrival_s for name in members)
        return self._now() - arrival >= self._wait_s

    def _finish(self, members: list[str]) -> list[RawFrameSet]:
        """Emit the heads of `members`, or drop the oldest one if they are too few."""
        self._finished_s = self._now()
        if len(members) < self._min_cameras:
            self._drop(members[0], 'incomplete')
            return []
        frames = {name: self._cameras[name].frames.pop(0).frame
                  for name in self._cameras if name in members}
        stamps = sorted(frame.stamp_ns for frame in frames.values())
        self._last_ns = median_low(stamps)
        missing = tuple(name for name in self._cameras if name not in frames)
        self.counts['used'].update(frames.keys())
        self.counts['missing'].update(missing)
        for name, camera in self._cameras.items():
            while camera.frames and camera.head_ns() <= self._last_ns:
                self._drop(name, 'superseded')
        return [RawFrameSet(self._last_ns, {name: frame.picture for name, frame in frames.items()},
                            missing, stamps[-1] - stamps[0], poses=poses_of(frames.values()))]

    def _drop(self, name: str, cause: str) -> None:
        self._cameras[name].frames.pop(0)
        self.counts[cause][name] += 1
