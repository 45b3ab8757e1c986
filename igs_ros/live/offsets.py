# SPDX-License-Identifier: Apache-2.0
"""How far the stamps of each camera are from those of the others.

Stamps alone tell an offset only up to whole periods: at 30 Hz, 30 ms ahead looks like 3 ms behind.
Times of arrival tell the rest, but contain the way of each picture, which nobody knows. So the
two are taken together (`_joined`), and where they leave two answers, there is none.
"""
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median_low

import numpy as np

LEAST = 8
"""Pictures of a camera that make an estimate."""
OUT_OF_STEP = 0.55
"""Periods that no sound camera is off: those that run freely are up to half of one apart."""
_FAR = 1.5  # periods; from here on arrivals alone tell
_SAME_STAMP = 0.06  # periods within which stamps agree (2 ms at 30 Hz)
_SAME_WAY = 0.15  # periods by which ways of pictures may differ (5 ms at 30 Hz)


@dataclass(frozen=True)
class Offset:
    """Stamps of one camera minus those of the others, in seconds."""

    seconds: float  # NaN: nothing to compare with, or it cannot be told
    doubt: str = ''  # why it cannot be told


UNKNOWN = Offset(math.nan)


def period_s(stamps_s: np.ndarray) -> float:
    """Median step of stamps [N] in s; NaN for fewer than two different ones."""
    steps = np.diff(np.sort(stamps_s))
    steps = steps[steps > 0]
    return float(np.median(steps)) if len(steps) else math.nan


def offsets(seen: Mapping[str, tuple[np.ndarray, np.ndarray]],
            periods: Mapping[str, float] | None = None) -> dict[str, Offset]:
    """The offset of every camera; right as long as more than half of them agree.

    Of two cameras each is compared with the other one.

    Args:
        seen: by camera, arrivals and stamps [N] of its newest pictures, in s, each of a clock of
            its own, in order of arrival.
        periods: `period_s` of the stamps of each; None = not known yet.
    """
    found = dict.fromkeys(seen, UNKNOWN)
    own = {name: period_s(one[1]) for name, one in seen.items() if len(one[0]) >= LEAST} \
        if periods is None else periods
    usable = {name: one for name, one in seen.items() if len(one[0]) >= LEAST and own[name] > 0}
    if len(usable) < 2:
        return found
    names = list(usable)
    if len(names) == 2:
        one, other = names
        period = min(own[one], own[other])
        return found | {one: _pair(usable[one], usable[other], period),
                        other: _pair(usable[other], usable[one], period)}
    first = usable[names[0]]
    leads = {name: _lead(usable[name], first) for name in names}
    middle = median_low(sorted(leads.values()))
    reference = next(name for name in names if leads[name] == middle)
    common = {name: min(own[name], own[reference]) for name in names}
    phases = {name: _phase(usable[name], usable[reference], common[name]) for name in names}
    shift = median_low(sorted(phases.values()))
    return found | {name: _joined(leads[name] - middle,
                                  _wrapped(phases[name] - shift, common[name]), common[name])
                    for name in names}


def _pair(one, other, period: float) -> Offset:
    return _joined(_lead(one, other), _phase(one, other, period), period)


def _nearest(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Index of the nearest of `among` (sorted) to each of `values`."""
    right = np.clip(np.searchsorted(among, values), 1, len(among) - 1)
    return right - (values - among[right - 1] < among[right] - values)


def _lead(one, other) -> float:
    """By how much stamps run ahead of those that arrive at the same time, s."""
    (arrivals, stamps), (other_arrivals, other_stamps) = one, other
    near = _nearest(arrivals, other_arrivals)
    return float(np.median(stamps - other_stamps[near] - (arrivals - other_arrivals[near])))


def _phase(one, other, period: float) -> float:
    """Stamps minus the nearest of the other camera, less whole periods, s."""
    others = np.sort(other[1])
    steps = _wrapped(one[1] - others[_nearest(one[1], others)], period)
    # the middle of values on a circle: about one of them, or +-half a period would cancel out
    return _wrapped(float(steps[0] + np.median(_wrapped(steps - steps[0], period))), period)


def _wrapped(seconds, period: float):
    """`seconds` less whole periods, -period / 2 to period / 2."""
    return seconds - period * np.round(seconds / period)


def _joined(lead: float, phase: float, period: float) -> Offset:
    """One offset of what arrivals say (`lead`) and what stamps say up to whole periods."""
    lead, phase = float(lead), float(phase)
    if abs(lead) >= _FAR * period:
        return Offset(lead)
    whole = phase + round((lead - phase) / period) * period
    if abs(whole) <= OUT_OF_STEP * period:
        return Offset(whole)
    arrive_together = abs(lead - whole) <= _SAME_WAY * period
    stamps_agree = abs(phase) <= _SAME_STAMP * period
    if arrive_together and not stamps_agree:
        return Offset(whole)
    if stamps_agree and not arrive_together:
        return Offset(phase)  # only its way is longer or shorter
    way = f'{1000 * abs(whole - phase):.0f} ms {"less" if whole > phase else "more"}'
    return Offset(math.nan, f'its stamps are {_ms(whole)}, or {_ms(phase)} and its pictures take '
                            f'{way} than those of the others to arrive: it cannot be told which')


def _ms(seconds: float) -> str:
    return f'{1000 * abs(seconds):.0f} ms {"ahead" if seconds > 0 else "behind"}'
