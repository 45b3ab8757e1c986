# SPDX-License-Identifier: Apache-2.0
"""Frame sets of cameras that were not triggered together: joined by time, or thinned out.

Where all cameras have one rate and nothing is known of their stamps, frame i of each belongs
together, as ever, and a recording comes out as it came in.
"""
from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from igs_ros.core.errors import InputError
from igs_ros.core.frames import DepthPicture, Picture
from igs_ros.io.recordings.bag_join import joined, usable
from igs_ros.io.recordings.bag_options import BagOptions, checked_spread
from igs_ros.io.recordings.clocks import Clock, Timing, by_camera, read_stamps, seconds
from igs_ros.io.recordings.recording import Recording
from igs_ros.io.recordings.sources import DepthPictures, PictureSource, VideoSource

log = logging.getLogger(__name__)
DRIFT = 0.5  # frames that rates may lead apart until the end and still be the same


@dataclass(frozen=True, eq=False)
class PickedSource:
    """Some of the pictures of a source, in its order."""

    source: PictureSource
    places: Sequence[int | None]  # by frame: number in the source; None where there is no picture
    rate_hz: float | None

    @property
    def path(self) -> Path:
        """Named in messages."""
        return self.source.path

    @property
    def length(self) -> int:
        """Number of frames."""
        return len(self.places)

    def pictures(self, first: int, last: int, step: int) -> Generator[Picture | None]:
        """The pictures of some frames; None where there is none.

        Args:
            first: number of the first one, 0-based.
            last: where to end, itself left out.
            step: from one to the next.
        """
        asked = self.places[first:last:step]
        wanted = [place for place in asked if place is not None]
        if not wanted:
            yield from (None for _ in asked)
            return
        stride = math.gcd(*(b - a for a, b in zip(wanted, wanted[1:], strict=False))) or 1
        stream = self.source.pictures(wanted[0], wanted[-1] + 1, stride)
        try:
            at = wanted[0] - stride
            for place in asked:
                picture = None
                while place is not None and at < place:
                    try:
                        picture = next(stream)
                    except StopIteration:
                        return
                    at += stride
                yield picture
        finally:
            stream.close()


@dataclass(frozen=True, eq=False)
class PickedDepth:
    """The depth pictures that belong to a `PickedSource`."""

    source: DepthPictures
    places: Sequence[int | None]

    def picture(self, index: int) -> DepthPicture | None:
        """That of frame `index`; None where there is none.

        Raises:
            InputError: the file cannot be read.
        """
        place = self.places[index] if index < len(self.places) else None
        return None if place is None else self.source.picture(place)


def arranged(recording: Recording, options: BagOptions | None = None) -> Recording:
    """`recording` with frame sets as its timing and `options` want them.

    Args:
        recording: with frame i of all cameras as frame set i, or a bag's.
        options: offsets, stamps and step; they win over what the recording says.

    Raises:
        InputError: they do not fit the recording, or no frame set would be left.
    """
    options = options or BagOptions()
    told = recording.timing or Timing()
    step = told.frame_step * _checked_step(options.frame_step)
    if recording.stamps_ns is not None:  # a bag: its pictures are joined already
        return recording if step == 1 else _thinned(recording, step)
    clocks = _clocks(recording, told, options)
    reason = _reason(recording, clocks)
    if not reason:
        return recording if step == 1 else _thinned(recording, step)
    stamps = {name: _stamps(recording, name, clock) for name, clock in clocks.items()}
    spread_s = options.max_spread_s if options.max_spread_s is not None else told.max_spread_s
    spread_ns = min(map(_period_ns, stamps.values())) if spread_s is None \
        else checked_spread(spread_s)
    return _thinned(_joined(recording, stamps, spread_ns, reason), step)


def _checked_step(step: int) -> int:
    if step < 1:
        raise InputError(f'--frame-step {step}: expected 1 or more.')
    return step


def _clocks(recording: Recording, told: Timing, options: BagOptions) -> dict[str, Clock]:
    names = recording.cameras
    clocks = {name: told.clocks.get(name, Clock()) for name in names}
    for name, text in by_camera(options.offset, '--offset', names).items():
        clocks[name] = replace(clocks[name], offset_s=seconds(text, f'--offset {name}'))
    for name, text in by_camera(options.stamps, '--stamps', names).items():
        clocks[name] = replace(clocks[name], stamps_ns=read_stamps(Path(text)))
    return clocks


