# SPDX-License-Identifier: Apache-2.0
"""`igs check --rig`: what a recording holds; of a bag also every topic, its rates and stamps."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from igs_ros.io.recordings import bag
from igs_ros.io.recordings.bag_cameras import no_camera
from igs_ros.io.recordings.bag_file import METADATA, bag_at
from igs_ros.io.recordings.bag_options import BagOptions
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import Recording


def check_rig(path: Path, options: BagOptions) -> int:
    """Print what is in the recording at `path`; 1 where no camera of a bag can be read.

    Raises:
        InputError: what is no recording, or cannot be read at all.
    """
    console = Console()
    if path.is_file() or (path / METADATA).is_file():
        place = bag_at(path)
        if place is not None:
            return _check_bag(console, bag.contents(place, options))
    _print_recording(console, open_recording(path, options))
    return 0


def _check_bag(console: Console, found: bag.Contents) -> int:
    console.print(_topics(found))
    cameras = found.choice.cameras
    if not cameras:
        console.print(escape(no_camera(found.bag, found.choice)), soft_wrap=True)
        return 1
    console.print(_cameras(found))
    used = bag.usable(found)
    complete = sum(len(one) == len(cameras) for one in used)
    spreads = [1e-6 * (max(one.values()) - min(one.values())) for one in used] or [np.nan]
    console.print(f'{len(used)} frame sets, {complete} of them complete, '
                  f'{len(found.sets) - len(used)} left out; spread median '
                  f'{np.median(spreads):.1f} ms, greatest {max(spreads):.1f} ms', soft_wrap=True)
    for topic, reason in found.choice.left_out.items():
        console.print(escape(reason if topic in reason else f'{topic}: {reason}'), soft_wrap=True)
    return 0


def _topics(found: bag.Contents) -> Table:
    names = {known.topic.name: name for name, known in found.choice.cameras.items()}
    infos = {known.info_topic: name for name, known in found.choice.cameras.items()}
    depths = {topic.name: name for name, topic in found.depths.items()}
    table = Table('topic', 'type', 'messages', 'Hz', 'read as')
    for topic in sorted(found.bag.topics.values(), key=lambda topic: topic.name):
        role = names.get(topic.name) or (
            f'depth of {depths[topic.name]}' if topic.name in depths else
            f'intrinsics of {infos[topic.name]}' if topic.name in infos else
            'transforms' if topic.name in found.poses.topics else '-')
        rate = (topic.count - 1) * 1e9 / found.bag.duration_ns if topic.count > 1 else 0.0
        table.add_row(escape(topic.name), escape(topic.type or 'several'), str(topic.count),
                      f'{rate:.1f}', escape(role))
    return table


def _cameras(found: bag.Contents) -> Table:
    """The cameras of a bag and how their stamps lie, in ms.

    Jitter is how far intervals are from their median (95 %), offset that of the stamps to the
    median of their frame sets, delay from stamp to recording (medians).
    """
    table = Table('camera', 'px', 'Hz', 'jitter', 'longest gap', 'offset', 'delay', 'missing in',
                  'pose', caption='ms')
    used = bag.usable(found)
    for name, known in found.choice.cameras.items():
        stamps = np.array(sorted(found.stamps[name]), np.int64)
        steps = 1e-6 * np.diff(stamps) if len(stamps) > 1 else np.array([np.nan])
        usual = np.median(steps)
        offsets = [one[name] - np.median(list(one.values())) for one in used if name in one]
        delays = [log_ns - stamp_ns for stamp_ns, log_ns in found.stamps[name].items()]
        missing = sum(name not in one for one in used)
        table.add_row(
            escape(name), f'{known.camera.width}x{known.camera.height}', f'{1e3 / usual:.2f}',
            f'{np.percentile(np.abs(steps - usual), 95):.1f}', f'{steps.max():.0f}',
            f'{1e-6 * np.median(offsets or [np.nan]):+.1f}', f'{1e-6 * np.median(delays):.1f}',
            str(missing), 'moves' if known.moves else 'still')
    return table


def _print_recording(console: Console, recording: Recording) -> None:
    table = Table('camera', 'px', 'frames', 'pictures')
    for name, camera in recording.cameras.items():
        source = recording.sources[name]
        table.add_row(escape(name), f'{camera.width}x{camera.height}', str(source.length),
                      escape(str(source.path)))
    console.print(table)
    console.print(f'{recording.frames_total} frames at {recording.rate_hz:g} Hz; held out: '
                  f'{escape(", ".join(recording.held_out) or "none")}', soft_wrap=True)
