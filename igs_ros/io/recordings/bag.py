# SPDX-License-Identifier: Apache-2.0
"""ROS 2 bags, MCAP or SQLite, as `ros2 bag record` writes them (docs/bags.md).

One pass notes the stamps of all pictures, which are joined into frame sets; pictures are read when
they are asked for.
"""
from __future__ import annotations

import logging
import statistics
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from igs_ros.core.errors import InputError
from igs_ros.core.frames import Picture
from igs_ros.io.codec.ply import read_points
from igs_ros.io.recordings import bag_join
from igs_ros.io.recordings.bag_cameras import BagCamera, Choice, chosen, no_camera, picture_of
from igs_ros.io.recordings.bag_depth import BagDepth, places, registered
from igs_ros.io.recordings.bag_file import BagFile, Place, Topic, stamp_of
from igs_ros.io.recordings.bag_options import BagOptions
from igs_ros.io.recordings.bag_poses import BagPoses, Follower, stands_still
from igs_ros.io.recordings.clocks import by_camera, seconds
from igs_ros.io.recordings.recording import Recording
from igs_ros.io.recordings.rig import MAX_RATE, MIN_RATE, POINTS

log = logging.getLogger(__name__)
_UNKNOWN = np.full((4, 4), np.nan)  # a pose


@dataclass(frozen=True, eq=False)
class Unusable:
    """A picture that cannot be one; saying so is put off to whoever looks at it."""

    error: InputError

    def size(self) -> tuple[int, int]:
        """Never known.

        Raises:
            InputError: always.
        """
        raise self.error

    def decode(self) -> np.ndarray:
        """Never possible.

        Raises:
            InputError: always.
        """
        raise self.error


@dataclass(frozen=True, eq=False)
class BagSource:
    """The pictures of one topic."""

    path: Path
    bag: BagFile
    topic: str
    places: Sequence[Place | None]  # by frame; None where the camera has no picture
    rate_hz: float | None

    @property
    def length(self) -> int:
        """Number of frames."""
        return len(self.places)

    def pictures(self, first: int, last: int, step: int) -> Generator[Picture | None]:
        """The pictures of some frames, read but not decoded; None where there is none.

        Args:
            first: number of the first one, 0-based.
            last: where to end, itself left out.
            step: from one to the next.

        Raises:
            InputError: the bag cannot be read any further.
        """
        asked = self.places[first:last:step]
        wanted = {place for place in asked if place is not None}
        if not wanted:
            yield from (None for _ in asked)
            return
        times = [log_ns for log_ns, _ in wanted]
        messages = self.bag.messages((self.topic,), min(times), max(times) + 1)
        early: dict[Place, bytes] = {}  # recorded before an older one
        try:
            for place in asked:
                while place is not None and place not in early:
                    found = next(messages, None)
                    if found is None:
                        return
                    _, log_ns, data = found
                    if (log_ns, stamp_of(data)) in wanted:
                        early[log_ns, stamp_of(data)] = data
                yield None if place is None else self._picture(early.pop(place))
        finally:
            messages.close()

    def _picture(self, data: bytes) -> Picture:
        try:
            return picture_of(self.bag, self.topic, data)
        except InputError as error:
            return Unusable(error)


@dataclass(frozen=True, eq=False)
class Contents:
    """What is in a bag, and what of it can be read; `igs check --rig` shows it."""

    bag: BagFile
    choice: Choice
    poses: BagPoses
    depths: dict[str, Topic]  # by camera
    stamps: dict[str, dict[int, int]]  # by camera: stamp in ns -> time of recording in ns
    depth_stamps: dict[str, dict[int, int]]  # by camera likewise
    unstamped: dict[str, int]  # by camera: pictures with stamp 0
    moving: dict[str, dict[int, np.ndarray]]  # camera_from_world by camera that moves, and stamp
    sets: list[dict[str, int]]  # stamps by camera


