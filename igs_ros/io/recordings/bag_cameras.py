# SPDX-License-Identifier: Apache-2.0
"""Which topics of a bag are cameras: chosen by type and by the CameraInfo beside them, or by name.

image_transport's rule: the CameraInfo of `/cam/image_raw`, and of `/cam/image_raw/compressed`, is
`/cam/camera_info`.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from igs_ros.core.camera import Camera, require_name
from igs_ros.core.errors import InputError, shown
from igs_ros.core.frames import Picture
from igs_ros.io.camera_info import camera_from_info
from igs_ros.io.encodings import Layout, raw_image, transport_image
from igs_ros.io.recordings import kalibr
from igs_ros.io.recordings.bag_file import BagFile, Topic
from igs_ros.io.recordings.bag_options import BagOptions
from igs_ros.io.recordings.bag_poses import BagPoses
from igs_ros.io.recordings.rig import MARKER, read_rig
from igs_ros.vision.preparer import check_size

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
INFO, STATUS = 'sensor_msgs/msg/CameraInfo', 'igs_ros/msg/SceneStatus'
_TRANSPORT = '/compressed'
_BEST = ('image_raw', 'image_color', 'image')  # of several topics of one camera


@dataclass(frozen=True, eq=False)
class BagCamera:
    """A camera of a bag that can be read."""

    topic: Topic
    info_topic: str  # '' where the rig file has the intrinsics
    frame_id: str
    camera: Camera
    moves: bool  # its pose is another one at every picture


@dataclass(frozen=True, eq=False)
class Choice:
    """The cameras of a bag by name, and why its other image topics are none."""

    cameras: dict[str, BagCamera] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # by topic


def picture_of(bag: BagFile, topic: str, data: bytes) -> Picture:
    """The picture in a message, not yet decoded.

    Args:
        bag: that the message is from.
        topic: of the message, an Image or a CompressedImage.
        data: its CDR bytes.

    Raises:
        InputError: it is no picture that can be read; names the topic.
    """
    message = bag.decoded(topic, data)
    who = f'{bag.path}: {topic}'
    if bag.topics[topic].type == COMPRESSED:
        return transport_image(str(message.format), message.data.tobytes(), who)
    return raw_image(layout_of(message), who)


def layout_of(message: Any) -> Layout:
    """Header and bytes of an Image of rosbags."""
    return Layout(message.encoding, message.width, message.height, message.step,
                  bool(message.is_bigendian), message.data)


def chosen(bag: BagFile, options: BagOptions, poses: BagPoses) -> Choice:
    """The cameras of `bag`.

    Args:
        bag: opened.
        options: topics and rig file.
        poses: of its frames.

    Raises:
        InputError: when a topic asked for cannot be a camera.
    """
    rig = _rig(bag, options)
    choice = Choice()
    for name, topic in _candidates(bag, options, choice):
        try:
            if name in choice.cameras:
                raise InputError(f"camera '{name}' is read from "
                                 f'{choice.cameras[name].topic.name}; name this one with --topics')
            choice.cameras[name] = _camera(bag, name, topic, rig, poses)
        except InputError as error:
            if options.topics:
                raise
            choice.left_out[topic.name] = str(error)
    return choice


def _candidates(bag: BagFile, options: BagOptions, choice: Choice) -> Iterator[tuple[str, Topic]]:
    """Names and topics that may be cameras, the best one of a camera first."""
    images = {name: topic for name, topic in bag.topics.items()
              if topic.type in (IMAGE, COMPRESSED)}
    if options.topics:
        for text in options.topics:
            name, equals, topic = text.rpartition('=')
            if topic not in images:
                raise InputError(f'{bag.path}: --topics {shown(text)}: no images there; expected '
                                 f'NAME=/topic with one of {", ".join(images) or "none"}.')
            yield name if equals else _name(topic), images[topic]
        return
    for topic in sorted(images.values(), key=_rank):
        if is_view(bag, topic.name):
            choice.left_out[topic.name] = 'a view that igs_ros rendered'
        elif not topic.count:
            choice.left_out[topic.name] = 'no messages'
        else:
            yield _name(topic.name), topic


def is_view(bag: BagFile, topic: str) -> bool:
    """Whether igs_ros published a topic: it stands beside or below a SceneStatus."""
    return topic.startswith(tuple(one.name.removesuffix('status') for one in bag.topics.values()
                                  if one.type == STATUS))


def _base(topic: str) -> str:
    return topic.removesuffix(_TRANSPORT)


def _rank(topic: Topic) -> tuple:
    """Order of topics; raw pictures before compressed ones, which were made of them."""
    namespace, _, last = _base(topic.name).rpartition('/')
    return namespace, _BEST.index(last) if last in _BEST else len(_BEST), last, topic.name


def _name(topic: str) -> str:
    """What a camera is called: its namespace, in one word."""
    return '_'.join(_base(topic).split('/')[1:-1]) or 'camera'


def _rig(bag: BagFile, options: BagOptions) -> dict[str, Camera] | None:
    """The cameras of the rig file; None where there is none."""
    folder = bag.path if bag.path.is_dir() else bag.path.parent
    if options.rig_file is not None:
        read = kalibr.read_cameras if options.rig_file.suffix in kalibr.SUFFIXES else read_rig
        return read(options.rig_file)
    return read_rig(folder / MARKER) if (folder / MARKER).is_file() else None


def _camera(bag: BagFile, name: str, topic: Topic, rig: Mapping[str, Camera] | None,
            poses: BagPoses) -> BagCamera:
    """The camera of one topic; raises `InputError` that says why it is none."""
    require_name(name)
    first = bag.first(topic.name)
    if first is None:
        raise InputError(f'{bag.path}: {topic.name}: no messages; expected pictures. Record the '
                         f'topic, with the QoS of its driver.')
    info_topic = f'{_base(topic.name).rpartition("/")[0]}/camera_info'
    info = first_info(bag, info_topic)
    if rig is not None and name not in rig:
        raise InputError(f"{bag.path}: {topic.name}: no camera '{name}' in the rig file, which "
                         f'has {", ".join(rig)}. Use one of these names: --topics '
                         f'NAME={topic.name}')
    if info is None:
        if rig is None:
            raise InputError(f'{bag.path}: {topic.name}: no CameraInfo on {info_topic}; expected '
                             f'it beside the pictures. Record it as well, or give --rig-file.')
        camera, frame_id, moves, info_topic = rig[name], '', False, ''
    else:
        frame_id = str(info.header.frame_id)
        moves = rig is None and poses.moves(frame_id)
        pose = rig[name].camera_from_world if rig else poses.camera_from_world(
            frame_id, f'{bag.path}: {info_topic}')
        camera = camera_from_info(info, f'{bag.path}: {info_topic}', name, pose)
        _check_raw(topic, info, camera)
    check_size(picture_of(bag, topic.name, first[1]), camera)
    return BagCamera(topic, info_topic, frame_id, camera, moves)


def first_info(bag: BagFile, info_topic: str) -> Any:
    """The first CameraInfo of a topic; None where there is none."""
    known = bag.topics.get(info_topic)
    first = bag.first(info_topic) if known is not None and known.type == INFO else None
    return None if first is None else bag.decoded(info_topic, first[1])


def _check_raw(topic: Topic, info: Any, camera: Camera) -> None:
    """Rectified pictures fit the calibration only where there was nothing to rectify."""
    if 'rect' in _base(topic.name).rpartition('/')[2] and np.any(camera.distortion):
        raise InputError(f'{topic.name}: rectified pictures with the CameraInfo of raw ones; '
                         f'expected raw ones. Record image_raw.')


def no_camera(bag: BagFile, choice: Choice) -> str:
    """Why there is none, and what to do."""
    reasons = '; '.join(f'{topic}: {reason}' if topic not in reason else reason
                        for topic, reason in list(choice.left_out.items())[:3])
    types = sorted({topic.type for topic in bag.topics.values()})
    found = reasons or f'topics of {", ".join(types[:8])} alone'
    return (f'{bag.path}: no camera ({found}); expected {IMAGE} or {COMPRESSED} with a CameraInfo '
            f'beside it. Record both, or see: igs check --rig {bag.path}')
