# SPDX-License-Identifier: Apache-2.0
"""Depth topics of a bag that are registered to a color camera, and their pictures.

One is registered where the CameraInfo beside it has the frame, the size and the K of that camera.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from igs_ros.core.errors import InputError
from igs_ros.core.frames import DepthPicture
from igs_ros.io.camera_info import camera_from_info
from igs_ros.io.depth_images import BYTES, COMPRESSED_DEPTH, nearest, raw_depth, transport_depth
from igs_ros.io.recordings.bag_cameras import (
    COMPRESSED,
    IMAGE,
    BagCamera,
    Choice,
    first_info,
    is_view,
    layout_of,
)
from igs_ros.io.recordings.bag_file import BagFile, Place, Topic, stamp_of
from igs_ros.vision.preparer import check_size

_SAME_PX = 0.01  # of focal lengths and principal points that count as equal


@dataclass(frozen=True, eq=False)
class MessageDepth:
    """The depth picture in one message, which is read when it is looked at."""

    bag: BagFile
    topic: str
    place: Place

    def size(self) -> tuple[int, int]:
        """Width and height in px.

        Raises:
            InputError: the message cannot be read, or is no depth picture.
        """
        return self._picture.size()

    def decode(self) -> np.ndarray:
        """float32 [H, W] m, NaN = not known.

        Raises:
            InputError: the message cannot be read, or is damaged.
        """
        return self._picture.decode()

    @cached_property
    def _picture(self) -> DepthPicture:
        log_ns, stamp_ns = self.place
        with closing(self.bag.messages((self.topic,), log_ns, log_ns + 1)) as messages:
            for _, _, data in messages:
                if stamp_of(data) == stamp_ns:
                    return _depth_of(self.bag, self.topic, data)
        raise InputError(f'{self.bag.path}: {self.topic}: the depth picture of {stamp_ns} ns is '
                         f'gone; expected it where it was when the bag was opened.')


@dataclass(frozen=True, eq=False)
class BagDepth:
    """The depth pictures of one camera, from one topic."""

    bag: BagFile
    topic: str
    places: Sequence[Place | None]  # by frame

    def picture(self, index: int) -> MessageDepth | None:
        """That of frame `index`, not yet read; None where there is none."""
        place = self.places[index]
        return None if place is None else MessageDepth(self.bag, self.topic, place)


def places(found: Mapping[int, int], wanted: Sequence[int | None], spread_ns: int
           ) -> list[Place | None]:
    """Which messages of a depth topic belong to the pictures of a camera, by frame.

    Args:
        found: stamp -> time of recording of the depth pictures, ns.
        wanted: stamps of the camera's pictures; None where it has none.
        spread_ns: greatest difference of the stamps.
    """
    stamps = np.array(sorted(found), np.int64)
    nearby = [None if stamp is None else nearest(stamps, stamp, spread_ns) for stamp in wanted]
    return [None if at is None else (found[int(stamps[at])], int(stamps[at])) for at in nearby]


def registered(bag: BagFile, choice: Choice) -> dict[str, Topic]:
    """The depth topic of each camera of `choice` that has one; raw ones before compressed ones.

    Why others are not read joins `choice.left_out`.
    """
    depths: dict[str, Topic] = {}
    taken = {known.topic.name for known in choice.cameras.values()}
    images = [topic for topic in bag.topics.values() if topic.type in (IMAGE, COMPRESSED)
              and topic.count and topic.name not in taken and not is_view(bag, topic.name)]
    for topic in sorted(images, key=lambda one: (one.type == COMPRESSED, one.name)):
        first = bag.first(topic.name)
        if first is None or not _is_depth(bag, topic, first[1]):
            continue
        try:
            camera = _camera_of(bag, topic, first[1], choice.cameras)
            if camera in depths:
                raise InputError(f"depth of camera '{camera}' is read from {depths[camera].name}")
            depths[camera] = topic
            choice.left_out.pop(topic.name, None)
        except InputError as error:
            choice.left_out[topic.name] = str(error)
    return depths


def _is_depth(bag: BagFile, topic: Topic, data: bytes) -> bool:
    if topic.type == COMPRESSED:
        return topic.name.endswith(COMPRESSED_DEPTH)
    try:
        return bag.decoded(topic.name, data).encoding in BYTES
    except InputError:  # that it is no camera either says why
        return False


def _camera_of(bag: BagFile, topic: Topic, data: bytes, cameras: Mapping[str, BagCamera]) -> str:
    """The camera that a depth topic is registered to; raises `InputError` where it is to none."""
    namespace = topic.name.removesuffix(COMPRESSED_DEPTH).rpartition('/')[0]
    info_topic = f'{namespace}/camera_info'
    info = first_info(bag, info_topic)
    if info is None:
        raise InputError(f'{bag.path}: {topic.name}: depth without a CameraInfo on {info_topic}; '
                         f'expected that of the color camera it is registered to. Record it too.')
    frame_id = str(info.header.frame_id)
    own = camera_from_info(info, f'{bag.path}: {info_topic}', 'depth', np.eye(4))
    for name, known in cameras.items():
        color = known.camera
        if known.info_topic and known.frame_id.removeprefix('/') == frame_id.removeprefix('/') \
                and (color.width, color.height) == (own.width, own.height) \
                and np.allclose(color.K, own.K, rtol=0, atol=_SAME_PX):
            picture = _depth_of(bag, topic.name, data)
            try:
                check_size(picture, own)
            except InputError as error:
                raise InputError(f'{bag.path}: {topic.name}: {error}') from error
            picture.decode()
            return name
    raise InputError(f"{bag.path}: {topic.name}: depth in frame '{frame_id}', {own.width}x"
                     f'{own.height} px by {info_topic}; expected frame, size and K of a color '
                     f'camera that is read. Have the driver align depth to color.')


def _depth_of(bag: BagFile, topic: str, data: bytes) -> DepthPicture:
    message, who = bag.decoded(topic, data), f'{bag.path}: {topic}'
    if bag.topics[topic].type == COMPRESSED:
        return transport_depth(str(message.format), message.data.tobytes(), who)
    return raw_depth(layout_of(message), who)