def contents(path: Path, options: BagOptions) -> Contents:
    """Look through the bag at `path`.

    Raises:
        InputError: it cannot be read, or a topic asked for is no camera.
    """
    max_spread_ns = options.max_spread_ns
    bag = BagFile(path)
    poses = BagPoses.of(bag, options.world_frame)
    choice = chosen(bag, options, poses)
    cameras = choice.cameras
    depths = registered(bag, choice)
    stamps, depth_stamps, unstamped, moving = _passed(bag, cameras, depths, poses)
    for name in [name for name, own in stamps.items() if not own]:
        topic = cameras.pop(name).topic.name
        choice.left_out[topic] = _no_stamp(bag, topic, unstamped[name])
        if options.topics:
            raise InputError(choice.left_out[topic])
        del stamps[name]
        depths.pop(name, None)
    for name in [name for name in depths if not depth_stamps[name]]:
        topic = depths.pop(name).name
        choice.left_out[topic] = _no_stamp(bag, topic, bag.topics[topic].count)
    for name, found in list(moving.items()):
        if found:  # where nothing was found, the preparer leaves out all of its pictures
            camera = replace(cameras[name].camera, camera_from_world=found[min(found)])
            cameras[name] = replace(cameras[name], camera=camera, moves=not stands_still(found))
        if name not in cameras or not cameras[name].moves:
            del moving[name]
    return Contents(bag, choice, poses, depths, stamps, depth_stamps, unstamped, moving,
                    _joined(stamps, _offsets(path, cameras, options), max_spread_ns))


def _offsets(path: Path, cameras: dict[str, BagCamera], options: BagOptions) -> dict[str, int]:
    """What is added to the stamps of cameras while they are joined, ns."""
    if options.stamps:
        raise InputError(f'{path}: --stamps {options.stamps[0]}: a bag has the stamps of its '
                         f'pictures; expected --offset, where they are wrong.')
    given = by_camera(options.offset, '--offset', cameras)
    return {name: round(1e9 * seconds(given.get(name, '0'), f'--offset {name}'))
            for name in cameras}


def _joined(stamps: dict[str, dict[int, int]], offsets: dict[str, int], max_spread_ns: int
            ) -> list[dict[str, int]]:
    """Frame sets, in each the stamps of the messages."""
    moved = {name: [stamp + offsets[name] for stamp in own] for name, own in stamps.items()}
    return [{name: stamp - offsets[name] for name, stamp in one.items()}
            for one in bag_join.joined(moved, max_spread_ns)]


def _no_stamp(bag: BagFile, topic: str, unstamped: int) -> str:
    return (f'{bag.path}: {topic}: {unstamped} pictures, all with stamp 0; expected the time of '
            f'exposure. Make the driver fill header.stamp.')


def _passed(bag: BagFile, cameras: dict[str, BagCamera], depths: dict[str, Topic],
            poses: BagPoses) -> tuple[dict[str, dict[int, int]], dict[str, dict[int, int]],
                                      dict[str, int], dict[str, dict[int, np.ndarray]]]:
    """Stamps of pictures and of depth, pictures without one, and poses of cameras that move.

    All by camera, in one pass.
    """
    names = {known.topic.name: name for name, known in cameras.items()}
    depth_names = {topic.name: name for name, topic in depths.items()}
    stamps: dict[str, dict[int, int]] = {name: {} for name in cameras}
    depth_stamps: dict[str, dict[int, int]] = {name: {} for name in depths}
    unstamped = dict.fromkeys(cameras, 0)
    moving = {name: known.frame_id for name, known in cameras.items() if known.moves}
    follower = Follower(bag, poses.world_frame, moving)
    if not names:
        return stamps, depth_stamps, unstamped, follower.found
    for topic, log_ns, data in bag.messages([*names, *depth_names,
                                             *(poses.topics if moving else ())]):
        if topic in depth_names:
            if stamp_ns := stamp_of(data):
                depth_stamps[depth_names[topic]][stamp_ns] = log_ns
        elif topic not in names:
            follower.transforms(topic, data)
        elif stamp_ns := stamp_of(data):
            stamps[names[topic]][stamp_ns] = log_ns
            follower.picture(names[topic], stamp_ns)
        else:
            unstamped[names[topic]] += 1
    follower.end()
    return stamps, depth_stamps, unstamped, {
        name: follower.found.get(name, {}) for name in moving}


