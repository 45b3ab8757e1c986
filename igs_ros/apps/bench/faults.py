# SPDX-License-Identifier: Apache-2.0
"""Faults of the cameras: is each noticed at once, and does the scene heal when it is over?

A recording is played forth and back in lockstep, so that there is no cut where it starts anew:
once without a fault and once with each of them, all from the same first scene. What the unseen
view loses is the difference of its PSNR, frame by frame, to the run without the fault.
"""
from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from igs_ros.apps.bench.fault_kinds import Fault, Strange, faults
from igs_ros.apps.bench.quality import QualityPlan, first_scene
from igs_ros.core.config import BootstrapConfig, Config
from igs_ros.core.errors import InputError
from igs_ros.core.frames import RawFrameSet
from igs_ros.core.machine import machine
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import require_still, test_view, train_views
from igs_ros.pipeline import Pipeline
from igs_ros.render.rasterizer import render_view
from igs_ros.vision.metrics import mean, psnr
from igs_ros.vision.preparer import Preparer

log = logging.getLogger(__name__)
SHORT, LONG_S = 10, 10.0  # frames, and s, of a fault
PAUSE = 10  # frames between faults that come again
LATER = 30  # frames after the end of a fault, when the scene is looked at once more


@dataclass(frozen=True)
class FaultPlan:
    """What is measured."""

    recordings: Sequence[Path]
    config: Config
    faults: Sequence[str] = ()  # by name, empty = all
    other: Path | None = None  # recording that shows another scene
    test_view: str | None = None
    first: int = 0
    last: int | None = None  # half-open
    keep: Path | None = None  # folder that keeps first scenes between runs


@dataclass(frozen=True, eq=False)
class _Rig:
    """A recording in memory, played forth and back."""

    pictures: Sequence[Mapping[str, np.ndarray]]  # uint8 RGB by camera, all that are read
    train: tuple[str, ...]
    test: str
    rate_hz: float

    @property
    def loop(self) -> int:
        """Frames of a loop."""
        return max(1, 2 * len(self.pictures) - 2)

    def at(self, number: int) -> Mapping[str, np.ndarray]:
        """The pictures of frame `number`, 0 = the first scene's."""
        place = number % self.loop
        return self.pictures[min(place, self.loop - place)]

    def seen(self, number: int) -> dict[str, np.ndarray]:
        """Those that feed the scene."""
        return {name: self.at(number)[name] for name in self.train}


@dataclass(frozen=True, eq=False)
class _Frame:
    """What a run made of one frame."""

    psnr: float  # dB, of the unseen view
    kind: str  # 'key' or 'candidate'
    implausible: Mapping[str, str]  # why, by camera left out
    held: str  # why nothing was made of it; '' = something was


def measure(plan: FaultPlan) -> dict:
    """One row per recording and fault.

    Raises:
        InputError: a recording cannot be read or has no unseen view, or a fault is unknown.
    """
    known = faults(_strange(plan.other) if plan.other else None)
    for name in plan.faults:
        if name not in known:
            raise InputError(f"fault '{name}' is unknown; expected {', '.join(known)}.")
    wanted = [known[name] for name in plan.faults] or list(known.values())
    rows = [row for recording in plan.recordings for row in _rows(plan, recording, wanted)]
    return {'machine': machine(), 'config': asdict(plan.config),
            'faults': {fault.name: fault.meaning for fault in wanted}, 'rows': rows}


def _rows(plan: FaultPlan, path: Path, wanted: Sequence[Fault]):
    recording = open_recording(path)
    require_still(recording, 'igs bench faults')
    test = test_view(recording, plan.test_view)
    if test is None:
        raise InputError(f'{path}: no camera is held out; name the unseen one with --test-view.')
    train = train_views(recording, test)
    sets = recording.frame_sets(plan.first, plan.last, (*train, test))
    decoded = [{name: picture.decode() for name, picture in one.pictures.items()} for one in sets]
    rig = _Rig(decoded, train, test, recording.rate_hz)
    if len(rig.pictures) < 2 or any(len(one) <= len(train) for one in rig.pictures):
        raise InputError(f'{path}: expected at least 2 frames, each with a picture of all '
                         f'cameras; choose them with --frames.')
    with tempfile.TemporaryDirectory() as folder:
        _, scene = first_scene(QualityPlan((), (), (), plan.config, plan.first), path, plan.config,
                               plan.keep or Path(folder))
        config = replace(plan.config, bootstrap=BootstrapConfig(method=str(scene)))
        begin = 2 * max(1, config.key_interval) + 2
        ends = [_spans(rig, fault, begin)[-1][1] for fault in wanted if not fault.long]
        count = max([begin + rig.loop, *(end + _after(config) for end in ends)])
        clean = _play(rig, recording.cameras, config, count)
        alarms = sum(bool(frame.implausible) for frame in clean[1:])
        for fault in wanted:
            spans = _spans(rig, fault, begin)
            frames = _play(rig, recording.cameras, config, spans[-1][1] + _after(config), fault,
                           spans)
            row = {'scene': recording.name, 'fault': fault.name, 'false_alarms': alarms,
                   **_row(rig, fault, spans, frames, clean, config.key_interval)}
            log.info('%s', {name: value for name, value in row.items() if name != 'psnr'})
            yield row


