# SPDX-License-Identifier: Apache-2.0
"""A tree of coordinate frames over time, as ROS' TF has it; no ROS inside.

Every frame has one parent and stands in it for good (static) or as its newest samples say (timed).
`TransformBuffer.lookup` finds the way between any two frames through their common ancestor and
interpolates timed ones: positions linearly, rotations by slerp. What it cannot know it refuses:
times before the first or after the last sample, frames of two trees, loops.
"""
from __future__ import annotations

import threading
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from igs_ros.core.errors import InputError, shown

HISTORY_S = 10.0
"""How far back timed transforms are kept, as in tf2."""
JUMP_S = 0.25  # a stamp that far behind the newest one: the clock was set back
_MAX_SAMPLES = 10_000  # of one frame, 1 kHz for the whole history
_MAX_FRAMES = 10_000
_MAX_NAME = 256  # bytes
_MAX_M = 1e9
_UNIT = 0.01  # tolerance of the squared length of quaternions, as in tf2


class TransformError(InputError):
    """There is no answer to a lookup, and none will come for its stamp unless the tree changes."""


class FutureTransform(TransformError):
    """The lookup asks for a later time than was heard of: waiting may help."""


class PastTransform(TransformError):
    """The lookup asks for an earlier time than is remembered."""


class TransformSource(Protocol):
    """What answers lookups: `TransformBuffer`, or tf2's where there is one."""

    @property
    def version(self) -> int:
        """Another one after every change of the tree, or of a static transform."""
        ...

    def is_static(self, target: str, source: str) -> bool:
        """As `TransformBuffer.is_static`."""
        ...

    def lookup(self, target: str, source: str, stamp_ns: int | None = None) -> np.ndarray:
        """As `TransformBuffer.lookup`.

        Args:
            target: frame of the result.
            source: frame of the points that it is for.
            stamp_ns: the time; None = the newest at which all of the way is known.

        Returns:
            [4, 4] float64 target_from_source.

        Raises:
            TransformError: there is no such transform, or not at that time.
        """
        ...

    def clear_timed(self) -> None:
        """Forget all but the static transforms."""
        ...


@dataclass(frozen=True, eq=False)
class Transform:
    """Where one frame stands in another.

    Raises:
        InputError: it is no transform.
    """

    parent: str
    child: str
    stamp_ns: int
    translation: np.ndarray  # [3] float64 m, of the child's origin in the parent
    rotation: np.ndarray  # [4] float64 wxyz, parent_from_child, about unit length

    def __post_init__(self):
        for name in ('parent', 'child'):  # tf2 drops the slash that ROS 1 had
            object.__setattr__(self, name, getattr(self, name).removeprefix('/'))
        for name in ('translation', 'rotation'):
            object.__setattr__(self, name, np.array(getattr(self, name), dtype=np.float64))
        self._check()
        object.__setattr__(self, 'rotation', self.rotation / np.linalg.norm(self.rotation))

    def _check(self):
        who = f'transform of frame {shown(self.child)} in {shown(self.parent)}'
        for name in (self.parent, self.child):
            if not (name.isprintable() and 0 < len(name.encode()) <= _MAX_NAME):
                raise InputError(f'{who}: expected names of 1 to {_MAX_NAME} bytes that can be '
                                 f'printed. Check who broadcasts it.')
        if self.parent == self.child:
            raise InputError(f'{who}: expected another parent than itself. Check who broadcasts '
                             f'it.')
        if self.translation.shape != (3,) or not (np.abs(self.translation) <= _MAX_M).all():
            raise InputError(f'{who}: translation {shown(self.translation.tolist())}; expected '
                             f'three finite numbers of at most {_MAX_M:g} m. Check who '
                             f'broadcasts it.')
        if self.rotation.shape != (4,) or not abs(self.rotation @ self.rotation - 1) <= _UNIT:
            raise InputError(f'{who}: quaternion (wxyz) {shown(self.rotation.tolist())}; expected '
                             f'four finite numbers of length 1. Check who broadcasts it.')

    @property
    def matrix(self) -> np.ndarray:
        """[4, 4] float64 parent_from_child."""
        return _matrix(self.translation, self.rotation)

    def same_place(self, other: Transform) -> bool:
        """Whether both say the same of the child, whenever."""
        return np.array_equal(self.translation, other.translation) \
            and np.array_equal(self.rotation, other.rotation)