def usable(found: Contents) -> list[dict[str, int]]:
    """The frame sets that are worth one."""
    return bag_join.usable(found.sets, len(found.choice.cameras))


def read(path: Path, options: BagOptions | None = None) -> Recording:
    """The recording in the bag at `path`, a folder or one of its files.

    Raises:
        InputError: it cannot be read, or no frame set of cameras is in it.
    """
    options = options or BagOptions()
    found = contents(path, options)
    if not found.choice.cameras:
        raise InputError(no_camera(found.bag, found.choice))
    sets = usable(found)
    if not sets:
        raise InputError(f'{path}: no frame set of at least half of {len(found.choice.cameras)} '
                         f'cameras within {options.max_spread_ns / 1e9:g} s; expected pictures '
                         f'that belong together. See igs check --rig {path}, or raise '
                         f'--max-spread-s.')
    stamps = [statistics.median_low(one.values()) for one in sets]
    rate = _rate(stamps)
    sources = {name: BagSource(path, found.bag, known.topic.name, [
        (found.stamps[name][one[name]], one[name]) if name in one else None for one in sets], rate)
        for name, known in found.choice.cameras.items()}
    depths = {name: BagDepth(found.bag, topic.name, places(
        found.depth_stamps[name], [one.get(name) for one in sets], options.max_spread_ns))
        for name, topic in found.depths.items()}
    _say(found, sets, depths)
    points = (path if path.is_dir() else path.parent) / POINTS
    return Recording(
        name=path.resolve().stem if path.is_file() else path.resolve().name, path=path,
        cameras={name: known.camera for name, known in found.choice.cameras.items()},
        sources=sources, rate_hz=rate, stamps_ns=stamps, depths=depths,
        load_points=(lambda: read_points(points)) if points.is_file() else None,
        poses=partial(_poses, found, sets) if found.moving else None)


def _poses(found: Contents, sets: list[dict[str, int]], index: int) -> dict[str, np.ndarray]:
    """camera_from_world of the cameras that move, each at the stamp of its picture."""
    # the preparer leaves out a picture without a pose
    return {name: own.get(sets[index][name], _UNKNOWN) for name, own in found.moving.items()
            if name in sets[index]}


def _rate(stamps: list[int]) -> float:
    """Frame sets per second: the median, so that a pause does not count."""
    steps = [later - earlier for earlier, later in zip(stamps, stamps[1:], strict=False)]
    rate = 1e9 / max(1, statistics.median(steps)) if steps else 30.0
    return min(max(rate, MIN_RATE), MAX_RATE)


def _say(found: Contents, sets: list[dict[str, int]], depths: dict[str, BagDepth]) -> None:
    """What of the bag is not used; a line each."""
    cameras, path = found.choice.cameras, found.bag.path
    for topic, reason in found.choice.left_out.items():
        log.info('%s: %s is not read: %s', path, topic, reason)
    for name, count in found.unstamped.items():
        if count and name in cameras:
            log.warning('%s: %s: %d pictures with stamp 0 are left out', path,
                        cameras[name].topic.name, count)
    for name, depth in depths.items():
        log.info('%s: depth of %s is read from %s, for %d of the frame sets', path, name,
                 depth.topic, sum(place is not None for place in depth.places))
    complete = sum(len(one) == len(cameras) for one in sets)
    log.info('%s: %d frame sets of %s, %d of them complete, %d left out', path, len(sets),
             ', '.join(cameras), complete, len(found.sets) - len(sets))