def _reason(recording: Recording, clocks: Mapping[str, Clock]) -> str:
    """Why frame i of one camera is not frame i of another; '' where it is."""
    unstamped = [name for name, clock in clocks.items() if clock.stamps_ns is None]
    if len(unstamped) < len(clocks):
        if unstamped:
            raise InputError(f'{recording.path}: no stamps of {", ".join(unstamped)}, but of '
                             f'other cameras; expected those of all, or of none.')
        return 'by their stamps'
    if len({clock.offset_s for clock in clocks.values()}) > 1:
        return 'by their offsets'
    usual = recording.rate_hz if any(clock.rate_hz for clock in clocks.values()) else None
    rates = {name: rate for name, clock in clocks.items() if recording.sources[name].length > 1
             and (rate := clock.rate_hz or recording.sources[name].rate_hz or usual)}
    if not rates:
        return ''
    slow, fast = min(rates.values()), max(rates.values())
    frames = max(recording.sources[name].length for name in rates)
    return f'rates of {slow:g} to {fast:g} Hz' if (1 - slow / fast) * frames > DRIFT else ''


def _stamps(recording: Recording, name: str, clock: Clock) -> list[int]:
    """Of the pictures of a camera, ns."""
    source, offset_ns = recording.sources[name], round(clock.offset_s * 1e9)
    if clock.stamps_ns is not None:
        if len(clock.stamps_ns) != source.length:
            raise InputError(f"{source.path}: camera '{name}' has {source.length} pictures, but "
                             f'{len(clock.stamps_ns)} stamps; expected one for each picture.')
        found = list(clock.stamps_ns)
    elif clock.rate_hz is None and isinstance(source, VideoSource):
        found = source.stamps_ns()  # phones have no constant rate
    else:
        rate = clock.rate_hz or source.rate_hz or recording.rate_hz
        found = [round(index * 1e9 / rate) for index in range(source.length)]
    return [stamp + offset_ns for stamp in found]


def _period_ns(stamps: Sequence[int]) -> int:
    """The usual time between the pictures of a camera."""
    steps = [b - a for a, b in zip(stamps, stamps[1:], strict=False)]
    return round(statistics.median(steps)) if steps else 10 ** 18


def _joined(recording: Recording, stamps: Mapping[str, Sequence[int]], spread_ns: int,
            reason: str) -> Recording:
    found = joined(stamps, spread_ns)
    sets = usable(found, len(stamps))
    if not sets or (len(stamps) > 1 and max(map(len, sets)) < 2):
        spans = '; '.join(f'{name} {own[0] / 1e9:.3f} to {own[-1] / 1e9:.3f}'
                          for name, own in stamps.items())
        raise InputError(f'{recording.path}: no two cameras have pictures within '
                         f'{spread_ns / 1e9:g} s of each other (stamps in s: {spans}); expected '
                         f'cameras that ran at the same time. Check the stamps, or give --offset.')
    numbers = {name: {stamp: number for number, stamp in enumerate(own)}
               for name, own in stamps.items()}
    times = [statistics.median_low(one.values()) for one in sets]
    spreads = [max(one.values()) - min(one.values()) for one in sets]
    log.info('%s: joined by time (%s): %d frame sets, %d of them of all %d cameras, %d left out; '
             'pictures of a set are %.1f ms apart (median)', recording.path, reason, len(sets),
             sum(len(one) == len(stamps) for one in sets), len(stamps), len(found) - len(sets),
             1e-6 * statistics.median(spreads))
    return _picked(recording, {
        name: [own[one[name]] if name in one else None for one in sets]
        for name, own in numbers.items()}, times)


def _thinned(recording: Recording, step: int) -> Recording:
    """Every step-th frame set."""
    if step == 1:
        return recording
    total = recording.frames_total
    times = None if recording.stamps_ns is None else recording.stamps_ns[::step]
    return _picked(recording, {
        name: list(range(0, min(total, source.length), step))  # then it has ended
        for name, source in recording.sources.items()}, times, recording.rate_hz / step)


def _picked(recording: Recording, places: Mapping[str, Sequence[int | None]],
            times: Sequence[int] | None, rate_hz: float | None = None) -> Recording:
    """The recording of some of its pictures, by camera and frame."""
    if rate_hz is None:
        assert times is not None
        rate_hz = 1e9 / max(1, _period_ns(times)) if len(times) > 1 else recording.rate_hz
    return replace(
        recording, rate_hz=rate_hz, stamps_ns=times, timing=None,
        sources={name: PickedSource(recording.sources[name], own, rate_hz)
                 for name, own in places.items()},
        depths={name: PickedDepth(depth, places[name])
                for name, depth in recording.depths.items()},
        poses=partial(_poses, recording, places) if recording.poses else None)


def _poses(recording: Recording, places: Mapping[str, Sequence[int | None]], index: int
           ) -> dict[str, np.ndarray]:
    """camera_from_world of the cameras that move, each at its own picture."""
    assert recording.poses is not None
    found = {}
    for name, own in places.items():
        place = own[index] if index < len(own) else None
        if place is not None and name in (poses := recording.poses(place)):
            found[name] = poses[name]
    return found