@dataclass(eq=False)
class _Link:
    """One frame in its parent."""

    parent: str
    static: bool
    stamps: list[int] = field(default_factory=list)  # ns, ascending
    samples: list[Transform] = field(default_factory=list)  # as many

    def insert(self, sample: Transform, history_ns: int) -> None:
        place = bisect_left(self.stamps, sample.stamp_ns)
        if self.stamps[place:place + 1] == [sample.stamp_ns]:
            return  # said again, as robot_state_publisher does
        self.stamps.insert(place, sample.stamp_ns)
        self.samples.insert(place, sample)
        old = bisect_left(self.stamps, self.stamps[-1] - history_ns)
        old = max(old, len(self.stamps) - _MAX_SAMPLES)
        del self.stamps[:old], self.samples[:old]

    def at(self, stamp_ns: int) -> np.ndarray:
        """[4, 4] parent_from_child; of a timed one within the times that are known."""
        if self.static:
            return self.samples[0].matrix
        place = bisect_left(self.stamps, stamp_ns)
        after = self.samples[place]
        if after.stamp_ns == stamp_ns:
            return after.matrix
        before = self.samples[place - 1]
        share = (stamp_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
        return _matrix(before.translation + share * (after.translation - before.translation),
                       slerp(before.rotation, after.rotation, share))


class TransformBuffer:
    """What was heard of the frames; safe to use from any thread, bounded in memory.

    history_s: how far back timed transforms are kept.
    """

    def __init__(self, history_s: float = HISTORY_S):
        self._history_ns = round(history_s * 1e9)
        self._links: dict[str, _Link] = {}  # by child
        self._lock = threading.RLock()
        self._version = 0

    @property
    def version(self) -> int:
        """Another one after every change of the tree, or of a static transform."""
        return self._version

    def add(self, transform: Transform, static: bool) -> str:
        """Take one transform.

        Args:
            transform: as it came.
            static: it holds at all times, and no stamp is looked at.

        Returns:
            One line on what is odd about it, '' = nothing.

        Raises:
            InputError: a timed one without a stamp, or too many frames.
        """
        who = f"transform of frame '{transform.child}' in '{transform.parent}'"
        if not static and transform.stamp_ns <= 0:
            raise InputError(f'{who}: stamp {_s(transform.stamp_ns)} on /tf; expected the time it '
                             f'is about. Make its broadcaster fill header.stamp, or send it on '
                             f'/tf_static.')
        with self._lock:
            link, said = self._links.get(transform.child), ''
            if link is not None and link.parent != transform.parent:
                said = (f"frame '{transform.child}' has two parents: '{link.parent}', and now "
                        f"'{transform.parent}', which is taken. Expected one; look for two "
                        f'broadcasters (`ros2 topic info -v /tf /tf_static`).')
            if link is None or said or link.static != static:
                link = self._new_link(transform, static, who)
            if static:
                if not link.samples or not link.samples[0].same_place(transform):
                    self._version += 1
                link.samples = [transform]
                return said
            if link.stamps and transform.stamp_ns < link.stamps[-1] - round(JUMP_S * 1e9):
                said = (f'{who}: the stamps jumped back from {_s(link.stamps[-1])} to '
                        f'{_s(transform.stamp_ns)} (a looping bag, or two broadcasters?): what '
                        f'was known of it is forgotten.')
                link.stamps, link.samples = [], []
            link.insert(transform, self._history_ns)
            return said

    def _new_link(self, transform: Transform, static: bool, who: str) -> _Link:
        if len(self._links) >= _MAX_FRAMES and transform.child not in self._links:
            raise InputError(f'{who}: there are {_MAX_FRAMES} frames already; expected fewer. '
                             f'Look for who makes up names.')
        self._version += 1
        link = self._links[transform.child] = _Link(transform.parent, static)
        return link

    def clear_timed(self) -> None:
        """Forget all but the static transforms: the clock was set back."""
        with self._lock:
            self._links = {child: link for child, link in self._links.items() if link.static}
            self._version += 1

    def is_static(self, target: str, source: str) -> bool:
        """Whether all is static between two frames.

        Raises:
            TransformError: there is no way from one to the other.
        """
        with self._lock:
            return all(link.static for _, link in self._way(target, source))

    def lookup(self, target: str, source: str, stamp_ns: int | None = None) -> np.ndarray:
        """The transform between two frames at one time.

        Args:
            target: frame of the result.
            source: frame of the points that it is for.
            stamp_ns: the time; None = the newest at which all of the way is known.

        Returns:
            [4, 4] float64 target_from_source.

        Raises:
            FutureTransform: the time is later than what was heard of.
            PastTransform: it is earlier than what is remembered.
            TransformError: a frame is not known, the two are in two trees, or in a loop.
        """
        with self._lock:
            way = self._way(target, source)
            timed = [(child, link) for child, link in way if not link.static]
            if stamp_ns is None:
                stamp_ns = min((link.stamps[-1] for _, link in timed), default=0)
            asked = f"no transform from '{source}' to '{target}' at {_s(stamp_ns)}"
            for late in False, True:  # one that is lost first: then waiting does not help
                for child, link in timed:
                    if (link.stamps[-1] < stamp_ns if late else link.stamps[0] > stamp_ns):
                        raise (FutureTransform if late else PastTransform)(
                            f"{asked}: that of '{child}' in '{link.parent}' is known from "
                            f'{_s(link.stamps[0])} to {_s(link.stamps[-1])}')
            result, here = np.eye(4), source
            back = np.eye(4)
            for child, link in way:
                if child == here:  # up from the source
                    result, here = link.at(stamp_ns) @ result, link.parent
                else:
                    back = link.at(stamp_ns) @ back  # up from the target
            return _inverse(back) @ result

    def _way(self, target: str, source: str) -> list[tuple[str, _Link]]:
        """The links, by child, up from the source, then up from the target, to where they meet."""
        ups = [self._ancestors(source), self._ancestors(target)]
        shared = set(ups[1])
        meeting = next((frame for frame in ups[0] if frame in shared), None)
        if meeting is None:
            reason = next((f"no frame '{name}' was heard of" for name in (source, target)
                           if not self._known(name)), None) \
                or f"they are in two trees, below '{ups[0][-1]}' and below '{ups[1][-1]}'"
            raise TransformError(f"no transform from '{source}' to '{target}': {reason}")
        return [(frame, self._links[frame]) for up in ups for frame in up[:up.index(meeting)]]

    def _ancestors(self, frame: str) -> list[str]:
        """`frame`, its parent, the parent of that, up to the root."""
        found = {frame: None}  # a set in order
        while frame in self._links:
            frame = self._links[frame].parent
            if frame in found:
                loop = list(found)
                loop = [*loop[loop.index(frame):], frame]
                raise TransformError('no transforms in a loop of frames: '
                                     + ' in '.join(f"'{name}'" for name in loop[:10]))
            found[frame] = None
        return list(found)

    def _known(self, frame: str) -> bool:
        return frame in self._links or any(link.parent == frame for link in self._links.values())


def slerp(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """The unit quaternion a share of the shorter way from one to another.

    Args:
        one: [4] unit quaternion, wxyz.
        other: [4] unit quaternion, wxyz.
        share: 0..1, 0 = `one`.
    """
    cosine = float(one @ other)
    if cosine < 0:  # the same rotation has two signs
        other, cosine = -other, -cosine
    if cosine > 1 - 1e-9:  # the sine is lost in rounding; the chord is as long as the arc
        mixed = one + share * (other - one)
    else:
        angle = np.arccos(cosine)
        mixed = np.sin((1 - share) * angle) * one + np.sin(share * angle) * other
    return mixed / np.linalg.norm(mixed)


def _matrix(translation: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    w, x, y, z = rotation
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), translation[0]],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x), translation[1]],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y), translation[2]],
        [0, 0, 0, 1]])


def _inverse(rigid: np.ndarray) -> np.ndarray:
    result = np.eye(4)
    result[:3, :3] = rigid[:3, :3].T
    result[:3, 3] = -result[:3, :3] @ rigid[:3, 3]
    return result


def _s(stamp_ns: int) -> str:
    """A stamp as messages show it."""
    return f'{stamp_ns * 1e-9:.6f} s'
