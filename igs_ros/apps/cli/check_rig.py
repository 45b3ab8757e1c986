# SPDX-License-Identifier: Apache-2.0
"""`igs check --rig`: what a recording holds, and whether its cameras fit together.

Of a bag also every topic, its rates and stamps.
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from igs_ros.apps.cli.bars import progress_bar, stage_of
from igs_ros.core.files import checked_folder
from igs_ros.io.recordings import bag
from igs_ros.io.recordings.bag_cameras import no_camera
from igs_ros.io.recordings.bag_file import METADATA, bag_at
from igs_ros.io.recordings.bag_options import BagOptions
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import Recording
from igs_ros.io.rig_recording import CheckedRecording, check_recording
from igs_ros.io.rig_report import EXIT, PICTURE, REPORT, write_report
from igs_ros.vision.rig_check import RigCheck
from igs_ros.vision.rig_facts import CameraFacts, remarks, rig_facts
from igs_ros.vision.rig_pairs import Verdict

_MOST_PAIRS = 8  # cameras up to which every pair gets a row


def check_rig(path: Path, options: BagOptions, out: Path | None = None) -> int:
    """Say what is in the recording at `path`, and check its rig by its pictures.

    Args:
        path: of the recording.
        options: of a bag: what it does not say itself.
        out: folder for rig_check.json and rig_check.png; None: none are written.

    Returns:
        0 where all cameras fit together, 1 where one does not, or no camera of a bag can be read,
        3 where that cannot be told.

    Raises:
        InputError: what is no recording, or cannot be read at all.
        OutputError: `out` cannot be written to.
    """
    console = Console()
    if out is not None:
        checked_folder(out)
    recording, timing = None, {}
    if path.is_file() or (path / METADATA).is_file():
        place = bag_at(path)
        if place is not None:
            found = bag.contents(place, options)
            timing = _check_bag(console, found)
            if timing is None:
                return 1
    recording = open_recording(path, options)
    if not timing:
        timing = _rates(recording)
        _print_recording(console, recording)
    with progress_bar() as bar:
        checked = check_recording(recording, stage_of(bar))
        facts = rig_facts(checked.images, checked.cameras, checked.check.pairs)
    notes = remarks(facts, checked.cameras)
    console.print(_rig_table(checked, facts))
    if len(checked.cameras) <= _MOST_PAIRS:
        console.print(_pair_table(checked))
    _say(console, checked.check, notes)
    if out is not None:
        write_report(out, checked, facts, notes, timing)
        console.print(escape(f'{out / REPORT}, {out / PICTURE}'), soft_wrap=True)
    return EXIT[checked.check.verdict]


def _say(console: Console, check: RigCheck, notes: list[str]) -> None:
    for line in check.lines:
        console.print(escape(line), soft_wrap=True)
    for note in notes:
        console.print(escape(f'note: {note}'), soft_wrap=True)
    console.print({
        Verdict.GOOD: 'the rig fits what its cameras see',
        Verdict.WRONG: 'the rig does not fit what its cameras see (docs/real_rigs.md)',
        Verdict.UNKNOWN: 'cannot tell whether the rig fits what its cameras see '
                         '(docs/real_rigs.md)'}[check.verdict], soft_wrap=True)


def _rig_table(checked: CheckedRecording, facts: Mapping[str, CameraFacts]) -> Table:
    table = Table('camera', 'rig', 'view', 'nearest', 'at', 'overlap', 'confirmed', 'brightness',
                  caption='nearest: by the angle at which both see things; confirmed: share of '
                          'the picture whose stereo depth another camera confirms')
    for name, verdict in checked.check.cameras.items():
        fact = facts[name]
        table.add_row(escape(name), verdict.value, _number(fact.view_deg, '.0f', ' deg'),
                      escape(fact.nearest) or '-', _number(fact.nearest_deg, '.0f', ' deg'),
                      _number(100 * fact.overlap, '.0f', ' %'),
                      _number(100 * fact.confirmed, '.0f', ' %'), _number(fact.gain, '.2f', ' x'))
    return table


def _pair_table(checked: CheckedRecording) -> Table:
    table = Table('cameras', 'verdict', 'matches', 'fit', 'error', 'features alone',
                  caption='px, medians; features alone: under the pose that they want themselves')
    for pair in checked.check.pairs:
        table.add_row(escape(' '.join(pair.names)), pair.verdict.value, str(len(pair.matches)),
                      str(int(pair.fitting.sum())), _number(pair.error_px, '.2f'),
                      _number(pair.floor_px, '.2f'))
    return table


def _number(value: float, form: str, unit: str = '') -> str:
    return f'{value:{form}}{unit}' if np.isfinite(value) else '-'


def _rates(recording: Recording) -> dict[str, dict[str, float]]:
    """Rates of the cameras, and which share of the frames of the longest they lack."""
    total = recording.frames_total
    return {name: {'rate_hz': source.rate_hz or recording.rate_hz,
                   'loss': 1 - source.length / total}
            for name, source in recording.sources.items()}


def _check_bag(console: Console, found: bag.Contents) -> dict[str, dict[str, float]] | None:
    """Print what a bag holds; the timing of its cameras, None without one that can be read."""
    console.print(_topics(found))
    cameras = found.choice.cameras
    if not cameras:
        console.print(escape(no_camera(found.bag, found.choice)), soft_wrap=True)
        return None
    timing = _timing(found)
    console.print(_cameras(found, timing))
    used = bag.usable(found)
    complete = sum(len(one) == len(cameras) for one in used)
    spreads = [1e-6 * (max(one.values()) - min(one.values())) for one in used] or [np.nan]
    console.print(f'{len(used)} frame sets, {complete} of them complete, '
                  f'{len(found.sets) - len(used)} left out; spread median '
                  f'{np.median(spreads):.1f} ms, greatest {max(spreads):.1f} ms', soft_wrap=True)
    for topic, reason in found.choice.left_out.items():
        console.print(escape(reason if topic in reason else f'{topic}: {reason}'), soft_wrap=True)
    return timing


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


def _timing(found: bag.Contents) -> dict[str, dict[str, float]]:
    """How the stamps of the cameras of a bag lie, in ms.

    Jitter is how far intervals are from their median (95 %), offset that of the stamps to the
    median of their frame sets, delay from stamp to recording (medians), loss the share of frame
    sets without the camera.
    """
    timing, used = {}, bag.usable(found)
    for name in found.choice.cameras:
        stamps = np.array(sorted(found.stamps[name]), np.int64)
        steps = 1e-6 * np.diff(stamps) if len(stamps) > 1 else np.array([np.nan])
        usual = float(np.median(steps))
        offsets = [one[name] - np.median(list(one.values())) for one in used if name in one]
        delays = [log_ns - stamp_ns for stamp_ns, log_ns in found.stamps[name].items()]
        missing = sum(name not in one for one in used)
        timing[name] = {
            'rate_hz': 1e3 / usual, 'jitter_ms': float(np.percentile(np.abs(steps - usual), 95)),
            'longest_gap_ms': float(steps.max()),
            'offset_ms': float(1e-6 * np.median(offsets or [np.nan])),
            'delay_ms': float(1e-6 * np.median(delays)), 'missing': missing,
            'loss': missing / max(1, len(used))}
    return timing


def _cameras(found: bag.Contents, timing: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table('camera', 'px', 'Hz', 'jitter', 'longest gap', 'offset', 'delay', 'missing in',
                  'pose', caption='ms')
    for name, known in found.choice.cameras.items():
        of = timing[name]
        table.add_row(
            escape(name), f'{known.camera.width}x{known.camera.height}', f"{of['rate_hz']:.2f}",
            f"{of['jitter_ms']:.1f}", f"{of['longest_gap_ms']:.0f}", f"{of['offset_ms']:+.1f}",
            f"{of['delay_ms']:.1f}", str(of['missing']), 'moves' if known.moves else 'still')
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
