# SPDX-License-Identifier: Apache-2.0
"""Where the cameras of a bag are: its transforms, static and timed."""
from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from igs_ros.core.errors import InputError
from igs_ros.core.logs import log_once
from igs_ros.core.transforms import FutureTransform, Transform, TransformBuffer
from igs_ros.io.recordings.bag_file import BagFile

log = logging.getLogger(__name__)
TF = 'tf2_msgs/msg/TFMessage'
_STATIC = 'tf_static'  # what topics of transforms that hold at all times end with
_STILL = 1e-9  # m, and parts of a rotation: less is no motion
_MAX_WAITING = 10_000  # pictures whose transforms have not come


@dataclass(frozen=True, eq=False)
class BagPoses:
    """The transforms of a bag, and the frame that all poses are in."""

    world_frame: str  # '' where there are no transforms
    topics: tuple[str, ...]  # of TF
    _buffer: TransformBuffer

    @classmethod
    def of(cls, bag: BagFile, world_frame: str) -> BagPoses:
        """Those of all TF topics of `bag`; world_frame: '' = the root of the largest tree."""
        topics = tuple(topic.name for topic in bag.topics.values() if topic.type == TF)
        buffer, parents = TransformBuffer(), {}
        for topic, _, data in bag.messages(topics):
            parents.update(take(bag, buffer, topic, data))
        return cls(world_frame or _root(parents), topics, buffer)

    def moves(self, frame_id: str) -> bool:
        """Whether a timed transform lies between the world and that frame."""
        try:
            return not self._buffer.is_static(self.world_frame, frame_id.removeprefix('/'))
        except InputError:
            return False  # looking it up says what is wrong

    def camera_from_world(self, frame_id: str, topic: str) -> np.ndarray:
        """[4, 4] float64; of a camera that moves, at the end of the bag.

        Args:
            frame_id: its optical frame.
            topic: that the camera is named by in the error.

        Raises:
            InputError: the transforms do not say it.
        """
        if not self.topics:
            raise InputError(f"{topic}: no transforms for frame '{frame_id}'; expected them on "
                             f'/tf_static. Record it as well, or give --rig-file.')
        try:
            return self._buffer.lookup(frame_id.removeprefix('/'), self.world_frame)
        except InputError as error:
            raise InputError(f'{topic}: {error}; expected one. Record all of /tf and /tf_static, '
                             f'choose another --world-frame, or give --rig-file.') from error


def take(bag: BagFile, buffer: TransformBuffer, topic: str, data: bytes) -> dict[str, str]:
    """Put the transforms of one message into `buffer`. Bad ones are logged.

    Args:
        bag: that the message is from.
        buffer: gets the transforms.
        topic: of the message; one that ends with tf_static holds at all times.
        data: its CDR bytes.

    Returns:
        Parents of frames, by child.
    """
    parents = {}
    try:
        transforms = bag.decoded(topic, data).transforms
    except InputError as error:
        log_once(log, logging.WARNING, str(error))
        return {}
    for one in transforms:
        at, turn, stamp = one.transform.translation, one.transform.rotation, one.header.stamp
        try:
            transform = Transform(
                str(one.header.frame_id), str(one.child_frame_id),
                stamp.sec * 1_000_000_000 + stamp.nanosec, np.array([at.x, at.y, at.z]),
                np.array([turn.w, turn.x, turn.y, turn.z]))
            said = buffer.add(transform, topic.endswith(_STATIC))
            parents[transform.child] = transform.parent
        except InputError as error:
            said = str(error)
        if said:
            log_once(log, logging.WARNING, f'{bag.path}: {topic}: {said}')
    return parents


def _root(parents: Mapping[str, str]) -> str:
    """The frame that most others are below; '' where there are none."""
    below = Counter()
    for frame in parents:
        seen = {frame}
        while frame in parents and parents[frame] not in seen:
            frame = parents[frame]
            seen.add(frame)
        below[frame] += 1
    return min(below, key=lambda frame: (-below[frame], frame), default='')


@dataclass(eq=False)
class Follower:
    """Poses at the stamps of pictures, while a bag is read once: transforms come a little later.

    Bounded in memory, however long the bag: of the transforms the newest seconds are kept.
    """

    bag: BagFile
    world_frame: str
    frames: Mapping[str, str]  # optical frames by camera, of those that move
    found: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)
    # camera_from_world [4, 4] by camera and stamp in ns
    _buffer: TransformBuffer = field(default_factory=TransformBuffer)
    _waiting: deque[tuple[str, int]] = field(
        default_factory=lambda: deque(maxlen=_MAX_WAITING))

    def picture(self, camera: str, stamp_ns: int) -> None:
        """A picture was recorded."""
        if camera in self.frames:
            self._waiting.append((camera, stamp_ns))
            self._settle()

    def transforms(self, topic: str, data: bytes) -> None:
        """A message of TF was recorded."""
        take(self.bag, self._buffer, topic, data)
        if len(self._waiting) > 1:  # the newest picture mostly waits for its transforms
            self._settle()

    def end(self) -> None:
        """No more comes."""
        self._settle()

    def _settle(self) -> None:
        for _ in range(len(self._waiting)):
            camera, stamp_ns = self._waiting.popleft()
            try:
                self.found.setdefault(camera, {})[stamp_ns] = self._buffer.lookup(
                    self.frames[camera].removeprefix('/'), self.world_frame, stamp_ns)
            except FutureTransform:
                self._waiting.append((camera, stamp_ns))
            except InputError as error:
                log_once(log, logging.WARNING,
                         f"{self.bag.path}: camera '{camera}': {error}; its picture is left out")


def stands_still(poses: Mapping[int, np.ndarray]) -> bool:
    """Whether all poses, by stamp, are one."""
    known = np.stack(list(poses.values())) if poses else np.zeros((1, 4, 4))
    return bool(np.ptp(known, axis=0).max() <= _STILL)
