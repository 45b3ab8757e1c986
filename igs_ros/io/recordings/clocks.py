# SPDX-License-Identifier: Apache-2.0
"""When the pictures of a camera were taken, as its recording or the command line tells it."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

from igs_ros.core.errors import InputError, shown
from igs_ros.core.files import read_text

MAX_OFFSET_S = 1e6
_MAX_STAMP_S = 10 ** 10  # in the year 2286
_NANOSECONDS = re.compile(r'\d{16,19}')  # seconds since 1970 have ten digits before the point
_EXPECTED = 'one stamp per line, seconds such as 12.040, or whole nanoseconds since 1970'


@dataclass(frozen=True)
class Clock:
    """What is known of the times of one camera's pictures."""

    stamps_ns: Sequence[int] | None = None  # of its pictures, increasing
    rate_hz: float | None = None  # instead of what its video says
    offset_s: float = 0.0  # to be added


@dataclass(frozen=True)
class Timing:
    """How the pictures of a recording belong together in time, where it says so itself."""

    clocks: Mapping[str, Clock] = field(default_factory=dict)  # of some of the cameras
    frame_step: int = 1  # every so many-th frame set counts
    max_spread_s: float | None = None  # of the stamps in a frame set


def read_stamps(path: Path) -> list[int]:
    """The stamps in a text file, ns: one per line; blank lines and those with # do not count.

    Seconds, with or without a decimal point; whole numbers of 16 digits and more are nanoseconds.

    Raises:
        InputError: it cannot be read, a line is no stamp, or stamps do not increase.
    """
    lines = read_text(path, _EXPECTED).splitlines()
    stamps = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith('#'):
            continue
        stamp = _stamp(text)
        if stamp is None:
            raise InputError(f'{path}: line {number} is {shown(text)}; expected {_EXPECTED}.')
        if stamps and stamp <= stamps[-1]:
            raise InputError(f'{path}: line {number}: the stamp {text} is not after the one '
                             f'before it; expected the order in which the pictures were taken.')
        stamps.append(stamp)
    if not stamps:
        raise InputError(f'{path}: no stamps; expected {_EXPECTED}.')
    return stamps


def _stamp(text: str) -> int | None:
    """Nanoseconds; None for what is no stamp. No float: it has 15 digits of the 19 needed."""
    if _NANOSECONDS.fullmatch(text):
        return int(text)
    try:
        seconds = Decimal(text)
        return int((seconds * 1_000_000_000).to_integral_value()) \
            if abs(seconds) < _MAX_STAMP_S else None  # not so for NaN, whose comparison raises
    except InvalidOperation:
        return None


def by_camera(entries: Iterable[str], option: str, cameras: Iterable[str]) -> dict[str, str]:
    """Values of an option that is given per camera, CAM=VALUE.

    Args:
        entries: as given.
        option: its name, for messages.
        cameras: those that there are.

    Raises:
        InputError: no such text, or no such camera.
    """
    found, known = {}, list(cameras)
    for entry in entries:
        name, equals, value = entry.partition('=')
        if not equals or not value:
            raise InputError(f'{option} {shown(entry)}: expected CAMERA=VALUE.')
        if name not in known:
            raise InputError(f'{option} {shown(entry)}: no camera {shown(name)}; expected one of '
                             f'{", ".join(known)}.')
        found[name] = value
    return found


def seconds(text: str, what: str) -> float:
    """A time in seconds.

    Raises:
        InputError: no number, or more than `MAX_OFFSET_S`; the message begins with `what`.
    """
    try:
        value = float(text)
    except ValueError:
        value = MAX_OFFSET_S * 2
    if not abs(value) <= MAX_OFFSET_S:
        raise InputError(f'{what} is {shown(text)}; expected seconds, such as 0.040.')
    return value