def _strange(path: Path) -> Strange:
    """What cameras show that are another rig's: its first camera's pictures, forth and back."""
    recording = open_recording(path)
    name = next(iter(recording.cameras))
    pictures = [one.pictures[name].decode() for one in recording.frame_sets(cameras=(name,))]
    rig = _Rig([{name: picture} for picture in pictures], (name,), name, recording.rate_hz)
    return lambda number, size: cv2.resize(rig.at(number)[name], size)


def _after(config: Config) -> int:
    return LATER + max(1, config.key_interval)


def _spans(rig: _Rig, fault: Fault, begin: int) -> list[tuple[int, int]]:
    """First frame and end of each coming of `fault`.

    A long one takes whole loops, so that what follows can be compared with a short run.
    """
    length = SHORT
    if fault.long:
        length = rig.loop * math.ceil(LONG_S * rig.rate_hz / rig.loop)
    return [(begin + number * (length + PAUSE), begin + number * (length + PAUSE) + length)
            for number in range(fault.times)]


def _play(rig: _Rig, cameras, config: Config, count: int, fault: Fault | None = None,
          spans: Sequence[tuple[int, int]] = ()) -> list[_Frame]:
    """Frames 1 .. count - 1 (0 stands for the first scene)."""
    pipeline = Pipeline(config, {name: cameras[name] for name in rig.train})
    judge = Preparer({rig.test: cameras[rig.test]}, config.width or None)
    frames = []
    for number in range(count):
        pictures = rig.seen(number)
        for start, end in spans:
            if fault is not None and start <= number < end:
                pictures = fault.apply(pictures, rig.seen(start - 1), number)
        frame_set = RawFrameSet.of(round(number * 1e9 / rig.rate_hz), {
            name: np.ascontiguousarray(image) for name, image in pictures.items()})
        if number:
            step = pipeline.step(frame_set)
            came = step.kind, step.implausible, step.held
        else:
            pipeline.start(frame_set)
            came = 'key', {}, ''
        unseen = RawFrameSet.of(0, {rig.test: rig.at(number)[rig.test]})
        truth = judge.prepare(unseen).images[rig.test]
        view = render_view(pipeline.stages.rasterizer, pipeline.timeline.snapshot.scene,
                           judge.cameras[rig.test])
        frames.append(_Frame(psnr(truth, view.rgb), *came))
    return frames


def _row(rig: _Rig, fault: Fault, spans, frames: Sequence[_Frame], clean: Sequence[_Frame],
         interval: int) -> dict:
    """What came of a run with a fault, against the one without."""
    window, (start, _), end = max(1, interval), spans[0], spans[-1][1]

    def twin(number: int) -> _Frame:
        """The frame without the fault; after a long one, that of the same pictures before."""
        loops = max(0, math.ceil((number + 1 - len(clean)) / rig.loop))
        return clean[number - loops * rig.loop]

    def lost(first: int, last: int) -> float | None:
        return mean(frames[number].psnr - twin(number).psnr
                    for number in range(first, min(last, len(frames))))
    hit = [n for first, last in spans for n in range(first, last)]
    faulty = fault.faulty(rig.train) or set(rig.train)
    noticed = [next((n - first for n in range(first, last)
                     if set(frames[n].implausible) == faulty), None) for first, last in spans]
    at = [n for n in noticed if n is not None]
    keys = [n for n in range(end, len(frames)) if frames[n].kind == 'key']
    second = keys[1] if len(keys) > 1 else len(frames)
    return {
        'psnr_before': frames[start - 1].psnr, 'before_db': lost(start - window, start),
        'during_db': lost(start, end), 'two_keys_db': lost(second, second + window),
        'two_keys_frames': second - end, 'later_db': lost(end + LATER, end + LATER + window),
        'noticed_at': max(at) if len(at) == len(noticed) else None,
        'named': sorted(set().union(*(frames[n].implausible for n in hit))),
        'reasons': sorted({why for n in hit for why in frames[n].implausible.values()}),
        'held': sum(bool(frame.held) for frame in frames[1:]), 'faulty_frames': len(hit),
        'alarms_outside': sum(bool(frame.implausible) for n, frame in enumerate(frames)
                              if n and n not in hit),
        'psnr': [frame.psnr for frame in frames]}


COLUMNS: Mapping[str, tuple[str, int]] = {
    'before': ('before_db', 2), 'during': ('during_db', 2), '2 keys': ('two_keys_db', 2),
    'after': ('two_keys_frames', 0), f'{LATER} later': ('later_db', 2),
    'noticed': ('noticed_at', 0), 'held': ('held', 0), 'of': ('faulty_frames', 0),
    'false': ('false_alarms', 0)}


def print_table(results: dict) -> None:
    """One line per recording and fault."""
    table = Table('recording', 'fault', *COLUMNS, 'named', padding=(0, 0))
    for row in results['rows']:
        table.add_row(row['scene'], row['fault'], *(
            '-' if row[name] is None else f'{row[name]:.{digits}f}'
            for name, digits in COLUMNS.values()), ' '.join(row['named']))
    console = Console(width=150)
    console.print(table)
    console.print(LEGEND)
    for name, meaning in results['faults'].items():
        console.print(f'  {name}: {meaning}', highlight=False)


LEGEND = (
    'before, during, 2 keys, later: PSNR of the unseen view minus that of the run without the '
    'fault, dB, over a key interval before it, all of it, a key interval from the second key '
    f'after it (`after`: that many frames later) and {LATER} frames after its end; noticed: its '
    'frame (0 = first) at which all cameras that show it are named; held: frame sets of which '
    'nothing was made, of so many with the fault; false: alarms in the run without a fault')
